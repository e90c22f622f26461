"""Masks damaged on purpose, from true labels: what a refiner that looks at a coarse mask learns from.

Each damage is a pure function of a label map, (H, W) uint8, and of what was drawn for it. `damaged` draws.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.labels import IGNORE_INDEX
from crispseg.ops.nearest import nearest_known

__all__ = [
    "DAMAGES",
    "blurred",
    "damaged",
    "dilated",
    "downsampled",
    "eroded",
    "filled",
    "shifted",
    "simplified",
    "warped",
]

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def filled(labels: UInt8, ignore_index: int = IGNORE_INDEX) -> UInt8:
    """Void pixels with the label of the nearest pixel that has one, as masks of a tool have no void.

    Args:
        labels: (H, W) uint8; all void becomes 0.
        ignore_index: the id of void pixels.

    Example:
        >>> filled(np.array([[3, 255, 255, 255, 5]], dtype=np.uint8)).tolist()
        [[3, 3, 3, 5, 5]]
    """
    void = labels == ignore_index
    if not void.any():
        return labels
    if void.all():
        return np.zeros_like(labels)
    return _from_nearest(labels, ~void)


def shifted(labels: UInt8, down: int, right: int) -> UInt8:
    """The whole mask moved by pixels; the frame's labels are continued.

    Example:
        >>> shifted(np.array([[1, 2, 3, 4]], dtype=np.uint8), 0, 1).tolist()
        [[1, 1, 2, 3]]
    """
    rows, columns = (np.arange(size) for size in labels.shape)
    moved: UInt8 = labels[(rows - down).clip(0, len(rows) - 1)[:, None], (columns - right).clip(0, len(columns) - 1)]
    return moved


def warped(labels: UInt8, amount_px: float, smooth_px: float, rng: np.random.Generator) -> UInt8:
    """Each outline moved elsewhere, and neighbours together: by a smooth field of offsets.

    Args:
        labels: (H, W) uint8.
        amount_px: the offsets' root mean square, along each axis.
        smooth_px: over how many pixels the field stays alike.
        rng: draws the field.
    """
    height, width = labels.shape
    cells = (max(2, round(height / smooth_px) + 1), max(2, round(width / smooth_px) + 1))
    rows, columns = np.indices(labels.shape, dtype=np.float32)
    for axis in (rows, columns):
        coarse = rng.standard_normal(cells, dtype=np.float32) * np.float32(1.5 * amount_px)  # interpolating averages
        axis += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    moved: UInt8 = cv2.remap(labels, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return moved


def blurred(labels: UInt8, sigma_px: float) -> UInt8:
    """Every pixel with the label that has most of a Gaussian window around it: corners go round, thin parts are lost.

    Example:
        >>> line = np.zeros((9, 9), dtype=np.uint8)
        >>> line[:, 4] = 7
        >>> blurred(line, 2.0).max()
        np.uint8(0)
    """
    return _most(labels, lambda share: cv2.GaussianBlur(share, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE))


def downsampled(labels: UInt8, factor: int) -> UInt8:
    """The mask at a fraction of its size, each pixel the label that has most of it, and enlarged again, bilinearly.

    Args:
        labels: (H, W) uint8.
        factor: how many times smaller, 2 or more.
    """
    height, width = labels.shape
    small_wh = (max(1, round(width / factor)), max(1, round(height / factor)))
    coarse = _most(labels, lambda share: cv2.resize(share, small_wh, interpolation=cv2.INTER_AREA))
    return _most(coarse, lambda share: cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR))


def eroded(labels: UInt8, label: int, radius_px: int) -> UInt8:
    """One label without a rim, which goes to its neighbours.

    Args:
        labels: (H, W) uint8.
        label: that loses; where nothing of it would be left, or nothing else is there, the map stays.
        radius_px: the rim's width.
    """
    region = (labels == label).astype(np.uint8)
    inner = cv2.erode(region, _disk(radius_px), borderType=cv2.BORDER_REPLICATE)
    if not inner.any() or region.all():
        return labels
    rim = (region > inner).astype(bool)
    # The rim's labels are those of the nearest pixels of others, not those of what is left inside.
    others = _from_nearest(labels, region == 0)
    return np.where(rim, others, labels)


def dilated(labels: UInt8, label: int, radius_px: int) -> UInt8:
    """One label with a rim, which its neighbours lose.

    Args:
        labels: (H, W) uint8.
        label: that gains.
        radius_px: the rim's width.
    """
    region = (labels == label).astype(np.uint8)
    return np.where(cv2.dilate(region, _disk(radius_px)) > 0, np.uint8(label), labels)


def simplified(labels: UInt8, tolerance_px: float) -> UInt8:
    """Outlines as polygons of few corners (Douglas and Peucker), as drawn by hand.

    Args:
        labels: (H, W) uint8.
        tolerance_px: the farthest that a polygon lies off its outline.
    """
    pieces = []
    for label in np.unique(labels):
        region = (labels == label).astype(np.uint8)
        outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        pieces += [
            (cv2.contourArea(outline), int(label), cv2.approxPolyDP(outline, tolerance_px, True))
            for outline in outlines
        ]
    painted = labels.copy()
    for _, label, polygon in sorted(pieces, key=lambda piece: -piece[0]):  # what lies within another comes after it
        cv2.fillPoly(painted, [polygon], label)
    return painted


def _draw_shift(labels: UInt8, rng: np.random.Generator) -> UInt8:
    return shifted(labels, int(rng.integers(-2, 3)), int(rng.integers(-2, 3)))


def _draw_warp(labels: UInt8, rng: np.random.Generator) -> UInt8:
    return warped(labels, rng.uniform(0.5, 3), rng.uniform(6, 40), rng)


def _draw_blur(labels: UInt8, rng: np.random.Generator) -> UInt8:
    return blurred(labels, rng.uniform(1, 4))


def _draw_downsampling(labels: UInt8, rng: np.random.Generator) -> UInt8:
    return downsampled(labels, int(rng.choice((2, 3, 4, 6, 8), p=(0.3, 0.2, 0.3, 0.1, 0.1))))


def _draw_erosion(labels: UInt8, rng: np.random.Generator) -> UInt8:
    return eroded(labels, int(rng.choice(np.unique(labels))), int(rng.integers(1, 6)))


def _draw_dilation(labels: UInt8, rng: np.random.Generator) -> UInt8:
    return dilated(labels, int(rng.choice(np.unique(labels))), int(rng.integers(1, 6)))


def _draw_simplification(labels: UInt8, rng: np.random.Generator) -> UInt8:
    return simplified(labels, rng.uniform(1, 3))


DAMAGES: dict[str, Callable[[UInt8, np.random.Generator], UInt8]] = {
    "shift": _draw_shift,
    "warp": _draw_warp,
    "blur": _draw_blur,
    "downsampling": _draw_downsampling,
    "erosion": _draw_erosion,
    "dilation": _draw_dilation,
    "simplification": _draw_simplification,
}
"""Each damage by name, with what it draws: up to some pixels of everything, as masks of other tools are off."""

_COUNTS = (0.1, 0.25, 0.3, 0.2, 0.15)
"""How probable 0, 1, 2 … damages are: some masks are right, and are to be left alone."""


def damaged(labels: UInt8, rng: np.random.Generator) -> UInt8:
    """A mask as another tool could have made it: 0 to 4 damages, of kinds, strengths and order that are drawn.

    Args:
        labels: (H, W) uint8 train ids, the truth; not changed.
        rng: draws everything.

    Returns:
        (H, W) uint8, without void.
    """
    mask = filled(labels)
    names = list(DAMAGES)
    for _ in range(int(rng.choice(len(_COUNTS), p=_COUNTS))):
        mask = DAMAGES[names[int(rng.integers(len(names)))]](mask, rng)
    return mask


def _most(labels: UInt8, spread: Callable[[Floats], Floats]) -> UInt8:
    """Of every pixel the label whose spread share is the highest; the lowest id of several."""
    values = np.unique(labels)
    if len(values) == 1:
        return np.full(spread(labels.astype(np.float32)).shape, values[0], dtype=np.uint8)
    shares = np.stack([spread((labels == value).astype(np.float32)) for value in values])
    return np.asarray(values[shares.argmax(axis=0)])


def _from_nearest(labels: UInt8, known: npt.NDArray[np.bool_]) -> UInt8:
    """Every pixel with the label of the nearest known one; there must be one."""
    _, number, place = nearest_known(known)
    return np.asarray(labels.ravel()[place][number])


def _disk(radius_px: int) -> UInt8:
    element: UInt8 = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return element
