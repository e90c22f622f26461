"""Which of some pixels is the nearest to each."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["nearest_known"]


def nearest_known(
    known: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.intp]]:
    """Find the nearest known pixel of every pixel, by OpenCV's distances on 5×5 neighbourhoods.

    Args:
        known: (H, W); one must be.

    Returns:
        Distance in pixels, (H, W); a number of the nearest one, (H, W); and by that number its index into the flattened
        map, so that ``values.ravel()[place][number]`` are the values of the nearest.

    Example:
        >>> distance, number, place = nearest_known(np.array([[True, False, False, False, True]]))
        >>> place[number].tolist(), distance.round(1).tolist()
        ([[0, 0, 0, 4, 4]], [[0.0, 1.0, 2.0, 1.0, 0.0]])
    """
    distance, number = cv2.distanceTransformWithLabels(
        (~known).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    at = np.flatnonzero(known)
    place = np.zeros(int(number.max()) + 1, dtype=np.intp)
    place[number.ravel()[at]] = at
    return np.asarray(distance, np.float32), np.asarray(number, np.int32), place
