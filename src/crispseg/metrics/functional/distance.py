"""mIoU at distance (Takikawa et al., GSCNN, ICCV 2019, section 4): crops around the vanishing point.

The further a crop goes in, the more of its pixels are of distant objects. Its counts add up over the images of a set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError
from crispseg.labels import IGNORE_INDEX
from crispseg.metrics.functional.arrays import Absent, absent_score, to_image_pair
from crispseg.metrics.functional.regions import confusion_counts, iou_from_counts
from crispseg.ops.arrays import ArrayLike

__all__ = ["distance_counts", "distance_crop", "distance_iou"]


def distance_iou(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    crop_factors_px: Sequence[int],
    ignore_index: int = IGNORE_INDEX,
    absent: Absent = "skip",
    *,
    margin_px: int = 100,
) -> npt.NDArray[np.float64]:
    """IoU of each class inside each crop; the mean over the classes is GSCNN's mIoU at distance (fig. 5).

    Args:
        prediction: (H, W) integers in [0, num_classes); anything where `labels` is ignored.
        labels: (H, W) integers in [0, num_classes), or `ignore_index`.
        num_classes: K, 1 to 255.
        crop_factors_px: F crop factors; see `distance_crop`.
        ignore_index: the label of pixels that are left out.
        absent: a class that neither map shows in the crop is NaN for ``"skip"`` and 1 for ``"one"``. An image too small
            for a crop shows no class there.
        margin_px: see `distance_crop`.

    Returns:
        (F, K) float64 in [0, 1], or NaN as said above. For a set, take `iou_from_counts` of summed `distance_counts`.

    Raises:
        DataError: if the maps are not two-dimensional, differ in shape, or hold other values.
        ConfigError: if a factor or the margin is negative, or `absent` is unknown.

    Example:
        >>> labels = np.zeros((6, 8), dtype=int)
        >>> prediction = labels.copy()
        >>> prediction[0] = 1
        >>> distance_iou(prediction, labels, num_classes=2, crop_factors_px=(0, 1), margin_px=1).round(2).tolist()
        [[0.83, 0.0], [1.0, nan]]
    """
    absent_score(absent)
    counts = distance_counts(prediction, labels, num_classes, crop_factors_px, ignore_index, margin_px=margin_px)
    return np.stack([iou_from_counts(of_crop, absent) for of_crop in counts])


def distance_counts(
    prediction: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    crop_factors_px: Sequence[int],
    ignore_index: int = IGNORE_INDEX,
    *,
    margin_px: int = 100,
) -> npt.NDArray[np.int64]:
    """Confusion counts inside each crop; see `distance_iou` for the arguments and errors.

    Returns:
        (F, K, K) int64, rows = truth.

    Example:
        >>> labels = np.zeros((6, 8), dtype=int)
        >>> distance_counts(labels, labels, num_classes=2, crop_factors_px=(0, 1, 2), margin_px=1)[:, 0, 0].tolist()
        [48, 6, 0]
    """
    if not len(crop_factors_px):
        raise ConfigError("crop_factors_px is empty; at least one crop factor expected, for instance 0")
    predicted, true = to_image_pair(prediction, labels, num_classes, ignore_index)
    windows = [distance_crop(factor, true.shape, margin_px) for factor in crop_factors_px]
    return np.stack([confusion_counts(predicted[window], true[window], num_classes) for window in windows])


def distance_crop(crop_factor_px: int, size_hw: tuple[int, int], margin_px: int = 100) -> tuple[slice, slice]:
    """Place the crop of one factor around the approximate vanishing point.

    That point is the centre of what is left after cutting a margin off the left, the right and the bottom. From there
    on the factor is cut off the top and the bottom, and twice the factor off the left and the right. Factor 0 is the
    whole image: the paper calls it "no cropping".

    Args:
        crop_factor_px: c ≥ 0. The paper goes from 0 to 400 at 1024×2048.
        size_hw: height and width of the image.
        margin_px: the paper's is 100 at 1024×2048. For another size scale it, and the factors, with the height.

    Returns:
        Rows and columns; both empty where the image is too small for the crop.

    Raises:
        ConfigError: if the factor or the margin is negative.

    Example:
        >>> distance_crop(400, (1024, 2048))
        (slice(400, 524, None), slice(900, 1148, None))
        >>> distance_crop(0, (1024, 2048))
        (slice(0, 1024, None), slice(0, 2048, None))
    """
    if crop_factor_px < 0 or margin_px < 0:
        raise ConfigError(f"crop factor {crop_factor_px} with margin {margin_px}; pixels, not negative, expected")
    height, width = size_hw
    if crop_factor_px == 0:
        return slice(0, height), slice(0, width)
    top, bottom = crop_factor_px, height - margin_px - crop_factor_px
    left, right = margin_px + 2 * crop_factor_px, width - margin_px - 2 * crop_factor_px
    if top >= bottom or left >= right:
        return slice(0, 0), slice(0, 0)
    return slice(top, bottom), slice(left, right)
