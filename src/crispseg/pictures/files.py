"""Pictures as bytes, for files and for pages that need no other file."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from crispseg.pictures.colour import Picture

__all__ = ["to_data_uri", "to_jpeg_bytes", "to_png_bytes"]


def to_png_bytes(picture: Picture) -> bytes:
    """Encode a picture as PNG.

    Args:
        picture: (H, W, 3) uint8 RGB, or (H, W) uint8 grey.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> to_png_bytes(np.zeros((2, 2, 3), dtype=np.uint8))[1:4]
        b'PNG'
    """
    colours = picture.ndim == 3 and picture.shape[2] == 3
    if picture.dtype != np.uint8 or not (colours or picture.ndim == 2) or picture.size == 0:
        raise ValueError(f"picture is {picture.dtype} {picture.shape}; uint8 (H, W, 3) or (H, W) expected")
    _, encoded = cv2.imencode(".png", picture[..., ::-1] if colours else picture)  # OpenCV's order is BGR
    return bytes(encoded)


def to_jpeg_bytes(picture: Picture, quality: int = 95) -> bytes:
    """Encode a picture as JPEG: a fifth of a PNG's size, with losses that are hard to see.

    Args:
        picture: (H, W, 3) uint8 RGB.
        quality: 0 to 100.

    Example:
        >>> to_jpeg_bytes(np.zeros((2, 2, 3), dtype=np.uint8))[:2].hex()
        'ffd8'
    """
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(encoded)


def to_data_uri(picture: Picture | bytes) -> str:
    """Write a picture as the address of itself, for the ``src`` of an HTML image.

    Args:
        picture: uint8 RGB or grey, or the bytes of a PNG or a JPEG.

    Example:
        >>> to_data_uri(np.zeros((2, 2, 3), dtype=np.uint8)).partition(",")[0]
        'data:image/png;base64'
    """
    data = picture if isinstance(picture, bytes) else to_png_bytes(picture)
    kind = "jpeg" if data.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
