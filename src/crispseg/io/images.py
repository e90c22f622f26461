"""Images and label files, read right or refused by name.

Pillow reads them: it refuses truncated files in every version, where OpenCV fills the missing rows of a JPEG with grey,
and it keeps the indices of palette files. Plain PNGs, which most data sets hold, are opened by Pillow and decoded by
OpenCV (`plain_png`).
"""

from __future__ import annotations

import math
import os
import stat
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from crispseg.errors import CrispsegError, DataError
from crispseg.io.files import atomic_write
from crispseg.io.plain_png import decode_plain_png

__all__ = [
    "MAX_PIXELS",
    "ImageBytes",
    "ImageSource",
    "NotAnImage",
    "TooManyPixels",
    "encode_png",
    "image_format",
    "image_size_hw",
    "is_turned",
    "name_of",
    "opened_image",
    "pillow_as_rgb",
    "read_image",
    "says_transparency",
    "stored_again",
    "stored_orientation",
    "write_png",
]

MAX_PIXELS = 40_000_000
"""Of an image, unless the caller says more: 6000 × 6000 and some. Half a megabyte of PNG can hold 170 million, which
take gigabytes once they are decoded."""

# Pillow reads fifty formats, among them some that start other programs. These are the ones that the docs name.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
_LOSSY = ("JPEG", "MPO")  # several JPEGs in one file are an MPO to Pillow
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_ORIENTATION_TAG, _WIDTH_TAG, _HEIGHT_TAG = 0x0112, 0x0100, 0x0101
_TILE_TAGS = (0x0142, 0x0143)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


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
_Opened: TypeAlias = BufferedReader | BytesIO


def read_image(path: ImageSource, max_pixels: int = MAX_PIXELS, *, upright: bool = True) -> npt.NDArray[np.uint8]:
    """Read any common image file as RGB.

    Grey becomes three equal channels, palettes are looked up, 16-bit values are scaled to 8 bits, CMYK is converted,
    transparency is laid over white, and EXIF orientation is applied, so the array is what a viewer shows. An
    animation gives its first frame, a TIFF of several pages its first page, and of many bands the first three. In a
    TIFF a fourth band is transparency if nearly all of it is clear or opaque, and left out otherwise.

    Args:
        path: of a PNG, JPEG, TIFF, BMP, WebP or GIF file, whatever its name ends in; or its content.
        max_pixels: what the file may hold; more is refused before it is decoded.
        upright: whether EXIF orientation is applied.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: if the file is missing, truncated, not an image (`NotAnImage`), too large (`TooManyPixels`), or
            holds float or 32-bit pixels, whose range nobody knows.
    """
    with _file(path, "image") as file, _image(file, path, max_pixels) as image:
        if image.format == "PNG" and (plain := _plain_pixels(file, image)) is not None:
            return plain
        orientation = _orientation(image)
        image.load()
        return _as_rgb(image if upright else stored_again(image, orientation), path, upright=upright)


def pillow_as_rgb(image: Image.Image, name: str = "the image") -> npt.NDArray[np.uint8]:
    """An image of Pillow's as RGB, as `read_image` reads its file.

    Args:
        image: of any mode.
        name: to call it by in errors.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: if its file is truncated, or it holds float or 32-bit pixels.
    """
    try:
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{name}: cannot be read ({error})") from error
    return _as_rgb(image, name)


def _as_rgb(image: Image.Image, path: ImageSource, *, upright: bool = True) -> npt.NDArray[np.uint8]:
    # Both this and `convert` copy the image even where they change nothing, which is a fifth of the whole time.
    seen = ImageOps.exif_transpose(image) if upright and _orientation(image) != 1 else image
    if seen.mode.startswith(("I", "F")):
        return np.stack([_eight_bit_grey(seen, path)] * 3, axis=2)
    if seen.mode == "RGBA" and image.format == "TIFF" and not says_transparency(np.array(seen.getchannel("A"))):
        return np.array(seen)[..., :3].copy()
    if seen.has_transparency_data:
        seen = _over_white(seen)
    return np.array(seen if seen.mode == "RGB" else seen.convert("RGB"))


def stored_again(image: Image.Image, orientation: object) -> Image.Image:
    """An image that was loaded, as it is stored: Pillow turns TIFFs, and takes their orientation away.

    Args:
        image: after `load`.
        orientation: from before it.
    """
    back = _BACK.get(orientation) if orientation != 1 and _orientation(image) == 1 else None
    return image if back is None else image.transpose(back)


_BACK: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What undoes each orientation."""


def says_transparency(alpha: npt.NDArray[np.uint8]) -> bool:
    """Whether a band of a TIFF that is tagged as transparency can be that: nearly all of it is clear or opaque.

    Many programs tag whatever stands behind red, green and blue so, such as near infrared.
    """
    return bool(((alpha == 0) | (alpha == 255)).mean() >= _CLEAR_OR_OPAQUE)


_CLEAR_OR_OPAQUE = 0.9


def image_size_hw(path: ImageSource, max_pixels: int = MAX_PIXELS, *, upright: bool = True) -> tuple[int, int]:
    """Height and width of the array that `read_image` would return, without decoding pixels.

    Pillow decodes a whole PNG to learn its EXIF orientation, which may stand behind the pixels. The names and lengths
    of a PNG's chunks say as well whether there is one, and whether the file is truncated.

    Args:
        path: of an image or label file.
        max_pixels: see `read_image`.
        upright: whether EXIF orientation is applied.

    Returns:
        Pixels, after EXIF orientation.

    Raises:
        DataError: if the file is missing, not an image, too large, or a PNG that ends early.
    """
    with _file(path, "image") as file:
        header = _png_header(file, path, max_pixels)
        if header is not None and not (header[1] and upright):
            return header[0]
        with _image(file, path, max_pixels) as image:
            # Pillow gives the size of a TIFF as it is after turning, or before, by its version.
            tags = getattr(image, "tag_v2", {})
            width, height = tags.get(_WIDTH_TAG, image.width), tags.get(_HEIGHT_TAG, image.height)
            return (width, height) if upright and _orientation(image) in _TURNED else (height, width)


def is_turned(path: ImageSource) -> bool:
    """Whether `read_image` turns or mirrors the image, as its EXIF orientation asks.

    Args:
        path: of an image; its size does not matter.

    Raises:
        DataError: if the file is missing or not an image.
    """
    with _file(path, "image") as file, _image(file, path, sys.maxsize) as image:
        return _may_be_turned(image) and _orientation(image) != 1


def write_png(
    path: str | os.PathLike[str],
    array: npt.NDArray[np.generic],
    palette: npt.NDArray[np.uint8] | None = None,
    *,
    level: int = 6,
) -> None:
    """Write a PNG that appears whole or not at all.

    Args:
        path: of the file to be; it must end in ``.png``.
        array: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16 grey or ids.
        palette: (256, 3) uint8 RGB; with it an (H, W) uint8 array is written as a palette PNG: viewers show colours,
            and `read_label_ids` gives the ids back.
        level: of compression, 0 to 9. For photographs 1 takes a quarter of the time of 6, and a sixth to a third more
            space.

    Raises:
        ValueError: if the array has another shape or type, or the name another suffix.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{os.fspath(path)}: a name that ends in .png was expected")
    try:
        data = encode_png(array, palette, level=level)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def encode_png(
    array: npt.NDArray[np.generic], palette: npt.NDArray[np.uint8] | None = None, *, level: int = 6
) -> bytes:
    """What `write_png` writes, where there is no file.

    Args:
        array: see `write_png`.
        palette: see `write_png`.
        level: see `write_png`.

    Raises:
        ValueError: if the array has another shape or type.
    """
    colours = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    grey = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    if not (colours or grey) or array.size == 0:
        raise ValueError(f"{array.dtype} {array.shape} found; uint8 (H, W, 3) or uint8 or uint16 (H, W) expected")
    image = Image.fromarray(np.ascontiguousarray(array))
    if palette is not None:
        if array.ndim != 2 or array.dtype != np.uint8 or palette.shape != (256, 3):
            raise ValueError("a palette is (256, 3) and belongs to a uint8 (H, W) array")
        image.putpalette(palette.astype(np.uint8).tobytes())
    encoded = BytesIO()
    image.save(encoded, format="PNG", compress_level=level)
    return encoded.getvalue()


def image_format(path: ImageSource) -> str:
    """The kind of an image file by its first bytes, ``"TIFF"``, ``"PNG"`` or ``""`` for others.

    Raises:
        DataError: if the file is missing.
    """
    with _file(path, "image") as file:
        head = file.read(8)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    return "PNG" if head == _PNG_SIGNATURE else ""


@contextmanager
def opened_image(path: ImageSource) -> Iterator[Image.Image]:
    """An image of any size, before it is decoded, for its head.

    Raises:
        DataError: if the file is missing or not an image.
    """
    with _file(path, "image") as file, _image(file, path, sys.maxsize) as image:
        yield image


@contextmanager
def _file(path: ImageSource, expected: str) -> Iterator[_Opened]:
    """The one place that opens images: whatever a broken file raises in the body is made a `DataError` naming it."""
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


def _image(file: _Opened, path: ImageSource, max_pixels: int) -> Image.Image:
    """An image before it is decoded, of a size and format that are read here."""
    _png_header(file, path, max_pixels)
    with _PILLOWS_LIMIT:  # the caller's limit counts, which may be higher
        its_own, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = its_own
    tags = getattr(image, "tag_v2", {})  # a tile of a TIFF is decoded whole, and may be larger than the image
    tile = (tags.get(tag, 0) for tag in _TILE_TAGS)
    _check_pixels(path, max(image.width * image.height, math.prod(tile)), max_pixels)
    return image


_PILLOWS_LIMIT = threading.Lock()


def _plain_pixels(file: _Opened, image: Image.Image) -> npt.NDArray[np.uint8] | None:
    """What OpenCV decodes of a PNG, whose reader finds the file as it was; None if that is left to Pillow."""
    if image.mode not in ("L", "RGB"):
        return None
    place, end = file.tell(), file.seek(0, os.SEEK_END)
    try:
        if end > 4 * image.width * image.height + _HEADERS:  # stuffed with what are no pixels
            return None
        file.seek(0)
        return decode_plain_png(file.read())
    finally:
        file.seek(place)


_HEADERS = 2**20  # bytes of a PNG beside its pixels, at most


def _png_header(file: _Opened, path: ImageSource, max_pixels: int) -> tuple[tuple[int, int], bool] | None:
    """Height and width of a whole PNG, and whether something in it may say that it is turned; None for others."""
    header = _walk_png(file) if file.read(8) == _PNG_SIGNATURE else None
    if header is not None:
        _check_pixels(path, header[0][0] * header[0][1], max_pixels)
    file.seek(0)
    return header


def _check_pixels(path: ImageSource, found: int, max_pixels: int) -> None:
    if found > max_pixels:
        raise TooManyPixels(
            f"{name_of(path)}: {found / 1e6:.1f} million pixels found, at most {max_pixels / 1e6:.1f} million "
            "expected; make the image smaller, or allow more by data.max_pixels or --max-pixels if memory does"
        )


def _orientation(image: Image.Image) -> object:
    """By the EXIF standard 1 to 8; 1, upright, where the file says nothing. Broken files hold other things."""
    return image.getexif().get(_ORIENTATION_TAG, 1)


def _may_be_turned(image: Image.Image) -> bool:
    """Whether to ask: Pillow decodes a PNG to answer, for the note may stand behind its pixels, or nowhere."""
    file: _Opened | None = getattr(image, "fp", None)  # which Pillow's types do not tell of
    if image.format != "PNG" or file is None:
        return True
    place = file.tell()
    _, may_be_turned = _walk_png(file)
    file.seek(place)
    return may_be_turned


def stored_orientation(image: Image.Image) -> int:
    """By the EXIF standard 1 to 8, of an image that is not decoded yet."""
    too_large = image.format == "PNG" and image.width * image.height > MAX_PIXELS  # to be read at all
    if too_large or not _may_be_turned(image):
        return 1
    found = _orientation(image)
    return int(found) if isinstance(found, int) and found in range(1, 9) else 1


def _walk_png(file: _Opened) -> tuple[tuple[int, int], bool]:
    """Height and width, and whether an orientation may be told, from the heads of the chunks up to the last.

    Raises:
        ValueError: if the PNG ends early, or its header is broken.
    """
    width, height, may_be_turned, start = 0, 0, False, 8
    end = file.seek(0, os.SEEK_END)
    while start + 12 <= end:  # a chunk's length, name and checksum
        # Chunks of one image lie close together in files that are written in small ones, hence no unbuffered reads.
        file.seek(start)
        head = file.read(16)
        length, name = struct.unpack(">I4s", head[:8])
        if start == 8:
            header = head[4:] + file.read(13)
            if name != b"IHDR" or length != 13 or zlib.crc32(header[:17]) != int.from_bytes(header[17:21]):
                raise ValueError("the PNG has no sound header")
            width, height = struct.unpack(">II", head[8:16])
        may_be_turned |= name == b"eXIf" or head[8:16] in _TEXTS_WITH_ORIENTATION
        start += 12 + length
        if name == b"IEND" and start <= end:
            return (height, width), may_be_turned
    raise ValueError("the PNG ends early")


_TEXTS_WITH_ORIENTATION = (b"XML:com.", b"Raw prof")  # …adobe.xmp, and …ile type exif, of a PNG's text chunks


def _eight_bit_grey(image: Image.Image, path: ImageSource) -> npt.NDArray[np.uint8]:
    """16-bit grey as 8 bits: v / 257 rounded, which maps 65535 to 255 and is the inverse of v × 257."""
    values = np.array(image)
    # Older releases of Pillow open 16-bit grey PNGs as 32-bit "I".
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise DataError(
            f"{name_of(path)}: pixels of mode {image.mode} from {values.min()} to {values.max()} found, 8 or 16 bits "
            "per channel expected; convert the image"
        )
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _over_white(image: Image.Image) -> Image.Image:
    """RGB; strip by strip, for each step is a copy, and four of a large image take most of a gigabyte."""
    opaque = Image.new("RGB", image.size)
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, (255, 255, 255, 255))
        opaque.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return opaque


_STRIP = 512  # rows


def name_of(path: ImageSource) -> str:
    """What to call an image in errors."""
    return path.name if isinstance(path, ImageBytes) else os.fspath(path)
