"""What the head of an image file says of its pixels: bands, bits, pages, orientation; without decoding any."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from PIL import Image

from crispseg.errors import DataError
from crispseg.io.opening import MAX_PIXELS, image_format, opened_image
from crispseg.io.orientation import stored_orientation

__all__ = ["ImageFacts", "image_facts"]

_PALETTE_MODES = ("P", "PA")
# Those that are seen: four inks are three colours.
_BANDS = {"1": 1, "L": 1, "P": 3, "LA": 2, "PA": 4, "RGB": 3, "RGBA": 4, "RGBX": 4, "CMYK": 3, "YCbCr": 3, "LAB": 3}
_MOST_PAGES = 1000


@dataclass(frozen=True)
class ImageFacts:
    """What a file says of itself.

    Attributes:
        format: as Pillow calls it: ``"PNG"``, ``"JPEG"``, ``"TIFF"`` …
        size_hw: in pixels, as stored.
        bands: of its first page, alpha among them.
        bits: of a sample.
        floats: whether samples are floating-point numbers.
        pages: how many images it holds.
        alpha: whether the last band is said to be transparency.
        orientation: by the EXIF standard, 1 to 8; 1 is upright.
        has_palette: whether pixels are looked up in one.
    """

    format: str
    size_hw: tuple[int, int]
    bands: int
    bits: int = 8
    floats: bool = False
    pages: int = 1
    alpha: bool = False
    orientation: int = 1
    has_palette: bool = False


def image_facts(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Read the head of an image file.

    Args:
        path: of the file; its size does not matter.
        max_pixels: see `read_image`; a PNG that holds more is called upright, for it may have to be decoded to know.

    Raises:
        DataError: if it is missing, or no image of a kind that is read here.
    """
    if image_format(path) == "TIFF":
        return _tiff_facts(Path(path))
    with opened_image(path) as image:
        bands = _BANDS.get(image.mode, len(image.getbands()))
        return ImageFacts(
            format=image.format or "",
            size_hw=(image.height, image.width),
            bands=bands,
            bits=_png_bits(Path(path), image),
            pages=int(getattr(image, "n_frames", 1)) if image.format != "MPO" else 1,  # a camera's previews
            alpha=image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info,
            orientation=stored_orientation(image, max_pixels),
            has_palette=image.mode in _PALETTE_MODES,
        )


def _png_bits(path: Path, image: Image.Image) -> int:
    """Pillow takes 16-bit colours for 8 bits."""
    if image.format != "PNG":
        return 16 if image.mode.startswith("I") else 8
    with path.open("rb") as file:
        return max(file.read(25)[24], 8)


# Of a TIFF: its tags, and how long their values are.
_BITS, _SAMPLES, _ORIENTATION, _EXTRA, _FORMAT, _PHOTOMETRIC = 258, 277, 274, 338, 339, 262
_WIDTH, _HEIGHT = 256, 257
_ASKED = (_BITS, _SAMPLES, _ORIENTATION, _EXTRA, _FORMAT, _PHOTOMETRIC, _WIDTH, _HEIGHT)
_SIZES = {1: "B", 3: "H", 4: "I", 16: "Q"}


def _tiff_facts(path: Path) -> ImageFacts:
    with path.open("rb") as file:
        try:
            pages = _directories(file)
        except (struct.error, OSError, ValueError, KeyError, MemoryError) as error:
            raise DataError(f"{path}: broken or truncated TIFF; copy or download it again") from error
    tags = pages[0]
    bits, extra = tags.get(_BITS, [1]), tags.get(_EXTRA, [])
    orientation = tags.get(_ORIENTATION, [1])[0]
    return ImageFacts(
        format="TIFF",
        size_hw=(tags.get(_HEIGHT, [0])[0], tags.get(_WIDTH, [0])[0]),
        bands=tags.get(_SAMPLES, [1])[0],
        bits=max(bits[0], 8),
        floats=tags.get(_FORMAT, [1])[0] == 3,
        pages=len(pages),
        alpha=bool(extra) and extra[-1] in (1, 2),
        orientation=orientation if orientation in range(1, 9) else 1,
        has_palette=tags.get(_PHOTOMETRIC, [1])[0] == 3,
    )


def _directories(file: BufferedReader) -> list[dict[int, list[int]]]:
    """The tags of every page, of those that are asked for here."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    at = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])[0]
    pages: list[dict[int, list[int]]] = []
    seen: set[int] = set()
    while at and at not in seen and len(pages) < _MOST_PAGES:
        seen.add(at)
        tags, at, is_preview = _directory(file, at, order, big=big)
        if not is_preview or not pages:
            pages.append(tags)
    if not pages:
        raise ValueError("no page")
    return pages


def _directory(file: BufferedReader, at: int, order: str, *, big: bool) -> tuple[dict[int, list[int]], int, bool]:
    """Tags, where the next directory lies, and whether this one is a smaller or masking version of another."""
    file.seek(at)
    count = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))[0]
    if count > 4096:
        raise ValueError("too many tags")
    size, inline = (20, 8) if big else (12, 4)
    body = file.read(count * size + inline)
    tags: dict[int, list[int]] = {}
    is_preview = False
    for index in range(count):
        entry = body[index * size : (index + 1) * size]
        tag, kind = struct.unpack(order + "HH", entry[:4])
        number = struct.unpack(order + ("Q" if big else "I"), entry[4 : size - inline])[0]
        if tag == 254 and kind in _SIZES:
            is_preview = bool(_values(file, entry[-inline:], order, kind, 1, inline)[0] & 0b101)
        elif tag in _ASKED and kind in _SIZES and number:
            tags[tag] = _values(file, entry[-inline:], order, kind, min(number, 64), inline)
            if tag == _EXTRA and number > 64:
                tags[tag].append(0)
    following: Any = struct.unpack(order + ("Q" if big else "I"), body[count * size :])[0]
    return tags, following, is_preview


def _values(file: BufferedReader, field: bytes, order: str, kind: int, number: int, inline: int) -> list[int]:
    code = _SIZES[kind]
    size = struct.calcsize(code) * number
    data = field[:size]
    if size > inline:
        place = struct.unpack(order + ("Q" if inline == 8 else "I"), field)[0]
        back = file.tell()
        file.seek(place)
        data = file.read(size)
        with suppress(OSError):
            file.seek(back)
    return list(struct.unpack(f"{order}{number}{code}", data))
