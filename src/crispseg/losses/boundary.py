"""Supervision of a boundary branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from crispseg.losses.common import check_same_shape, ratio_over_batch
from crispseg.ops.boundaries import Shape, boundary_targets

__all__ = ["BoundaryBCE", "boundary_bce"]


def boundary_bce(boundary_logits: Tensor, target: Tensor, valid: Tensor, *, balanced: bool = True) -> Tensor:
    """Binary cross-entropy of a boundary map: the L_BCE of GSCNN (eq. 3), balanced, and of Decoupled (eq. 4), plain.

    Balanced as in Xie and Tu, "Holistically-nested edge detection" (2015), eq. 2, boundary pixels weigh β and the
    others 1 − β, where β is the share of pixels that are no boundary, image by image. So both kinds weigh the same in
    total; an image without a boundary adds nothing. Plain, all pixels weigh 1. The mean is over the valid pixels of the
    batch.

    Args:
        boundary_logits: (N, 1, H, W), before any sigmoid.
        target: (N, 1, H, W), 1 on boundaries and 0 elsewhere.
        valid: (N, 1, H, W) bool: which pixels count.
        balanced: whether β balances the two kinds.

    Returns:
        A scalar in float32; 0, with a gradient path, if nothing is valid.

    Raises:
        ValueError: if the three shapes differ.

    Example:
        >>> logits, valid = torch.zeros(1, 1, 1, 4), torch.ones(1, 1, 1, 4, dtype=torch.bool)
        >>> loss = boundary_bce(logits, torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]]), valid)
        >>> round(loss.item(), 4)  # (¾ + 3 · ¼) · ln 2 / 4
        0.2599
    """
    check_same_shape(boundary_logits=boundary_logits, target=target, valid=valid)
    counted = valid.float()
    weights = _balance(target, counted) if balanced else counted
    losses = functional.binary_cross_entropy_with_logits(
        boundary_logits.float(), target.float(), weight=weights, reduction="none"
    )
    return ratio_over_batch(losses.sum(), counted.sum())


def _balance(target: Tensor, counted: Tensor) -> Tensor:
    """β on boundaries and 1 − β elsewhere, image by image; 0 where nothing counts."""
    per_image = (1, 2, 3)
    positive = target.float() * counted
    counted_per_image = counted.sum(dim=per_image, keepdim=True).clamp_min(1)
    beta = 1 - positive.sum(dim=per_image, keepdim=True) / counted_per_image
    return torch.where(target > 0.5, beta, 1 - beta) * counted


class BoundaryBCE(nn.Module):
    """`boundary_bce` against the boundaries of a label map.

    Args:
        radius_px: reach of a border to each side; see `crispseg.ops.boundaries.label_boundaries`.
        shape: of the reach.
        balanced: see `boundary_bce`.
    """

    def __init__(self, radius_px: int = 1, *, shape: Shape = "square", balanced: bool = True) -> None:
        super().__init__()
        self.radius_px = radius_px
        self.shape: Shape = shape
        self.balanced = balanced

    def forward(self, boundary_logits: Tensor, labels: Tensor) -> Tensor:
        """Boundary logits (N, 1, H, W) and labels (N, H, W) to a scalar."""
        target, valid = boundary_targets(labels, self.radius_px, shape=self.shape)
        return boundary_bce(boundary_logits, target, valid, balanced=self.balanced)
