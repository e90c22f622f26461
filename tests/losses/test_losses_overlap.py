"""Dice and Lovász-softmax against computations that share nothing with them."""

import itertools

import pytest
import torch

from crispseg.config import LossConfig
from crispseg.errors import ConfigError
from crispseg.losses import balanced_weights, build_loss, dice_loss, lovasz_softmax
from crispseg.types import SegmentationOutput


def batch(seed, classes=3, size=(2, 3)):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, *size, generator=generator, dtype=torch.float64) * 2
    labels = torch.randint(0, classes, (2, *size), generator=generator)
    labels[0, 0, 0] = 255
    return logits.requires_grad_(), labels


def jaccard_loss(wrong, truth):
    """One minus the IoU of a prediction that is wrong at these pixels."""
    predicted = [t != (i in wrong) for i, t in enumerate(truth)]
    union = sum(a or b for a, b in zip(predicted, truth, strict=True))
    return 1 - sum(a and b for a, b in zip(predicted, truth, strict=True)) / union


def lovasz_by_definition(errors, truth):
    """Eq. 8 as the integral over thresholds: ∫₀¹ Δ({i : eᵢ ≥ t}) dt, which Lovász's extension is on [0, 1]."""
    bounds = sorted({0.0, *errors})
    return sum(
        (high - low) * jaccard_loss({i for i, error in enumerate(errors) if error >= high}, truth)
        for low, high in itertools.pairwise(bounds)
    )


@pytest.mark.parametrize("seed", range(8))
def test_lovasz_is_the_integral_over_thresholds_of_the_jaccard_loss(seed):
    logits, labels = batch(seed)
    valid = (labels != 255).flatten()
    probability = logits.detach().softmax(1).movedim(1, 0).flatten(1)[:, valid]
    flat = labels.flatten()[valid]
    expected = []
    for class_id in flat.unique().tolist():
        truth = (flat == class_id).tolist()
        errors = [1 - p if t else p for p, t in zip(probability[class_id].tolist(), truth, strict=True)]
        expected.append(lovasz_by_definition(errors, truth))
    assert lovasz_softmax(logits, labels).item() == pytest.approx(sum(expected) / len(expected), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_dice_is_the_papers_ratio(seed):
    logits, labels = batch(seed)
    terms = []
    for class_id in set(labels.flatten().tolist()) - {255}:
        both = squares = count = 0.0
        for n, y, x in itertools.product(range(2), range(2), range(3)):
            if labels[n, y, x] == 255:
                continue
            p = logits[n, :, y, x].exp()[class_id].item() / logits[n, :, y, x].exp().sum().item()
            g = float(labels[n, y, x] == class_id)
            both, squares, count = both + p * g, squares + p * p, count + g * g
        terms.append(1 - 2 * both / (squares + count))
    assert dice_loss(logits, labels).item() == pytest.approx(sum(terms) / len(terms), abs=1e-6)


@pytest.mark.parametrize("loss", [dice_loss, lovasz_softmax])
def test_perfect_is_0_repeating_changes_nothing_and_void_has_no_gradient(loss):
    logits, labels = batch(0)
    twice = loss(logits.repeat(2, 1, 1, 1), labels.repeat(2, 1, 1))
    assert twice.item() == pytest.approx(loss(logits, labels).item(), abs=1e-6)
    right = torch.nn.functional.one_hot(labels.where(labels != 255, 0), 3).movedim(-1, 1) * 60.0
    assert loss(right, labels).item() == pytest.approx(0, abs=1e-6)
    loss(logits, labels).backward()
    assert (logits.grad[0, :, 0, 0] == 0).all()
    assert (logits.grad[1] != 0).any()
    empty = loss(logits, torch.full_like(labels, 255))
    empty.backward()
    assert empty.item() == 0


def test_the_terms_come_only_when_asked_for():
    logits, labels = batch(1)
    output = SegmentationOutput(logits.float())
    assert list(build_loss("segmentation", LossConfig(), 3)(output, labels)) == ["segmentation"]
    terms = build_loss("segmentation", LossConfig(dice_weight=0.5, lovasz_weight=2), 3)(output, labels)
    assert terms["dice"] == 0.5 * dice_loss(logits, labels)
    assert terms["lovasz"] == 2 * lovasz_softmax(logits, labels)


def test_weights_grow_as_classes_get_rarer_and_auto_needs_a_run():
    assert balanced_weights([100, 100], 1) == (1.0, 1.0)
    assert balanced_weights([80, 20], 1) == (0.4, 1.6)
    assert balanced_weights([64, 16, 0, 4], 0.5) == (0.4286, 0.8571, 1.0, 1.714)
    with pytest.raises(ConfigError, match=r"class_weights is auto, which fit counts"):
        build_loss("segmentation", LossConfig(class_weights="auto"), 3)
