"""Scores that follow from the confusion counts: IoU by class and category, and accuracies.

Counts of any number of images add up, and the scores of a data set are taken from their sum. The mean of the IoU of
single images is another number, and not the one that papers report.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.metrics.functional.arrays import Absent, absent_score, count_pairs, share, to_label_pair
from crispseg.ops.arrays import ArrayLike, to_array

__all__ = [
    "category_iou",
    "class_accuracy",
    "confusion_counts",
    "frequency_weighted_iou",
    "iou_from_counts",
    "mean_iou",
    "pixel_accuracy",
]


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
    return count_pairs(true, predicted)[:num_classes, :num_classes].copy()  # row 255, the ignored pixels, is no class's


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
    of_absent = absent_score(absent)
    table = _square(counts)
    right = np.diag(table)
    return share(right, table.sum(axis=0) + table.sum(axis=1) - right, of_absent)


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


def class_accuracy(counts: ArrayLike) -> npt.NDArray[np.float64]:
    """Share of each class's pixels that are predicted as that class: its recall, TP / (TP + FN).

    Args:
        counts: (K, K), rows = truth, summed over the whole set.

    Returns:
        (K,) float64 in [0, 1]; NaN for a class that the truth does not show. Their mean is the mean class accuracy.

    Example:
        >>> class_accuracy(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
        array([0.75, 1.  ,  nan])
    """
    table = _square(counts)
    return share(np.diag(table), table.sum(axis=1), np.nan)


def frequency_weighted_iou(counts: ArrayLike) -> float:
    """Mean of the classes' IoU, each weighed by its share of the true pixels (Long et al., FCN, CVPR 2015).

    Args:
        counts: (K, K), rows = truth, summed over the whole set.

    Returns:
        In [0, 1]; NaN if no pixel was counted. A class that the truth does not show weighs nothing.

    Example:
        >>> round(frequency_weighted_iou(np.array([[3, 1], [0, 4]])), 3)  # 0.75 and 0.8
        0.775
    """
    table = _square(counts)
    total = table.sum()
    frequency = table.sum(axis=1) / max(total, 1)
    return float(frequency @ iou_from_counts(table, "one")) if total else float("nan")


def category_iou(counts: ArrayLike, label_space: LabelSpace) -> dict[str, float]:
    """IoU of the categories of a label table: within a category, every class is right.

    Equal to the official Cityscapes evaluation where only the table's classes are predicted; over raw ids see
    `cityscapes_scores`.

    Args:
        counts: (K, K), rows = truth, summed over the whole set.
        label_space: K classes, of which some have a category. Those without belong to none.

    Returns:
        By category in the table's order; NaN for one that is neither in the truth nor predicted.

    Raises:
        DataError: if `counts` is not (K, K).
        ConfigError: if no class of the table has a category.

    Example:
        >>> pairs = (("car", "vehicle"), ("bus", "vehicle"), ("sky", "sky"))
        >>> space = LabelSpace.from_dict({"classes": [{"name": name, "category": group} for name, group in pairs]})
        >>> category_iou(np.array([[2, 1, 1], [0, 4, 0], [0, 0, 2]]), space)
        {'vehicle': 0.875, 'sky': 0.6666666666666666}
    """
    table = _square(counts)
    if len(table) != label_space.num_classes:
        raise DataError(
            f"counts are of {len(table)} classes, label table {label_space.name!r} has {label_space.num_classes}; "
            "count with the same table"
        )
    if not label_space.categories:
        raise ConfigError(f"label table {label_space.name!r} has no categories; give its classes a 'category'")
    member = np.array(
        [[entry.category == name for entry in label_space.classes] for name in label_space.categories], dtype=np.int64
    )
    right = np.einsum("ck,kl,cl->c", member, table, member)
    union = member @ (table.sum(axis=0) + table.sum(axis=1)) - right
    return dict(zip(label_space.categories, share(right, union, np.nan).tolist(), strict=True))


def _square(counts: ArrayLike) -> npt.NDArray[np.int64]:
    table = to_array(counts)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.dtype.kind not in "iu":
        raise DataError(f"counts are {table.dtype} of the shape {table.shape}; (K, K) integers expected")
    return table.astype(np.int64)
