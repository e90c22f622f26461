"""Images read as a viewer shows them, or refused by name.

Pillow reads them: it refuses truncated files in every version, where OpenCV fills the missing rows of a JPEG with grey,
and it keeps the indices of palette files. Plain PNGs, which most data sets hold, are opened by Pillow and decoded by
OpenCV (`plain_png`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from crispseg.errors import DataError
from crispseg.io.opening import MAX_PIXELS, ImageSource, image_file, image_in, name_of, png_header
from crispseg.io.orientation import TURNED, orientation_of, stored_again
from crispseg.io.plain_png import plain_pixels

__all__ = ["image_size_hw", "pillow_as_rgb", "read_image", "says_transparency"]

_WIDTH_TAG, _HEIGHT_TAG = 0x0100, 0x0101


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
    with image_file(path, "image") as file, image_in(file, path, max_pixels) as image:
        if image.format == "PNG" and (plain := plain_pixels(file, image)) is not None:
            return plain
        orientation = orientation_of(image)
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
    seen = ImageOps.exif_transpose(image) if upright and orientation_of(image) != 1 else image
    if seen.mode.startswith(("I", "F")):
        return np.stack([_eight_bit_grey(seen, path)] * 3, axis=2)
    if seen.mode == "RGBA" and image.format == "TIFF" and not says_transparency(np.array(seen.getchannel("A"))):
        return np.array(seen)[..., :3].copy()
    if seen.has_transparency_data:
        seen = _over_white(seen)
    return np.array(seen if seen.mode == "RGB" else seen.convert("RGB"))


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
    with image_file(path, "image") as file:
        header = png_header(file, path, max_pixels)
        if header is not None and not (header[1] and upright):
            return header[0]
        with image_in(file, path, max_pixels) as image:
            # Pillow gives the size of a TIFF as it is after turning, or before, by its version.
            tags = getattr(image, "tag_v2", {})
            width, height = tags.get(_WIDTH_TAG, image.width), tags.get(_HEIGHT_TAG, image.height)
            return (width, height) if upright and orientation_of(image) in TURNED else (height, width)


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
