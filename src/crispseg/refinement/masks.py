"""Mask files of any encoding: refining moves what their pixels hold, whatever it means."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import DataError
from crispseg.io.label_images import LabelImage, read_label_image
from crispseg.io.opening import MAX_PIXELS
from crispseg.io.png_writing import write_png

__all__ = ["codes_of", "read_mask", "write_mask"]

_MANY_VALUES = 64
_BUSY = 0.25


def read_mask(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> LabelImage:
    """Read a mask without knowing its classes.

    Args:
        path: of a lossless image: grey of 1 to 16 bits, a palette, or colours.
        max_pixels: of the file; larger ones are refused.

    Raises:
        DataError: if the file is missing, broken or a JPEG, or holds a photograph: more than 64 values, of which a
            quarter of all neighbours differ.
    """
    mask = read_label_image(path, max_pixels)
    codes = codes_of(mask)
    count = len(np.unique(codes))
    if count > _MANY_VALUES and codes.shape[1] > 1:
        busy = float((codes[:, 1:] != codes[:, :-1]).mean())
        if busy > _BUSY:
            raise DataError(
                f"{os.fspath(path)}: {count} values, and {100 * busy:.0f} % of the pixels differ from the next one: a "
                "photograph rather than a mask; give the folder of masks first, and that of images by --images"
            )
    return mask


def codes_of(mask: LabelImage) -> npt.NDArray[Any]:
    """One number a pixel, (h, w): the value, or the colour as 0xRRGGBB."""
    if mask.values.ndim == 2:
        return mask.values
    codes = mask.values[..., 0].astype(np.uint32)
    for channel in (1, 2):
        codes <<= 8
        codes |= mask.values[..., channel]
    return codes


def write_mask(path: str | os.PathLike[str], mask: LabelImage, codes: npt.NDArray[Any]) -> None:
    """Write refined values as a PNG of the mask's kind: ids in 8 or 16 bits, its palette, or its colours.

    Args:
        path: ending in ``.png``; the file appears whole or not at all.
        mask: as it was read.
        codes: (H, W), each one of the mask's `codes_of`.
    """
    if mask.values.ndim == 3:
        channels = [(codes >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)]
        write_png(path, np.stack(channels, axis=-1))
        return
    palette = None
    if mask.palette is not None:
        palette = np.zeros((256, 3), dtype=np.uint8)
        palette[: len(mask.palette)] = mask.palette
    is_wide = palette is None and int(mask.values.max()) > 255
    write_png(path, codes.astype(np.uint16 if is_wide else np.uint8), palette)
