import numpy as np
import plain_forms
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional

from crispseg.losses import boundary_potential, dual_boundary_loss, dual_segmentation_loss, dual_task
from crispseg.losses.dual_task import DualBoundaryLoss, DualSegmentationLoss


def one_hot(labels, classes):
    return functional.one_hot(labels, classes).permute(0, 3, 1, 2).float()


def reference_potential(one_hot_array, by="sobel"):
    """Equation 4 with SciPy: ∇G∗ by Sobel, or Gaussian over 5×5 and central differences; norm over classes, 1/√2."""
    if by == "sobel":
        gx, gy = (
            ndimage.correlate1d(
                ndimage.correlate1d(one_hot_array.astype(np.float64), [-1, 0, 1], axis=along, mode="nearest"),
                [1, 2, 1],
                axis=across,
                mode="nearest",
            )
            / 8
            for along, across in ((3, 2), (2, 3))
        )
        return np.sqrt((gx**2 + gy**2).sum(1)) / np.sqrt(2)
    blurred = ndimage.gaussian_filter(
        one_hot_array.astype(np.float64), (0, 0, 1, 1), mode="nearest", radius=(0, 0, 2, 2)
    )
    padded = np.pad(blurred, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    gx = np.gradient(padded, axis=3)[:, :, 1:-1, 1:-1]
    gy = np.gradient(padded, axis=2)[:, :, 1:-1, 1:-1]
    return np.sqrt((gx**2 + gy**2).sum(1)) / np.sqrt(2)


def blocks(seed, classes=3, shape=(2, 4, 5), side=5):
    labels = torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed))
    return labels.repeat_interleave(side, 1).repeat_interleave(side, 2)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    classes=st.sampled_from([2, 5, 150]),
    side=st.sampled_from([1, 3, 6]),
    by=st.sampled_from(["sobel", "gaussian"]),
)
def test_potential_follows_equation_4(seed, classes, side, by):
    maps = one_hot(blocks(seed, classes, (1, 3, 4), side), classes)
    potential = boundary_potential(maps, by)
    np.testing.assert_allclose(potential[:, 0].numpy(), reference_potential(maps.numpy(), by), atol=1e-6)
    assert potential.min() >= 0
    assert potential.max() <= 2**-0.5 + 1e-6


def test_potential_is_exactly_zero_away_from_borders_and_blind_to_class_numbers():
    labels = torch.zeros(1, 12, 40, dtype=torch.long)
    labels[:, :, 20:] = 1
    by_sobel = boundary_potential(one_hot(labels, 2))
    assert (by_sobel > 0).any(dim=-2).flatten().nonzero().flatten().tolist() == [19, 20]
    assert (by_sobel[..., 19:21] == 0.5).all()
    few = boundary_potential(one_hot(labels, 2), "gaussian")
    assert (few[..., 3:-3, :] > 0).any(dim=-2).flatten().nonzero().flatten().tolist() == list(range(17, 23))
    assert few[0, 0, 5, 20].item() == pytest.approx(0.3235, abs=1e-3)
    many = boundary_potential(one_hot(labels * 77, 150), "gaussian")
    torch.testing.assert_close(few, many)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    classes=st.sampled_from([2, 4, 150]),
    void=st.booleans(),
    by=st.sampled_from(["sobel", "gaussian"]),
)
def test_boundary_term_follows_equation_5(seed, classes, void, by):
    labels, predicted = blocks(seed, classes), blocks(seed + 1, classes)
    true_potential, potential = (reference_potential(one_hot(m, classes).numpy(), by) for m in (labels, predicted))
    if void:
        labels[0, 8:11, 3:9] = 255
    near_void = ndimage.maximum_filter(
        (labels == 255).numpy(), size=(1, *2 * [7 if by == "gaussian" else 3]), mode="constant"
    )
    selected = (np.maximum(potential, true_potential) > 1e-9) & ~near_void
    expected = np.abs(potential - true_potential)[selected].mean() if selected.any() else 0.0
    # random heights, the arg max as drawn
    logits = torch.rand(2, classes, 20, 25) + 2 * one_hot(predicted, classes)
    assert dual_boundary_loss(logits, labels, by=by).item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("by", ["sobel", "gaussian"])
def test_boundary_term_is_zero_for_the_truth_and_larger_the_further_off(by):
    labels = torch.zeros(1, 20, 40, dtype=torch.long)
    labels[:, :, 20:] = 1
    losses = [
        dual_boundary_loss(one_hot(labels.roll(shift, 2), 2)[..., 8:32], labels[..., 8:32], by=by)
        for shift in (0, 1, 2, 4)
    ]
    assert losses[0] == 0
    assert losses == sorted(losses)
    assert losses[1] > 0.03


@pytest.mark.parametrize("by", ["sobel", "gaussian"])
@pytest.mark.parametrize("classes", [2, 19])
@pytest.mark.parametrize("all_at_once", [False, True], ids=["class by class", "as on a GPU"])
def test_boundary_term_and_its_gradient_are_those_of_one_map_for_every_class(by, classes, all_at_once, monkeypatch):
    if all_at_once:
        monkeypatch.setattr(dual_task, "_class_groups", lambda ids, num_classes: [slice(0, num_classes)])
    labels = blocks(4, classes)
    labels[0, 8:11, 3:9] = 255
    logits = torch.randn(2, classes, 20, 25, generator=torch.Generator().manual_seed(5)) + 3 * one_hot(
        blocks(6, classes).roll((1, 2), (1, 2)), classes
    )
    for temperature in (1.0, 0.5):
        ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        value = dual_boundary_loss(ours, labels, temperature, torch.Generator().manual_seed(1), by=by)
        expected = plain_forms.dual_boundary_loss(plain, labels, temperature, torch.Generator().manual_seed(1), by=by)
        torch.testing.assert_close(value, expected)
        (value * 7).backward()
        (expected * 7).backward()
        assert ours.grad is not None
        assert ours.grad.any()
        torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-4, atol=1e-7)


def test_boundary_term_has_a_gradient_along_predicted_borders():
    labels, predicted = blocks(1), blocks(2).roll((2, 2), (1, 2))  # no border in the right place
    logits = one_hot(predicted, 3).bfloat16().requires_grad_()
    value = dual_boundary_loss(logits, labels)
    assert value.dtype == torch.float32
    value.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    near_border = boundary_potential(one_hot(predicted, 3)) > 0.1
    assert (logits.grad.abs().sum(1, keepdim=True) > 0)[near_border].float().mean() > 0.9


def test_a_step_down_the_gradient_of_a_fixed_draw_moves_a_wrong_border():
    """The surrogate's gradient must point the right way: repeated steps shrink the term."""
    labels = torch.zeros(1, 16, 24, dtype=torch.long)
    labels[:, :, 12:] = 1
    logits = (one_hot(labels.roll(2, 2), 2) * 0.5).requires_grad_()
    with torch.no_grad():
        logits[:, 0, :, :6] += 5
        logits[:, 1, :, :4] -= 5
    optimizer = torch.optim.SGD([logits], lr=20.0)
    generator = torch.Generator().manual_seed(0)
    first = dual_boundary_loss(logits, labels).item()
    for _ in range(60):
        optimizer.zero_grad()
        dual_boundary_loss(logits, labels, generator=generator).backward()
        optimizer.step()
    assert dual_boundary_loss(logits, labels).item() < 0.7 * first


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), classes=st.sampled_from([2, 150]), threshold=st.sampled_from([0.5, 0.8]))
def test_segmentation_term_follows_equation_6(seed, classes, threshold):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 4, 5, generator=generator)
    boundary_logits = torch.randn(2, 1, 4, 5, generator=generator) * 3
    labels = torch.randint(0, classes, (2, 4, 5), generator=generator)
    labels[0, 0] = 255
    probability = np.exp(logits.double().numpy())
    probability /= probability.sum(1, keepdims=True)
    losses = [
        -np.log(probability[n, labels[n, y, x], y, x])
        for n, y, x in np.ndindex(2, 4, 5)
        if labels[n, y, x] != 255 and 1 / (1 + np.exp(-boundary_logits[n, 0, y, x].item())) > threshold
    ]
    value = dual_segmentation_loss(logits, labels, boundary_logits, threshold)
    assert value.item() == pytest.approx(np.mean(losses) if losses else 0.0, rel=1e-4)


def test_segmentation_term_teaches_the_segmentation_only():
    logits, boundary_logits = torch.randn(1, 3, 4, 4, requires_grad=True), torch.randn(1, 1, 4, 4, requires_grad=True)
    dual_segmentation_loss(logits, torch.zeros(1, 4, 4, dtype=torch.long), boundary_logits, 0.1).backward()
    assert logits.grad is not None
    assert logits.grad.any()
    assert boundary_logits.grad is None


EMPTY = {
    "all void": (torch.full((2, 8, 8), 255), 9.0),
    "nothing above the threshold, one class": (torch.zeros(2, 8, 8, dtype=torch.long), -9.0),
}


@pytest.mark.parametrize(("labels", "boundary"), EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("classes", [2, 150])
def test_empty_selections_are_zero_with_a_gradient_path(labels, boundary, classes):
    logits = torch.zeros(2, classes, 8, 8, requires_grad=True)
    for value in (
        dual_boundary_loss(logits, labels),
        dual_segmentation_loss(logits, labels, torch.full((2, 1, 8, 8), boundary)),
    ):
        logits.grad = None
        value.backward()
        assert value.item() == 0
        assert logits.grad is not None
        assert not logits.grad.any()


def test_repeating_the_batch_changes_nothing():
    labels, logits, boundary_logits = blocks(3), torch.randn(2, 3, 20, 25), torch.randn(2, 1, 20, 25) * 4
    twice = [m.repeat(2, *(1,) * (m.ndim - 1)) for m in (logits, labels, boundary_logits)]
    torch.testing.assert_close(dual_boundary_loss(*twice[:2]), dual_boundary_loss(logits, labels))
    torch.testing.assert_close(dual_segmentation_loss(*twice), dual_segmentation_loss(logits, labels, boundary_logits))


def test_modules_are_the_functions_with_their_settings():
    labels, logits, boundary_logits = blocks(3), torch.randn(2, 3, 20, 25), torch.randn(2, 1, 20, 25) * 4
    assert DualBoundaryLoss(0.5)(logits, labels) == dual_boundary_loss(logits, labels, 0.5)
    by_gaussian = DualBoundaryLoss(by="gaussian")(logits, labels)
    assert by_gaussian == dual_boundary_loss(logits, labels, by="gaussian") != dual_boundary_loss(logits, labels)
    module = DualSegmentationLoss(0.6, [1.0, 2.0, 3.0])
    assert module(logits, labels, boundary_logits) == dual_segmentation_loss(
        logits, labels, boundary_logits, 0.6, torch.tensor([1.0, 2.0, 3.0])
    )


def test_shapes_that_would_broadcast_are_an_error():
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\) and \(1, 8, 8\)"):
        dual_boundary_loss(torch.zeros(2, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long))
    with pytest.raises(ValueError, match=r"boundary_logits \(1, 1, 8, 8\)"):
        dual_segmentation_loss(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long), torch.zeros(1, 1, 8, 8))
