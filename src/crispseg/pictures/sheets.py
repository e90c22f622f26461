"""Pictures beside each other, with words: sheets and legends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crispseg.labels import LabelSpace
from crispseg.pictures.colour import Picture

__all__ = ["legend", "sheet"]

PAPER = (255, 255, 255)
INK = (24, 24, 28)


def sheet(
    rows: Sequence[Sequence[Picture]],
    captions: Sequence[str] | Sequence[Sequence[str]] | None = None,
    *,
    cell_width: int | None = None,
    gap: int = 8,
    font_px: int = 14,
) -> Picture:
    """Lay pictures out in a grid on white.

    Args:
        rows: pictures, row by row, each (H, W, 3) uint8; rows may differ in length, pictures in size. A smaller picture
            stands at the top left of its cell.
        captions: one per column, above the first row; or one list per row, each caption above its picture.
        cell_width: pixels that every picture is scaled to, with its proportions kept; None: as they are.
        gap: pixels between pictures and at the frame.
        font_px: height of the captions. Captions that are wider than their column end in "…".

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if there is no picture, one is of another form, or captions and pictures differ in number.

    Example:
        >>> picture = np.zeros((10, 40, 3), dtype=np.uint8)
        >>> sheet([[picture, picture], [picture]], gap=2).shape
        (26, 86, 3)
    """
    if not rows or not any(len(row) for row in rows):
        raise ValueError("no pictures; at least one expected")
    for picture in (picture for row in rows for picture in row):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or picture.size == 0:
            raise ValueError(f"a picture is {picture.dtype} {picture.shape}; uint8 (H, W, 3) expected")
    grid = [[_to_width(picture, cell_width) for picture in row] for row in rows]
    words = _captions_of(captions, [len(row) for row in grid])
    num_columns = max(len(row) for row in grid)
    widths = [max(row[i].shape[1] for row in grid if i < len(row)) for i in range(num_columns)]
    heights = [max((picture.shape[0] for picture in row), default=0) for row in grid]
    line = math.ceil(font_px * 1.4)
    heads = [line if any(row) else 0 for row in words]

    size = (sum(widths) + gap * (num_columns + 1), sum(heights) + sum(heads) + gap * (len(grid) + 1))
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    top = gap
    for row, row_words, head, height in zip(grid, words, heads, heights, strict=True):
        left = gap
        for picture, text, width in zip(row, row_words, widths, strict=False):
            if text:
                draw.text((left, top), _shortened(text, width, font_px), INK, font=_font(font_px))
            canvas.paste(Image.fromarray(picture), (left, top + head))
            left += width + gap
        top += head + height + gap
    return np.array(canvas)


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
    ids = list(range(label_space.num_classes)) if only is None else [int(train_id) for train_id in only]
    unknown = [train_id for train_id in ids if not (0 <= train_id < label_space.num_classes or train_id == 255)]
    if unknown or not ids or columns < 1:
        raise ValueError(
            f"ids {ids} in {columns} columns; "
            f"ids in 0–{label_space.num_classes - 1} or 255, in at least one column, expected"
        )
    names = ["ignored" if train_id == 255 else label_space.class_names[train_id] for train_id in ids]
    font, line, gap = _font(font_px), math.ceil(font_px * 1.5), math.ceil(font_px * 0.6)
    per_column = math.ceil(len(ids) / columns)
    used_columns = math.ceil(len(ids) / per_column)
    column_width = line + gap + math.ceil(max(font.getlength(name) for name in names)) + 2 * gap
    canvas = Image.new("RGB", (gap + used_columns * column_width, 2 * gap + per_column * line), PAPER)
    draw = ImageDraw.Draw(canvas)
    for position, (train_id, name) in enumerate(zip(ids, names, strict=True)):
        column, row = divmod(position, per_column)
        left, top = gap + column * column_width, gap + row * line
        colour = tuple(int(value) for value in label_space.palette[train_id])
        draw.rectangle((left, top + 2, left + line - 3, top + line - 3), fill=colour, outline=INK)
        draw.text((left + line + gap // 2, top + line / 2), name, INK, font=font, anchor="lm")
    return np.array(canvas)


def _to_width(picture: Picture, width: int | None) -> Picture:
    if width is None or picture.shape[1] == width:
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


def _shortened(text: str, width: int, font_px: int) -> str:
    """The text, or as much of it as fits."""
    font = _font(font_px)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


@lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows the letters of most languages."""
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size_px)
