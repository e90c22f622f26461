"""Label maps as one word of bits per pixel, a bit per class: what is done to masks is done to all of them at once.

Masks, boundaries and dilations of all classes are bitwise operations on whole images. A disk of radius r is the union
of 2r + 1 horizontal runs: the runs are grown once for the whole image, and the rows are gathered only at the few
places that are asked about.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Words", "boundary_words", "class_groups", "count_bits", "words_within"]

Words = npt.NDArray[Any]
"""Unsigned integers whose bit b stands for the b-th class of a group."""


def class_groups(
    predicted: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8], num_classes: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Classes that occur, in groups that fit into the bits of a word."""
    present = np.arange(num_classes)
    if num_classes > 16:  # up to there a look at the pixels costs more than it saves
        pixels = sum(cv2.calcHist([ids], [0], None, [256], [0, 256]).ravel() for ids in (predicted, true) if ids.size)
        present = np.flatnonzero(np.broadcast_to(pixels, 256)[:num_classes])
    for start in range(0, len(present), 64):
        yield present[start : start + 64]


def boundary_words(ids: npt.NDArray[np.uint8], group: npt.NDArray[np.int64], margin: int) -> Words:
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


def words_within(words: Words, places: npt.NDArray[np.int64], stride: int, radii_px: Sequence[float]) -> list[Words]:
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


def count_bits(words: Words, bits: int) -> npt.NDArray[np.int64]:
    """How many words have each of the lowest bits set."""
    in_bytes = words.astype(words.dtype.newbyteorder("<"), copy=False).view(np.uint8).reshape(-1, words.itemsize)
    return np.concatenate(
        [np.bincount(column, minlength=256) @ _BITS_OF_BYTE for column in in_bytes.T], dtype=np.int64
    )[:bits]


_BITS_OF_BYTE = (np.arange(256)[:, None] >> np.arange(8)) & 1  # (256, 8)
