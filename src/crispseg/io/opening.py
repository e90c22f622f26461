"""Image files opened: of which formats, up to which size, and what is said of those that are no images, or broken."""

from __future__ import annotations

import math
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TypeAlias

from PIL import Image, UnidentifiedImageError

from crispseg.errors import CrispsegError, DataError
from crispseg.io.png_chunks import PNG_SIGNATURE, walk_png

__all__ = [
    "LOSSY",
    "MAX_PIXELS",
    "ImageBytes",
    "ImageSource",
    "NotAnImage",
    "Opened",
    "TooManyPixels",
    "check_pixels",
    "image_file",
    "image_format",
    "image_in",
    "name_of",
    "opened_image",
    "png_header",
]

MAX_PIXELS = 40_000_000
"""Of an image, unless the caller says more: 6000 × 6000 and some. Half a megabyte of PNG can hold 170 million, which
take gigabytes once they are decoded."""

# Pillow reads fifty formats, among them some that start other programs. These are the ones that the docs name.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
LOSSY = ("JPEG", "MPO")
"""Formats that change pixels; several JPEGs in one file are an MPO to Pillow."""

_TILE_TAGS = (0x0142, 0x0143)


@dataclass(frozen=True)
class ImageBytes:
    """An image file's content, where there is no file.

    Attributes:
        data: what the file would hold.
        name: to call it by in errors; nothing is opened by it.
    """

    data: bytes
    name: str = "the image"


class NotAnImage(DataError):
    """A file is no image of a format that is read here."""


class TooManyPixels(DataError):
    """An image is larger than the caller allows."""


ImageSource: TypeAlias = "str | os.PathLike[str] | ImageBytes"
Opened: TypeAlias = BufferedReader | BytesIO


def image_format(path: ImageSource) -> str:
    """The kind of an image file by its first bytes, ``"TIFF"``, ``"PNG"`` or ``""`` for others.

    Raises:
        DataError: if the file is missing.
    """
    with image_file(path, "image") as file:
        head = file.read(8)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    return "PNG" if head == PNG_SIGNATURE else ""


@contextmanager
def opened_image(path: ImageSource) -> Iterator[Image.Image]:
    """An image of any size, before it is decoded, for its head.

    Raises:
        DataError: if the file is missing or not an image.
    """
    with image_file(path, "image") as file, image_in(file, path, sys.maxsize) as image:
        yield image


@contextmanager
def image_file(path: ImageSource, expected: str) -> Iterator[Opened]:
    """The one place that opens images: whatever a broken file raises in the body is made a `DataError` naming it.

    Args:
        path: of the file, or its content.
        expected: what was, in a word or two for messages.
    """
    wanted = f"{'an' if expected[0] in 'aeiou' else 'a'} {expected} was expected"
    try:
        if isinstance(path, ImageBytes):
            yield BytesIO(path.data)
            return
        # A pipe would be waited for, and a device may never end.
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            raise DataError(f"{name_of(path)}: no regular file; {wanted}")
        with Path(path).open("rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{name_of(path)}: no such file; {wanted}") from None
    except (CrispsegError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise NotAnImage(
            f"{name_of(path)}: not an image that can be read ({', '.join(_FORMATS)}); {wanted}; convert or replace it"
        ) from error
    except Image.DecompressionBombError as error:  # of a TIFF's tile, beyond Pillow's own limit
        raise DataError(
            f"{name_of(path)}: too large for Pillow ({error}); save it as PNG, or make it smaller"
        ) from error
    except IsADirectoryError:
        raise DataError(f"{name_of(path)}: a folder found where {wanted}") from None
    except PermissionError as error:
        raise DataError(f"{name_of(path)}: may not be read ({error.strerror}); change its permissions") from error
    # On broken files Pillow's formats raise whatever their steps happen to raise: struct.error, KeyError, SyntaxError …
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{name_of(path)}: broken or truncated {expected} ({reason}); copy or download it again"
        ) from error


def image_in(file: Opened, path: ImageSource, max_pixels: int) -> Image.Image:
    """An image before it is decoded, of a size and format that are read here.

    Args:
        file: of `image_file`, at its start.
        path: for messages.
        max_pixels: what it may hold; of a TIFF, each of its tiles, too.

    Raises:
        TooManyPixels: if it holds more.
    """
    png_header(file, path, max_pixels)
    with _PILLOWS_LIMIT:  # the caller's limit counts, which may be higher
        its_own, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = its_own
    tags = getattr(image, "tag_v2", {})  # a tile of a TIFF is decoded whole, and may be larger than the image
    tile = (tags.get(tag, 0) for tag in _TILE_TAGS)
    check_pixels(path, max(image.width * image.height, math.prod(tile)), max_pixels)
    return image


_PILLOWS_LIMIT = threading.Lock()


def png_header(file: Opened, path: ImageSource, max_pixels: int) -> tuple[tuple[int, int], bool] | None:
    """Height and width of a whole PNG, and whether something in it may say that it is turned; None for others.

    Args:
        file: of `image_file`, at its start, where it is left.
        path: for messages.
        max_pixels: what it may hold.

    Raises:
        TooManyPixels: if it holds more.
    """
    header = walk_png(file) if file.read(8) == PNG_SIGNATURE else None
    if header is not None:
        check_pixels(path, header[0][0] * header[0][1], max_pixels)
    file.seek(0)
    return header


def check_pixels(path: ImageSource, found: int, max_pixels: int) -> None:
    """Refuse an image that is larger than the caller allows.

    Raises:
        TooManyPixels: if more are found.
    """
    if found > max_pixels:
        raise TooManyPixels(
            f"{name_of(path)}: {found / 1e6:.1f} million pixels found, at most {max_pixels / 1e6:.1f} million "
            "expected; make the image smaller, or allow more by data.max_pixels or --max-pixels if memory does"
        )


def name_of(path: ImageSource) -> str:
    """What to call an image in errors."""
    return path.name if isinstance(path, ImageBytes) else os.fspath(path)
