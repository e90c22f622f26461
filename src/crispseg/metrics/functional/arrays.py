"""Label maps from wherever they come, checked once and brought to one form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.labels import IGNORE_INDEX
from crispseg.ops.arrays import ArrayLike, to_array
from crispseg.wording import some

__all__ = [
    "Absent",
    "absent_score",
    "check_radii",
    "count_pairs",
    "mean_of_known",
    "share",
    "to_image_pair",
    "to_label_pair",
]

Absent = Literal["skip", "one"]
"""What a class scores that occurs nowhere: NaN, which means leave out, or 1 as in the papers' code."""


def to_label_pair(
    prediction: ArrayLike, labels: ArrayLike, num_classes: int, ignore_index: int = IGNORE_INDEX
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Check a predicted and a true label map, and bring both to train ids of 8 bits with 255 = ignore.

    Args:
        prediction: integers in [0, num_classes), of any shape; what it says where `labels` is ignored does not matter.
        labels: of the same shape, integers in [0, num_classes) or `ignore_index`.
        num_classes: K, 1 to 255.
        ignore_index: the value in `labels` that no metric speaks of.

    Returns:
        Both as uint8, of the same shape, 255 at ignored pixels and nowhere else.

    Raises:
        DataError: if shapes differ, a map holds no integers, or a value lies outside.
        ConfigError: if `num_classes` is out of range.

    Example:
        >>> to_label_pair(np.array([[0, 1, 9]]), np.array([[1, 1, -1]]), num_classes=2, ignore_index=-1)
        (array([[  0,   1, 255]], dtype=uint8), array([[  1,   1, 255]], dtype=uint8))
    """
    if not 1 <= num_classes <= IGNORE_INDEX:
        raise ConfigError(f"num_classes is {num_classes}; 1 to {IGNORE_INDEX} expected")
    predicted, true = to_array(prediction), to_array(labels)
    if predicted.shape != true.shape:
        raise DataError(
            f"prediction has the shape {predicted.shape} and labels {true.shape}; "
            "one label per pixel in both expected (take the arg max of logits first)"
        )
    for name, values in (("prediction", predicted), ("labels", true)):
        if values.dtype.kind not in "iu":
            raise DataError(f"{name} holds {values.dtype}; integer class numbers expected")
    void = true == ignore_index
    ids = []
    for name, values in (("prediction", predicted), ("labels", true)):
        wrong = values >= num_classes
        if values.dtype.kind == "i":
            wrong |= values < 0
        wrong &= ~void
        if wrong.any():
            raise DataError(
                f"{name} holds {_listed(values[wrong])}; 0 to {num_classes - 1} expected"
                + ("" if name == "prediction" else f", or {ignore_index} to ignore")
            )
        as_bytes = values.astype(np.uint8)  # always a copy: what was handed in stays as it was
        np.copyto(as_bytes, np.uint8(IGNORE_INDEX), where=void)
        ids.append(as_bytes)
    return ids[0], ids[1]


def to_image_pair(
    prediction: ArrayLike, labels: ArrayLike, num_classes: int, ignore_index: int = IGNORE_INDEX
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Do what `to_label_pair` does, for the maps (H, W) of one image; another shape is a DataError."""
    predicted, true = to_label_pair(prediction, labels, num_classes, ignore_index)
    if predicted.ndim != 2:
        raise DataError(f"label maps have the shape {predicted.shape}; (H, W), one image, expected")
    return predicted, true


def check_radii(radii_px: Sequence[float]) -> None:
    """Refuse radii that are none, negative or not finite with a ConfigError."""
    if not len(radii_px) or not all(math.isfinite(radius) and radius >= 0 for radius in radii_px):
        raise ConfigError(f"radii_px is {tuple(radii_px)}; at least one expected, each finite and not negative")


def absent_score(absent: Absent) -> float:
    """Score of a class that occurs nowhere; an unknown rule is a ConfigError."""
    if absent not in ("skip", "one"):
        raise ConfigError(f"absent is {absent!r}; 'skip' or 'one' expected")
    return math.nan if absent == "skip" else 1.0


def count_pairs(rows: npt.NDArray[np.uint8], columns: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How many pixels have each pair of values: (256, 256)."""
    counts = np.zeros((_BYTES, _BYTES), np.int64)
    pair = [values.reshape(1, -1) for values in (rows, columns)]
    for start in range(0, rows.size, _EXACT):
        part = [values[:, start : start + _EXACT] for values in pair]
        counts += cv2.calcHist(part, [0, 1], None, [_BYTES, _BYTES], [0, _BYTES, 0, _BYTES]).astype(np.int64)
    return counts


_BYTES = 256
_EXACT = 2**24  # pixels: OpenCV, twice as fast as NumPy here, hands out float32, which holds whole numbers up to this


def share(part: npt.NDArray[Any], whole: npt.NDArray[Any], of_nothing: float) -> npt.NDArray[np.float64]:
    """``part / whole``, and `of_nothing` where the whole is 0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), of_nothing)


def mean_of_known(values: Iterable[float]) -> float:
    """The mean without NaN; NaN if nothing is left."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _listed(wrong: npt.NDArray[Any], at_most: int = 5) -> str:
    """Name wrong values with their counts."""
    values, counts = np.unique(wrong, return_counts=True)
    return some((f"{value} ({count} pixels)" for value, count in zip(values, counts, strict=True)), at_most)
