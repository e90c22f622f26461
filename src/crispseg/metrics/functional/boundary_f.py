"""Boundary F, precision and recall (Perazzi et al., DAVIS, CVPR 2016), exact, all classes at once.

The counts behind them add up: over the images of a set, or over its processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError
from crispseg.labels import IGNORE_INDEX
from crispseg.metrics.functional.arrays import Absent, absent_score, check_radii, share, to_image_pair
from crispseg.metrics.functional.words import Words, boundary_words, class_groups, count_bits, words_within
from crispseg.ops.arrays import ArrayLike

__all__ = [
    "BoundaryCounts",
    "boundary_f_from_counts",
    "boundary_f_score",
    "boundary_match_counts",
    "boundary_precision_recall",
    "precision_recall_from_counts",
    "radius_from_ratio",
]


class BoundaryCounts(NamedTuple):
    """Boundary pixels by class, and how many of them match within each radius; int64, and sums over images are sums.

    Attributes:
        predicted: (K,) boundary pixels of the prediction.
        matched_predicted: (R, K) those of them with a true one within the radius.
        true: (K,) boundary pixels of the truth.
        matched_true: (R, K) those of them with a predicted one within the radius.
    """

    predicted: npt.NDArray[np.int64]
    matched_predicted: npt.NDArray[np.int64]
    true: npt.NDArray[np.int64]
    matched_true: npt.NDArray[np.int64]


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
    counts = boundary_match_counts(prediction, labels, num_classes, radii_px, ignore_index, threads=threads)
    return boundary_f_from_counts(counts, absent)


def boundary_precision_recall(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    radii_px: Sequence[float],
    ignore_index: int = IGNORE_INDEX,
    absent: Absent = "skip",
    *,
    threads: int = 1,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Score which share of the predicted boundary is right, and which share of the true boundary is found.

    Args:
        prediction: as for `boundary_f_score`, and so the other arguments but `absent`.
        labels: see there.
        num_classes: see there.
        radii_px: see there.
        ignore_index: see there.
        absent: precision where a class has no predicted boundary, and recall where it has no true one: NaN for
            ``"skip"``, 1 for ``"one"``, as in the papers' code.
        threads: see there.

    Returns:
        Precision and recall, each (R, K) float64 in [0, 1], or NaN as said above.

    Raises:
        DataError: if the maps are not two-dimensional, differ in shape, or hold other values.
        ConfigError: if a radius is negative or not finite, or `absent` is unknown.

    Example:
        >>> labels = np.array([[0, 0, 0, 0, 1, 1, 0]])
        >>> prediction = np.array([[0, 0, 0, 0, 1, 1, 1]])  # one of two borders found
        >>> precision, recall = boundary_precision_recall(prediction, labels, num_classes=2, radii_px=(1,))
        >>> precision.tolist(), recall.tolist()
        ([[1.0, 1.0]], [[0.5, 0.5]])
    """
    counts = boundary_match_counts(prediction, labels, num_classes, radii_px, ignore_index, threads=threads)
    return precision_recall_from_counts(counts, absent)


def boundary_match_counts(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    radii_px: Sequence[float],
    ignore_index: int = IGNORE_INDEX,
    *,
    threads: int = 1,
) -> BoundaryCounts:
    """Count the boundary pixels of each class and those that match within each radius; see `boundary_f_score`.

    Args:
        prediction: as for `boundary_f_score`, and so the other arguments.
        labels: see there.
        num_classes: see there.
        radii_px: see there.
        ignore_index: see there.
        threads: see there.

    Raises:
        DataError: if the maps are not two-dimensional, differ in shape, or hold other values.
        ConfigError: if a radius is negative or not finite.

    Example:
        >>> counts = boundary_match_counts(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 0, 1]]), 2, radii_px=(1, 2))
        >>> counts.true.tolist(), counts.matched_true.tolist()
        ([1, 1], [[0, 0], [1, 1]])
    """
    check_radii(radii_px)
    predicted, true = to_image_pair(prediction, labels, num_classes, ignore_index)
    counts = BoundaryCounts(
        *(np.zeros(shape, np.int64) for shape in 2 * ((num_classes,), (len(radii_px), num_classes)))
    )
    for group in class_groups(predicted, true, num_classes):
        for of_all, of_group in zip(counts, _counts_of_group(predicted, true, group, radii_px, threads), strict=True):
            of_all[..., group] = of_group
    return counts


def boundary_f_from_counts(counts: BoundaryCounts, absent: Absent = "skip") -> npt.NDArray[np.float64]:
    """Boundary F of an image, or of a set from its summed counts.

    Args:
        counts: of one image, or sums over several.
        absent: a class without boundary in prediction and truth is NaN for ``"skip"`` and 1 for ``"one"``.

    Returns:
        (R, K) float64 in [0, 1], or NaN as said above.

    Raises:
        ConfigError: if `absent` is unknown.

    Example:
        >>> labels = np.array([[0, 0, 1]])
        >>> right, wrong = (boundary_match_counts(p, labels, 2, (0,)) for p in (labels, 1 - 0 * labels))
        >>> of_set = BoundaryCounts(*(of_one + of_other for of_one, of_other in zip(right, wrong)))
        >>> boundary_f_from_counts(of_set).round(3).tolist()
        [[0.667, 0.667]]
    """
    # One empty side counts as 0, and with it F, as it should be.
    precision, recall = np.nan_to_num(precision_recall_from_counts(counts, "skip"))
    f_score = share(2 * precision * recall, precision + recall, 0.0)
    nowhere = (counts.predicted == 0) & (counts.true == 0)
    return np.where(nowhere, absent_score(absent), f_score)


def precision_recall_from_counts(
    counts: BoundaryCounts, absent: Absent = "skip"
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Precision and recall of an image, or of a set from its summed counts; see `boundary_precision_recall`."""
    of_absent = absent_score(absent)
    return (
        share(counts.matched_predicted, counts.predicted, of_absent),
        share(counts.matched_true, counts.true, of_absent),
    )


def radius_from_ratio(ratio: float, size_hw: tuple[int, int]) -> int:
    """Radius in whole pixels from a share of the image's diagonal, rounded up as in the papers' code.

    Args:
        ratio: of the diagonal, ≥ 0. The papers' are 0.00088, 0.001875, 0.00375 and 0.005.
        size_hw: height and width of the image.

    Raises:
        ConfigError: if the ratio is negative or not finite.

    Example:
        >>> [radius_from_ratio(ratio, (1024, 2048)) for ratio in (0.00088, 0.001875, 0.00375, 0.005)]
        [3, 5, 9, 12]
        >>> [radius_from_ratio(ratio, (360, 480)) for ratio in (0.00088, 0.001875, 0.00375, 0.005)]  # they collapse
        [1, 2, 3, 3]
    """
    if not (math.isfinite(ratio) and ratio >= 0):
        raise ConfigError(f"ratio is {ratio}; a share of the image's diagonal expected, finite and not negative")
    return math.ceil(round(ratio * math.hypot(*size_hw), 9))  # a whole product stays whole


def _counts_of_group(
    predicted: npt.NDArray[np.uint8],
    true: npt.NDArray[np.uint8],
    group: npt.NDArray[np.int64],
    radii_px: Sequence[float],
    threads: int,
) -> BoundaryCounts:
    """Counts of the classes in `group`, which fit into one word."""
    farthest = math.hypot(*predicted.shape)
    inside_px = [radius for radius in radii_px if radius < farthest]
    margin = math.floor(max(inside_px, default=0))
    stride = predicted.shape[1] + margin

    def mark(ids: npt.NDArray[np.uint8]) -> tuple[Words, npt.NDArray[np.int64]]:
        """Boundaries of one map, and where they are in the padded image."""
        words = boundary_words(ids, group, margin)
        return words, np.flatnonzero(words != 0)  # several times faster than on the words themselves

    def match(own: Words, places: npt.NDArray[np.int64], other: Words) -> list[npt.NDArray[np.int64]]:
        """Count the boundary pixels (G,) of one map, then for each radius those that match the other map."""
        at_places = own[places]
        near = iter(words_within(other, places, stride, inside_px))
        anywhere = np.bitwise_or.reduce(other)  # what a radius reaches that is larger than the image
        reached = [next(near) if radius < farthest else anywhere for radius in radii_px]
        return [count_bits(at_places & words, len(group)) for words in (at_places, *reached)]

    with ThreadPoolExecutor(max_workers=2) if threads > 1 else nullcontext() as pool:
        side_by_side: Callable[..., Iterable[Any]] = map if pool is None else pool.map
        (of_a, at_a), (of_b, at_b) = side_by_side(mark, (predicted, true))
        (num_predicted, *right), (num_true, *found) = side_by_side(match, (of_a, of_b), (at_a, at_b), (of_b, of_a))
    return BoundaryCounts(num_predicted, np.stack(right), num_true, np.stack(found))
