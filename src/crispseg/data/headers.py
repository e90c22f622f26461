"""Sizes of images from their headers, fast enough to ask every file of a data set before training."""

from __future__ import annotations

import os
import struct
from io import FileIO
from pathlib import Path

from crispseg.errors import DataError
from crispseg.io import image_size_hw

__all__ = ["header_size_hw"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def header_size_hw(path: str | os.PathLike[str]) -> tuple[int, int]:
    """What `crispseg.io.image_size_hw` says, but without decoding the pixels of PNG files, and looking at their end.

    Pillow decodes a whole PNG to learn its EXIF orientation, which may stand behind the pixels. The names and lengths
    of a PNG's chunks say as well whether there is one, and whether the file is truncated.

    Args:
        path: of an image or label file.

    Returns:
        Height and width in pixels, after EXIF orientation.

    Raises:
        DataError: if the file is missing, not an image, or a PNG that ends early.
    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            if file.read(8) == _PNG_SIGNATURE:
                size_hw, has_orientation = _walk_png(file, os.fspath(path))
                if not has_orientation:
                    return size_hw
    except OSError:
        pass  # said below, as everywhere
    return image_size_hw(path)


def _walk_png(file: FileIO, path: str) -> tuple[tuple[int, int], bool]:
    """Height and width, and whether there is EXIF data, from the heads of the chunks up to the last."""
    width, height, has_exif, start = 0, 0, False, 8
    end = os.fstat(file.fileno()).st_size
    while start + 12 <= end:  # a chunk's length, name and checksum
        file.seek(start)
        head = file.read(16)
        length, name = struct.unpack(">I4s", head[:8])
        if name == b"IHDR":
            width, height = struct.unpack(">II", head[8:16])
        has_exif |= name == b"eXIf"
        start += 12 + length
        if name == b"IEND":
            return (height, width), has_exif
    raise DataError(f"{path}: broken or truncated image (the PNG ends early); copy or download it again")
