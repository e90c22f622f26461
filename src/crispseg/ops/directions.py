"""Which way the inside of a region lies, seen from near its border: what refiners learn, and how masks follow it.

SegFix (Yuan et al., 2020): labels inside of regions are more reliable than those at borders, so a pixel at a border
takes the label of a pixel further inside. A direction is one of nine numbers: 0 stays, 1 to 8 are steps to a neighbour.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.config import MASK_BANDS
from crispseg.labels import IGNORE_INDEX
from crispseg.ops.nearest import nearest_known

__all__ = ["MASK_REACH_PX", "STEPS", "corrections", "inward_directions", "mask_bands", "walk"]

UInt8 = npt.NDArray[np.uint8]

STEPS: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Rows down and columns to the right of each direction: 0 stays, then clockwise from the right."""

MASK_REACH_PX = 2
"""How far from a mask's borders its bands say something: a network sees further by itself."""

_UNDECIDED = 0.15
_ROUNDING = 0.25  # OpenCV's distances on 5×5 neighbourhoods are longer than true ones by up to 2 %


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
    valid = labels != ignore_index
    away, length = _away_from_others(labels, reach_px, valid)
    decided = np.hypot(away[0], away[1]) > _UNDECIDED * length
    directions = np.where(decided, _octants(away[0], away[1]), 0).astype(np.uint8)
    directions[~valid] = ignore_index
    return directions


def corrections(labels: UInt8, mask: UInt8, reach_px: int, ignore_index: int = IGNORE_INDEX) -> UInt8:
    """Say for each pixel that a mask has wrong which way its right label lies in the mask.

    The direction is that of the nearest pixel q with mask(q) = labels(p), of the eight the nearest. A pixel that the
    mask has right stays, and so does one whose label lies further than the reach, for no walk would find it.

    Args:
        labels: (H, W) uint8 train ids, the truth.
        mask: (H, W) uint8 train ids, a coarse mask of it.
        reach_px: how far labels may be fetched from; at least 1.
        ignore_index: the id of void pixels in `labels`.

    Returns:
        (H, W) uint8: 0 to 8, indices into `STEPS`; `ignore_index` on void pixels.

    Raises:
        ValueError: if the reach is not positive.

    Example:
        >>> truth = np.array([[0, 0, 0, 1, 1, 1, 1]], dtype=np.uint8)
        >>> corrections(truth, np.array([[0, 0, 0, 0, 0, 1, 1]], dtype=np.uint8), reach_px=2).tolist()
        [[0, 0, 0, 1, 1, 0, 0]]
    """
    _check_reach(reach_px)
    found = np.zeros(labels.shape, dtype=np.uint8)
    wrong = (labels != mask) & (labels != ignore_index)
    for label in np.unique(labels[wrong]):
        at_home = mask == label
        if not at_home.any():
            continue
        distance, number, place = nearest_known(at_home)
        rows, columns = np.nonzero(wrong & (labels == label) & (distance <= reach_px + _ROUNDING))
        goal_rows, goal_columns = np.divmod(place[number[rows, columns]], labels.shape[1])
        found[rows, columns] = _octants(
            (goal_rows - rows).astype(np.float32), (goal_columns - columns).astype(np.float32)
        )
    found[labels == ignore_index] = ignore_index
    return found


def mask_bands(mask: npt.NDArray[Any]) -> UInt8:
    """What a network sees of a mask beside the image: where its borders are, and which side of them a pixel is on.

    The first two bands are the direction away from other labels within `MASK_REACH_PX`, −Σ o over their offsets, in
    rows down and columns to the right, as a share of Σ|o|: 128 is 0, 1 and 255 are −1 and 1. The third is how much of
    the neighbourhood other labels have, Σ|o| of that of the whole disk. So what the labels mean is not seen, nor how
    many there are.

    Args:
        mask: (H, W) of any integers.

    Returns:
        (H, W, `MASK_BANDS`) uint8.

    Example:
        >>> mask_bands(np.array([[9, 9, 9, 4, 4, 4]]))[0].tolist()
        [[128, 128, 0], [128, 1, 29], [128, 1, 43], [128, 255, 43], [128, 255, 29], [128, 128, 0]]
    """
    away, length = _away_from_others(mask, MASK_REACH_PX, None)
    whole = 2 * sum(math.hypot(down, right) for down, right in _half_disk(MASK_REACH_PX))
    bands = np.empty((*mask.shape, MASK_BANDS), dtype=np.uint8)
    scale = np.float32(127) / np.maximum(length, np.float32(1))
    for axis in range(2):
        bands[..., axis] = np.rint(away[axis] * scale + np.float32(128))
    bands[..., 2] = np.rint(length * np.float32(255 / whole))
    return bands


def _check_reach(reach_px: int) -> None:
    if reach_px < 1:
        raise ValueError(f"reach_px is {reach_px}, at least 1 expected")


def _away_from_others(
    labels: npt.NDArray[Any], reach_px: int, valid: npt.NDArray[np.bool_] | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """−Σ o over the offsets of other labels within reach, (2, H, W): rows down, columns to the right; and Σ|o|."""
    _check_reach(reach_px)
    height, width = labels.shape
    away = np.zeros((2, height, width), dtype=np.float32)
    length = np.zeros((height, width), dtype=np.float32)
    for down, right in _half_disk(reach_px):
        if down >= height or abs(right) >= width:
            continue
        here = slice(0, height - down), slice(max(0, -right), width - max(0, right))
        there = slice(down, height), slice(max(0, right), width - max(0, -right))
        differ = labels[here] != labels[there]
        if valid is not None:
            differ &= valid[here] & valid[there]
        other = differ.view(np.uint8)
        for axis, step in enumerate((down, right)):
            if step:
                pushed = other * np.float32(step)
                away[axis][here] -= pushed
                away[axis][there] += pushed
        far = other * np.float32(math.hypot(down, right))
        length[here] += far
        length[there] += far
    return away, length


def _octants(down: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> UInt8:
    """Of the eight steps that which a vector is nearest to, 1 to 8."""
    octants = np.rint(np.arctan2(down, right) * np.float32(4 / np.pi)).astype(np.int8) % 8 + 1
    return octants.astype(np.uint8)


def walk(directions: UInt8, steps: int, mask: npt.NDArray[Any] | None = None) -> npt.NDArray[np.intp]:
    """Follow directions from every pixel, step by step, until one says to stay or there are no steps left.

    Args:
        directions: (H, W), 0 to 8; see `STEPS`.
        steps: most steps.
        mask: (H, W); with it a walk also ends at the first pixel whose value is not that of its start. Beyond it lies
            what `corrections` say of the other region.

    Returns:
        (H, W): where each pixel arrives, as an index into the flattened map; the frame is not crossed.

    Example:
        >>> walk(np.array([[0, 5, 5, 1]], dtype=np.uint8), steps=2).tolist()
        [[0, 0, 0, 3]]
        >>> walk(np.array([[1, 1, 5, 0]], dtype=np.uint8), steps=3, mask=np.array([[4, 4, 9, 9]])).tolist()
        [[2, 2, 1, 3]]
    """
    height, width = directions.shape
    going = np.flatnonzero(directions)  # few pixels; all others have arrived
    rows, columns = np.divmod(going, width)
    moves = np.array(STEPS, dtype=np.intp)[directions.ravel()[going]]
    arrived = np.arange(height * width)
    flat = arrived.copy()
    flat[going] = (rows + moves[:, 0]).clip(0, height - 1) * width + (columns + moves[:, 1]).clip(0, width - 1)
    values = None if mask is None else mask.ravel()
    for _ in range(steps):
        arrived[going] = flat[arrived[going]]
        if values is not None:
            going = going[values[arrived[going]] == values[going]]
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
