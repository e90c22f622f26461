"""The supervision of Decoupled (section 3.4): a relaxed one for the body, a hard one for the edge."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from crispseg.labels import IGNORE_INDEX
from crispseg.losses.common import (
    ClassWeighted,
    check_labels,
    check_same_shape,
    masked_mean,
    pixel_cross_entropy,
    pixel_weights,
    ratio_over_batch,
)
from crispseg.ops.boundaries import Shape, label_boundaries, labels_within

__all__ = [
    "HardBoundaryCrossEntropy",
    "InteriorCrossEntropy",
    "RelaxedCrossEntropy",
    "hard_boundary_cross_entropy",
    "hard_cross_entropy",
    "interior_cross_entropy",
    "relaxed_cross_entropy",
]


def relaxed_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    radius_px: int = 1,
    class_weights: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Boundary label relaxation: −log of the summed probability of all labels within reach.

    The L_body of Decoupled (eq. 3); from Zhu et al., "Improving semantic segmentation via video propagation and label
    relaxation" (2019), eq. 3. Away from borders it is the cross-entropy. Computed as a difference of two logsumexp, so
    it stays finite however small the probability is.

    Args:
        logits: (N, K, H, W), of any floating point dtype.
        labels: (N, H, W) integer train ids.
        radius_px: reach; the labels in the square of 2·radius + 1 around a pixel are all right for it.
        class_weights: (K,), for a mean weighted by each pixel's own class.
        ignore_index: the id of void pixels; they are no label of their neighbours.

    Returns:
        A scalar in float32: the mean over the valid pixels; 0, with a gradient path, if there are none.

    Raises:
        ValueError: if the shapes do not belong together.

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 4, 1, 3)
        >>> round(relaxed_cross_entropy(logits, torch.tensor([[[0, 0, 1]]])).item(), 4)  # (ln 4 + 2 · ln 2) / 3
        0.9242
    """
    check_labels(logits, labels)
    logits = logits.float()
    # A void pixel gets every label, whose probabilities add up to 1: a loss of exactly 0, and no −inf in the graph.
    allowed = labels_within(labels, logits.shape[1], radius_px, ignore_index) | (labels == ignore_index)[:, None]
    losses = logits.logsumexp(dim=1) - logits.masked_fill(~allowed, -math.inf).logsumexp(dim=1)
    weights = pixel_weights(labels, class_weights, ignore_index)
    return masked_mean(losses * weights, weights)


def interior_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    radius_px: int = 1,
    class_weights: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Cross-entropy of the pixels away from borders, the others being ignored.

    The other reading of L_body: Decoupled's introduction says "supervised by the mask where the edges are ignored",
    section 3.4 relaxes them (`relaxed_cross_entropy`).

    Args:
        logits: see `relaxed_cross_entropy`.
        labels: see `relaxed_cross_entropy`.
        radius_px: pixels with another label in the square of 2·radius + 1 around them are ignored.
        class_weights: see `relaxed_cross_entropy`.
        ignore_index: see `relaxed_cross_entropy`.

    Returns:
        A scalar in float32: the mean over what is left; 0, with a gradient path, if there is nothing.

    Example:
        >>> import torch
        >>> logits = torch.tensor([9.0, 0.0, 0.0, 9.0]).view(1, 1, 1, 4) * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        >>> round(interior_cross_entropy(logits, torch.tensor([[[0, 0, 1, 1]]])).item(), 1)  # (≈ 0 + ≈ 9) / 2
        4.5
    """
    check_labels(logits, labels)
    interior = labels.masked_fill(label_boundaries(labels, radius_px, ignore_index), ignore_index)
    losses = pixel_cross_entropy(logits, interior, class_weights, ignore_index=ignore_index)
    return masked_mean(losses, pixel_weights(interior, class_weights, ignore_index))


def hard_boundary_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    boundary_logits: Tensor,
    hard_fraction: float = 0.10,
    threshold: float = 0.8,
    class_weights: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Cross-entropy of the pixels that are both hard and on a boundary (Decoupled, eq. 5): where σ(b) > threshold.

    See `hard_cross_entropy`.

    Args:
        logits: (N, K, H, W) of the final segmentation, of any floating point dtype.
        labels: (N, H, W) integer train ids.
        boundary_logits: (N, 1, H, W), before the sigmoid; they only select and get no gradient.
        hard_fraction: K / N, in (0, 1]; the paper's 0.10.
        threshold: t_b, a probability; the paper's 0.8.
        class_weights: (K,), the w of eq. 5; they have no say in what is hard, and K stays a number of pixels.
        ignore_index: the id of void pixels.

    Returns:
        A scalar in float32; 0, with a gradient path, where nothing is selected.

    Raises:
        ValueError: if the shapes do not belong together, or the fraction is not in (0, 1].

    Example:
        >>> import torch
        >>> logits = torch.tensor([0.0, 0.0, 9.0, 9.0]).view(1, 1, 1, 4) * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        >>> labels, boundary_logits = torch.zeros(1, 1, 4, dtype=torch.long), torch.tensor([[[[9.0, 0.0, 9.0, 9.0]]]])
        >>> loss = hard_boundary_cross_entropy(logits, labels, boundary_logits, hard_fraction=0.5)
        >>> round(loss.item(), 4)  # the first two are hard, the first is on a boundary: ln 2 / 2
        0.3466
    """
    check_same_shape(labels=labels[:, None], boundary_logits=boundary_logits)
    on_boundary = boundary_logits.detach().float().sigmoid() > threshold
    return hard_cross_entropy(logits, labels, on_boundary[:, 0], hard_fraction, class_weights, ignore_index)


def hard_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    selected: Tensor,
    hard_fraction: float = 0.10,
    class_weights: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Cross-entropy of the pixels that are both hard and selected (Decoupled, eq. 5).

    In each image the K = ⌈hard_fraction · N⌉ pixels with the highest losses are hard, N being "the total number of
    pixels in the image", void or not. The loss is (1/K) · Σ w·loss over those of them that are selected, as in the
    paper: a mean over the hard pixels in which the others count 0. Over a batch both Σ and K run over all images.

    Args:
        logits: see `hard_boundary_cross_entropy`.
        labels: see `hard_boundary_cross_entropy`.
        selected: (N, H, W) bool.
        hard_fraction: see `hard_boundary_cross_entropy`.
        class_weights: see `hard_boundary_cross_entropy`.
        ignore_index: see `hard_boundary_cross_entropy`.

    Returns:
        A scalar in float32; 0, with a gradient path, where nothing is selected.

    Raises:
        ValueError: if the shapes do not belong together, or the fraction is not in (0, 1].
    """
    check_same_shape(labels=labels[:, None], selected=selected[:, None])
    if not 0 < hard_fraction <= 1:
        raise ValueError(f"hard_fraction is {hard_fraction}, a number in (0, 1] expected")
    hardness = pixel_cross_entropy(logits, labels, ignore_index=ignore_index).flatten(1)
    void = (labels == ignore_index).flatten(1)
    count = math.ceil(hard_fraction * hardness.shape[1])
    # Void pixels come last; where they are reached, they weigh 0.
    hard_losses, hard_pixels = hardness.masked_fill(void, -1.0).topk(count, dim=1)
    weights = pixel_weights(labels, class_weights, ignore_index).flatten(1).gather(1, hard_pixels)
    counted = weights * selected.flatten(1).gather(1, hard_pixels)
    return ratio_over_batch((hard_losses * counted).sum(), hardness.new_tensor(float(count * hardness.shape[0])))


class RelaxedCrossEntropy(ClassWeighted):
    """`relaxed_cross_entropy` with its settings."""

    def __init__(self, radius_px: int = 1, class_weights: Tensor | Sequence[float] | None = None) -> None:
        super().__init__(class_weights)
        self.radius_px = radius_px

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, K, H, W) and labels (N, H, W) to a scalar."""
        return relaxed_cross_entropy(logits, labels, self.radius_px, self.class_weights)


class InteriorCrossEntropy(ClassWeighted):
    """`interior_cross_entropy` with its settings."""

    def __init__(self, radius_px: int = 1, class_weights: Tensor | Sequence[float] | None = None) -> None:
        super().__init__(class_weights)
        self.radius_px = radius_px

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, K, H, W) and labels (N, H, W) to a scalar."""
        return interior_cross_entropy(logits, labels, self.radius_px, self.class_weights)


class HardBoundaryCrossEntropy(ClassWeighted):
    """Eq. 5 with its settings: boundaries are those of the branch, or of the labels.

    Args:
        hard_fraction: see `hard_boundary_cross_entropy`.
        threshold: see `hard_boundary_cross_entropy`.
        class_weights: see `hard_boundary_cross_entropy`.
        label_radius_px: the reach of the labels' own boundaries, which then choose the pixels, for a branch that nobody
            teaches; None: the branch chooses.
        label_shape: of the reach.
    """

    def __init__(
        self,
        hard_fraction: float = 0.10,
        threshold: float = 0.8,
        class_weights: Tensor | Sequence[float] | None = None,
        *,
        label_radius_px: int | None = None,
        label_shape: Shape = "square",
    ) -> None:
        super().__init__(class_weights)
        self.hard_fraction = hard_fraction
        self.threshold = threshold
        self.label_radius_px = label_radius_px
        self.label_shape: Shape = label_shape

    def forward(self, logits: Tensor, labels: Tensor, boundary_logits: Tensor) -> Tensor:
        """Logits (N, K, H, W), labels (N, H, W) and boundary logits (N, 1, H, W) to a scalar."""
        if self.label_radius_px is not None:
            selected = label_boundaries(labels, self.label_radius_px, shape=self.label_shape)
            return hard_cross_entropy(logits, labels, selected, self.hard_fraction, self.class_weights)
        return hard_boundary_cross_entropy(
            logits, labels, boundary_logits, self.hard_fraction, self.threshold, self.class_weights
        )
