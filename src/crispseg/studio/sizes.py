"""Images made smaller: what is too large for the models here, and thumbnails."""

from __future__ import annotations

import math

import cv2
import numpy as np

from crispseg.errors import DataError
from crispseg.pictures.colour import Picture
from crispseg.studio.room import Kept
from crispseg.studio.seen import Ids

__all__ = ["fitted", "shrunk", "thumbnail"]

_THUMBNAIL_PX = 160


def shrunk(image: Picture, pixels: int) -> Picture:
    """An image of no more than so many pixels, by the means of areas; as it is if it has no more.

    Example:
        >>> shrunk(np.zeros((40, 60, 3), dtype=np.uint8), 600).shape
        (20, 30, 3)
    """
    height, width = image.shape[:2]
    scale = math.sqrt(pixels / (height * width))
    if scale >= 1:
        return image
    size = (max(int(width * scale), 1), max(int(height * scale), 1))
    small: Picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small


def thumbnail(image: Picture) -> Picture:
    """A small one, of the same sides' ratio."""
    longest = max(image.shape[:2])
    return shrunk(image, max(round(image.shape[0] * image.shape[1] * min(_THUMBNAIL_PX / longest, 1) ** 2), 1))


def fitted(truth: Ids, kept: Kept) -> Ids:
    """Labels of an image in the size that the models saw: the nearest pixel of each.

    Raises:
        DataError: if they are neither of that size nor of the one that the image came with.
    """
    seen_hw = kept.image.shape[:2]
    if truth.shape == seen_hw:
        return truth
    if truth.shape != kept.original_hw:
        raise DataError(
            f"the label file is {truth.shape[0]}×{truth.shape[1]}, the image {kept.original_hw[0]}×"
            f"{kept.original_hw[1]} (height×width); a label file of the image's size expected"
        )
    small: Ids = cv2.resize(truth, seen_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)
    return small
