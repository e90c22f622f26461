"""Sliding windows: where they lie, how they blend, and how their results become rows of one map, arrays or tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError
from crispseg.ops.arrays import ArrayLike, zeros_like

__all__ = ["blend_weights", "place_windows", "stitch_rows"]


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


def stitch_rows(
    windows: Iterable[tuple[tuple[int, int], Maps]], size_hw: tuple[int, int], first_row: int = 0
) -> Iterator[tuple[int, Maps]]:
    """Blend windows into rows of one map, each as soon as no window to come reaches it.

    What is in memory is one window and a strip as high as it, however high the map is.

    Args:
        windows: ((top, left), values (N, C, h, w)) of each, row by row and all of one height, as `place_windows` gives
            them; an iterator is consumed window by window.
        size_hw: of the whole map.
        first_row: where the first window begins; the rows above it are of no interest.

    Yields:
        (top, values (N, C, rows, W)) from the top to the bottom: at each pixel the weighted mean of the windows that
        cover it, an array or a tensor as the windows are, of their device and type. The values are a view, which the
        next step overwrites.

    Raises:
        ConfigError: if a window leaves the map or comes out of order, or a pixel is covered by none.

    Example:
        >>> parts = [((top, 0), np.ones((1, 1, 2, 3))) for top in (0, 1, 2)]
        >>> [(top, rows.shape[2]) for top, rows in stitch_rows(parts, (4, 3))]
        [(0, 1), (1, 1), (2, 2)]
    """
    height, width = size_hw
    strip: Any = None
    weight_sum: Any = None
    weights: Any = None
    strip_top = first_row
    for (top, left), values in windows:
        window_hw = (values.shape[-2], values.shape[-1])
        if not (0 <= top <= height - window_hw[0] and 0 <= left <= width - window_hw[1]):
            raise ConfigError(f"a window of {window_hw} pixels at {(top, left)} leaves the map of {size_hw}")
        if strip is None:
            strip = zeros_like(values, (*values.shape[:2], window_hw[0], width))
            weight_sum = zeros_like(values, strip.shape[-2:])
        if top < strip_top or window_hw[0] != strip.shape[-2]:
            raise ConfigError(
                f"a window of {window_hw} pixels at {(top, left)} comes after one at row {strip_top} of "
                f"{strip.shape[-2]} rows; windows of one height, row by row, expected, as place_windows gives them"
            )
        if top > strip_top + window_hw[0]:
            raise _uncovered(size_hw)
        if top > strip_top:
            yield strip_top, _mean(strip, weight_sum, top - strip_top, size_hw)
            for sums in (strip, weight_sum):
                _move_up(sums, top - strip_top)
            strip_top = top
        if weights is None or weights.shape != window_hw:
            weights = _filled_like(values, blend_weights(window_hw))
        columns = slice(left, left + window_hw[1])
        strip[..., columns] += values * weights
        weight_sum[:, columns] += weights
    if strip is None or strip_top + strip.shape[-2] != height:
        raise _uncovered(size_hw)
    yield strip_top, _mean(strip, weight_sum, strip.shape[-2], size_hw)


def _mean(strip: Any, weight_sum: Any, count: int, size_hw: tuple[int, int]) -> Any:
    """The first rows of a strip, divided by their weights in place."""
    finished, weights = strip[..., :count, :], weight_sum[:count]
    if not bool((weights > 0).all()):
        raise _uncovered(size_hw)
    finished /= weights
    return finished


def _move_up(sums: Any, by: int) -> None:
    """Drop the first rows, in place; those that come in below are 0."""
    kept = sums.shape[-2] - by
    for start in range(0, kept, by):  # source and target of a piece do not overlap, which tensors forbid
        end = min(start + by, kept)
        sums[..., start:end, :] = sums[..., start + by : end + by, :]
    sums[..., kept:, :] = 0


def _uncovered(size_hw: tuple[int, int]) -> ConfigError:
    return ConfigError(f"the windows leave pixels of the map of {size_hw} uncovered; place them with place_windows")


def _filled_like(values: Any, array: npt.NDArray[np.float32]) -> Any:
    """The array in the type, and on the device, of others."""
    return values.new_tensor(array) if hasattr(values, "new_tensor") else array.astype(values.dtype)
