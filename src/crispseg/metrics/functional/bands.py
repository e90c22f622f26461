"""IoU near boundaries: Boundary IoU (Cheng et al., CVPR 2021) and trimap IoU (Kohli et al., IJCV 2009).

Both look at one band for all classes at once, so their cost does not grow with the number of classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.labels import IGNORE_INDEX
from crispseg.metrics.functional.arrays import Absent, absent_score, check_radii, count_pairs, share, to_image_pair
from crispseg.metrics.functional.regions import iou_from_counts
from crispseg.ops.arrays import ArrayLike

__all__ = [
    "boundary_iou",
    "boundary_iou_counts",
    "boundary_iou_from_counts",
    "boundary_iou_radius",
    "trimap_counts",
    "trimap_counts_by_radius",
    "trimap_iou",
]


def boundary_iou(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    radii_px: Sequence[float] | None = None,
    ignore_index: int = IGNORE_INDEX,
    absent: Absent = "skip",
) -> npt.NDArray[np.float64]:
    """IoU of what lies near the contour of each mask (Cheng et al., Boundary IoU, CVPR 2021, Eq. 1).

    Of both masks of a class only the pixels count that have a pixel outside their own mask at most d rows and columns
    away. Beyond the image is outside, so the frame is a contour; ignored pixels belong to no mask, so their border is
    one too. This is what the authors' code computes (d erosions by a square of 3×3).

    Args:
        prediction: (H, W) integers in [0, num_classes); anything where `labels` is ignored.
        labels: (H, W) integers in [0, num_classes), or `ignore_index`.
        num_classes: K, 1 to 255.
        radii_px: R distances d in pixels, each ≥ 0, rounded down; None for one, 2 % of the diagonal as in the paper
            (`boundary_iou_radius`). From half the image's smaller side on, the score is the plain IoU.
        ignore_index: the label of pixels that are left out.
        absent: a class of which neither map has a pixel near a contour is NaN for ``"skip"`` and 1 for ``"one"``; so
            every class is with d = 0.

    Returns:
        (R, K) float64 in [0, 1], or NaN as said above.

    Raises:
        DataError: if the maps are not two-dimensional, differ in shape, or hold other values.
        ConfigError: if a radius is negative or not finite, or `absent` is unknown.

    Example:
        >>> labels = np.zeros((7, 7), dtype=int)
        >>> labels[1:6, 1:6] = 1
        >>> boundary_iou(np.ones_like(labels), labels, num_classes=2, radii_px=(1, 9)).round(2).tolist()
        [[0.0, 0.0], [0.0, 0.51]]
    """
    absent_score(absent)
    predicted, true = to_image_pair(prediction, labels, num_classes, ignore_index)
    chosen = (boundary_iou_radius(true.shape),) if radii_px is None else radii_px
    check_radii(chosen)
    counts = np.stack([_near_contours(predicted, true, num_classes, radius) for radius in chosen])
    return boundary_iou_from_counts(counts, absent)


def boundary_iou_counts(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    radius_px: float,
    ignore_index: int = IGNORE_INDEX,
) -> npt.NDArray[np.int64]:
    """Pixels near the contours of each class in both maps and in either; see `boundary_iou`.

    Args:
        prediction: as for `boundary_iou`, and so the other arguments.
        labels: see there.
        num_classes: see there.
        radius_px: one distance.
        ignore_index: see there.

    Returns:
        (2, K) int64: intersection and union. Boundary IoU of a set is the ratio of their sums.

    Example:
        >>> boundary_iou_counts(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 1]]), num_classes=2, radius_px=1)
        array([[1, 2],
               [2, 3]])
    """
    check_radii((radius_px,))
    return _near_contours(*to_image_pair(prediction, labels, num_classes, ignore_index), num_classes, radius_px)


def boundary_iou_from_counts(counts: npt.NDArray[np.int64], absent: Absent = "skip") -> npt.NDArray[np.float64]:
    """Boundary IoU of an image, or of a set from its summed counts.

    Args:
        counts: (…, 2, K), see `boundary_iou_counts`.
        absent: a class without pixels near a contour is NaN for ``"skip"`` and 1 for ``"one"``.

    Returns:
        (…, K) float64 in [0, 1], or NaN as said above.

    Raises:
        ConfigError: if `absent` is unknown.

    Example:
        >>> boundary_iou_from_counts(np.array([[1, 2, 0], [2, 2, 0]]))
        array([0.5, 1. , nan])
    """
    return share(counts[..., 0, :], counts[..., 1, :], absent_score(absent))


def boundary_iou_radius(size_hw: tuple[int, int], ratio: float = 0.02) -> int:
    """The distance d of Boundary IoU in pixels: a share of the diagonal, rounded, and at least 1, as the authors do.

    Args:
        size_hw: height and width of the image.
        ratio: of the diagonal. The paper's is 0.02, and 0.005 for masks that are finer than a person can draw.

    Example:
        >>> boundary_iou_radius((1024, 2048)), boundary_iou_radius((360, 480)), boundary_iou_radius((1, 1))
        (46, 12, 1)
    """
    return max(1, round(ratio * math.hypot(*size_hw)))


def trimap_iou(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    radii_px: Sequence[float],
    ignore_index: int = IGNORE_INDEX,
    absent: Absent = "skip",
) -> npt.NDArray[np.float64]:
    """IoU of the pixels in a band around the true boundaries (Kohli et al., IJCV 2009; DeepLab, section 4.1).

    The band holds the pixels at a Euclidean distance of at most r from a true boundary pixel of any class. What a
    boundary pixel is, see `boundary_f_score`: the border of ignored pixels is a boundary, the frame is none.

    Args:
        prediction: (H, W) integers in [0, num_classes); anything where `labels` is ignored.
        labels: (H, W) integers in [0, num_classes), or `ignore_index`.
        num_classes: K, 1 to 255.
        radii_px: R radii in pixels, each ≥ 0. With 0 the boundary pixels alone count; a radius beyond the diagonal
            takes in the whole image, if there is a boundary at all.
        ignore_index: the label of pixels that are left out.
        absent: a class that neither map has in the band is NaN for ``"skip"`` and 1 for ``"one"``.

    Returns:
        (R, K) float64 in [0, 1], or NaN as said above.

    Raises:
        DataError: if the maps are not two-dimensional, differ in shape, or hold other values.
        ConfigError: if a radius is negative or not finite, or `absent` is unknown.

    Example:
        >>> labels = np.array([[0, 0, 0, 0, 1, 1, 1, 1]])
        >>> prediction = np.array([[0, 0, 0, 0, 0, 1, 1, 1]])
        >>> trimap_iou(prediction, labels, num_classes=2, radii_px=(1, 9)).round(2).tolist()
        [[0.67, 0.0], [0.8, 0.75]]
    """
    absent_score(absent)
    counts = trimap_counts_by_radius(prediction, labels, num_classes, radii_px, ignore_index)
    return np.stack([iou_from_counts(of_band, absent) for of_band in counts])


def trimap_counts(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    radius_px: float,
    ignore_index: int = IGNORE_INDEX,
) -> npt.NDArray[np.int64]:
    """Confusion counts of the pixels in a band around the true boundaries; see `trimap_iou`.

    Args:
        prediction: as for `trimap_iou`, and so the other arguments.
        labels: see there.
        num_classes: see there.
        radius_px: one radius.
        ignore_index: see there.

    Returns:
        (K, K) int64, rows = truth. Trimap IoU of a set is `iou_from_counts` of their sum.

    Example:
        >>> trimap_counts(np.array([[0, 0, 1, 1, 1]]), np.array([[0, 0, 0, 1, 1]]), num_classes=2, radius_px=1)
        array([[1, 1],
               [0, 1]])
    """
    (counts,) = trimap_counts_by_radius(prediction, labels, num_classes, (radius_px,), ignore_index)
    return np.asarray(counts, np.int64)


def trimap_counts_by_radius(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    radii_px: Sequence[float],
    ignore_index: int = IGNORE_INDEX,
) -> npt.NDArray[np.int64]:
    """Confusion counts of the bands of several radii, for little more than the time of one; see `trimap_iou`.

    Returns:
        (R, K, K) int64, rows = truth.
    """
    check_radii(radii_px)
    predicted, true = to_image_pair(prediction, labels, num_classes, ignore_index)
    bands = _bands(_any_boundary(true), radii_px)
    return np.stack([count_pairs(true[band], predicted[band])[:num_classes, :num_classes] for band in bands])


def _bands(boundary: npt.NDArray[np.bool_], radii_px: Sequence[float]) -> Iterator[npt.NDArray[np.bool_]]:
    """For each radius the pixels at most so far from the boundary."""
    if not boundary.any():
        yield from (boundary for _ in radii_px)
        return
    squares = [math.floor(min(radius, math.hypot(*boundary.shape)) ** 2) for radius in radii_px]
    if sum(2 * math.isqrt(square) + 1 for square in squares) <= _MOST_ROWS:
        yield from (_dilated(boundary, square) for square in squares)
        return
    distance_px = cv2.distanceTransform((~boundary).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Distances are roots of whole numbers: halfway to the next one no rounding matters.
    yield from (distance_px <= math.sqrt(square + 0.5) for square in squares)


_MOST_ROWS = 200  # of disks; from there on one distance transform costs less


def _dilated(boundary: npt.NDArray[np.bool_], square: int) -> npt.NDArray[np.bool_]:
    """The pixels with a boundary pixel at a squared distance of at most `square`: a disk, row by row."""
    within = np.zeros_like(boundary)
    reach = math.isqrt(square)
    runs: dict[int, npt.NDArray[np.bool_]] = {}  # by half-width: neighbouring rows have the same
    for dy in range(min(reach, len(boundary) - 1) + 1):
        half_width = math.isqrt(square - dy * dy)
        if half_width not in runs:
            row = np.ones((1, 2 * min(half_width, boundary.shape[1]) + 1), np.uint8)
            runs = {half_width: cv2.dilate(boundary.view(np.uint8), row).view(np.bool_)}
        run = runs[half_width]
        within[dy:] |= run[: len(run) - dy]
        within[: len(within) - dy] |= run[dy:]
    return within


def _near_contours(
    predicted: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8], num_classes: int, radius_px: float
) -> npt.NDArray[np.int64]:
    """Intersection and union (2, K) of the masks' pixels near their own contours."""
    ours, theirs = (_keep_near_contour(ids, math.floor(radius_px)) for ids in (predicted, true))
    pairs = count_pairs(ours, theirs)
    both = np.diagonal(pairs)
    return np.stack((both, pairs.sum(axis=1) + pairs.sum(axis=0) - both))[:, :num_classes]


def _keep_near_contour(ids: npt.NDArray[np.uint8], radius_px: int) -> npt.NDArray[np.uint8]:
    """A label map with 255 at pixels whose square of 2·radius + 1 lies inside the image and holds their label only."""
    reach = min(radius_px, max(ids.shape))
    if not ids.size or not reach:
        return np.full_like(ids, IGNORE_INDEX)
    near = ids.copy()
    if 2 * reach < min(ids.shape):  # or no square lies in the image
        mixed = _any_boundary(ids)[:-1, :-1]  # squares of 2×2 by their first pixel
        for axis in (1, 0):
            mixed = _any_of_next(mixed, 2 * reach, axis)
        near[reach:-reach, reach:-reach][~mixed] = IGNORE_INDEX
    return near


def _any_of_next(marks: npt.NDArray[np.bool_], length: int, axis: int) -> npt.NDArray[np.bool_]:
    """Whether one of `length` neighbours is marked, the first of which stands at the place; for whole runs only."""
    reached = 1
    while reached < length:
        step = min(reached, length - reached)
        first, last = ((slice(None),) * axis + (part,) for part in (slice(None, -step), slice(step, None)))
        marks = marks[first] | marks[last]
        reached += step
    return marks


def _any_boundary(ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """The union of the boundaries of all classes: where a label differs from its right, lower or diagonal neighbour."""
    boundary = np.zeros(ids.shape, dtype=bool)
    boundary[:, :-1] = ids[:, :-1] != ids[:, 1:]
    boundary[:-1] |= ids[:-1] != ids[1:]
    boundary[:-1, :-1] |= ids[:-1, :-1] != ids[1:, 1:]
    return boundary
