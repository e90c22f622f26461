"""How the label files of a data set hold their raw ids: in PNG files, as colours, or in MATLAB files."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from crispseg.errors import DataError
from crispseg.io import image_size_hw, read_image, read_label_ids
from crispseg.wording import some

__all__ = ["CAMVID_COLOURS", "CAMVID_FORMAT", "PNG_FORMAT", "LabelFormat", "mat_format", "read_camvid_colours"]

RawIds = npt.NDArray[np.uint16]

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
        read: path → (H, W) uint16 raw ids.
        size_hw: path → height and width, without decoding the pixels.
    """

    read: Callable[[Path], RawIds]
    size_hw: Callable[[Path], tuple[int, int]]


PNG_FORMAT = LabelFormat(read_label_ids, image_size_hw)
"""Grey or palette PNG whose pixel values are the ids."""


def read_camvid_colours(path: Path) -> RawIds:
    """Read a colour label file of the original CamVid.

    Args:
        path: of an RGB PNG.

    Returns:
        (H, W) uint16: places in `CAMVID_COLOURS`.

    Raises:
        DataError: if the file is broken, or has colours of no class; it lists them with their pixel counts.
    """
    codes = _colour_codes(read_image(path))
    ids = _camvid_lookup()[codes]
    if (ids == _NO_CLASS).any():
        values, counts = np.unique(codes[ids == _NO_CLASS], return_counts=True)
        listed = some(zip(values.tolist(), counts.tolist(), strict=True), 8, _colour_in_words)
        raise DataError(
            f"{path}: colours of none of CamVid's 32 classes: {listed}; a file of LabeledApproved_full was "
            "expected, neither resized nor saved as JPEG; copy or download it again"
        )
    return ids.astype(np.uint16)


def _colour_in_words(found: tuple[int, int]) -> str:
    code, count = found
    return f"({code >> 16}, {code >> 8 & 255}, {code & 255}) ({count} px)"


CAMVID_FORMAT = LabelFormat(read_camvid_colours, image_size_hw)
"""The colours of the original CamVid."""


def mat_format(key: str) -> LabelFormat:
    """Label maps in MATLAB files up to version 7.2, which SciPy reads.

    Args:
        key: the variable that holds the ids.
    """
    return LabelFormat(partial(_read_mat, key=key), partial(_mat_size_hw, key=key))


_NO_CLASS = 255


def _colour_codes(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    red, green, blue = (image[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


@lru_cache(maxsize=1)
def _camvid_lookup() -> npt.NDArray[np.uint8]:
    """16 MB, from every 24-bit colour to its id: several times faster than a search per pixel."""
    table = np.full(1 << 24, _NO_CLASS, dtype=np.uint8)
    colours = np.array([*CAMVID_COLOURS.values()], dtype=np.uint8)
    table[_colour_codes(colours)] = np.arange(len(colours), dtype=np.uint8)
    return table


def _read_mat(path: Path, key: str) -> RawIds:
    scipy_io = _scipy_io(path)
    try:
        held = scipy_io.loadmat(path, variable_names=[key])
    except _broken(scipy_io) as error:
        raise _unreadable(path, error) from error
    if key not in held or held[key].ndim != 2:
        _mat_size_hw(path, key)  # says what the file holds instead
    ids = held[key]
    whole = ids.dtype.kind in "iu" or (ids.dtype.kind == "f" and bool((ids == np.rint(ids)).all()))
    if not whole or (ids.size and not (ids.min() >= 0 and ids.max() <= 65535)):
        raise DataError(f"{path}: {key!r} holds {ids.dtype} values that are no ids; whole numbers in 0–65535 expected")
    return np.asarray(ids, dtype=np.uint16)


def _mat_size_hw(path: Path, key: str) -> tuple[int, int]:
    scipy_io = _scipy_io(path)
    try:
        shapes = {name: shape for name, shape, _ in scipy_io.whosmat(path)}
    except _broken(scipy_io) as error:
        raise _unreadable(path, error) from error
    if key not in shapes:
        held = ", ".join(sorted(shapes)) or "nothing"
        raise DataError(f"{path}: a variable {key!r} with the labels was expected; the file holds {held}")
    if len(shapes[key]) != 2:
        raise DataError(f"{path}: {key!r} has the shape {shapes[key]}; a label map (H, W) was expected")
    height, width = shapes[key]
    return int(height), int(width)


def _scipy_io(path: Path) -> ModuleType:
    """SciPy, which nothing else here needs, for a file that is there."""
    if not path.exists():
        raise DataError(f"{path}: no such file; a label file was expected")
    try:
        import scipy.io  # type: ignore[import-untyped] # SciPy ships no types
    except ImportError:
        raise DataError(f"{path}: MATLAB label files need SciPy, which is not installed; pip install scipy") from None
    return scipy.io  # type: ignore[no-any-return] # as above


def _broken(scipy_io: ModuleType) -> tuple[type[Exception], ...]:
    """What SciPy raises on files that are truncated, of another kind, or of version 7.3, which is HDF5."""
    errors = (OSError, ValueError, TypeError, EOFError, IndexError, KeyError, NotImplementedError, zlib.error)
    return (*errors, scipy_io.matlab.MatReadError)


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: broken or truncated MATLAB label file ({error}); copy or download it again")
