"""How the label files of a data set hold their raw ids: in PNG files, as colours, or in MATLAB files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import DataError
from crispseg.io import MAX_PIXELS, image_size_hw, read_label_ids, read_label_image
from crispseg.io.opening import ImageBytes, ImageSource, name_of
from crispseg.wording import some

__all__ = [
    "CAMVID_COLOURS",
    "CAMVID_FORMAT",
    "MEMBRANE_FORMAT",
    "NO_CLASS",
    "PNG_FORMAT",
    "LabelFormat",
    "colour_codes",
    "colour_table",
    "counted",
    "mat_format",
    "read_colours",
    "unknown_colours",
]

RawIds = npt.NDArray[np.uint16]
LabelIds = npt.NDArray[np.uint8]

NO_CLASS = 254
"""What a colour table says of other colours; it is no id there."""

CAMVID_COLOURS: dict[str, tuple[int, int, int]] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
"""The 32 classes of the original CamVid, in its owners' order: a class's place is its raw id here."""


@dataclass(frozen=True)
class LabelFormat:
    """Two functions that read label files of one kind; both raise `DataError` for files that are broken or others.

    Attributes:
        read: path and the most pixels that are allowed → (H, W) uint16 raw ids.
        size_hw: the same → height and width, without decoding the pixels.
        how: what else the ids depend on, for fingerprints.
    """

    read: Callable[[Path, int], RawIds]
    size_hw: Callable[[Path, int], tuple[int, int]]
    how: str = ""


PNG_FORMAT = LabelFormat(read_label_ids, image_size_hw)
"""Grey or palette PNG whose pixel values are the ids."""


def colour_table(colours: Iterable[tuple[Iterable[int], int]]) -> npt.NDArray[np.uint8]:
    """From every 24-bit colour to its id: 16 MB, several times faster than a search per pixel.

    Args:
        colours: RGB and id, which is not `NO_CLASS`; of colours that occur twice the last holds.

    Returns:
        (2²⁴,), `NO_CLASS` for all other colours.
    """
    table = np.full(1 << 24, NO_CLASS, dtype=np.uint8)
    for (red, green, blue), value in colours:
        table[red << 16 | green << 8 | blue] = value
    return table


def read_colours(
    path: ImageSource,
    table: npt.NDArray[np.uint8],
    whose: str,
    advice: str,
    max_pixels: int = MAX_PIXELS,
) -> LabelIds:
    """Read a colour label file.

    Args:
        path: of a lossless image, or its content.
        table: of `colour_table`.
        whose: the classes that the colours are of, for errors.
        advice: what to do about other colours, for errors.
        max_pixels: see `crispseg.io.read_image`.

    Returns:
        (H, W) uint8 ids.

    Raises:
        DataError: if the file is broken, or has colours of no class; it lists them with their pixel counts.
    """
    if not isinstance(path, ImageBytes) and Path(path).suffix.lower() in (".jpg", ".jpeg"):
        raise DataError(f"{os.fspath(path)}: JPEG changes colours; save labels as PNG")
    codes = colour_codes(read_label_image(path, max_pixels).colours())
    ids: LabelIds = table[codes]
    unknown = ids == NO_CLASS
    if unknown.any():
        raise unknown_colours(path, codes[unknown], whose, advice)
    return ids


def colour_codes(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """(…) int32, places in a `colour_table`, of (…, 3) uint8 RGB."""
    codes = colours[..., 0].astype(np.int32)
    for channel in (1, 2):  # in place: of an image that is as large as it may be, each copy has 160 MB
        codes <<= 8
        codes |= colours[..., channel]
    return codes


def unknown_colours(path: ImageSource, codes: npt.NDArray[np.int32], whose: str, advice: str) -> DataError:
    """What to say of pixels whose colours are of no class; see `read_colours`."""
    listed = counted(codes, lambda code: f"({code >> 16}, {code >> 8 & 255}, {code & 255})")
    return DataError(f"{name_of(path)}: colours of none of {whose}: {listed}; {advice}")


def counted(values: npt.NDArray[Any], say: Callable[[int], object] = str) -> str:
    """The most frequent values with their pixel counts, in words."""
    found, counts = np.unique(values, return_counts=True)
    return some(np.argsort(-counts, kind="stable"), 8, lambda at: f"{say(int(found[at]))} ({counts[at]} px)")


def _read_camvid(path: Path, max_pixels: int) -> RawIds:
    """Places in `CAMVID_COLOURS`."""
    advice = "a file of LabeledApproved_full was expected, neither resized nor saved as JPEG; copy or download it again"
    return read_colours(path, _camvid_table(), "CamVid's 32 classes", advice, max_pixels).astype(np.uint16)


@lru_cache(maxsize=1)
def _camvid_table() -> npt.NDArray[np.uint8]:
    return colour_table((colour, place) for place, colour in enumerate(CAMVID_COLOURS.values()))


CAMVID_FORMAT = LabelFormat(_read_camvid, image_size_hw)
"""The colours of the original CamVid."""


def read_membranes(path: Path, max_pixels: int = MAX_PIXELS) -> RawIds:
    """Read a label file of the ISBI 2012 membranes, 0 on membranes and 255 in cells.

    Returns:
        (H, W) uint16: 0 membrane, 1 cell; elsewhere 255 means ignored.

    Raises:
        DataError: if the file is broken, or holds other values.
    """
    values = read_label_ids(path, max_pixels)
    if others := np.setdiff1d(values, (0, 255)).tolist():
        raise DataError(f"{path}: the values {some(others, 8, str)}; 0 (membrane) and 255 (cell) alone expected")
    return np.asarray(values == 255, dtype=np.uint16)


MEMBRANE_FORMAT = LabelFormat(read_membranes, image_size_hw)
"""Membranes of ISBI 2012 in black on white cells."""


def mat_format(key: str) -> LabelFormat:
    """Label maps in MATLAB files up to version 7.2, which SciPy reads.

    Args:
        key: the variable that holds the ids.
    """
    return LabelFormat(partial(_read_mat, key=key), partial(_mat_size_hw, key=key))


def _read_mat(path: Path, max_pixels: int, key: str) -> RawIds:
    scipy_io = _scipy_io(path)
    _mat_size_hw(path, max_pixels, key)  # from the header; says what the file holds instead
    try:
        held = scipy_io.loadmat(path, variable_names=[key])
    except MemoryError:
        raise
    except Exception as error:  # SciPy raises what its steps happen to raise on broken files, and on 7.3, which is HDF5
        raise _unreadable(path, error) from error
    if key not in held or not isinstance(ids := held[key], np.ndarray) or ids.ndim != 2:
        raise DataError(f"{path}: {key!r} is not what the file's header says; copy or download it again")
    whole = ids.dtype.kind in "iu" or (ids.dtype.kind == "f" and bool((ids == np.rint(ids)).all()))
    if not whole or (ids.size and not (ids.min() >= 0 and ids.max() <= 65535)):
        raise DataError(f"{path}: {key!r} holds {ids.dtype} values that are no ids; whole numbers in 0–65535 expected")
    return np.asarray(ids, dtype=np.uint16)


def _mat_size_hw(path: Path, max_pixels: int, key: str) -> tuple[int, int]:
    scipy_io = _scipy_io(path)
    try:
        shapes = {name: shape for name, shape, _ in scipy_io.whosmat(path)}
    except MemoryError:
        raise
    except Exception as error:  # SciPy raises what its steps happen to raise on broken files, and on 7.3, which is HDF5
        raise _unreadable(path, error) from error
    if key not in shapes:
        held = ", ".join(sorted(shapes)) or "nothing"
        raise DataError(f"{path}: a variable {key!r} with the labels was expected; the file holds {held}")
    if len(shapes[key]) != 2:
        raise DataError(f"{path}: {key!r} has the shape {shapes[key]}; a label map (H, W) was expected")
    height, width = (int(size) for size in shapes[key])
    if height * width > max_pixels:
        raise DataError(
            f"{path}: labels of {height}×{width} pixels found, at most {max_pixels} expected; allow more by "
            "data.max_pixels if memory does"
        )
    return height, width


def _scipy_io(path: Path) -> ModuleType:
    """SciPy, which nothing else here needs, for a file that is there."""
    if not path.exists():
        raise DataError(f"{path}: no such file; a label file was expected")
    try:
        import scipy.io  # type: ignore[import-untyped] # SciPy ships no types
    except ImportError:
        raise DataError(f"{path}: MATLAB label files need SciPy, which is not installed; pip install scipy") from None
    return scipy.io  # type: ignore[no-any-return] # as above


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{path}: broken or truncated MATLAB label file ({reason}); copy or download it again")
