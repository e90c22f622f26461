"""Losses that speak of the overlap of regions: Dice's and Lovász-softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from crispseg.labels import IGNORE_INDEX
from crispseg.losses.common import check_labels, gathered_over_batch, sum_over_batch

__all__ = ["dice_loss", "lovasz_softmax"]


def dice_loss(logits: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """One minus the soft Dice coefficient, mean over the classes that the batch's labels show.

    Milletari et al., V-Net (3DV 2016), section 3, for each class with p the softmax and g the label's 0 or 1:

        D = 2 Σ p g / (Σ p² + Σ g²)

    Sums go over the valid pixels of the whole batch, of all processes.

    Args:
        logits: (N, K, H, W), of any floating point dtype.
        labels: (N, H, W) integer train ids.
        ignore_index: the id of void pixels.

    Returns:
        A scalar in [0, 1]; 0, with a gradient path, if every pixel is void.

    Raises:
        ValueError: if the shapes do not belong together.

    Example:
        >>> logits = torch.tensor([[9.0, -9.0], [-9.0, 9.0]]).view(1, 2, 1, 2)
        >>> round(dice_loss(logits, torch.tensor([[[0, 1]]])).item(), 3)
        0.0
    """
    probability, truth, valid = _by_class(logits, labels, ignore_index)
    probability = probability * valid
    sums = torch.stack([(probability * truth).sum(1), probability.square().sum(1), truth.sum(1)])  # (3, K)
    overlap, predicted, labelled = sum_over_batch(sums)
    losses = 1 - 2 * overlap / (predicted + labelled).clamp_min(1e-12)
    return _mean_of_shown(losses, labelled)


def lovasz_softmax(logits: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The Lovász-softmax loss: a convex surrogate of one minus the mean IoU, over the classes that the labels show.

    Berman et al. (CVPR 2018), eq. 8, 9 and 12. A pixel's error for a class is 1 − p where the label is the class, p
    elsewhere. With the errors in descending order, the class's loss is Σᵢ eᵢ (Jᵢ − Jᵢ₋₁), where Jᵢ is one minus the
    IoU of a prediction that is wrong at the i largest alone. The batch is one set, over all processes.

    Args:
        logits: (N, K, H, W), of any floating point dtype; images of one size on every process.
        labels: (N, H, W) integer train ids.
        ignore_index: the id of void pixels.

    Returns:
        A scalar in [0, 1]; 0, with a gradient path, if every pixel is void.

    Raises:
        ValueError: if the shapes do not belong together.

    Example:
        >>> logits = torch.zeros(1, 2, 1, 2)  # every error is ½
        >>> lovasz_softmax(logits, torch.tensor([[[0, 1]]])).item()
        0.5
    """
    probability, truth, valid = _by_class(logits, labels, ignore_index)
    # Void pixels have no error: they come last, where they change nothing.
    errors = gathered_over_batch((truth - probability).abs() * valid)
    truth = gathered_over_batch(truth)
    descending, order = errors.sort(dim=1, descending=True)
    with torch.no_grad():
        truth = truth.gather(1, order)
        labelled = truth.sum(1, keepdim=True)
        left = labelled - truth.cumsum(1)  # of the intersection
        union = labelled + (1 - truth).cumsum(1)
        jaccard = 1 - left / union
        steps = jaccard.diff(dim=1, prepend=torch.zeros_like(labelled))
    return _mean_of_shown((descending * steps).sum(1), labelled.squeeze(1))


def _by_class(logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax and labels' 0 or 1, (K, pixels) in float32, and whether a pixel is valid, (pixels,)."""
    check_labels(logits, labels)
    classes = logits.shape[1]
    probability = logits.float().softmax(1).movedim(1, 0).flatten(1)
    flat = labels.flatten().long()
    valid = flat != ignore_index
    truth = functional.one_hot(flat.where(valid, 0), classes).T.float() * valid
    return probability, truth, valid


def _mean_of_shown(losses: Tensor, labelled: Tensor) -> Tensor:
    """Mean over the classes that have a labelled pixel."""
    shown = (labelled > 0).float()
    return (losses * shown).sum() / shown.sum().clamp_min(1)
