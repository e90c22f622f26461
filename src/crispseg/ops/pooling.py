"""Means over a fixed number of regions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["pool_regions"]


def pool_regions(maps: Tensor, count: int) -> Tensor:
    """Means over `count` × `count` regions that cover the map, what ``adaptive_avg_pool2d`` computes.

    Region i of an axis of n cells reaches from ⌊i·n / count⌋ to ⌈(i + 1)·n / count⌉. A graph,
    exported or compiled, has two matrix products instead, whose regions it computes from the size that it meets:
    exporters take those of ``adaptive_avg_pool2d`` from the example, and the file is wrong at other sizes.

    Args:
        maps: (N, C, h, w), floating point.
        count: regions per side.

    Returns:
        (N, C, count, count).

    Example:
        >>> pool_regions(torch.tensor([[[[0.0, 3.0, 6.0]]]]), 2).flatten().tolist()
        [1.5, 4.5, 1.5, 4.5]
    """
    return (_by_products if torch.compiler.is_compiling() else functional.adaptive_avg_pool2d)(maps, count)


def _by_products(maps: Tensor, count: int) -> Tensor:
    rows, columns = (_averages(maps, axis, count) for axis in (-2, -1))
    return rows @ (maps @ columns.mT)  # (count, h) @ ((N, C, h, w) @ (w, count))


def _averages(maps: Tensor, axis: int, count: int) -> Tensor:
    """(count, n): what each cell of the axis weighs in each region's mean."""
    size = maps.shape[axis]
    cell = torch.arange(size, device=maps.device)
    region = torch.arange(count, device=maps.device)[:, None]
    is_begun = region * size < (cell + 1) * count  # ⌊i·n / count⌋ ≤ cell, in whole numbers
    is_open = (region + 1) * size > cell * count  # cell < ⌈(i + 1)·n / count⌉
    members = (is_begun & is_open).float()
    return (members / members.sum(dim=1, keepdim=True)).to(maps.dtype)
