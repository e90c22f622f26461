"""Outlines of other tools as label maps: which pixels a shape covers, and what holds where shapes overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from crispseg.errors import DataError
from crispseg.extras import needed

__all__ = ["OVERLAPS", "Overlaps", "Shape", "coco_mask", "fill_polygon", "paint"]

Mask = npt.NDArray[np.bool_]

Overlaps = Literal["smaller", "later", "ignore"]
"""Whose a pixel is that several shapes cover: the smallest one's, the last one's in the file, or nobody's."""

OVERLAPS: tuple[Overlaps, ...] = get_args(Overlaps)


@dataclass(frozen=True, eq=False)
class Shape:
    """What belongs to a class, in one of three forms.

    Attributes:
        raw_id: of the class, in the label table.
        polygons: (N, 2) outlines each, in pixels, x to the right, y down, from the upper left corner of the image; a
            pixel is covered if its centre lies within one of them, by the even-odd rule.
        code: COCO's ``segmentation``: polygons, or a run-length code as a mapping; see `coco_mask`.
        mask: (h, w) the covered pixels themselves, with their top and left in the image.
    """

    raw_id: int
    polygons: tuple[npt.NDArray[np.float64], ...] = ()
    code: Any = None
    mask: tuple[Mask, int, int] | None = None

    def covered(self, size_hw: tuple[int, int]) -> Mask:
        """(H, W) the pixels that it covers."""
        if self.code is not None:
            return coco_mask(self.code, size_hw)
        covered = np.zeros(size_hw, dtype=np.bool_)
        for polygon in self.polygons:
            covered |= fill_polygon(polygon, size_hw)
        if self.mask is not None:
            part, top, left = self.mask
            part = part[max(-top, 0) :, max(-left, 0) :]
            place = covered[max(top, 0) :, max(left, 0) :][: part.shape[0], : part.shape[1]]
            place |= part[: place.shape[0], : place.shape[1]]
        return covered


def paint(
    shapes: Sequence[Shape], size_hw: tuple[int, int], uncovered: int, ignored: int, overlaps: Overlaps
) -> npt.NDArray[np.uint16]:
    """A label map of shapes.

    Args:
        shapes: in the order of their file.
        size_hw: of the map.
        uncovered: the raw id of pixels that no shape covers.
        ignored: the raw id of pixels that are nobody's.
        overlaps: whose a pixel is that several cover. ``"smaller"``: that of the fewest pixels, of two equal the later.

    Returns:
        (H, W) uint16 raw ids.

    Example:
        >>> large = Shape(1, (np.array([[0, 0], [4, 0], [4, 1], [0, 1]]),))
        >>> small = Shape(2, (np.array([[1, 0], [2, 0], [2, 1], [1, 1]]),))
        >>> paint([small, large], (1, 5), 0, 255, "smaller").tolist()
        [[1, 2, 1, 1, 0]]
        >>> paint([small, large], (1, 5), 0, 255, "ignore").tolist()
        [[1, 255, 1, 1, 0]]
    """
    painted = np.full(size_hw, uncovered, dtype=np.uint16)
    covered = [(shape.raw_id, shape.covered(size_hw)) for shape in shapes]
    if overlaps == "smaller":
        covered.sort(key=lambda found: -int(found[1].sum()))
    taken = np.zeros(size_hw, dtype=np.bool_)
    for raw_id, mask in covered:
        twice = taken & mask & (painted != raw_id) if overlaps == "ignore" else None
        painted[mask] = raw_id
        if twice is not None:
            painted[twice] = ignored
        taken |= mask
    return painted


def fill_polygon(points: npt.NDArray[np.floating[Any]], size_hw: tuple[int, int]) -> Mask:
    """The pixels whose centres lie within a polygon, by the even-odd rule.

    Polygons that share a border neither leave a pixel between them nor take one twice: a centre on a border belongs to
    the polygon to its right, or below.

    Args:
        points: (N, 2) x and y in pixels; the last one is joined to the first.
        size_hw: of the image.

    Returns:
        (H, W) bool.
    """
    height, width = size_hw
    _check_near(points, size_hw)
    begin, end = points.astype(np.float64), np.roll(points, -1, axis=0).astype(np.float64)
    swapped = (begin[:, 1] > end[:, 1])[:, None]  # both neighbours of a border shall compute the same
    top, bottom = np.where(swapped, end, begin), np.where(swapped, begin, end)
    first = np.clip(np.ceil(top[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(bottom[:, 1] - 0.5), 0, height).astype(np.int64)
    counts = last - first
    side = np.repeat(np.arange(len(points)), counts)
    rows = np.arange(len(side)) - np.repeat(np.cumsum(counts) - counts, counts) + first[side]
    run = (bottom[side, 0] - top[side, 0]) / (bottom[side, 1] - top[side, 1])
    crossings = top[side, 0] + (rows + 0.5 - top[side, 1]) * run
    columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
    crossed = np.bincount(rows * (width + 1) + columns, minlength=height * (width + 1))
    inside: Mask = (crossed.reshape(height, width + 1).cumsum(axis=1) & 1).astype(np.bool_)
    return inside[:, :width]


def coco_mask(code: Any, size_hw: tuple[int, int]) -> Mask:
    """The pixels of COCO's ``segmentation``: polygons by pycocotools, run lengths here.

    pycocotools takes runs as they come, and those of a broken file end in memory that is not its own.

    Args:
        code: a list of polygons, ``[x, y, x, y, …]`` each; or a mapping of ``size`` and ``counts``, a list or a text.
        size_hw: of the image.

    Raises:
        DataError: if it is none of these, or of another size.
        ConfigError: if pycocotools is not installed.
    """
    height, width = size_hw
    if isinstance(code, Mapping):
        if code.get("size") != [height, width]:
            raise DataError(f"a run-length code of size {code.get('size')!r:.60} found where the image is {[*size_hw]}")
        runs = _runs(code.get("counts"))
        if min(runs, default=0) < 0 or sum(runs) != height * width:
            raise DataError(f"a run-length code of {sum(runs)} pixels found where the image has {height * width}")
        values = np.arange(len(runs)) % 2 == 1
        return np.repeat(values, runs).reshape(width, height).T  # column by column
    for one in code:
        _check_near(np.asarray(one), size_hw)
    codes = needed("pycocotools.mask", "vectors", "COCO files")
    drawn = codes.frPyObjects([np.asarray(one, dtype=np.float64).tolist() for one in code], height, width)
    return np.asarray(codes.decode(codes.merge(drawn)), dtype=np.bool_)


def _runs(counts: object) -> list[int]:
    """Run lengths, of nothing and something in turn, as COCO writes them: a list, or a text of them.

    In the text a run is its difference from the one before the last, in groups of five bits from the lowest, each a
    character from ``0`` on; 32 more says that another follows, and the highest bit of the last one is the sign.
    """
    if isinstance(counts, list) and all(type(run) is int for run in counts):
        return counts
    if not isinstance(counts, str) or not counts.isascii():
        raise DataError(f"a run-length code of {counts!r:.40} found; a list of whole numbers or a text was expected")
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        group = ord(character) - 48
        value |= (group & 31) << shift
        shift += 5
        if shift > 60:
            raise DataError("a run-length code with a run that no image holds found")
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def _check_near(points: npt.NDArray[np.floating[Any]], size_hw: tuple[int, int]) -> None:
    """Outlines may leave the image a little; far points take memory without end, and mean another image."""
    side = max(size_hw)
    if points.size and not (points.min() >= -side and points.max() <= 2 * side):
        raise DataError(
            f"an outline from {points.min():g} to {points.max():g} found where the image is {size_hw[0]}×{size_hw[1]}"
        )
