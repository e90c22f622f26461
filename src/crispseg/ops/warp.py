"""Warping feature maps by a flow field."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["flow_warp"]


def flow_warp(features: Tensor, flow_px: Tensor) -> Tensor:
    """Sample the features bilinearly at p + flow(p) (Decoupled, section 3.2, eq. 1).

    Zero flow is the identity, bit for bit, at every size. Positions are computed in float32 whatever the
    precision of the arguments, because bfloat16 cannot count beyond 256. Positions outside the map are moved to its
    frame, so the nearest cell is read; there the flow across the frame has no gradient. Where a position falls
    exactly on a cell, the gradient is that towards the right and lower neighbour, on the last column and row that
    towards the left and upper one.

    Args:
        features: (N, C, h, w), floating point.
        flow_px: (N, 2, h, w): x then y, in cells of the map; positive x reads from the right.

    Returns:
        (N, C, h, w) in the dtype of the features, channels last in memory. A non-finite flow reads NaN, not garbage.

    Raises:
        ValueError: if the shapes do not belong together.

    Example:
        >>> row = torch.tensor([[[[0.0, 1.0, 4.0]]]])
        >>> flow_x = torch.tensor([[[[0.5, 0.0, 2.0]]]])
        >>> flow_warp(row, torch.cat((flow_x, torch.zeros_like(flow_x)), dim=1)).flatten().tolist()
        [0.5, 1.0, 4.0]
    """
    if features.ndim != 4 or flow_px.ndim != 4 or flow_px.shape[1] != 2:
        raise ValueError(f"features (N, C, h, w) and flow (N, 2, h, w) expected, {_shapes(features, flow_px)} found")
    if features.shape[0] != flow_px.shape[0] or features.shape[2:] != flow_px.shape[2:]:
        raise ValueError(f"features and flow differ in batch, height or width: {_shapes(features, flow_px)}")
    batch, channels, height, width = features.shape
    dtype = torch.promote_types(features.dtype, torch.float32)
    flow = flow_px.to(dtype)
    columns = torch.arange(width, device=flow.device, dtype=dtype)
    rows = torch.arange(height, device=flow.device, dtype=dtype)[:, None]
    left, right, weight_right = _neighbours(columns + flow[:, 0], width)  # (N, h, w) each
    upper, lower, weight_lower = _neighbours(rows + flow[:, 1], height)
    weight_left, weight_upper = 1 - weight_right, 1 - weight_lower
    first_of_image = torch.arange(batch, device=flow.device)[:, None, None] * (height * width)
    upper, lower = upper * width + first_of_image, lower * width + first_of_image
    cells = (upper + left, upper + right, lower + left, lower + right)  # (N, h, w) each, as their weights
    weights = (
        weight_upper * weight_left,
        weight_upper * weight_right,
        weight_lower * weight_left,
        weight_lower * weight_right,
    )
    rows_of_channels = features.to(dtype).permute(0, 2, 3, 1).reshape(-1, channels)
    # grid_sample would do, but its normalised coordinates do not come back to whole cells exactly.
    warped = (_gathered if torch.compiler.is_compiling() else _bagged)(rows_of_channels, cells, weights)
    return warped.view(batch, height, width, channels).permute(0, 3, 1, 2).to(features.dtype)


def _neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The cells before and after a position on one axis, and how much the second one weighs."""
    limited = position.detach().clamp(0, size - 1)
    inside = torch.where(limited == position, position, limited)  # clamp itself has no gradient on the very bounds
    # The last cell is reached from the one before it, with weight 1, so that zero flow has a gradient there too.
    before = limited.nan_to_num(0.0).floor().clamp(max=size - 2).clamp(min=0)
    after = (before + 1).clamp(max=size - 1)
    return before.long(), after.long(), inside - before


def _bagged(table: Tensor, cells: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Σₖ weightₖ · table[cellₖ], a bag of rows per cell: nothing is kept for the backward pass beyond the table."""
    return functional.embedding_bag(
        torch.stack(tuple(cells), dim=-1).flatten(0, -2),
        table,
        per_sample_weights=torch.stack(tuple(weights), dim=-1).flatten(0, -2),
        mode="sum",
    )


def _gathered(table: Tensor, cells: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """The same as single gathers, for graphs: other runtimes have no bags, and compilers fuse these."""
    parts = [
        table.index_select(0, cell.flatten()) * weight.flatten()[:, None]
        for cell, weight in zip(cells, weights, strict=True)
    ]
    return parts[0] + parts[1] + parts[2] + parts[3]


def _shapes(features: Tensor, flow_px: Tensor) -> str:
    return f"{tuple(features.shape)} and {tuple(flow_px.shape)}"
