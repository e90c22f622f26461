"""Do predictions lie where their labels do? Shifts, mirror images and other scales, measured on a few images.

Resizing with another convention of pixel centres moves everything by a pixel, one-sided padding by a few, and a mask
that was mirrored or transposed is still one of the right classes. Scores only sink, which looks like a weak network.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.labels import IGNORE_INDEX
from crispseg.plausibility.oddity import Oddity, per_cent

__all__ = ["PLACEMENT", "Placement", "odd_placements", "placement"]

PLACEMENT = "masks that lie elsewhere than their labels"

Labels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.intp]
Axes = tuple[bool, bool, bool]

_REACH = 32  # px that a shift may have
_STEP = 4  # px between the first guesses
_NEAR = 8  # px within which every shift is tried, and added up over images
_POINTS = 2000  # pixels that are compared
_AGREED = 0.75  # least share of images that must say the same
_LESS_WRONG = 0.9  # a near shift counts if at most this part of the errors of all images remains,
_LESS_WRONG_IN_FEW = 0.5  # and this where they are
_FEW_IMAGES = 4
_FAR_LESS_WRONG = 0.5  # the same of anything else,
_FAR_LESS_WRONG_IN_FEW = 0.3  # for a network that knows nothing yet fits some scale or mirror image by chance
_RIGHT = 0.02  # share of wrong pixels near boundaries below which nothing is looked for
_LESS_WRONG_THAN_SHIFTED = 0.7  # the same of another scale against the best shift


@dataclass(frozen=True)
class Placement:
    """How one prediction lies to its labels.

    Attributes:
        said: in words that are the same for the same finding in other images; empty if it lies as it should.
        wrong: share of the compared pixels that are wrong as it lies.
        wrong_otherwise: the same if it lay as `said`.
        scale: of a resized one, to its labels'; None where it is none.
        near: (17, 17) shares of wrong pixels by shift, from 8 px above and to the left on; None where none was tried.
    """

    said: str
    wrong: float
    wrong_otherwise: float
    near: npt.NDArray[np.float64] | None = None
    scale: float | None = None


_AS_IT_SHOULD = Placement("", 0.0, 0.0)


def placement(prediction: Labels, labels: Labels) -> Placement:
    """Find where a prediction fits its labels best.

    Args:
        prediction: (H, W) train ids.
        labels: (H, W) train ids, 255 = ignore.

    Returns:
        The best of: mirrored, turned, transposed; at another scale; shifted by 9 to 32 px; shifted by less.

    Example:
        >>> labels = np.zeros((64, 64), dtype=np.uint8)
        >>> labels[20:40, 10:40] = 1
        >>> placement(labels[:, ::-1], labels).said
        'mirrored, left and right exchanged,'
    """
    if min(labels.shape) < 16 or prediction.shape != labels.shape:
        return _AS_IT_SHOULD
    everywhere = _thinned(np.argwhere(labels != IGNORE_INDEX))
    if not len(everywhere):
        return _AS_IT_SHOULD
    found = _mirrored(prediction, labels, everywhere)
    if found.said:
        return found
    near = _near_boundaries(labels)
    if len(near) < 50 or _wrong(prediction, labels, near, (0, 0)) < _RIGHT:
        return _AS_IT_SHOULD
    shift, before, after = _best_shift(prediction, labels, near)
    if (scaled := _scaled(prediction, labels, near, after)) is not None:
        return scaled
    if max(map(abs, shift)) <= _NEAR or after > _FAR_LESS_WRONG * before:  # left to all images together
        near_shifts = _near_shifts(prediction, labels, near)
        return Placement("", before, before, near=near_shifts)
    return Placement(_shift_in_words(shift), before, after)


def odd_placements(found: Sequence[Placement]) -> list[Oddity]:
    """What most images of a sample say of their placement; nothing where they differ, as those of weak networks do.

    Args:
        found: of each image.
    """
    said, count = Counter(one.said for one in found).most_common(1)[0] if found else ("", 0)
    if said and count >= _AGREED * len(found):
        those = [one for one in found if one.said == said]
        before, after = (float(np.mean([getattr(one, key) for one in those])) for key in ("wrong", "wrong_otherwise"))
        if len(found) < _FEW_IMAGES and after > _FAR_LESS_WRONG_IN_FEW * before:
            return []
        scales = [one.scale for one in those if one.scale is not None]
        if scales:
            said = f"{said} {100 * float(np.median(scales)):.1f} % of the labels' size,"
        return [_in_words(said, count, len(found), before, after)]
    return _near_by(found)


def _near_by(found: Sequence[Placement]) -> list[Oddity]:
    """The near shift that fits all images best, if it fits most of them better than none."""
    tried = [one.near for one in found if one.near is not None]
    if not tried or len(tried) < _AGREED * len(found):
        return []
    together = np.mean(tried, axis=0)
    row, column = np.unravel_index(together.argmin(), together.shape)
    before, after = together[_NEAR, _NEAR], together[row, column]
    count = sum(bool(one[row, column] < one[_NEAR, _NEAR]) for one in tried)
    needed = _LESS_WRONG_IN_FEW if len(found) < _FEW_IMAGES else _LESS_WRONG
    if (row, column) == (_NEAR, _NEAR) or after > needed * before or count < _AGREED * len(found):
        return []
    said = _shift_in_words((int(row) - _NEAR, int(column) - _NEAR))
    return [_in_words(said, count, len(found), float(before), float(after))]


def _in_words(said: str, count: int, images: int, before: float, after: float) -> Oddity:
    detail = (
        f"the predictions lie {said} in {count} of {images} images that were looked at: {per_cent(before, 1)} of the "
        f"pixels that were compared are wrong, put right {per_cent(after, 1)}; look for resizing, cropping, padding or "
        "turning that images and masks do not share"
    )
    return Oddity(PLACEMENT, detail)


def _thinned(points: Points, most: int = _POINTS) -> Points:
    return points if len(points) <= most else points[np.linspace(0, len(points) - 1, most).astype(np.intp)]


def _near_boundaries(labels: Labels) -> Points:
    """Pixels within a few of a boundary between classes."""
    edges = np.zeros(labels.shape, np.uint8)
    edges[:, 1:] |= (
        (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] != IGNORE_INDEX) & (labels[:, :-1] != IGNORE_INDEX)
    )
    edges[1:] |= (labels[1:] != labels[:-1]) & (labels[1:] != IGNORE_INDEX) & (labels[:-1] != IGNORE_INDEX)
    band = cv2.dilate(edges, np.ones((7, 7), np.uint8)).astype(bool)
    return _thinned(np.argwhere(band & (labels != IGNORE_INDEX)))


def _wrong(prediction: Labels, labels: Labels, points: Points, shift: tuple[int, int]) -> float:
    """Share of the pixels whose class is not where the shift says; those that it leads outside are left out."""
    rows, columns = points[:, 0] + shift[0], points[:, 1] + shift[1]
    inside = (rows >= 0) & (rows < labels.shape[0]) & (columns >= 0) & (columns < labels.shape[1])
    if 2 * inside.sum() < len(points):
        return 1.0
    true = labels[points[inside, 0], points[inside, 1]]
    return float((prediction[rows[inside], columns[inside]] != true).mean())


def _best_shift(prediction: Labels, labels: Labels, points: Points) -> tuple[tuple[int, int], float, float]:
    """Rows and columns of the shift that fits best, and how much is wrong unshifted and shifted."""
    reach = min(_REACH, min(labels.shape) // 4) // _STEP * _STEP
    coarse = range(-reach, reach + 1, _STEP)
    few = _thinned(points, _POINTS // 4)
    start = min(
        ((y, x) for y in coarse for x in coarse), key=lambda at: (_wrong(prediction, labels, few, at), _far(at))
    )
    unshifted = _wrong(prediction, labels, points, (0, 0))
    best, least = (0, 0), unshifted
    for centre in {start, (0, 0)}:
        for y in range(centre[0] - _STEP + 1, centre[0] + _STEP):
            for x in range(centre[1] - _STEP + 1, centre[1] + _STEP):
                if (wrong := _wrong(prediction, labels, points, (y, x))) < least:
                    best, least = (y, x), wrong
    return best, unshifted, least


def _near_shifts(prediction: Labels, labels: Labels, points: Points) -> npt.NDArray[np.float64]:
    shifts = range(-_NEAR, _NEAR + 1)
    return np.array([[_wrong(prediction, labels, points, (y, x)) for x in shifts] for y in shifts])


def _far(shift: tuple[int, int]) -> int:
    return shift[0] ** 2 + shift[1] ** 2


def _shift_in_words(shift: tuple[int, int]) -> str:
    down, right = shift
    parts = [
        f"{abs(size)} px {there if size > 0 else back}"
        for size, there, back in ((right, "to the right", "to the left"), (down, "below", "above"))
        if size
    ]
    return " and ".join(parts) + " of their labels"


def _scaled(prediction: Labels, labels: Labels, points: Points, shifted: float) -> Placement | None:
    """Whether the prediction fits far better resized or stretched, from a corner or the middle, than at any shift.

    Against a single straight boundary a scale and a shift are the same; then nothing is said of a scale.
    """
    few = _thinned(points, _POINTS // 4)
    before = _wrong(prediction, labels, points, (0, 0))
    best: tuple[float, str, float] = (1.0, "", 1.0)
    steps = min(max(labels.shape) // 3, _MOST_SCALES)
    coarse = np.exp(np.linspace(-_LARGEST_SCALE, _LARGEST_SCALE, 2 * steps + 1))
    for said, (rows, columns, middle) in _RESIZED.items():

        def wrong(scale: float, some: Points, change: Axes = (rows, columns, middle)) -> float:
            return _wrong_resized(prediction, labels, some, scale, change)

        start = min(coarse, key=lambda scale: wrong(scale, few))
        fine = start * (1 + np.linspace(-1, 1, 21) * _LARGEST_SCALE / steps)
        scale = min(fine, key=lambda scale: wrong(scale, points))
        if (least := wrong(scale, points)) < best[0]:
            best = least, said, float(scale)
    least, said, scale = best
    if least > _FAR_LESS_WRONG * before or least >= _LESS_WRONG_THAN_SHIFTED * shifted or abs(scale - 1) < _LEAST_SCALE:
        return None
    return Placement(said, before, least, scale=scale)


def _wrong_resized(prediction: Labels, labels: Labels, points: Points, scale: float, change: Axes) -> float:
    """Share of the pixels whose class is not where the scale says; those that it leads outside are left out."""
    *axes, middle = change
    at = np.array(labels.shape) / 2 if middle else np.zeros(2)
    moved = (points + 0.5 - at) * np.where(axes, scale, 1.0) + at
    inside = ((moved >= 0) & (moved < labels.shape)).all(axis=1)
    if 5 * inside.sum() < len(points):
        return 1.0
    there, here = moved[inside].astype(np.intp), points[inside]
    true = labels[here[:, 0], here[:, 1]]
    if np.bincount(true).max() > _OF_ONE_CLASS * len(true):  # one class alone fits wherever it was predicted
        return 1.0
    return float((prediction[there[:, 0], there[:, 1]] != true).mean())


_LARGEST_SCALE = math.log(2.2)
_LEAST_SCALE = 0.004  # from 1; less is a rounding
_OF_ONE_CLASS = 0.9
_MOST_SCALES = 150  # to either side that are tried
_RESIZED: dict[str, Axes] = {
    "resized, from the first corner on, to about": (True, True, False),
    "resized, around the middle, to about": (True, True, True),
    "stretched sideways, from the left on, to about": (False, True, False),
    "stretched sideways, around the middle, to about": (False, True, True),
    "stretched downwards, from above on, to about": (True, False, False),
    "stretched downwards, around the middle, to about": (True, False, True),
}
"""Whether rows and columns are scaled, and whether from the middle."""


_LOOKS: dict[str, Callable[[Labels], Labels]] = {
    "mirrored, left and right exchanged,": lambda array: array[:, ::-1],
    "mirrored, top and bottom exchanged,": lambda array: array[::-1],
    "turned by 180°": lambda array: array[::-1, ::-1],
    "transposed, rows and columns exchanged,": lambda array: array.T,
    "turned by 90°": lambda array: np.rot90(array),
    "turned by 270°": lambda array: np.rot90(array, 3),
    "at half the scale of their labels": lambda array: _resampled(array, 0.5),
    "at twice the scale of their labels": lambda array: _resampled(array, 2.0),
}
"""How a prediction may lie, and what undoes it."""


def _resampled(array: Labels, scale: float) -> Labels:
    """What lies at `scale` from the first corner, as it would lie at 1."""
    rows, columns = (np.minimum((np.arange(size) * scale).astype(np.intp), size - 1) for size in array.shape)
    resampled: Labels = array[rows[:, None], columns[None]]
    return resampled


def _mirrored(prediction: Labels, labels: Labels, points: Points) -> Placement:
    unchanged = _wrong(prediction, labels, points, (0, 0))
    best, least = "", unchanged
    for said, undo in _LOOKS.items():
        other = undo(prediction)
        if other.shape == labels.shape and (wrong := _wrong(other, labels, points, (0, 0))) < least:
            best, least = said, wrong
    if least > _FAR_LESS_WRONG * unchanged or unchanged - least < 0.05:
        return _AS_IT_SHOULD
    return Placement(best, unchanged, least)
