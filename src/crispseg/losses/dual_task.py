"""The two regularisers of GSCNN (section 3.3) that tie the segmentation and its boundaries together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from crispseg.labels import IGNORE_INDEX
from crispseg.losses.common import (
    ClassWeighted,
    check_labels,
    check_same_shape,
    masked_mean,
    pixel_cross_entropy,
    pixel_weights,
)
from crispseg.ops.gradients import gaussian_blur, sobel_gradient, spatial_gradient
from crispseg.ops.gumbel import gumbel_softmax

__all__ = [
    "DualBoundaryLoss",
    "DualSegmentationLoss",
    "PotentialFilter",
    "boundary_potential",
    "dual_boundary_loss",
    "dual_segmentation_loss",
]

PotentialFilter = Literal["sobel", "gaussian"]
"""How ∇G∗ of eq. 4 is computed: by Sobel's kernels, or by a Gaussian and a central difference."""

SIGMA_PX = 1.0
BLUR_RADIUS_PX = 2
# Of a potential: Sobel's kernel; the Gaussian's, and one for the central difference.
_SUPPORT_PX: dict[PotentialFilter, int] = {"sobel": 1, "gaussian": BLUR_RADIUS_PX + 1}
# Flat regions come out as exactly 0, and the weakest real potential, two rows from a lone pixel's corner, as 1.5e-3.
_NON_ZERO = 1e-4


def boundary_potential(one_hot: Tensor, by: PotentialFilter = "sobel") -> Tensor:
    """ζ = ‖∇(G ∗ arg max_k p)‖ / √2 (GSCNN, eq. 4).

    The arg max is a one-hot map per class, for class ids have no distances. The norm runs over classes and both
    directions: a border between two classes changes both maps by the same amount, and the 1/√2 makes that count once.

    Args:
        one_hot: (N, K, H, W), floating point.
        by: ``sobel``, as the paper says at the end of section 3.3.1: ∇G∗ is Sobel's kernel, which smooths and derives
            at once. ``gaussian``: a Gaussian of deviation 1 px over 5×5 pixels, then the central difference.

    Returns:
        (N, 1, H, W) in [0, 1/√2]. By Sobel ½ on the two pixels next to a straight border and zero beyond; by the
        Gaussian 0.32 there, and zero beyond 3 px.
    """
    return _root(_squares(one_hot, by))


def dual_boundary_loss(
    logits: Tensor,
    labels: Tensor,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    ignore_index: int = IGNORE_INDEX,
    *,
    by: PotentialFilter = "sobel",
) -> Tensor:
    """Mean of |ζ − ζ̂| over p⁺, the pixels where either potential is not zero (GSCNN, eq. 5).

    The paper prints a sum, which would grow with the image and drown the cross-entropy; here it is a mean. ζ is that of
    the predicted arg max, with the Gumbel softmax gradient of eq. 9, and ζ̂ that of the labels. Pixels whose filters
    touch void are left out, for ζ̂ is not known there. By eq. 4 a border that the prediction does not show at all has no
    gradient at its pixels (the norm is flat at zero); it does count in the value.

    Args:
        logits: (N, K, H, W), of any floating point dtype.
        labels: (N, H, W) integer train ids.
        temperature: τ of eq. 9.
        generator: the source of the Gumbel noise, which is in the gradient only.
        ignore_index: the id of void pixels.
        by: see `boundary_potential`.

    Returns:
        A scalar in float32; 0, with a gradient path, where p⁺ is empty.

    Raises:
        ValueError: if the shapes do not belong together.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> logits = torch.nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2).float()
        >>> dual_boundary_loss(logits, labels).item(), dual_boundary_loss(logits.flip(3), labels).item()
        (0.0, 0.0)
        >>> dual_boundary_loss(torch.zeros_like(logits), labels).item() > 0.1
        True
    """
    check_labels(logits, labels)
    predicted = logits.max(dim=1, keepdim=True).indices  # argmax is three times as slow
    if torch.is_grad_enabled() and logits.requires_grad:
        surrogate = gumbel_softmax(logits, temperature, generator)
        potential: Tensor = _PotentialOfLabels.apply(predicted, surrogate, by)
    else:
        potential = _root(_squares_of_labels(predicted, logits.shape[1], by))
    with torch.no_grad():
        void = (labels == ignore_index)[:, None]
        ids = labels.long()[:, None].masked_fill(void, 0)
        true_potential = _root(_squares_of_labels(ids, logits.shape[1], by))
        support = _SUPPORT_PX[by]
        near_void = functional.max_pool2d(void.float(), 2 * support + 1, stride=1, padding=support)
        either = torch.maximum(potential, true_potential) > _NON_ZERO
        selected = (either & (near_void == 0)).float()
    return masked_mean((potential - true_potential).abs() * selected, selected)


def dual_segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    boundary_logits: Tensor,
    threshold: float = 0.8,
    class_weights: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Mean cross-entropy over the pixels that the boundary branch is sure of: σ(s) > threshold (GSCNN, eq. 6).

    The paper's sum is a mean here, so that the value does not grow with the image. The indicator has no gradient, so
    the boundary branch learns nothing from this term.

    Args:
        logits: (N, K, H, W), of any floating point dtype.
        labels: (N, H, W) integer train ids.
        boundary_logits: (N, 1, H, W), before the sigmoid.
        threshold: a probability; the paper's 0.8.
        class_weights: (K,), for a weighted mean.
        ignore_index: the id of void pixels.

    Returns:
        A scalar in float32; 0, with a gradient path, where no valid pixel is above the threshold.

    Raises:
        ValueError: if the shapes do not belong together.
    """
    check_same_shape(labels=labels[:, None], boundary_logits=boundary_logits)
    on_boundary = boundary_logits.detach().float().sigmoid()[:, 0] > threshold
    chosen = labels.long().masked_fill(~on_boundary, ignore_index)
    losses = pixel_cross_entropy(logits, chosen, class_weights, ignore_index=ignore_index)
    return masked_mean(losses, pixel_weights(chosen, class_weights, ignore_index))


class DualBoundaryLoss(nn.Module):
    """`dual_boundary_loss` with its settings."""

    def __init__(self, temperature: float = 1.0, *, by: PotentialFilter = "sobel") -> None:
        super().__init__()
        self.temperature = temperature
        self.by: PotentialFilter = by

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, K, H, W) and labels (N, H, W) to a scalar."""
        return dual_boundary_loss(logits, labels, self.temperature, by=self.by)


class DualSegmentationLoss(ClassWeighted):
    """`dual_segmentation_loss` with its settings."""

    def __init__(self, threshold: float = 0.8, class_weights: Tensor | Sequence[float] | None = None) -> None:
        super().__init__(class_weights)
        self.threshold = threshold

    def forward(self, logits: Tensor, labels: Tensor, boundary_logits: Tensor) -> Tensor:
        """Logits (N, K, H, W), labels (N, H, W) and boundary logits (N, 1, H, W) to a scalar."""
        return dual_segmentation_loss(logits, labels, boundary_logits, self.threshold, self.class_weights)


class _PotentialOfLabels(torch.autograd.Function):
    """`boundary_potential` of an arg max, whose gradient goes to a surrogate of its one-hot map (straight through).

    One-hot maps of a few classes at once are filtered, here and again for the gradient, so that nothing as large as
    the logits is made but the gradient itself.
    """

    @staticmethod
    def forward(ctx: Any, ids: Tensor, surrogate: Tensor, by: PotentialFilter) -> Tensor:
        squares = _squares_of_labels(ids, surrogate.shape[1], by)
        ctx.save_for_backward(ids, squares)
        ctx.num_classes, ctx.by = surrogate.shape[1], by
        return _root(squares)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor, None]:
        ids, squares = ctx.saved_tensors
        with torch.enable_grad():
            squares = squares.requires_grad_()
            (upstream,) = torch.autograd.grad(_root(squares), squares, upstream)
        batch, _, height, width = ids.shape
        gradient = upstream.new_zeros(batch, ctx.num_classes, height, width)
        for classes in _class_groups(ids, ctx.num_classes):
            one_hot = _one_hot(ids, classes).requires_grad_()
            with torch.enable_grad():
                (gradient[:, classes],) = torch.autograd.grad(_squares(one_hot, ctx.by), one_hot, upstream)
        return None, gradient, None


def _squares_of_labels(ids: Tensor, num_classes: int, by: PotentialFilter) -> Tensor:
    """`_squares` of the one-hot map of (N, 1, H, W) ids."""
    parts = (_squares(_one_hot(ids, classes), by) for classes in _class_groups(ids, num_classes))
    total = next(parts)
    for part in parts:
        total += part
    return total


def _class_groups(ids: Tensor, num_classes: int) -> list[slice]:
    """Classes whose one-hot maps are made at once: on a CPU each by itself, in its cache, if it occurs."""
    if ids.device.type != "cpu":
        return [slice(0, num_classes)]
    occurring = ids.flatten().bincount(minlength=num_classes).nonzero().flatten().tolist()
    return [slice(index, index + 1) for index in occurring]


def _one_hot(ids: Tensor, classes: slice) -> Tensor:
    """(N, 1, H, W) ids → (N, k, H, W) in float32."""
    wanted = torch.arange(classes.start, classes.stop, device=ids.device).view(1, -1, 1, 1)
    return (ids == wanted).view(torch.uint8).float()  # from bytes: 7 times as fast as from bool


def _squares(one_hot: Tensor, by: PotentialFilter) -> Tensor:
    """‖∇(G ∗ one-hot)‖² over classes and both directions, (N, 1, H, W)."""
    if by == "sobel":
        gradient_x, gradient_y = sobel_gradient(one_hot)
    else:
        gradient_x, gradient_y = spatial_gradient(gaussian_blur(one_hot, SIGMA_PX, 2 * BLUR_RADIUS_PX + 1))
    return (gradient_x.square() + gradient_y.square()).sum(dim=1, keepdim=True)


def _root(squares: Tensor) -> Tensor:
    """√(squares / 2), whose slope at zero is set to 0: the root's own would make NaN of flat pixels."""
    is_flat = squares == 0
    return (squares.masked_fill(is_flat, 1.0) / 2).sqrt().masked_fill(is_flat, 0.0)
