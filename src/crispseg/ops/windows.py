"""Sliding windows: where they lie, how they blend, and how their results become one map, of arrays or of tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError
from crispseg.ops.arrays import ArrayLike

__all__ = ["blend_weights", "place_windows", "stitch_windows"]


def place_windows(size_hw: tuple[int, int], window_hw: tuple[int, int], overlap: float = 0.5) -> list[tuple[int, int]]:
    """Place as few windows as cover an image with at least the wanted overlap, evenly spread.

    The first lies at the top left and the last ends at the bottom right; none leaves the image. Along an axis where the
    image is no larger than the window there is one, at 0, and it is to be cut to the image's size.

    Args:
        size_hw: of the image, in pixels.
        window_hw: of the window, in pixels.
        overlap: the least share of a window that it has in common with its neighbour, in [0, 1).

    Returns:
        (top, left) of each, row by row.

    Raises:
        ConfigError: if a size is not positive or the overlap lies outside [0, 1).

    Example:
        >>> place_windows((4, 10), (8, 4), overlap=0.25)
        [(0, 0), (0, 3), (0, 6)]
    """
    if min(size_hw) < 1 or min(window_hw) < 1:
        raise ConfigError(f"image of {size_hw} and window of {window_hw} pixels; both must be positive")
    if not 0 <= overlap < 1:
        raise ConfigError(f"overlap is {overlap}; a share of the window in [0, 1) expected")
    tops, lefts = (_starts(size, window, overlap) for size, window in zip(size_hw, window_hw, strict=True))
    return list(itertools.product(tops, lefts))


def _starts(size: int, window: int, overlap: float) -> list[int]:
    last = max(size - window, 0)
    longest_step = max(math.floor(window * (1 - overlap) + 1e-9), 1)  # 10 · (1 − 0.9) shall be 1
    gaps = math.ceil(last / longest_step)
    return [last * index // gaps for index in range(gaps + 1)] if gaps else [0]


def blend_weights(window_hw: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Weights of a window's pixels where windows overlap: a tent, highest in the middle and nowhere 0.

    Networks know least about pixels at a window's frame, and weights that fall towards it leave no seam.

    Args:
        window_hw: height and width in pixels.

    Returns:
        (h, w) float32 in (0, 1].

    Example:
        >>> blend_weights((1, 4)).tolist()
        [[0.5, 1.0, 1.0, 0.5]]
    """
    down, across = (_tent(size) for size in window_hw)
    return down[:, None] * across[None, :]


def _tent(size: int) -> npt.NDArray[np.float32]:
    distance = np.arange(1, size + 1, dtype=np.float32)
    heights = np.minimum(distance, distance[::-1])  # to the nearer end
    tent: npt.NDArray[np.float32] = heights / heights.max()
    return tent


Maps = TypeVar("Maps", bound=ArrayLike)


def stitch_windows(windows: Iterable[tuple[tuple[int, int], Maps]], size_hw: tuple[int, int]) -> Maps:
    """Blend windows into one map: at each pixel the weighted mean of the windows that cover it.

    Args:
        windows: ((top, left), values (N, C, h, w)) of each; an iterator is consumed window by window, so that only one
            need be in memory beside the sum.
        size_hw: of the whole map.

    Returns:
        (N, C, H, W), an array or a tensor as the windows are, of their device and type.

    Raises:
        ConfigError: if a window leaves the map, or a pixel is covered by none.

    Example:
        >>> parts = [((0, 0), np.ones((1, 1, 2, 3))), ((0, 2), np.ones((1, 1, 2, 3)))]
        >>> np.unique(stitch_windows(parts, (2, 5))).tolist()
        [1.0]
    """
    height, width = size_hw
    total: Any = None
    weight_sum: Any = None
    for (top, left), values in windows:
        window_height, window_width = values.shape[-2:]
        if not (0 <= top <= height - window_height and 0 <= left <= width - window_width):
            raise ConfigError(
                f"a window of {(window_height, window_width)} pixels at {(top, left)} leaves the map of {size_hw}"
            )
        if total is None:
            total = _zeros_like(values, (*values.shape[:2], height, width))
            weight_sum = _zeros_like(values, (height, width))
        weights = _filled_like(values, blend_weights((window_height, window_width)))
        rows, columns = slice(top, top + window_height), slice(left, left + window_width)
        total[..., rows, columns] += values * weights
        weight_sum[rows, columns] += weights
    if total is None or not bool((weight_sum > 0).all()):
        raise ConfigError(f"the windows leave pixels of the map of {size_hw} uncovered; place them with place_windows")
    total /= weight_sum
    stitched: Maps = total
    return stitched


def _zeros_like(values: Any, shape: tuple[int, ...]) -> Any:
    return values.new_zeros(shape) if hasattr(values, "new_zeros") else np.zeros(shape, values.dtype)


def _filled_like(values: Any, array: npt.NDArray[np.float32]) -> Any:
    """The array in the type, and on the device, of others."""
    return values.new_tensor(array) if hasattr(values, "new_tensor") else array.astype(values.dtype)
