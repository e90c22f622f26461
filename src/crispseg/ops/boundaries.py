"""Boundaries from label maps, on the labels' device and in O(pixels) whatever the number of classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from crispseg.labels import IGNORE_INDEX

__all__ = ["Shape", "boundary_targets", "label_boundaries", "labels_within", "soft_boundaries"]

Shape = Literal["square", "disk"]
"""What lies within reach of a pixel: rows *and* columns up to the radius, or √(x² + y²) up to it."""


def boundary_targets(
    labels: Tensor, radius_px: int = 1, ignore_index: int = IGNORE_INDEX, *, shape: Shape = "square"
) -> tuple[Tensor, Tensor]:
    """What a boundary branch shall say about a batch of label maps; see `label_boundaries` for the rule.

    Args:
        labels: (N, H, W) integer train ids.
        radius_px: reach of a border to each side; lines are twice as wide.
        ignore_index: the id of void pixels.
        shape: of the reach.

    Returns:
        The target (N, 1, H, W), float32, 1 on boundaries and 0 elsewhere, and where it counts (N, 1, H, W), bool,
        False on void pixels.

    Example:
        >>> target, valid = boundary_targets(torch.tensor([[[0, 0, 0, 1, 1, 255, 2]]]))
        >>> target.flatten().tolist()
        [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
        >>> valid.flatten().tolist()
        [True, True, True, True, True, False, True]
    """
    boundaries, valid = _boundaries_and_valid(labels, radius_px, ignore_index, shape)
    return boundaries[:, None].view(torch.uint8).float(), valid[:, None]  # from bytes: 7 times as fast as from bool


def label_boundaries(
    labels: Tensor, radius_px: int = 1, ignore_index: int = IGNORE_INDEX, *, shape: Shape = "square"
) -> Tensor:
    """Mark the pixels that have another label within reach.

    A pixel is marked if it and some pixel of another label, both not void, are at most ``radius_px`` apart: in rows and
    in columns (a square of 2·radius + 1 around it), or as the crow flies (a disk, as in CASENet, whose radius is 2; Yu
    et al., 2017). So both sides of a border are marked; void pixels neither are marked nor
    mark their neighbours; the frame of the map is no border; no label is special.

    Args:
        labels: (N, H, W) integer train ids below 255, or void.
        radius_px: at least 1.
        ignore_index: the id of void pixels.
        shape: of the reach.

    Returns:
        (N, H, W) bool.

    Raises:
        ValueError: if the labels are no batch of integer maps, the radius is not positive or the shape unknown.

    Example:
        >>> corner = torch.tensor([[[1, 0, 0], [0, 0, 0], [0, 0, 0]]])
        >>> label_boundaries(corner)[0].int().tolist(), label_boundaries(corner, shape="disk")[0].int().tolist()
        ([[1, 1, 0], [1, 1, 0], [0, 0, 0]], [[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    """
    return _boundaries_and_valid(labels, radius_px, ignore_index, shape)[0]


def labels_within(labels: Tensor, num_classes: int, radius_px: int = 1, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Say which labels occur in the square of 2·radius + 1 around each pixel; void is no label.

    Args:
        labels: (N, H, W) integer train ids, each below ``num_classes`` or void.
        num_classes: K.
        radius_px: at least 1.
        ignore_index: the id of void pixels.

    Returns:
        (N, K, H, W) bool, all False where only void is within reach.

    Example:
        >>> labels_within(torch.tensor([[[0, 0, 1, 255]]]), num_classes=2)[0, :, 0].int().tolist()
        [[1, 1, 1, 0], [0, 1, 1, 1]]
    """
    _check(labels, radius_px)
    valid = (labels != ignore_index)[:, None]
    ids = labels.long()[:, None].masked_fill(~valid, 0)
    batch, height, width = labels.shape
    occurs = torch.zeros((batch, num_classes, height, width), dtype=torch.bool, device=labels.device)
    return _reach(occurs.scatter_(1, ids, valid), radius_px, torch.logical_or)


def soft_boundaries(probabilities: Tensor) -> Tensor:
    """How far each pixel's class distribution is from that of its most different neighbour of four.

    Between two pixels that is the total variation ½ Σ_k |p_k − q_k|, the share of probability that changes its class.
    Where probabilities are 0 and 1 it is what `label_boundaries` says for a disk of radius 1; it has a gradient
    elsewhere.

    Args:
        probabilities: (N, K, H, W), whose sum over the classes is 1.

    Returns:
        (N, 1, H, W) in [0, 1].

    Raises:
        ValueError: if the probabilities are no batch.

    Example:
        >>> p = torch.tensor([1.0, 1.0, 0.75, 0.0, 0.0])
        >>> soft_boundaries(torch.stack([p, 1 - p])[None, :, None]).flatten().tolist()
        [0.0, 0.25, 0.75, 0.75, 0.0]
    """
    if probabilities.ndim != 4:
        raise ValueError(f"probabilities (N, K, H, W) expected, {tuple(probabilities.shape)} found")
    strongest = torch.zeros_like(probabilities[:, :1])
    for dim in (-1, -2):
        steps = probabilities.diff(dim=dim).abs().sum(dim=1, keepdim=True) / 2
        frame = torch.zeros_like(strongest.narrow(dim, 0, 1))
        for beside in (torch.cat((steps, frame), dim), torch.cat((frame, steps), dim)):
            strongest = torch.maximum(strongest, beside)
    return strongest


def _boundaries_and_valid(labels: Tensor, radius_px: int, ignore_index: int, shape: Shape) -> tuple[Tensor, Tensor]:
    """`label_boundaries`, and which pixels are not void."""
    _check(labels, radius_px)
    if shape not in get_args(Shape):
        raise ValueError(f"shape is {shape!r}, one of {get_args(Shape)} expected")
    reach = _reach if shape == "square" else _reach_disk
    # In bytes, eight times as many pixels per instruction as in int64. Void is 255, the largest, where a minimum is
    # taken; one more wraps around to 0, the smallest, where a maximum is taken: it changes neither.
    if ignore_index != _VOID:
        labels = labels.masked_fill(labels == ignore_index, _VOID)
    lowest = labels.to(torch.uint8)
    highest = lowest + 1
    valid = highest.bool()
    lowest_near = reach(lowest, radius_px, torch.minimum)
    highest_near = reach(highest, radius_px, torch.maximum)
    return (lowest_near + 1 != highest_near) & valid, valid  # a pixel's own label lies between the two


_VOID = 255


def _check(labels: Tensor, radius_px: int) -> None:
    if labels.ndim != 3 or labels.is_floating_point():
        raise ValueError(f"labels (N, H, W) of integers expected, {tuple(labels.shape)} of {labels.dtype} found")
    if radius_px < 1:
        raise ValueError(f"radius_px is {radius_px}, at least 1 expected")


def _reach(maps: Tensor, radius_px: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine every pixel with the square around it, one axis after the other; the frame cuts the square."""
    for dim in (-1, -2):
        for _ in range(radius_px):
            maps = _with_neighbours(maps, dim, combine)
    return maps


def _reach_disk(maps: Tensor, radius_px: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine every pixel with the disk around it, row by row of the disk, from its ends to its middle."""
    height = maps.shape[-2]
    reached, wide, half_width = maps, maps, 0
    for down in range(radius_px, -1, -1):
        while half_width < math.isqrt(radius_px**2 - down**2):
            wide, half_width = _with_neighbours(wide, -1, combine), half_width + 1
        rest = height - down
        if rest <= 0:
            continue
        below, above = wide.narrow(-2, down, rest), wide.narrow(-2, 0, rest)
        reached = torch.cat((combine(reached.narrow(-2, 0, rest), below), reached.narrow(-2, rest, down)), -2)
        reached = torch.cat((reached.narrow(-2, 0, down), combine(reached.narrow(-2, down, rest), above)), -2)
    return reached


def _with_neighbours(maps: Tensor, dim: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine every pixel with the ones before and behind it along an axis."""
    size = maps.shape[dim]
    if size == 1:
        return maps
    pairs = combine(maps.narrow(dim, 1, size - 1), maps.narrow(dim, 0, size - 1))
    triples = combine(pairs.narrow(dim, 1, size - 2), pairs.narrow(dim, 0, size - 2))
    return torch.cat((pairs.narrow(dim, 0, 1), triples, pairs.narrow(dim, size - 2, 1)), dim)
