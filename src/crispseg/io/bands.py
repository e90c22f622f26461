"""Images as numbers: which bands of a file are read, and which values of it are black and white.

`read_image` gives what a viewer shows, 8 bits a channel. Here are the pixels of a file as they are stored: any number
of bands, 16 bits, floating-point numbers.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.errors import DataError
from crispseg.extras import needed
from crispseg.io.facts import ImageFacts, image_facts
from crispseg.io.images import image_size_hw, read_image
from crispseg.io.opening import (
    MAX_PIXELS,
    ImageBytes,
    ImageSource,
    NotAnImage,
    check_pixels,
    image_file,
    image_format,
    image_in,
    name_of,
    opened_image,
)
from crispseg.io.orientation import stored_again

__all__ = ["AS_SHOWN", "Pixels", "Reading", "as_picture", "full_value", "pixels_size_hw", "read_pixels", "stored_bands"]

Pixels: TypeAlias = npt.NDArray[Any]
"""(H, W, C) uint8 or uint16; 255 or 65535 is 1."""


@dataclass(frozen=True)
class Reading:
    """How image files become a network's input.

    Attributes:
        bands: of the file, from 1, in this order; None: red, green and blue as a viewer shows them.
        value_range: the stored values that become 0 and 1; None: 0 and the largest of the type, 0 and 1 of floats.
        upright: whether the file's orientation (EXIF) turns it.
        more_bands: that no file has, behind those; who asks for them gives the pixels whole.
    """

    bands: tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None
    upright: bool = True
    more_bands: int = 0

    @property
    def channels(self) -> int:
        """How many the input has."""
        return (3 if self.bands is None else len(self.bands)) + self.more_bands


AS_SHOWN = Reading()


def read_pixels(path: ImageSource, reading: Reading = AS_SHOWN, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read an image file as a network's input.

    Args:
        path: of a PNG, JPEG, TIFF, BMP, WebP or GIF file. TIFFs of floats, of 16 bits with several bands, and of more
            than four bands need rasterio, which the extra ``[geo]`` brings.
        reading: what is read of it, and how.
        max_pixels: see `read_image`.

    Returns:
        (H, W, C) uint8 as stored, or uint16 where the file has other samples or a range was given; 255 and 65535 are 1.

    Raises:
        DataError: as `read_image`; and if there is no such band, or floats or 32-bit samples come without a range.
        ConfigError: if rasterio is needed and not installed.
    """
    if isinstance(path, ImageBytes):
        return read_image(path, max_pixels)
    if reading.bands is None and reading.value_range is None and not _is_other(path):
        return read_image(path, max_pixels, upright=reading.upright)
    facts = image_facts(path, max_pixels)
    stored = stored_bands(Path(path), facts, max_pixels)
    if reading.upright and facts.orientation != 1:
        stored = _turned(stored, facts.orientation)
    count = stored.shape[2]
    bands = reading.bands or ((1, 2, 3) if count >= 3 else (1, 1, 1))
    if wrong := [band for band in bands if not 1 <= band <= count]:
        raise DataError(
            f"{name_of(path)}: {count} band{'s' * (count > 1)} found, and band {wrong[0]} is asked for; name others "
            "(data.bands, which a model keeps), or give files that have it"
        )
    chosen = stored if bands == tuple(range(1, count + 1)) else stored[..., [band - 1 for band in bands]]
    return _scaled(np.ascontiguousarray(chosen), reading.value_range, name_of(path))


def pixels_size_hw(path: ImageSource, reading: Reading = AS_SHOWN, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width of what `read_pixels` returns, without decoding pixels.

    Raises:
        DataError: as `image_size_hw`.
    """
    if isinstance(path, ImageBytes) or not _is_other(path):
        return image_size_hw(path, max_pixels, upright=reading.upright)
    facts = image_facts(path)  # Pillow opens few TIFFs of floats
    height, width = facts.size_hw
    check_pixels(path, height * width, max_pixels)
    return (width, height) if reading.upright and facts.orientation in (5, 6, 7, 8) else (height, width)


def full_value(image: npt.NDArray[Any]) -> int:
    """What is 1 in an image of integers: 255 or 65535."""
    return int(np.iinfo(image.dtype).max)


def as_picture(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """What can be shown of an image of any bands: (H, W, 3) uint8, the first three, or the first as grey.

    Args:
        image: (H, W, C) uint8 or uint16.
    """
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.shape[2] == 3:
        return image
    return np.ascontiguousarray(image[..., :3] if image.shape[2] > 3 else np.repeat(image[..., :1], 3, axis=2))


def _is_other(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a TIFF of samples that no viewer shows; what is broken is left to the reader."""
    if not os.path.isfile(path) or image_format(path) != "TIFF":
        return False
    try:
        facts = image_facts(path)
        if facts.floats or facts.bits > 16 or (facts.bits == 16 and facts.bands not in (1, 3)):
            return True
        with opened_image(path):
            return False
    except NotAnImage:  # such as five bands that say nothing of colours
        return True
    except DataError:
        return False


def stored_bands(path: Path, facts: ImageFacts, max_pixels: int = MAX_PIXELS) -> npt.NDArray[Any]:
    """(H, W, B) as the file holds them, not turned.

    Raises:
        DataError, ConfigError: as `read_pixels`.
    """
    if _is_other(path) or (facts.format == "TIFF" and (facts.bands > 4 or facts.bits * facts.bands > 32)):
        return _by_rasterio(path, max_pixels)
    with image_file(path, "image") as file, image_in(file, path, max_pixels) as opened:
        if facts.format == "PNG" and facts.bits == 16 and facts.bands > 1:
            file.seek(0)
            values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
            if values is None:
                raise ValueError("its pixels cannot be decoded")
            order = [2, 1, 0, 3][: values.shape[2]] if values.shape[2] > 2 else [0, 1]
            return np.ascontiguousarray(values[..., order])
        opened.load()
        image = stored_again(opened, facts.orientation)
        if image.mode in ("P", "PA", "CMYK", "YCbCr", "LAB"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        elif image.mode == "1":
            image = image.convert("L")
        array = np.array(image)
    if array.dtype == np.int32 and array.min() >= 0 and array.max() <= 65535:  # as older releases open 16-bit PNGs
        array = array.astype(np.uint16)
    return array[..., None] if array.ndim == 2 else array


def _by_rasterio(path: Path, max_pixels: int) -> npt.NDArray[Any]:
    rasterio = needed("rasterio", "geo", f"{path}, a TIFF of other samples than 8 bits or of many bands,")
    with image_file(path, "image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it lies nowhere on Earth
        with rasterio.open(path, driver="GTiff") as file:
            check_pixels(path, file.width * file.height, max_pixels)
            values: npt.NDArray[Any] = file.read()
    return np.ascontiguousarray(values.transpose(1, 2, 0))


def _scaled(values: npt.NDArray[Any], value_range: Sequence[float] | None, source: str) -> Pixels:
    if value_range is None and values.dtype in (np.uint8, np.uint16):
        return values
    if value_range is None:
        low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if values.size else (0.0, 1.0)
        if values.dtype.kind != "f" or not 0 <= low <= high <= 1:
            raise DataError(
                f"{source}: {values.dtype} from {low:.6g} to {high:.6g} found; say which values are black and white by "
                "data.value_range=[LOW,HIGH], which a model keeps"
            )
        value_range = (0.0, 1.0)
    low, high = value_range
    share = (np.nan_to_num(values.astype(np.float32), nan=low) - np.float32(low)) / np.float32(high - low)
    scaled: Pixels = np.rint(share.clip(0, 1) * 65535).astype(np.uint16)
    return scaled


def _turned(image: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """As Pillow's `ImageOps.exif_transpose` does it."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    turned: npt.NDArray[Any] = np.ascontiguousarray(image[:, ::-1] if orientation in (2, 3, 6, 7) else image)
    return turned
