"""A picture as smooth structure and fine detail (Decoupled, figure 1a)."""

from __future__ import annotations

import cv2
import numpy as np

from crispseg.pictures.colour import Picture

__all__ = ["split_frequencies"]


def split_frequencies(picture: Picture, sigma_px: float) -> tuple[Picture, Picture]:
    """Split a picture into low and high spatial frequencies: a Gaussian, and what it takes away.

    Args:
        picture: (H, W, 3) uint8 RGB.
        sigma_px: standard deviation of the Gaussian in pixels, positive.

    Returns:
        The smoothed picture, and what was taken away around middle grey (128), each (H, W, 3) uint8. Where that is more
        than 127, it ends there.

    Raises:
        ValueError: if the picture or the deviation is something else.

    Example:
        >>> low, high = split_frequencies(np.full((4, 4, 3), 90, np.uint8), sigma_px=1)
        >>> low[0, 0].tolist(), high[0, 0].tolist()
        ([90, 90, 90], [128, 128, 128])
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not 0 < sigma_px < float("inf"):
        raise ValueError(
            f"picture is {picture.dtype} {picture.shape}, sigma_px {sigma_px}; uint8 (H, W, 3) and a positive "
            "deviation expected"
        )
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
    low: Picture = smooth.round().astype(np.uint8)
    high: Picture = (128 + (picture.astype(np.int16) - low)).clip(0, 255).astype(np.uint8)
    return low, high
