"""Images and label files, read right or refused by name.

Pillow reads them, not OpenCV: it refuses truncated files in every version, where OpenCV 4 fills the missing rows with
grey, and it keeps the indices of palette files. It takes an eighth longer on PNGs of 1024×2048, which
makes a training sample a tenth dearer (``benchmarks/loader.py``).
"""

from __future__ import annotations

import os
import struct
from io import FileIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from crispseg.errors import DataError
from crispseg.io.files import atomic_write

__all__ = ["image_size_hw", "read_image", "read_label_ids", "write_png"]

# Besides OSError, Pillow's format plugins raise these on broken headers and chunks.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError)
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_ORIENTATION_TAG = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read any common image file as RGB.

    Grey becomes three equal channels, palettes are looked up, 16-bit values are scaled to 8 bits, CMYK is converted,
    transparency is laid over white, and EXIF orientation is applied, so the array is what a viewer shows. An
    animation gives its first frame.

    Args:
        path: of a PNG, JPEG, TIFF, BMP, WebP or any other file that Pillow reads.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: if the file is missing, truncated, not an image, or holds float or 32-bit pixels, whose range nobody
            knows.
    """
    try:
        with Image.open(path) as image:
            image.load()
            # Both this and `convert` copy the image even where they change nothing, which is a fifth of the whole time.
            upright = ImageOps.exif_transpose(image) if _orientation(image) != 1 else image
            if upright.mode.startswith(("I", "F")):
                return np.stack([_eight_bit_grey(upright, path)] * 3, axis=2)
            if upright.has_transparency_data:
                upright = _over_white(upright)
            return np.array(upright if upright.mode == "RGB" else upright.convert("RGB"))
    except FileNotFoundError:
        raise DataError(f"{os.fspath(path)}: no such file; an image was expected") from None
    except DataError:
        raise
    except _BROKEN as error:
        raise _unreadable(path, error, "image") from error


def read_label_ids(path: str | os.PathLike[str]) -> npt.NDArray[np.uint16]:
    """Read the raw ids of a label file, before any table is applied.

    Args:
        path: of a grey PNG (1, 2, 4, 8 or 16 bits) or a palette PNG, whose indices are the ids; another lossless format
            does as well.

    Returns:
        (H, W) uint16 raw ids, as they are stored: nothing is scaled and no palette applied.

    Raises:
        DataError: if the file is missing, truncated, lossy, or holds colours rather than ids.
    """
    try:
        with Image.open(path) as image:
            image.load()
            if image.format == "JPEG":
                raise DataError(f"{os.fspath(path)}: JPEG changes label ids; save labels as PNG")
            if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
                raise DataError(
                    f"{os.fspath(path)}: colours ({image.mode}) found where raw ids were expected; save labels as grey "
                    "or palette PNG whose pixel values are the ids of the label table"
                )
            ids = np.array(image)
            expansion = _grey_expansion(path) if image.mode == "L" and image.format == "PNG" else 1
    except FileNotFoundError:
        raise DataError(f"{os.fspath(path)}: no such file; a label file was expected") from None
    except DataError:
        raise
    except _BROKEN as error:
        raise _unreadable(path, error, "label file") from error
    if ids.dtype.itemsize > 2 and ids.size and (int(ids.min()) < 0 or int(ids.max()) > 65535):
        raise DataError(f"{os.fspath(path)}: ids from {ids.min()} to {ids.max()} found, 0 to 65535 expected")
    wide = ids.astype(np.uint16)
    return wide if expansion == 1 else wide // np.uint16(expansion)


def image_size_hw(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of the array that `read_image` would return, without decoding pixels.

    Pillow decodes a whole PNG to learn its EXIF orientation, which may stand behind the pixels. The names and lengths
    of a PNG's chunks say as well whether there is one, and whether the file is truncated.

    Args:
        path: of an image or label file.

    Returns:
        Pixels, after EXIF orientation.

    Raises:
        DataError: if the file is missing, not an image, or a PNG that ends early.
    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            if file.read(8) == _PNG_SIGNATURE:
                size_hw, has_exif = _walk_png(file, os.fspath(path))
                if not has_exif:
                    return size_hw
        with Image.open(path) as image:
            width, height = image.size
            turned = _orientation(image) in _TURNED
    except FileNotFoundError:
        raise DataError(f"{os.fspath(path)}: no such file; an image was expected") from None
    except _BROKEN as error:
        raise _unreadable(path, error, "image") from error
    return (width, height) if turned else (height, width)


def write_png(
    path: str | os.PathLike[str], array: npt.NDArray[np.generic], palette: npt.NDArray[np.uint8] | None = None
) -> None:
    """Write a PNG that appears whole or not at all.

    Args:
        path: of the file to be; it must end in ``.png``.
        array: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16 grey or ids.
        palette: (256, 3) uint8 RGB; with it an (H, W) uint8 array is written as a palette PNG: viewers show colours,
            and `read_label_ids` gives the ids back.

    Raises:
        ValueError: if the array has another shape or type, or the name another suffix.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{os.fspath(path)}: a name that ends in .png was expected")
    colours = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    grey = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    if not (colours or grey) or array.size == 0:
        raise ValueError(
            f"{os.fspath(path)}: {array.dtype} {array.shape} found; uint8 (H, W, 3) or uint8 or uint16 (H, W) expected"
        )
    image = Image.fromarray(np.ascontiguousarray(array))
    if palette is not None:
        if array.ndim != 2 or array.dtype != np.uint8 or palette.shape != (256, 3):
            raise ValueError(f"{os.fspath(path)}: a palette is (256, 3) and belongs to a uint8 (H, W) array")
        image.putpalette(palette.astype(np.uint8).tobytes())
    with atomic_write(path) as temporary:
        image.save(temporary, format="PNG")


def _orientation(image: Image.Image) -> object:
    """By the EXIF standard 1 to 8; 1, upright, where the file says nothing. Broken files hold other things."""
    return image.getexif().get(_ORIENTATION_TAG, 1)


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


def _eight_bit_grey(image: Image.Image, path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """16-bit grey as 8 bits: v / 257 rounded, which maps 65535 to 255 and is the inverse of v × 257."""
    values = np.array(image)
    # Older releases of Pillow open 16-bit grey PNGs as 32-bit "I".
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise DataError(
            f"{os.fspath(path)}: pixels of mode {image.mode} from {values.min()} to {values.max()} found, 8 or 16 bits "
            "per channel expected; convert the image"
        )
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _over_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer)


def _grey_expansion(path: str | os.PathLike[str]) -> int:
    """What Pillow multiplies the values of 2- and 4-bit grey PNGs by, to fill 8 bits."""
    with Path(path).open("rb") as file:
        header = file.read(26)
    return {2: 85, 4: 17}.get(header[24], 1)


def _unreadable(path: str | os.PathLike[str], error: BaseException, expected: str) -> DataError:
    if isinstance(error, UnidentifiedImageError):
        return DataError(f"{os.fspath(path)}: not an image that can be read; an {expected} was expected")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{os.fspath(path)}: a folder found where an {expected} was expected")
    return DataError(f"{os.fspath(path)}: broken or truncated {expected} ({error}); copy or download it again")
