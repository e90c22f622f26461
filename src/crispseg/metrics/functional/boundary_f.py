"""The boundary F-score of the papers (GSCNN, section 4; Perazzi et al., DAVIS, CVPR 2016), exact, all classes at once.

Every pixel carries a word with one bit per class. Masks, boundaries and dilations of all classes are then bitwise
operations on whole images, and a disk of radius r is the union of 2r + 1 horizontal runs: the runs are grown once for
the whole image, and the rows are gathered at the boundary pixels only, which are few.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.metrics.functional.arrays import ArrayLike, to_label_pair
from crispseg.types import IGNORE_INDEX

__all__ = ["Absent", "boundary_f_score"]

Absent = Literal["skip", "one"]
"""What a class scores that occurs nowhere: NaN, which means leave out, or 1 as in the papers' code."""

Words = npt.NDArray[Any]
"""Unsigned integers whose bit b stands for the b-th class of a group."""


def boundary_f_score(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    radii_px: Sequence[float],
    ignore_index: int = IGNORE_INDEX,
    absent: Absent = "skip",
    *,
    threads: int = 1,
) -> npt.NDArray[np.float64]:
    """Score how well the boundaries of each class agree within a few pixels.

    A pixel is on the boundary of a class if the class's mask differs between it and its right, lower or lower-right
    neighbour (the last row has right neighbours only, the last column lower ones only). Ignored pixels belong to no
    class in either map, so their border counts. A boundary pixel matches if the other map has a boundary pixel of the
    class at a Euclidean distance of at most r. F is the harmonic mean of precision and recall; a class with a boundary
    in one map only scores 0.

    Args:
        prediction: (H, W) integers in [0, num_classes); anything where `labels` is ignored.
        labels: (H, W) integers in [0, num_classes), or `ignore_index`.
        num_classes: K, 1 to 255.
        radii_px: R radii in pixels, each ≥ 0, in any order. The papers' at 1024×2048 are 3, 5, 9 and 12.
        ignore_index: the label of pixels that are left out.
        absent: a class without boundary in either map is NaN for ``"skip"`` and 1 for ``"one"``, as the papers' code
            has it. A class that fills the whole image has no boundary either.
        threads: 2 to work on both maps at once, which pays from about a million pixels.

    Returns:
        (R, K) float64 in [0, 1], or NaN as said above.

    Raises:
        DataError: if the maps are not two-dimensional, differ in shape, or hold other values.
        ConfigError: if a radius is negative or not finite, or `absent` is unknown.

    Example:
        >>> labels = np.array([[0, 0, 0, 1, 1, 1, 1]])
        >>> prediction = np.array([[0, 0, 0, 0, 0, 1, 1]])  # two pixels off
        >>> boundary_f_score(prediction, labels, num_classes=3, radii_px=(1, 2))
        array([[ 0.,  0., nan],
               [ 1.,  1., nan]])
    """
    if absent not in ("skip", "one"):
        raise ConfigError(f"absent is {absent!r}; 'skip' or 'one' expected")
    if not len(radii_px) or not all(math.isfinite(radius) and radius >= 0 for radius in radii_px):
        raise ConfigError(f"radii_px is {tuple(radii_px)}; at least one expected, each finite and not negative")
    predicted, true = to_label_pair(prediction, labels, num_classes, ignore_index)
    if predicted.ndim != 2:
        raise DataError(f"label maps have the shape {predicted.shape}; (H, W), one image, expected")

    scores = np.full((len(radii_px), num_classes), np.nan if absent == "skip" else 1.0)
    for group in _class_groups(predicted, true, num_classes):
        scores[:, group] = _scores_of_group(predicted, true, group, radii_px, scores[:, group], threads)
    return scores


def _class_groups(
    predicted: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8], num_classes: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Classes that occur, in groups that fit into the bits of a word."""
    present = np.arange(num_classes)
    if num_classes > 16:  # up to there a look at the pixels costs more than it saves
        pixels = sum(cv2.calcHist([ids], [0], None, [256], [0, 256]).ravel() for ids in (predicted, true) if ids.size)
        present = np.flatnonzero(np.broadcast_to(pixels, 256)[:num_classes])
    for start in range(0, len(present), 64):
        yield present[start : start + 64]


def _scores_of_group(
    predicted: npt.NDArray[np.uint8],
    true: npt.NDArray[np.uint8],
    group: npt.NDArray[np.int64],
    radii_px: Sequence[float],
    without_boundary: npt.NDArray[np.float64],
    threads: int,
) -> npt.NDArray[np.float64]:
    """F (R, G) of the classes in `group`; `without_boundary` is what those score that have none."""
    margin = math.floor(max(radii_px))
    stride = predicted.shape[1] + margin

    def mark(ids: npt.NDArray[np.uint8]) -> tuple[Words, npt.NDArray[np.int64]]:
        """Boundaries of one map, and where they are in the padded image."""
        words = _boundary_words(ids, group, margin)
        return words, np.flatnonzero(words != 0)  # several times faster than on the words themselves

    def match(own: Words, places: npt.NDArray[np.int64], other: Words) -> list[npt.NDArray[np.int64]]:
        """Count the boundary pixels (G,) of one map, then for each radius those that match the other map."""
        at_places = own[places]
        near = _words_within(other, places, stride, radii_px)
        return [_count_bits(at_places & reached, len(group)) for reached in (at_places, *near)]

    with ThreadPoolExecutor(max_workers=2) if threads > 1 else nullcontext() as pool:
        side_by_side: Callable[..., Iterable[Any]] = map if pool is None else pool.map
        (of_a, at_a), (of_b, at_b) = side_by_side(mark, (predicted, true))
        (num_predicted, *right), (num_true, *found) = side_by_side(match, (of_a, of_b), (at_a, at_b), (of_b, of_a))

    precision = np.stack(right) / np.maximum(num_predicted, 1)
    recall = np.stack(found) / np.maximum(num_true, 1)
    # One empty side leaves its ratio at 0, and with it F, as it should be.
    f_score = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    return np.where((num_predicted == 0) & (num_true == 0), without_boundary, f_score)


def _boundary_words(ids: npt.NDArray[np.uint8], group: npt.NDArray[np.int64], margin: int) -> Words:
    """Boundary maps of a group's classes as bits, with zeros around the image, flat.

    The padded image has `margin` rows above and below. Beside each row stand `margin` columns that serve the row's end
    and the next row's start alike, so that a step of up to `margin` pixels along the flat array never reaches pixels
    of another row.
    """
    height, width = ids.shape
    padded: Words = np.zeros((height + 2 * margin + 1, width + margin), dtype=_word_type(len(group)))
    if ids.size:
        table = np.zeros(256, dtype=padded.dtype)
        table[group] = np.left_shift(np.ones((), padded.dtype), np.arange(len(group), dtype=padded.dtype))
        masks = _look_up(table, ids)  # 0, no class, at ignored pixels
        inner = padded[margin : margin + height, margin:]
        np.bitwise_xor(masks[:, :-1], masks[:, 1:], out=inner[:, :-1])
        below = masks[:-1] ^ masks[1:]
        diagonal = masks[:-1, :-1] ^ masks[1:, 1:]
        inner[:-1] |= below
        inner[:-1, :-1] |= diagonal
    return padded.ravel()


def _look_up(table: Words, ids: npt.NDArray[np.uint8]) -> Words:
    """``table[ids]``, by OpenCV where it knows the type, which is several times faster."""
    if table.itemsize > 4:
        return table[ids]
    signed = table.view(np.int32) if table.itemsize == 4 else table
    found: Words = cv2.LUT(ids, signed).view(table.dtype)
    return found


def _word_type(bits: int) -> npt.DTypeLike:
    """The narrowest unsigned type with that many bits."""
    return next(np.dtype(f"uint{size}") for size in (8, 16, 32, 64) if bits <= size)


def _words_within(words: Words, places: npt.NDArray[np.int64], stride: int, radii_px: Sequence[float]) -> list[Words]:
    """Which bits occur within each radius of the places: one array like `places` per radius."""
    within = [np.zeros(len(places), dtype=words.dtype) for _ in radii_px]
    # A disk's row at distance dy is a run of half-width √(r² − dy²). Runs are needed from narrow to wide.
    rows: dict[int, list[tuple[int, int]]] = defaultdict(list)  # half-width → (radius index, dy)
    for index, radius in enumerate(radii_px):
        squared = math.floor(radius * radius)  # distances between pixels have whole squares
        for dy in range(-math.isqrt(squared), math.isqrt(squared) + 1):
            rows[math.isqrt(squared - dy * dy)].append((index, dy))
    run, reached = words, 0
    for half_width in sorted(rows):
        run = _widen(run, reached, half_width)
        reached = half_width
        for dy in sorted({dy for _, dy in rows[half_width]}):
            # "clip" is the mode without a check of every index; the margins keep all of them inside.
            row = run.take(places + dy * stride, mode="clip")
            for index, of_dy in rows[half_width]:
                if of_dy == dy:
                    within[index] |= row
    return within


def _widen(run: Words, reached: int, half_width: int) -> Words:
    """Grow a horizontal dilation from one half-width to a wider one: the union of the run moved left and right."""
    while reached < half_width:
        # Two runs moved apart leave no gap between them as long as the step is at most their half-width (1 at first,
        # where the middle has to stay).
        step = min(half_width - reached, max(reached, 1))
        wider = np.empty_like(run)
        wider[:step] = wider[-step:] = 0  # the outermost margin, too far from the image to be reached
        np.bitwise_or(run[: -2 * step], run[2 * step :], out=wider[step:-step])
        if reached == 0:
            wider |= run
        run, reached = wider, reached + step
    return run


def _count_bits(words: Words, bits: int) -> npt.NDArray[np.int64]:
    """How many words have each of the lowest bits set."""
    in_bytes = words.astype(words.dtype.newbyteorder("<"), copy=False).view(np.uint8).reshape(-1, words.itemsize)
    return np.concatenate(
        [np.bincount(column, minlength=256) @ _BITS_OF_BYTE for column in in_bytes.T], dtype=np.int64
    )[:bits]


_BITS_OF_BYTE = (np.arange(256)[:, None] >> np.arange(8)) & 1  # (256, 8)
