"""Maps from wherever they come, and colour scales."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.ops.arrays import ArrayLike, to_array
from crispseg.pictures.colour import Picture

__all__ = ["enlarge", "in_colours", "unit_map"]


def unit_map(values: ArrayLike, name: str) -> npt.NDArray[np.float32]:
    """Check a map of shares: (h, w) or (1, h, w), finite, in [0, 1] but for rounding.

    Raises:
        ValueError: if it is something else; the message calls it `name`.
    """
    array = to_array(values)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} has the shape {array.shape}; (h, w) or (1, h, w) expected")
    array = array.astype(np.float32)
    if not (array.min() >= -1e-3 and array.max() <= 1 + 1e-3):  # NaN fails both
        raise ValueError(f"{name} holds {array.min():.4g} to {array.max():.4g}; [0, 1] expected")
    clipped: npt.NDArray[np.float32] = array.clip(0, 1)
    return clipped


def in_colours(shares: npt.NDArray[np.float32], scale: int) -> Picture:
    """Colour (h, w) in [0, 1] by one of OpenCV's scales."""
    coloured = cv2.applyColorMap((shares * 255).round().astype(np.uint8), scale)
    return np.ascontiguousarray(coloured[..., ::-1])


def enlarge(values: npt.NDArray[Any], size_hw: tuple[int, int] | None) -> npt.NDArray[Any]:
    """Bring (h, w) or (h, w, C) float32 to another size, cells being areas, as feature maps are enlarged."""
    if size_hw is None or values.shape[:2] == tuple(size_hw):
        return values
    resized: npt.NDArray[Any] = cv2.resize(values, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return resized
