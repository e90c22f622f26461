"""Pictures beside each other, with words: sheets and legends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from crispseg.labels import LabelSpace
from crispseg.pictures.colour import Picture
from crispseg.pictures.drawing import INK, Box, Drawing, Words, font, shortened
from crispseg.wording import printable

__all__ = ["draw_key", "draw_legend", "draw_sheet", "legend", "scaled_to_width", "sheet", "stack"]

Content = Picture | Drawing


def sheet(
    rows: Sequence[Sequence[Content]],
    captions: Sequence[str] | Sequence[Sequence[str]] | None = None,
    *,
    cell_width: int | None = None,
    gap: int = 8,
    font_px: int = 14,
) -> Picture:
    """Lay pictures out in a grid on white.

    Args:
        rows: pictures, row by row, each (H, W, 3) uint8, and drawings; rows may differ in length, pictures in size. A
            smaller picture stands at the top left of its cell.
        captions: one per column, above the first row; or one list per row, each caption above its picture.
        cell_width: pixels that every picture is scaled to, with its proportions kept; drawings stay as they are. None:
            so do pictures.
        gap: pixels between pictures and at the frame.
        font_px: height of the captions, or a little less in a row where one would be wider than its column. What is
            still wider ends in "…".

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if there is no picture, one is of another form, or captions and pictures differ in number.

    Example:
        >>> picture = np.zeros((10, 40, 3), dtype=np.uint8)
        >>> sheet([[picture, picture], [picture]], gap=2).shape
        (26, 86, 3)
    """
    return draw_sheet(rows, captions, cell_width=cell_width, gap=gap, font_px=font_px).to_array()


def draw_sheet(
    rows: Sequence[Sequence[Content]],
    captions: Sequence[str] | Sequence[Sequence[str]] | None = None,
    *,
    cell_width: int | None = None,
    gap: int = 8,
    font_px: int = 14,
) -> Drawing:
    """`sheet`, for print as well; see there."""
    if not rows or not any(len(row) for row in rows):
        raise ValueError("no pictures; at least one expected")
    grid = [
        [Drawing.of(one if isinstance(one, Drawing) else scaled_to_width(one, cell_width)) for one in row]
        for row in rows
    ]
    words = _captions_of(captions, [len(row) for row in grid])
    num_columns = max(len(row) for row in grid)
    widths = [max(row[i].size_hw[1] for row in grid if i < len(row)) for i in range(num_columns)]
    heights = [max((drawing.size_hw[0] for drawing in row), default=0) for row in grid]
    line = math.ceil(font_px * 1.4)
    heads = [line if any(row) else 0 for row in words]

    whole = Drawing(
        (sum(heights) + sum(heads) + gap * (len(grid) + 1), sum(widths) + gap * (num_columns + 1)),
    )
    top = gap
    for row, row_words, head, height in zip(grid, words, heads, heights, strict=True):
        left = gap
        size = _size_that_fits(row_words, widths, font_px)
        for drawing, text, width in zip(row, row_words, widths, strict=False):
            if text:
                whole.marks.append(Words(left, top + font_px - size, shortened(text, width, size), size))
            whole.place(drawing, left, top + head)
            left += width + gap
        top += head + height + gap
    return whole


def _size_that_fits(words: Sequence[str], widths: Sequence[int], font_px: int) -> int:
    """The largest font, down to seven tenths of the one asked for, in which all words fit into their widths."""
    smallest = math.ceil(0.7 * font_px)
    for size in range(font_px, smallest, -1):
        if all(font(size).getlength(printable(text)) <= width for text, width in zip(words, widths, strict=False)):
            return size
    return smallest


def stack(*drawings: Drawing) -> Drawing:
    """Drawings below each other, at the left."""
    whole = Drawing((sum(drawing.size_hw[0] for drawing in drawings), max(drawing.size_hw[1] for drawing in drawings)))
    top = 0
    for drawing in drawings:
        whole.place(drawing, 0, top)
        top += drawing.size_hw[0]
    return whole


def legend(
    label_space: LabelSpace, *, only: Sequence[int] | None = None, columns: int = 1, font_px: int = 14
) -> Picture:
    """Say which colour means which class.

    Args:
        label_space: names and colours.
        only: train ids to list, in this order; 255 is listed as "ignored". None: all classes.
        columns: filled one after the other.
        font_px: height of the names.

    Returns:
        (H, W, 3) uint8 on white.

    Raises:
        ValueError: if there is nothing to list, an id is not in the table, or `columns` is not positive.
    """
    return draw_legend(label_space, only=only, columns=columns, font_px=font_px).to_array()


def draw_legend(
    label_space: LabelSpace, *, only: Sequence[int] | None = None, columns: int = 1, font_px: int = 14
) -> Drawing:
    """`legend`, for print as well; see there."""
    ids = list(range(label_space.num_classes)) if only is None else [int(train_id) for train_id in only]
    unknown = [train_id for train_id in ids if not (0 <= train_id < label_space.num_classes or train_id == 255)]
    if unknown or not ids or columns < 1:
        raise ValueError(
            f"ids {ids} in {columns} columns; "
            f"ids in 0–{label_space.num_classes - 1} or 255, in at least one column, expected"
        )
    entries = [
        ("ignored" if train_id == 255 else label_space.class_names[train_id], label_space.palette[train_id])
        for train_id in ids
    ]
    return draw_key(
        [(name, (int(red), int(green), int(blue))) for name, (red, green, blue) in entries], columns, font_px
    )


def draw_key(entries: Sequence[tuple[str, tuple[int, int, int]]], columns: int = 1, font_px: int = 14) -> Drawing:
    """Say what colours mean, in columns that are filled one after the other."""
    line, gap = math.ceil(font_px * 1.5), math.ceil(font_px * 0.6)
    per_column = math.ceil(len(entries) / columns)
    used_columns = math.ceil(len(entries) / per_column)
    longest = min(max(font(font_px).getlength(name) for name, _ in entries), _LONGEST * font_px)
    column_width = line + gap + math.ceil(longest) + 2 * gap
    whole = Drawing((2 * gap + per_column * line, gap + used_columns * column_width))
    for position, (name, colour) in enumerate(entries):
        column, row = divmod(position, per_column)
        left, top = gap + column * column_width, gap + row * line
        side = line - 4
        whole.marks += [
            Box(left, top + 2, side, side, colour),
            Box(left, top + 2, side, side, INK, line_px=1),
            Words(left + line + gap // 2, top + (line - 1.2 * font_px) / 2, shortened(name, longest, font_px), font_px),
        ]
    return whole


_LONGEST = 24  # a name, in heights of its letters


def scaled_to_width(picture: Picture, width: int | None) -> Picture:
    """A picture of another width, with its proportions kept."""
    if width is None or picture.ndim != 3 or picture.shape[1] == width:
        return picture
    height = max(round(picture.shape[0] * width / picture.shape[1]), 1)
    # Enlarged label maps keep their hard pixels; made smaller, everything is averaged.
    method = Image.Resampling.NEAREST if width > picture.shape[1] else Image.Resampling.BOX
    return np.array(Image.fromarray(picture).resize((width, height), method))


def _captions_of(
    captions: Sequence[str] | Sequence[Sequence[str]] | None, row_lengths: Sequence[int]
) -> list[Sequence[str]]:
    """One list of captions per row."""
    if captions is None:
        return [[""] * length for length in row_lengths]
    headings = [caption for caption in captions if isinstance(caption, str)]
    words: list[Sequence[str]] = [caption for caption in captions if not isinstance(caption, str)]
    if headings and not words:
        if len(headings) != max(row_lengths):
            raise ValueError(f"{len(headings)} captions for {max(row_lengths)} columns; one per column expected")
        return [headings if index == 0 else [""] * length for index, length in enumerate(row_lengths)]
    if headings or [len(row) for row in words] != list(row_lengths):
        raise ValueError("captions do not fit the pictures; one per column, or one list per row with one per picture")
    return words
