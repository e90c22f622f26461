"""Which way the inside of a region lies, seen from near its border: what refiners learn, and how masks follow it.

SegFix (Yuan et al., 2020): labels inside of regions are more reliable than those at borders, so a pixel at a border
takes the label of a pixel further inside. A direction is one of nine numbers: 0 stays, 1 to 8 are steps to a neighbour.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from crispseg.labels import IGNORE_INDEX

__all__ = ["STEPS", "inward_directions", "walk"]

UInt8 = npt.NDArray[np.uint8]

STEPS: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Rows down and columns to the right of each direction: 0 stays, then clockwise from the right."""

_UNDECIDED = 0.15


def inward_directions(labels: UInt8, reach_px: int, ignore_index: int = IGNORE_INDEX) -> UInt8:
    """Say for each pixel near a border which of its neighbours lies further inside of its own region.

    The direction of a pixel p points away from the pixels of other labels within reach: of the eight the one next to
    −Σ o over the offsets o, |o| ≤ reach, at which p + o has another label. This is SegFix's gradient of the distance to
    the border (section 3.2), averaged over the reach. Pixels without another label within reach stay; so do those where
    the sum has no direction (its length is below 0.15 of Σ|o|), as on the axis of a line. Void pixels and the frame are
    no other label.

    Args:
        labels: (H, W) uint8 train ids.
        reach_px: how far from a border pixels have a direction; at least 1.
        ignore_index: the id of void pixels.

    Returns:
        (H, W) uint8: 0 to 8, indices into `STEPS`; `ignore_index` on void pixels.

    Raises:
        ValueError: if the reach is not positive.

    Example:
        >>> inward_directions(np.array([[0, 0, 0, 0, 1, 1, 1]], dtype=np.uint8), reach_px=2).tolist()
        [[0, 0, 5, 5, 1, 1, 0]]
    """
    if reach_px < 1:
        raise ValueError(f"reach_px is {reach_px}, at least 1 expected")
    height, width = labels.shape
    valid = labels != ignore_index
    away = np.zeros((2, height, width), dtype=np.float32)  # rows down, columns to the right
    length = np.zeros((height, width), dtype=np.float32)
    for down, right in _half_disk(reach_px):
        if down >= height or abs(right) >= width:
            continue
        here = slice(0, height - down), slice(max(0, -right), width - max(0, right))
        there = slice(down, height), slice(max(0, right), width - max(0, -right))
        other = ((labels[here] != labels[there]) & valid[here] & valid[there]).view(np.uint8)
        for axis, step in enumerate((down, right)):
            if step:
                pushed = other * np.float32(step)
                away[axis][here] -= pushed
                away[axis][there] += pushed
        far = other * np.float32(math.hypot(down, right))
        length[here] += far
        length[there] += far
    octants = np.rint(np.arctan2(away[0], away[1]) * np.float32(4 / np.pi)).astype(np.int8) % 8
    decided = np.hypot(away[0], away[1]) > _UNDECIDED * length
    directions = np.where(decided, octants + 1, 0).astype(np.uint8)
    directions[~valid] = ignore_index
    return directions


def walk(directions: UInt8, steps: int) -> npt.NDArray[np.intp]:
    """Follow directions from every pixel, step by step, until one says to stay or there are no steps left.

    Args:
        directions: (H, W), 0 to 8; see `STEPS`.
        steps: most steps.

    Returns:
        (H, W): where each pixel arrives, as an index into the flattened map; the frame is not crossed.

    Example:
        >>> walk(np.array([[0, 5, 5, 1]], dtype=np.uint8), steps=2).tolist()
        [[0, 0, 0, 3]]
    """
    height, width = directions.shape
    rows, columns = np.indices((height, width), sparse=True)
    moves = np.array(STEPS, dtype=np.intp)[directions]
    onwards = (rows + moves[..., 0]).clip(0, height - 1) * width + (columns + moves[..., 1]).clip(0, width - 1)
    flat = onwards.ravel()
    arrived = np.arange(height * width)
    for _ in range(steps):
        arrived = flat[arrived]
    return arrived.reshape(height, width)


@cache
def _half_disk(radius_px: int) -> tuple[tuple[int, int], ...]:
    """Offsets of a disk, one of each pair of opposites, without the middle."""
    square = range(-radius_px, radius_px + 1)
    return tuple(
        (down, right)
        for down in range(radius_px + 1)
        for right in square
        if (down, right) > (0, 0) and down**2 + right**2 <= radius_px**2
    )
