"""Scores that follow from the confusion counts: IoU, mean IoU, pixel accuracy.

Counts of any number of images add up, and the scores of a data set are taken from their sum. The mean of the IoU of
single images is another number, and not the one that papers report.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.metrics.functional.arrays import ArrayLike, to_array, to_label_pair
from crispseg.metrics.functional.boundary_f import Absent
from crispseg.types import IGNORE_INDEX

__all__ = ["confusion_counts", "iou_from_counts", "mean_iou", "pixel_accuracy"]


def confusion_counts(
    prediction: ArrayLike, labels: ArrayLike, num_classes: int, ignore_index: int = IGNORE_INDEX
) -> npt.NDArray[np.int64]:
    """Count the pixels of each true class (rows) by the class that they were predicted as (columns).

    Args:
        prediction: integers in [0, num_classes), of any shape; anything where `labels` is ignored.
        labels: of the same shape, integers in [0, num_classes), or `ignore_index`.
        num_classes: K, 1 to 255.
        ignore_index: the label of pixels that are not counted.

    Returns:
        (K, K) int64.

    Raises:
        DataError: if shapes differ or a value lies outside.

    Example:
        >>> confusion_counts(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 255]), num_classes=2)
        array([[1, 1],
               [0, 1]])
    """
    predicted, true = to_label_pair(prediction, labels, num_classes, ignore_index)
    paired = true.astype(np.uint16) << 8  # truth in the high byte; ignored pixels go to row 255, no class's
    paired |= predicted
    counts = np.bincount(paired.ravel(), minlength=256 * 256).reshape(256, 256)
    return counts[:num_classes, :num_classes].astype(np.int64)


def iou_from_counts(counts: ArrayLike, absent: Absent = "skip") -> npt.NDArray[np.float64]:
    """Intersection over union of each class: TP / (TP + FP + FN).

    Args:
        counts: (K, K), rows = truth, summed over the whole set.
        absent: a class that is neither in the truth nor predicted is NaN for ``"skip"`` and 1 for ``"one"``.

    Returns:
        (K,) float64 in [0, 1], or NaN as said above.

    Raises:
        DataError: if `counts` is not a square table of counts.
        ConfigError: if `absent` is unknown.

    Example:
        >>> iou_from_counts(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]]))
        array([0.5, 0.5, nan])
    """
    if absent not in ("skip", "one"):
        raise ConfigError(f"absent is {absent!r}; 'skip' or 'one' expected")
    table = _square(counts)
    right = np.diag(table)
    union = table.sum(axis=0) + table.sum(axis=1) - right
    return np.where(union > 0, right / np.maximum(union, 1), np.nan if absent == "skip" else 1.0)


def mean_iou(counts: ArrayLike, absent: Absent = "skip") -> float:
    """Mean over the classes of the IoU over the whole set.

    Args:
        counts: (K, K), rows = truth, summed over the whole set.
        absent: ``"skip"`` leaves classes out that occur nowhere; ``"one"`` counts them as 1.

    Returns:
        In [0, 1]; NaN if there is nothing to take a mean of.

    Example:
        >>> round(mean_iou(np.array([[3, 1], [0, 4]])), 3)
        0.775
    """
    iou = iou_from_counts(counts, absent)
    return float(np.nanmean(iou)) if not np.isnan(iou).all() else float("nan")


def pixel_accuracy(counts: ArrayLike) -> float:
    """Share of the counted pixels that are right.

    Args:
        counts: (K, K), rows = truth, summed over the whole set.

    Returns:
        In [0, 1]; NaN if no pixel was counted.

    Example:
        >>> pixel_accuracy(np.array([[3, 1], [0, 4]]))
        0.875
    """
    table = _square(counts)
    total = table.sum()
    return float(np.trace(table) / total) if total else float("nan")


def _square(counts: ArrayLike) -> npt.NDArray[np.int64]:
    table = to_array(counts)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.dtype.kind not in "iu":
        raise DataError(f"counts are {table.dtype} of the shape {table.shape}; (K, K) integers expected")
    return table.astype(np.int64)
