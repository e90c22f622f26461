"""Cross-entropy on the segmentation: over all pixels, or over the hard ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from crispseg.labels import IGNORE_INDEX
from crispseg.losses.common import ClassWeighted, hardest_of_batch, masked_mean, pixel_cross_entropy, pixel_weights

__all__ = ["OhemCrossEntropy", "SegmentationCrossEntropy", "ohem_cross_entropy", "segmentation_cross_entropy"]


def segmentation_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Mean cross-entropy over the valid pixels of the batch, in float32.

    Args:
        logits: (N, K, H, W), of any floating point dtype.
        labels: (N, H, W) integer train ids.
        class_weights: (K,); the mean is then weighted by each pixel's class.
        label_smoothing: how much of each pixel's target is spread over all classes, in [0, 1).
        ignore_index: the id of void pixels.

    Returns:
        A scalar; 0, with a gradient path, if every pixel is void.

    Raises:
        ValueError: if the shapes do not belong together.

    Example:
        >>> logits = torch.zeros(1, 4, 1, 2)
        >>> round(segmentation_cross_entropy(logits, torch.tensor([[[3, 255]]])).item(), 4)  # ln 4
        1.3863
    """
    losses = pixel_cross_entropy(logits, labels, class_weights, label_smoothing, ignore_index)
    return masked_mean(losses, pixel_weights(labels, class_weights, ignore_index))


def ohem_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    probability: float = 0.7,
    min_kept: int = 100_000,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Mean cross-entropy over the hard pixels: online hard example mining.

    A pixel is hard if its true class has a probability below ``probability``. Where the whole batch has fewer than
    ``min_kept`` of these, its ``min_kept`` hardest pixels are taken (and those that are as hard as the last of them),
    or all that are valid. As the number is one of the batch, not of the image, the value depends on the batch size
    where ``min_kept`` decides.

    Args:
        logits: (N, K, H, W), of any floating point dtype.
        labels: (N, H, W) integer train ids.
        probability: in [0, 1].
        min_kept: pixels per batch, at least 1.
        class_weights: (K,); they weigh the mean, and have no say in what is hard.
        label_smoothing: as in `segmentation_cross_entropy`; has no say in what is hard.
        ignore_index: the id of void pixels.

    Returns:
        A scalar; 0, with a gradient path, if every pixel is void.

    Raises:
        ValueError: if the shapes do not belong together, or ``min_kept`` is below 1.
    """
    if min_kept < 1:
        raise ValueError(f"min_kept is {min_kept}, at least 1 expected")
    losses = pixel_cross_entropy(logits, labels, class_weights, label_smoothing, ignore_index)
    weights = pixel_weights(labels, class_weights, ignore_index)
    with torch.no_grad():
        is_plain = class_weights is None and label_smoothing == 0
        # −log of the true class's probability
        hardness = losses.detach() if is_plain else pixel_cross_entropy(logits, labels, ignore_index=ignore_index)
        hardness = hardness.masked_fill(labels == ignore_index, -1.0)  # below every valid pixel
        least_of_kept = hardest_of_batch(hardness.flatten(), min_kept)
        bound = -math.log(probability) if probability > 0 else math.inf
        hard = (hardness > bound) | (hardness >= least_of_kept)
    return masked_mean(losses * hard, weights * hard)


class SegmentationCrossEntropy(ClassWeighted):
    """`segmentation_cross_entropy` with its settings."""

    def __init__(self, class_weights: Tensor | Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__(class_weights)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, K, H, W) and labels (N, H, W) to a scalar."""
        return segmentation_cross_entropy(logits, labels, self.class_weights, self.label_smoothing)


class OhemCrossEntropy(ClassWeighted):
    """`ohem_cross_entropy` with its settings."""

    def __init__(
        self,
        probability: float = 0.7,
        min_kept: int = 100_000,
        class_weights: Tensor | Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(class_weights)
        self.probability = probability
        self.min_kept = min_kept
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, K, H, W) and labels (N, H, W) to a scalar."""
        return ohem_cross_entropy(
            logits, labels, self.probability, self.min_kept, self.class_weights, self.label_smoothing
        )
