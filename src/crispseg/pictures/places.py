"""Where to look closer: places where a map is full of marks, and those places enlarged."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.pictures.colour import Picture
from crispseg.pictures.drawing import Box, Colour, Drawing, Words, font
from crispseg.pictures.sheets import scaled_to_width

__all__ = ["Place", "closer", "fullest_places", "with_frames"]

Place = tuple[slice, slice]
"""Rows and columns."""

_FRAMES: tuple[Colour, ...] = ((230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 158, 115))


def fullest_places(marks: npt.NDArray[np.bool_], count: int, share: float = 1 / 6) -> list[Place]:
    """Find squares that hold the most marked pixels and do not overlap, the fullest first.

    Args:
        marks: (H, W).
        count: how many at most; fewer, where nothing more is marked.
        share: a square's side as a share of the longer side of the map; 8 pixels at least, or the whole map.

    Example:
        >>> marks = np.zeros((60, 60), dtype=bool)
        >>> marks[40:44, 20:24] = True
        >>> fullest_places(marks, 2)
        [(slice(37, 47, None), slice(17, 27, None))]
    """
    height, width = marks.shape
    rows, columns = (min(max(round(share * max(height, width)), 8), side) for side in (height, width))
    left_over = marks.astype(np.float64)
    places: list[Place] = []
    while len(places) < count:
        sums = cv2.integral(left_over)
        inside = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
        for rows_of, columns_of in places:  # no overlap
            top, left = max(rows_of.start - rows + 1, 0), max(columns_of.start - columns + 1, 0)
            inside[top : rows_of.stop, left : columns_of.stop] = 0
        if inside.max() < 1:
            break
        # Of equally full squares the one in their middle, so that what is marked stands in the middle as well.
        fullest = np.argwhere(inside >= inside.max() - 0.5)
        nearest = np.abs(fullest - fullest.mean(axis=0)).sum(axis=1).argmin()
        top, left = (int(value) for value in fullest[nearest])
        places.append((slice(top, top + rows), slice(left, left + columns)))
    return places


def with_frames(
    picture: Picture, places: Sequence[Place], width: int, names: Sequence[str] | None = None, line_px: int = 2
) -> Drawing:
    """A picture, scaled to a width, with a frame around each place, named, or numbered from 1."""
    drawing = Drawing.of(scaled_to_width(picture, width))
    scale = width / picture.shape[1]
    for number, (rows, columns) in enumerate(places, start=1):
        name = str(number) if names is None else names[number - 1]
        colour = _FRAMES[(number - 1) % len(_FRAMES)]
        top, left = max(rows.start * scale - line_px, 0), max(columns.start * scale - line_px, 0)
        bottom = min(rows.stop * scale + line_px, drawing.size_hw[0])
        right = min(columns.stop * scale + line_px, drawing.size_hw[1])
        drawing.marks += [Box(left, top, right - left, bottom - top, colour, line_px), *_label(name, number, left, top)]
    return drawing


def closer(picture: Picture, place: Place, number: int | None, width: int) -> Drawing:
    """A place of a picture at another width, its pixels visible, in the frame that `with_frames` gives it."""
    part = scaled_to_width(np.ascontiguousarray(picture[place]), width)
    if number is None:
        return Drawing.of(part)
    colour = _FRAMES[(number - 1) % len(_FRAMES)]
    drawing = Drawing.of(part)
    return Drawing(
        drawing.size_hw,
        [*drawing.marks, Box(0, 0, width, part.shape[0], colour, line_px=3), *_label(str(number), number, 0, 0)],
    )


def _label(name: str, number: int, left: float, top: float) -> list[Box | Words]:
    """On the frame's upper left corner."""
    colour = _FRAMES[(number - 1) % len(_FRAMES)]
    return [
        Box(left, top, font(12).getlength(name) + 6, 15, colour),
        Words(left + 3, top, name, 12, (0, 0, 0)),
    ]
