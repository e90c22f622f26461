"""Which way up an image file is: its EXIF orientation, asked for without decoding where that can be."""

from __future__ import annotations

import sys

from PIL import Image

from crispseg.io.opening import MAX_PIXELS, ImageSource, Opened, image_file, image_in
from crispseg.io.png_chunks import walk_png

__all__ = ["TURNED", "is_turned", "orientation_of", "stored_again", "stored_orientation"]

TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""

_ORIENTATION_TAG = 0x0112


def is_turned(path: ImageSource) -> bool:
    """Whether `read_image` turns or mirrors the image, as its EXIF orientation asks.

    Args:
        path: of an image; its size does not matter.

    Raises:
        DataError: if the file is missing or not an image.
    """
    with image_file(path, "image") as file, image_in(file, path, sys.maxsize) as image:
        return _may_be_turned(image) and orientation_of(image) != 1


def stored_again(image: Image.Image, orientation: object) -> Image.Image:
    """An image that was loaded, as it is stored: Pillow turns TIFFs, and takes their orientation away.

    Args:
        image: after `load`.
        orientation: from before it.
    """
    back = _BACK.get(orientation) if orientation != 1 and orientation_of(image) == 1 else None
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


def orientation_of(image: Image.Image) -> object:
    """By the EXIF standard 1 to 8; 1, upright, where the file says nothing. Broken files hold other things."""
    return image.getexif().get(_ORIENTATION_TAG, 1)


def _may_be_turned(image: Image.Image) -> bool:
    """Whether to ask: Pillow decodes a PNG to answer, for the note may stand behind its pixels, or nowhere."""
    file: Opened | None = getattr(image, "fp", None)  # which Pillow's types do not tell of
    if image.format != "PNG" or file is None:
        return True
    place = file.tell()
    _, may_be_turned = walk_png(file)
    file.seek(place)
    return may_be_turned


def stored_orientation(image: Image.Image, max_pixels: int = MAX_PIXELS) -> int:
    """By the EXIF standard 1 to 8, of an image that is not decoded yet.

    Args:
        image: before `load`.
        max_pixels: see `read_image`; of a PNG that holds more, which is not read either, 1.
    """
    too_large = image.format == "PNG" and image.width * image.height > max_pixels
    if too_large or not _may_be_turned(image):
        return 1
    found = orientation_of(image)
    return int(found) if isinstance(found, int) and found in range(1, 9) else 1
