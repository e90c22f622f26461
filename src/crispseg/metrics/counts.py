"""What is counted in images: whole numbers, so that a sum is the same in any order and over any number of processes.

Every score of a set follows from one `SetCounts`; `crispseg.metrics.table` says how. Evaluations add it up over the
records of images, comparisons over the images of each resample, the torchmetrics classes over batches and processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.metrics.functional.arrays import Absent, absent_score, share
from crispseg.metrics.functional.boundary_f import BoundaryCounts, boundary_f_from_counts, precision_recall_from_counts

__all__ = ["SetCounts", "boundary_rates", "image_sums", "mean_of_images", "overlaps"]

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

_PARTS_OF_ONE = 2**40
"""Scores of images are summed in parts of one: to twelve digits, for millions of images."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SetCounts:
    """Counts of an image, or of any number of them added up with ``+``; K classes, R radii, F crops.

    What is not counted is None. Any axes may stand before those that are named, the same for all: that of the images
    in a stack, or that of the resamples of a bootstrap, whose sums are weighted and no longer whole.

    Attributes:
        images: () how many.
        confusion: (K, K + 1) pixels, row = truth, column = prediction, the last one for none.
        overlap: (2, K) intersection and union of each class.
        boundary: (2, K) pixels on the boundary of each class, in the prediction and in the labels.
        matched: (2, R, K) of them, those that the other boundary matches within each radius.
        precision_images: (2, R, K) boundary precision of single images, as `image_sums` has it.
        recall_images: likewise recall.
        f_images: likewise boundary F.
        boundary_iou: (2, K) intersection and union near the masks' contours.
        trimap: (2, R, K) intersection and union in the band around the true boundaries.
        distance: (2, F, K) intersection and union inside each crop.
        raw_confusion: (256, 256) pixels over raw ids.
        instances: (3, K) `CityscapesCounts.units`.

    Example:
        >>> counts = SetCounts(images=np.int64(1), overlap=np.array([[3, 4], [4, 5]]))
        >>> (counts + counts).overlap.tolist(), int((counts + counts).images)
        ([[6, 8], [8, 10]], 2)
    """

    images: Array | np.int64
    confusion: Array | None = None
    overlap: Array | None = None
    boundary: Array | None = None
    matched: Array | None = None
    precision_images: Array | None = None
    recall_images: Array | None = None
    f_images: Array | None = None
    boundary_iou: Array | None = None
    trimap: Array | None = None
    distance: Array | None = None
    raw_confusion: Array | None = None
    instances: Array | None = None

    def __add__(self, other: SetCounts) -> SetCounts:
        theirs = other.arrays()
        return self._each(lambda name, array: array + theirs[name])

    def arrays(self) -> dict[str, Array]:
        """What is counted, by name."""
        every = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: array for name, array in every.items() if array is not None}

    def only(self, names: Sequence[str]) -> SetCounts:
        """Those of these names, and how many images there are."""
        return SetCounts(**{name: array for name, array in self.arrays().items() if name in ("images", *names)})

    def weighted(self, weights: Shares) -> SetCounts:
        """Sums over a stack of N images: weights (B, N) give B sums."""
        return self._each(lambda name, array: np.tensordot(weights, array, axes=1))

    @staticmethod
    def stack(images: Sequence[SetCounts]) -> SetCounts:
        """Images that count the same, along a first axis."""
        every = [image.arrays() for image in images]
        return images[0]._each(lambda name, array: np.stack([arrays[name] for arrays in every]))

    def _each(self, change: Callable[[str, Array], Array]) -> SetCounts:
        return SetCounts(**{name: change(name, array) for name, array in self.arrays().items()})


def overlaps(confusion: Counts) -> Counts:
    """Intersection and union of each class.

    Args:
        confusion: (…, K, K) or (…, K, K + 1), rows = truth, the last column for no class.

    Returns:
        (2, …, K).

    Example:
        >>> overlaps(np.array([[3, 1, 0], [0, 4, 2]])).tolist()
        [[3, 4], [4, 7]]
    """
    num_classes = confusion.shape[-2]
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.stack((right, confusion.sum(axis=-1) + confusion.sum(axis=-2)[..., :num_classes] - right))


def boundary_rates(boundary: Array, matched: Array, absent: Absent = "skip") -> tuple[Shares, Shares, Shares]:
    """Precision, recall and F of the boundaries, of one image or of any number added up.

    Args:
        boundary: (…, 2, K), see `SetCounts`.
        matched: (…, 2, R, K), see `SetCounts`.
        absent: what a rate without a boundary is: NaN for ``"skip"``, 1 for ``"one"``.

    Returns:
        (…, R, K) each.

    Example:
        >>> rates = boundary_rates(np.array([[4, 0, 3], [2, 0, 0]]), np.array([[[2, 0, 0]], [[2, 0, 0]]]))
        >>> [rate.round(2).tolist() for rate in rates]
        [[[0.5, nan, 0.0]], [[1.0, nan, nan]], [[0.67, nan, 0.0]]]
    """
    counts = BoundaryCounts(
        boundary[..., 0, None, :], matched[..., 0, :, :], boundary[..., 1, None, :], matched[..., 1, :, :]
    )
    precision, recall = precision_recall_from_counts(counts, absent)
    return precision, recall, boundary_f_from_counts(counts, absent)


def image_sums(scores: Shares) -> Counts:
    """Scores of an image in whole numbers, which add up.

    Args:
        scores: of any shape, NaN where there is none.

    Returns:
        (2, …): the score in parts of one, and 1 where there is one.
    """
    known = ~np.isnan(scores)
    return np.stack((np.rint(np.where(known, scores, 0) * _PARTS_OF_ONE).astype(np.int64), known.astype(np.int64)))


def mean_of_images(sums: Array, images: Array | np.int64, absent: Absent = "skip") -> Shares:
    """The mean of images' scores.

    Args:
        sums: (…, 2, R, K), `image_sums` added up.
        images: (…) how many images there were.
        absent: an image without the score is left out for ``"skip"`` and counts as 1 for ``"one"``.

    Returns:
        (…, R, K), NaN where no image has a score.

    Example:
        >>> sums = image_sums(np.array([[0.5, np.nan]])) + image_sums(np.array([[np.nan, np.nan]]))
        >>> mean_of_images(sums, 2).tolist(), mean_of_images(sums, 2, "one").tolist()
        ([[0.5, nan]], [[0.75, 1.0]])
    """
    total, known = sums[..., 0, :, :] / _PARTS_OF_ONE, sums[..., 1, :, :]
    if absent_score(absent) == 1:
        every = np.broadcast_to(np.asarray(images)[..., None, None], known.shape)
        return share(total + every - known, every, np.nan)
    return share(total, known, np.nan)
