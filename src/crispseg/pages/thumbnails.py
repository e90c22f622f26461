"""The pictures of a page that shows a whole set: small files in a folder beside it.

A picture is found by what was scored: its name is a fingerprint of the image's record and of what that depends on. So
names of images come into no path, a run that goes on finds the pictures that it has, and those of another run, though
they lie in the same folder, are never taken for its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from crispseg.evaluation.engine import Example
from crispseg.evaluation.records import ImageRecord, Settings
from crispseg.io import atomic_write
from crispseg.labels import IGNORE_INDEX
from crispseg.pictures.labels import WRONG

__all__ = ["LONGEST_SIDE_PX", "PICTURES", "Thumbnails"]

LONGEST_SIDE_PX = 480
"""Of a picture; what is larger is made smaller."""

PICTURES = {"photo": "jpg", "truth": "png", "prediction": "png", "errors": "png"}
"""The kinds of pictures of an image, each a sub-folder, and the suffix of its files. Only data sets have photos."""

_AS_JPEG = {"quality": 80}
_AS_PNG = {"compress_type": zlib.Z_RLE}  # areas of one colour: smaller than by default, in less than half of the time
_LEVELS = 15  # of a pixel's share of wrong ones
_UNJUDGED = _LEVELS + 1
_KEY = re.compile("[0-9a-f]{16}")


class Thumbnails:
    """The pictures of one run.

    Args:
        folder: that they lie in; made when the first is drawn.
        settings: what the records of the run depend on.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self._settings = settings
        self._basis = blake2b(json.dumps(settings.to_dict(), sort_keys=True).encode(), digest_size=8)
        self._void = settings.label_space.num_classes  # the id behind the classes: a table of so few makes small files
        self._palette = np.zeros((self._void + 1, 4), np.uint8)  # where nothing is said, what lies below is seen
        self._palette[: self._void, :3] = settings.label_space.palette[: self._void]
        self._palette[: self._void, 3] = 255

    def key(self, record: ImageRecord) -> str:
        """The name of an image's files, without suffix."""
        digest = self._basis.copy()
        digest.update(record.to_line().encode(errors="surrogatepass"))
        return digest.hexdigest()

    def path(self, kind: str, key: str) -> Path:
        """Where a picture lies."""
        return self.folder / kind / f"{key}.{PICTURES[kind]}"

    def has(self, record: ImageRecord) -> bool:
        """Whether an image is drawn."""
        return self.path("errors", self.key(record)).is_file()  # the last to be written

    def draw(self, record: ImageRecord, example: Example) -> None:
        """Draw an image; any number of threads may do so at once."""
        key, size = self.key(record), _bounded(example.labels.shape)
        if example.image is not None:
            photo = Image.fromarray(_resized(example.image, size, cv2.INTER_AREA))
            self._write("photo", key, photo, **_AS_JPEG)
        for kind, ids in (("truth", example.labels), ("prediction", example.prediction)):
            small = _resized(ids, size, cv2.INTER_NEAREST_EXACT)
            small = np.where(small == IGNORE_INDEX, np.uint8(self._void), small)
            self._write(kind, key, _in_palette(small, self._palette), **_AS_PNG)
        self._write("errors", key, _in_palette(_error_levels(example, size), _error_palette()), **_AS_PNG)

    def take(self, other: Thumbnails, kind: str, key: str) -> bool:
        """Have a picture of another run as well, as a link where the system has them; False if it has none."""
        source, target = other.path(kind, key), self.path(kind, key)
        if target.is_file():
            return True
        if not source.is_file():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            with atomic_write(target, lasting=False) as temporary:
                shutil.copyfile(source, temporary)
        return True

    def keep_only(self, keys: Collection[str]) -> None:
        """Remove the pictures of earlier runs; what is none stays."""
        for kind, suffix in PICTURES.items():
            for path in (self.folder / kind).glob(f"*.{suffix}"):
                if _KEY.fullmatch(path.stem) and path.stem not in keys:
                    path.unlink(missing_ok=True)

    def _write(self, kind: str, key: str, picture: Image.Image, **options: Any) -> None:
        with atomic_write(self.path(kind, key), lasting=False) as temporary:
            picture.save(temporary, **options)


def _bounded(size_hw: tuple[int, ...]) -> tuple[int, int]:
    """Width and height of a picture."""
    height, width = size_hw
    share = min(1.0, LONGEST_SIDE_PX / max(height, width))
    return max(1, round(share * width)), max(1, round(share * height))


def _resized(picture: npt.NDArray[Any], size_wh: tuple[int, int], interpolation: int) -> npt.NDArray[Any]:
    if picture.shape[1::-1] == size_wh:
        return picture
    resized: npt.NDArray[Any] = cv2.resize(picture, size_wh, interpolation=interpolation)
    return resized


def _error_levels(example: Example, size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """How many of a pixel's pixels are wrong, in 15 steps, so that thin errors do not fall through; 16: not judged."""
    unjudged = example.labels == IGNORE_INDEX
    wrong = (example.prediction != example.labels) & ~unjudged
    share = _resized(wrong.astype(np.float32), size_wh, cv2.INTER_AREA)
    levels = np.ceil(_LEVELS * np.clip(share - 1e-6, 0, 1)).astype(np.uint8)
    hidden = _resized(unjudged.view(np.uint8), size_wh, cv2.INTER_NEAREST_EXACT) > 0
    return np.where(hidden & (levels == 0), np.uint8(_UNJUDGED), levels)


def _error_palette() -> npt.NDArray[np.uint8]:
    """Right: nothing to see; wrong: the more, the more opaque; not judged: black."""
    palette = np.zeros((_UNJUDGED + 1, 4), np.uint8)
    palette[1:_UNJUDGED, :3] = WRONG
    palette[1:_UNJUDGED, 3] = np.linspace(120, 255, _LEVELS)
    palette[_UNJUDGED] = (0, 0, 0, 170)
    return palette


def _in_palette(ids: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> Image.Image:
    """A picture of numbers whose colours, and how opaque they are, a table says."""
    image = Image.fromarray(np.ascontiguousarray(ids))
    image.putpalette(palette.tobytes(), "RGBA")
    return image
