"""Pictures of what a network computes on the way: gates, flow fields, features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.ops.arrays import ArrayLike, to_array
from crispseg.pictures.arrays import enlarge, in_colours, unit_map
from crispseg.pictures.colour import Picture

if TYPE_CHECKING:
    from crispseg.types import MapInfo

__all__ = ["flow_picture", "gate_picture", "map_note", "map_picture", "pca_picture"]


def map_picture(values: ArrayLike, info: MapInfo, size_hw: tuple[int, int] | None = None) -> Picture:
    """Show a map of a head as its kind asks for.

    Args:
        values: (C, h, w), one image's.
        info: what the head says of it; see `crispseg.heads.Head.map_info`.
        size_hw: of the picture; None: one pixel per cell.

    Returns:
        (H, W, 3) uint8: a share (the mean of several) or a logit's sigmoid by `gate_picture`, a flow by
        `flow_picture`, features by `pca_picture`.

    Raises:
        ValueError: if the values are not of their kind.
    """
    if info.kind == "flow":
        return flow_picture(values, size_hw)
    if info.kind == "features":
        return pca_picture(values, size_hw)
    return gate_picture(_share(values, info), size_hw)


def map_note(values: ArrayLike, info: MapInfo) -> str:
    """A few words beside `map_picture` that give it its scale.

    Args:
        values: (C, h, w), one image's.
        info: what the head says of it.
    """
    if info.kind == "flow":
        return f"hue: direction; up to {float(np.hypot(*to_array(values)).max()):.1f} cells"
    if info.kind == "features":
        return "three main directions as colours"
    return f"mean {float(_share(values, info).mean()):.2f}"


def _share(values: ArrayLike, info: MapInfo) -> npt.NDArray[np.float32]:
    """(h, w) in [0, 1] of a share or a logit."""
    maps = to_array(values).astype(np.float32)
    if info.kind == "logit":
        maps = 1 / (1 + np.exp(-maps.clip(-80, 80)))
    mean: npt.NDArray[np.float32] = maps.mean(axis=0)
    return mean


def gate_picture(values: ArrayLike, size_hw: tuple[int, int] | None = None) -> Picture:
    """Show a gate or an attention map: 0 dark blue, 0.5 green, 1 yellow (viridis, even steps look even).

    Args:
        values: (h, w) or (1, h, w) in [0, 1].
        size_hw: of the picture; None: one pixel per cell.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if shape or range do not fit.

    Example:
        >>> gate_picture(np.array([[0.0, 1.0]])).tolist()
        [[[68, 1, 84], [253, 231, 37]]]
    """
    return in_colours(enlarge(unit_map(values, "gate"), size_hw).clip(0, 1), cv2.COLORMAP_VIRIDIS)


def flow_picture(
    flow_px: ArrayLike, size_hw: tuple[int, int] | None = None, *, longest_px: float | None = None
) -> Picture:
    """Show a flow field: the direction as hue, the length as saturation, no flow white.

    To the right is red, down is yellow-green, to the left cyan, up violet.

    Args:
        flow_px: (2, h, w), x to the right and y down, in cells.
        size_hw: of the picture; None: one pixel per cell.
        longest_px: the length that is fully saturated, longer ones too; None: the longest in the field.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if the shape does not fit, a value is not finite or `longest_px` is not positive.

    Example:
        >>> flow_picture(np.array([[[0.0, 2.0, -2.0]], [[0.0, 0.0, 0.0]]])).tolist()
        [[[255, 255, 255], [255, 0, 0], [0, 255, 255]]]
    """
    flow = to_array(flow_px).astype(np.float32)
    if flow.ndim != 3 or flow.shape[0] != 2 or flow.size == 0:
        raise ValueError(f"flow has the shape {flow.shape}; (2, h, w) expected")
    if not np.isfinite(flow).all():
        raise ValueError("flow holds values that are not finite")
    if longest_px is not None and not longest_px > 0:
        raise ValueError(f"longest_px is {longest_px}; a positive length expected")
    field = enlarge(np.ascontiguousarray(flow.transpose(1, 2, 0)), size_hw)  # before colours: hues do not mix
    length = np.hypot(field[..., 0], field[..., 1])
    full = longest_px if longest_px is not None else float(length.max())
    hsv = np.ones((*length.shape, 3), dtype=np.float32)
    hsv[..., 0] = np.degrees(np.arctan2(field[..., 1], field[..., 0])) % 360
    hsv[..., 1] = (length / full).clip(0, 1) if full > 0 else 0
    picture: Picture = (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).round().astype(np.uint8)
    return picture


def pca_picture(features: ArrayLike, size_hw: tuple[int, int] | None = None) -> Picture:
    """Show features by their three main directions of variation as red, green and blue.

    Cells of one colour have like features; what a colour means changes from picture to picture. The same features
    always give the same picture: each direction points to where its heaviest channel grows.

    Args:
        features: (C, h, w), finite.
        size_hw: of the picture; None: one pixel per cell.

    Returns:
        (H, W, 3) uint8; each direction is spread over 0–255 between its 1st and 99th percentile, and a direction in
        which nothing varies is an even grey.

    Raises:
        ValueError: if the shape does not fit or a value is not finite.
    """
    maps = to_array(features).astype(np.float64)
    if maps.ndim != 3 or maps.size == 0:
        raise ValueError(f"features have the shape {maps.shape}; (C, h, w) expected")
    if not np.isfinite(maps).all():
        raise ValueError("features hold values that are not finite")
    channels, height, width = maps.shape
    centred = maps.reshape(channels, -1) - maps.reshape(channels, -1).mean(axis=1, keepdims=True)
    variances, directions = np.linalg.eigh(centred @ centred.T)  # ascending
    main = directions[:, ::-1][:, :3]
    heaviest = np.abs(main).argmax(axis=0)
    main = main * np.sign(main[heaviest, np.arange(main.shape[1])])
    scores = main.T @ centred  # (3 or fewer, h·w)

    shares = np.full((3, height * width), 0.5, dtype=np.float32)
    noise = max(float(variances[-1]), 0.0) * 1e-9 + 1e-18  # below it there are rounding errors, no features
    for row, (values, variance) in enumerate(zip(scores, variances[::-1], strict=False)):
        low, high = np.percentile(values, (1, 99))
        if variance > noise and high > low:
            shares[row] = (values - low) / (high - low)
    picture = enlarge(np.ascontiguousarray(shares.T.reshape(height, width, 3)), size_hw)
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)
