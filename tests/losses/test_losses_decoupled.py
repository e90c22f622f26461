import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crispseg.losses import (
    HardBoundaryCrossEntropy,
    InteriorCrossEntropy,
    RelaxedCrossEntropy,
    hard_boundary_cross_entropy,
    hard_cross_entropy,
    interior_cross_entropy,
    relaxed_cross_entropy,
    segmentation_cross_entropy,
)


def draw(seed, classes, shape=(2, 6, 7), void=0.2):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator) * 3
    labels = torch.randint(0, classes, shape, generator=generator)
    labels[torch.rand(shape, generator=generator) < void] = 255
    return logits, labels, torch.randn(shape[0], 1, *shape[1:], generator=generator) * 3


def softmax(logits):
    exponentials = np.exp(logits.numpy().astype(np.float64))
    return exponentials / exponentials.sum(1, keepdims=True)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), classes=st.sampled_from([2, 4, 150]), radius=st.integers(1, 3))
def test_relaxation_follows_its_definition(seed, classes, radius):
    logits, labels, _ = draw(seed, classes)
    probability, array = softmax(logits), labels.numpy()
    losses = []
    for n, y, x in zip(*np.nonzero(array != 255), strict=True):
        square = array[n, max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
        near = sorted(set(square.flatten().tolist()) - {255})
        losses.append(-np.log(probability[n, near, y, x].sum()))
    value = relaxed_cross_entropy(logits, labels, radius)
    assert value.item() == pytest.approx(np.mean(losses), rel=1e-4, abs=1e-6)


def test_relaxation_is_the_cross_entropy_away_from_borders():
    logits, labels = torch.randn(1, 5, 6, 6), torch.full((1, 6, 6), 3)
    torch.testing.assert_close(relaxed_cross_entropy(logits, labels, 2), segmentation_cross_entropy(logits, labels))


def test_relaxation_does_not_underflow():
    """The probability of the label is e^−2000: its logarithm is taken without it."""
    logits = torch.zeros(1, 2, 3, 3)
    logits[:, 1] = 2000
    logits.requires_grad_()
    value = relaxed_cross_entropy(logits, torch.zeros(1, 3, 3, dtype=torch.long))
    value.backward()
    assert value.item() == pytest.approx(2000)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:, 0], torch.full((1, 3, 3), -1 / 9))


def test_relaxation_of_an_image_does_not_depend_on_the_others():
    logits, labels, _ = draw(1, 4, void=0)
    single = [relaxed_cross_entropy(logits[i : i + 1], labels[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(relaxed_cross_entropy(logits, labels), sum(single) / 2)


def reference_hard(logits, labels, boundary_logits, fraction, threshold, weights):
    """Equation 5: K of the pixels of each image by sorting, then those on a boundary; N counts void pixels, too."""
    total, count = 0.0, 0
    for probability, truth, boundary in zip(softmax(logits), labels.numpy(), boundary_logits[:, 0], strict=True):
        pixels = [(probability[truth[y, x], y, x], y, x) for y, x in zip(*np.nonzero(truth != 255), strict=True)]
        most = math.ceil(fraction * truth.size - 1e-9)
        count += most
        for own, y, x in sorted(pixels)[:most]:
            if torch.sigmoid(boundary[y, x]) > threshold:
                total -= weights[truth[y, x]] * np.log(own)
    return total / max(count, 1)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    classes=st.sampled_from([2, 150]),
    fraction=st.sampled_from([0.1, 0.5, 1.0]),
    threshold=st.sampled_from([0.0, 0.8]),
    void=st.sampled_from([0.0, 0.3, 0.97]),
    weighted=st.booleans(),
)
def test_hard_pixels_follow_equation_5(seed, classes, fraction, threshold, void, weighted):
    logits, labels, boundary_logits = draw(seed, classes, void=void)
    weights = np.random.default_rng(seed).uniform(0.1, 3, classes) if weighted else np.ones(classes)
    value = hard_boundary_cross_entropy(
        logits, labels, boundary_logits, fraction, threshold, torch.from_numpy(weights).float() if weighted else None
    )
    expected = reference_hard(logits, labels, boundary_logits, fraction, threshold, weights)
    assert value.item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_n_of_equation_5_is_every_pixel_of_the_image():
    """ "The total number of pixels in the image": half of it void, all of the other half may be hard."""
    logits, labels = torch.zeros(1, 2, 4, 10), torch.full((1, 4, 10), 255)
    labels[:, :2] = 0
    sure = torch.full((1, 1, 4, 10), 9.0)
    assert hard_boundary_cross_entropy(logits, labels, sure, 0.5).item() == pytest.approx(math.log(2))
    assert hard_boundary_cross_entropy(logits, labels, sure, 1.0).item() == pytest.approx(math.log(2) / 2)


def test_the_labels_can_choose_the_boundary_for_a_branch_that_nobody_teaches():
    """Table 1b, "L_edge-ohem" alone: at the start no pixel has σ(b) > 0.8, and nothing would ever change that."""
    logits, _, boundary_logits = draw(3, 3, shape=(1, 12, 12), void=0)
    labels = torch.zeros(1, 12, 12, dtype=torch.long)
    labels[:, :, 6:] = 1
    untaught = boundary_logits * 0
    assert HardBoundaryCrossEntropy(1.0)(logits, labels, untaught) == 0
    found = HardBoundaryCrossEntropy(1.0, label_radius_px=2, label_shape="disk")(logits, labels, untaught)
    near = torch.zeros(1, 12, 12, dtype=torch.bool)
    near[:, :, 4:8] = True
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(found, losses[near].sum() / 144)
    assert found == hard_cross_entropy(logits, labels, near, 1.0)


def test_the_interior_loss_ignores_the_edges():
    """Decoupled, introduction: "supervised by the mask where the edges are ignored"."""
    logits, _, _ = draw(4, 3, shape=(2, 8, 10), void=0)
    labels = torch.zeros(2, 8, 10, dtype=torch.long)
    labels[:, :, 5:] = 1
    labels[0, 0, 0] = 255
    losses = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    inside = torch.ones(2, 8, 10, dtype=torch.bool)
    inside[:, :, 3:7] = False
    inside[0, 0, 0] = False
    torch.testing.assert_close(interior_cross_entropy(logits, labels, 2), losses[inside].mean())
    weights = torch.tensor([1.0, 3.0, 2.0])
    weighted = (losses * weights[labels.clamp(max=2)])[inside].sum() / weights[labels.clamp(max=2)][inside].sum()
    torch.testing.assert_close(InteriorCrossEntropy(2, weights)(logits, labels), weighted)


def test_hard_pixels_are_no_more_than_k_among_equals():
    logits = torch.zeros(1, 2, 10, 10, requires_grad=True)
    value = hard_boundary_cross_entropy(
        logits, torch.zeros(1, 10, 10, dtype=torch.long), torch.full((1, 1, 10, 10), 9.0), 0.1
    )
    value.backward()
    assert value.item() == pytest.approx(math.log(2))
    assert logits.grad is not None
    assert (logits.grad[:, 0] != 0).sum() == 10


def test_hard_pixels_teach_the_segmentation_only():
    logits, labels, boundary_logits = draw(0, 3)
    logits.requires_grad_()
    hard_boundary_cross_entropy(logits, labels, boundary_logits.requires_grad_(), 0.5, 0.5).backward()
    assert boundary_logits.grad is None
    assert logits.grad is not None
    assert logits.grad.any()
    assert not logits.grad.sum(1)[labels == 255].any()


TERMS = {
    "relaxed": lambda logits, labels, boundary_logits: relaxed_cross_entropy(logits, labels),
    "hard": hard_boundary_cross_entropy,
}


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("classes", [2, 150])
def test_all_void_is_zero_with_a_gradient_path(term, classes):
    logits = torch.randn(2, classes, 5, 5, requires_grad=True)
    value = term(logits, torch.full((2, 5, 5), 255), torch.full((2, 1, 5, 5), 9.0))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad.any()


def test_no_sure_boundary_is_zero_with_a_gradient_path():
    logits = torch.randn(2, 3, 5, 5, requires_grad=True)
    value = hard_boundary_cross_entropy(logits, torch.zeros(2, 5, 5).long(), torch.zeros(2, 1, 5, 5))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_repeating_the_batch_changes_nothing_and_bfloat16_is_computed_in_float32(term):
    logits, labels, boundary_logits = draw(5, 6)
    once = term(logits, labels, boundary_logits + 2)
    twice = term(*(m.repeat(2, *(1,) * (m.ndim - 1)) for m in (logits, labels, boundary_logits + 2)))
    torch.testing.assert_close(once, twice)
    half = logits.bfloat16().requires_grad_()
    value = term(half, labels, boundary_logits.bfloat16() + 2)
    assert value.dtype == torch.float32
    assert value == term(half.float(), labels, boundary_logits.bfloat16() + 2)
    value.backward()
    assert half.grad is not None
    assert half.grad.isfinite().all()


def test_modules_are_the_functions_with_their_settings():
    logits, labels, boundary_logits = draw(2, 3)
    weights = [0.5, 1.0, 2.0]
    tensor = torch.tensor(weights)
    assert RelaxedCrossEntropy(2, weights)(logits, labels) == relaxed_cross_entropy(logits, labels, 2, tensor)
    assert HardBoundaryCrossEntropy(0.5, 0.6, weights)(logits, labels, boundary_logits) == hard_boundary_cross_entropy(
        logits, labels, boundary_logits, 0.5, 0.6, tensor
    )


def test_arguments_that_do_not_fit_are_errors():
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\) and \(1, 4, 4\)"):
        relaxed_cross_entropy(torch.zeros(2, 3, 4, 4), labels)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\) and \(1, 4, 4\)"):
        hard_boundary_cross_entropy(torch.zeros(2, 3, 4, 4), labels, torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"boundary_logits \(2, 1, 4, 4\)"):
        hard_boundary_cross_entropy(torch.zeros(1, 3, 4, 4), labels, torch.zeros(2, 1, 4, 4))
    with pytest.raises(ValueError, match="hard_fraction is 0"):
        hard_boundary_cross_entropy(torch.zeros(1, 3, 4, 4), labels, torch.zeros(1, 1, 4, 4), 0)
