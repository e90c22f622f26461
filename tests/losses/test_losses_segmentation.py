import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crispseg.losses import (
    OhemCrossEntropy,
    SegmentationCrossEntropy,
    ohem_cross_entropy,
    segmentation_cross_entropy,
)


def draw(classes, shape=(2, 5, 6), seed=0, void=0.3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator) * 3
    labels = torch.randint(0, classes, shape, generator=generator)
    labels[torch.rand(shape, generator=generator) < void] = 255
    return logits, labels


def probabilities_of_truth(logits, labels):
    """Per valid pixel the softmax probability of its label, and the label, in float64 NumPy."""
    exponentials = np.exp(logits.numpy().astype(np.float64))
    probability = exponentials / exponentials.sum(1, keepdims=True)
    n, y, x = np.nonzero(labels.numpy() != 255)
    truth = labels.numpy()[n, y, x]
    return probability[n, truth, y, x], truth, probability[n, :, y, x]


@settings(deadline=None, max_examples=25)
@given(
    classes=st.sampled_from([2, 5, 150]),
    seed=st.integers(0, 10**6),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.2]),
)
def test_cross_entropy_follows_its_definition(classes, seed, weighted, smoothing):
    logits, labels = draw(classes, seed=seed)
    weights = np.random.default_rng(seed).uniform(0.1, 3, classes) if weighted else np.ones(classes)
    own, truth, probability = probabilities_of_truth(logits, labels)
    losses = -(1 - smoothing) * weights[truth] * np.log(own) - smoothing * (np.log(probability) @ weights) / classes
    value = segmentation_cross_entropy(
        logits, labels, torch.from_numpy(weights).float() if weighted else None, label_smoothing=smoothing
    )
    assert value.item() == pytest.approx(losses.sum() / weights[truth].sum(), rel=1e-4)


@settings(deadline=None, max_examples=25)
@given(
    classes=st.sampled_from([2, 150]),
    seed=st.integers(0, 10**6),
    probability=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    min_kept=st.sampled_from([1, 10, 1000]),
)
def test_ohem_keeps_the_hard_pixels(classes, seed, probability, min_kept):
    logits, labels = draw(classes, seed=seed)
    own, *_ = probabilities_of_truth(logits, labels)
    own = np.sort(own)
    count = max((own < probability).sum(), min(min_kept, len(own)))
    value = ohem_cross_entropy(logits, labels, probability, min_kept)
    assert value.item() == pytest.approx(-np.log(own[:count]).mean(), rel=1e-4)


def test_ohem_weights_weigh_the_mean_and_do_not_choose():
    logits, labels = draw(3, seed=4)
    own, truth, _ = probabilities_of_truth(logits, labels)
    weights = np.array([0.1, 5.0, 1.0])
    hardest = np.argsort(own)[:8]
    expected = -(weights[truth] * np.log(own))[hardest].sum() / weights[truth[hardest]].sum()
    value = ohem_cross_entropy(logits, labels, 0.0, 8, torch.from_numpy(weights).float())
    assert value.item() == pytest.approx(expected, rel=1e-4)


LOSSES = {
    "cross_entropy": segmentation_cross_entropy,
    "ohem": lambda logits, labels: ohem_cross_entropy(logits, labels, 0.7, 1),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("classes", [2, 150])
def test_all_void_is_zero_with_a_gradient_path(loss, classes):
    logits = torch.randn(2, classes, 3, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 3, 4), 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_repeating_the_batch_changes_nothing(loss):
    logits, labels = draw(7)
    once, twice = loss(logits, labels), loss(logits.repeat(2, 1, 1, 1), labels.repeat(2, 1, 1))
    torch.testing.assert_close(once, twice)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_bfloat16_logits_are_computed_in_float32(loss):
    logits, labels = draw(7)
    logits = logits.bfloat16().requires_grad_()
    value = loss(logits, labels.byte())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.float(), labels), rtol=0, atol=0)
    value.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[:, 0][labels == 255].any()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("shape", [(1, 5, 6), (2, 6, 5), (2, 1, 5, 6), (5, 6)])
def test_labels_that_would_broadcast_are_an_error(loss, shape):
    with pytest.raises(ValueError, match=r"\(2, 3, 5, 6\) and \("):
        loss(torch.zeros(2, 3, 5, 6), torch.zeros(shape, dtype=torch.long))


def test_pixels_of_weightless_classes_only_are_zero_not_nan():
    logits, weights = torch.randn(1, 2, 2, 2, requires_grad=True), torch.tensor([0.0, 1.0])
    value = segmentation_cross_entropy(logits, torch.zeros(1, 2, 2, dtype=torch.long), weights)
    assert value.item() == 0


def test_modules_are_the_functions_with_their_settings():
    logits, labels = draw(3)
    weights = [0.5, 1.0, 2.0]
    assert SegmentationCrossEntropy(weights, 0.1)(logits, labels) == segmentation_cross_entropy(
        logits, labels, torch.tensor(weights), 0.1
    )
    assert OhemCrossEntropy(0.5, 4, weights, 0.1)(logits, labels) == ohem_cross_entropy(
        logits, labels, 0.5, 4, torch.tensor(weights), 0.1
    )
    with pytest.raises(ValueError, match="min_kept is 0"):
        OhemCrossEntropy(min_kept=0)(logits, labels)
