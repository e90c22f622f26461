import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crispseg.losses import BoundaryBCE, boundary_bce
from crispseg.ops.boundaries import boundary_targets


def reference(logits, target, valid):
    """Xie and Tu 2015, eq. 2, image by image, divided by the valid pixels of the batch."""
    total = 0.0
    for z, y, v in zip(logits, target, valid, strict=True):
        z, y = z[v].astype(np.float64), y[v]
        if not z.size:
            continue
        probability = 1 / (1 + np.exp(-z))
        beta = (y == 0).sum() / y.size
        total -= beta * np.log(probability[y == 1]).sum() + (1 - beta) * np.log(1 - probability[y == 0]).sum()
    return total / max(valid.sum(), 1)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.05, 0.5, 1.0]), void=st.sampled_from([0.0, 0.4, 1.0]))
def test_balanced_bce_follows_its_definition(seed, share, void):
    rng = np.random.default_rng(seed)
    shape = (3, 1, 6, 7)
    logits = rng.normal(0, 3, shape).astype(np.float32)
    target = (rng.random(shape) < share).astype(np.float32)
    valid = rng.random(shape) >= void
    value = boundary_bce(*(torch.from_numpy(array) for array in (logits, target, valid)))
    assert value.item() == pytest.approx(reference(logits, target, valid), rel=1e-4, abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), void=st.sampled_from([0.0, 0.4, 1.0]))
def test_plain_bce_weighs_every_pixel_alike(seed, void):
    """Decoupled, eq. 4: no β; λ4 is there "to balance the amount of pixels on edges"."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (2, 1, 6, 7)).astype(np.float32)
    target = (rng.random(logits.shape) < 0.1).astype(np.float32)
    valid = rng.random(logits.shape) >= void
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    losses = -np.where(target == 1, np.log(probability), np.log(1 - probability))
    value = boundary_bce(*(torch.from_numpy(array) for array in (logits, target, valid)), balanced=False)
    assert value.item() == pytest.approx(losses[valid].mean() if valid.any() else 0, rel=1e-4, abs=1e-6)


def test_both_kinds_of_pixels_push_with_the_same_force():
    """The reason of β: at logits of 0 the gradients of boundary and other pixels add up to zero."""
    logits = torch.zeros(2, 1, 10, 10, requires_grad=True)
    target = torch.zeros(2, 1, 10, 10)
    target[0, :, 3], target[1, :, :, :4] = 1, 1
    boundary_bce(logits, target, torch.ones_like(target, dtype=torch.bool)).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.sum((1, 2, 3)), torch.zeros(2), atol=1e-7, rtol=0)
    assert (logits.grad * (2 * target - 1) < 0).all()


def test_logits_are_not_squashed_twice():
    """A certain and right prediction costs nothing; after two sigmoids it could not get below 0.31."""
    target = torch.zeros(1, 1, 8, 8)
    target[..., 4] = 1
    valid = torch.ones_like(target, dtype=torch.bool)
    assert boundary_bce((2 * target - 1) * 40, target, valid).item() < 1e-9
    assert boundary_bce((1 - 2 * target) * 1e4, target, valid).isfinite()


def test_all_void_is_zero_with_a_gradient_path():
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    value = BoundaryBCE()(logits, torch.full((2, 4, 4), 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_an_image_does_not_depend_on_its_neighbours_and_a_batch_may_be_repeated():
    labels = torch.randint(0, 2, (2, 9, 9)).repeat_interleave(2, 1).repeat_interleave(2, 2)
    labels[1, :, 5:] = 0
    logits = torch.randn(2, 1, 18, 18)
    loss = BoundaryBCE(2)
    single = [loss(logits[i : i + 1], labels[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(loss(logits, labels), sum(single) / 2)
    torch.testing.assert_close(loss(logits.repeat(3, 1, 1, 1), labels.repeat(3, 1, 1)), loss(logits, labels))


def test_bfloat16_logits_and_the_module():
    labels = torch.randint(0, 150, (1, 6, 6))
    logits = torch.randn(1, 1, 6, 6).bfloat16().requires_grad_()
    value = BoundaryBCE(1)(logits, labels)
    assert value.dtype == torch.float32
    assert value == boundary_bce(logits.float(), *boundary_targets(labels, 1))
    value.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (2, 4, 4), (2, 2, 4, 4), (2, 1, 4, 5)])
def test_shapes_that_would_broadcast_are_an_error(shape):
    target, valid = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="boundary_logits"):
        boundary_bce(torch.zeros(shape), target, valid)


def test_the_module_takes_shape_and_balance():
    labels = torch.zeros(1, 12, 12, dtype=torch.long)
    labels[:, 4:, 5:] = 1
    logits = torch.randn(1, 1, 12, 12)
    target, valid = boundary_targets(labels, 2, shape="disk")
    found = BoundaryBCE(2, shape="disk", balanced=False)(logits, labels)
    assert found == boundary_bce(logits, target, valid, balanced=False)
    assert found != BoundaryBCE(2, balanced=False)(logits, labels)
    assert found != BoundaryBCE(2, shape="disk")(logits, labels)
