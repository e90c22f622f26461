"""Drawings of pictures, words and lines: arrays for the screen, for print PDF and SVG whose words and lines stay sharp.

A drawing knows where everything stands, in pixels. It is painted by OpenCV and Pillow, or written by matplotlib.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from crispseg.errors import ConfigError
from crispseg.io import atomic_write, write_png
from crispseg.pictures.colour import Picture
from crispseg.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "INK", "PAPER", "Arrows", "Box", "Drawing", "Drawn", "Raster", "Words", "font", "shortened"]

FORMATS = ("png", "pdf", "svg")
"""What a drawing is written as."""

PAPER = (255, 255, 255)
INK = (24, 24, 28)

_DPI = 100
_STYLE: dict[str, Any] = {"svg.hashsalt": "crispseg", "pdf.fonttype": 42}  # equal drawings, equal files; text as text

Colour = tuple[int, int, int]


class Drawn(ABC):
    """What can be shown and written."""

    @abstractmethod
    def to_array(self) -> Picture:
        """(H, W, 3) uint8 RGB."""

    @abstractmethod
    def figure(self) -> Figure:
        """The same for matplotlib."""

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a file, which appears whole or not at all.

        Args:
            path: ending in ``.png``, ``.pdf`` or ``.svg``; the latter two hold words and lines as such.

        Raises:
            ConfigError: if it ends otherwise.
        """
        kind = Path(path).suffix.lower().removeprefix(".")
        if kind not in FORMATS:
            raise ConfigError(f"{os.fspath(path)}: a name that ends in .{', .'.join(FORMATS)} expected")
        if kind == "png":
            write_png(path, self.to_array())
            return
        undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
        with mpl.rc_context(_STYLE), atomic_write(path) as temporary:
            self.figure().savefig(temporary, format=kind, metadata=undated)


@dataclass(frozen=True)
class Raster:
    """A picture, its upper left corner at (left, top)."""

    left: float
    top: float
    picture: Picture

    def moved(self, right: float, down: float) -> Raster:
        """The same elsewhere."""
        return replace(self, left=self.left + right, top=self.top + down)

    def paint(self, canvas: Picture) -> None:
        """On pixels."""
        height, width = self.picture.shape[:2]
        left, top = round(self.left), round(self.top)
        canvas[top : top + height, left : left + width] = self.picture

    def plot(self, axes: Axes) -> None:
        """On paper."""
        height, width = self.picture.shape[:2]
        extent = (self.left, self.left + width, self.top + height, self.top)
        axes.imshow(self.picture, extent=extent, interpolation="none", aspect="auto")


@dataclass(frozen=True)
class Words:
    """A line of text, its upper left corner at (left, top), `px` high."""

    left: float
    top: float
    text: str
    px: int
    colour: Colour = INK

    def moved(self, right: float, down: float) -> Words:
        """The same elsewhere."""
        return replace(self, left=self.left + right, top=self.top + down)

    def paint(self, canvas: Picture) -> None:
        """On pixels."""
        left, top = max(round(self.left), 0), max(round(self.top), 0)
        width = math.ceil(font(self.px).getlength(printable(self.text))) + 2
        part = canvas[top : top + 2 * self.px, left : left + width]
        if not part.size:
            return
        image = Image.fromarray(part)
        ImageDraw.Draw(image).text((0, 0), printable(self.text), self.colour, font=font(self.px))
        part[:] = np.asarray(image)

    def plot(self, axes: Axes) -> None:
        """On paper."""
        axes.text(
            self.left,
            self.top + font(self.px).getmetrics()[0],
            printable(self.text),
            fontsize=self.px * 72 / _DPI,
            color=_share(self.colour),
            va="baseline",
            family="DejaVu Sans",
            parse_math=False,
        )


@dataclass(frozen=True)
class Box:
    """A rectangle: a line of `line_px` just inside its edge, or, with 0, filled."""

    left: float
    top: float
    width: float
    height: float
    colour: Colour
    line_px: int = 0

    def moved(self, right: float, down: float) -> Box:
        """The same elsewhere."""
        return replace(self, left=self.left + right, top=self.top + down)

    def paint(self, canvas: Picture) -> None:
        """On pixels."""
        left, top = max(round(self.left), 0), max(round(self.top), 0)
        part = canvas[top : round(self.top + self.height), left : round(self.left + self.width)]
        line = self.line_px
        if line == 0 or 2 * line >= min(part.shape[:2]):
            part[:] = self.colour
            return
        part[:line] = part[-line:] = self.colour
        part[:, :line] = part[:, -line:] = self.colour

    def plot(self, axes: Axes) -> None:
        """On paper."""
        from matplotlib.patches import Rectangle

        inside, colour = self.line_px / 2, _share(self.colour)
        axes.add_patch(
            Rectangle(
                (self.left + inside, self.top + inside),
                self.width - 2 * inside,
                self.height - 2 * inside,
                fill=self.line_px == 0,
                facecolor=colour,
                edgecolor=colour,
                linewidth=self.line_px * 72 / _DPI,
            )
        )


@dataclass(frozen=True, eq=False)
class Arrows:
    """Arrows from and to points (N, 2), x before y."""

    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    colour: Colour = INK

    def moved(self, right: float, down: float) -> Arrows:
        """The same elsewhere."""
        shift = np.array([right, down], dtype=np.float64)
        return replace(self, starts=self.starts + shift, ends=self.ends + shift)

    def paint(self, canvas: Picture) -> None:
        """On pixels, sixteenths of them."""
        for start, end in zip(self.starts, self.ends, strict=True):
            length = max(float(np.hypot(*(end - start))), 1e-6)
            # OpenCV counts from the middle of the first pixel, we count from its corner.
            points = [tuple(int(value) for value in np.rint(16 * (point - 0.5))) for point in (start, end)]
            cv2.arrowedLine(
                canvas, points[0], points[1], self.colour, 1, cv2.LINE_AA, shift=4, tipLength=min(_TIP_PX / length, 0.5)
            )

    def plot(self, axes: Axes) -> None:
        """On paper."""
        steps = self.ends - self.starts
        axes.quiver(
            *self.starts.T,
            *steps.T,
            color=_share(self.colour),
            angles="xy",
            scale_units="xy",
            scale=1,
            units="xy",
            width=1,
            headwidth=5,
            headlength=_TIP_PX,
            headaxislength=_TIP_PX,
            minlength=0,
        )


_TIP_PX = 5

Mark = Raster | Words | Box | Arrows


class Drawing(Drawn):
    """Marks on white, the later over the earlier.

    Args:
        size_hw: height and width in pixels.
        marks: at their places.

    Example:
        >>> drawing = Drawing((20, 40), [Box(0, 0, 10, 20, (200, 0, 0))])
        >>> drawing.to_array()[0, [0, 39]].tolist()
        [[200, 0, 0], [255, 255, 255]]
    """

    def __init__(self, size_hw: tuple[int, int], marks: Sequence[Mark] = ()) -> None:
        self.size_hw = size_hw
        self.marks: list[Mark] = list(marks)

    @classmethod
    def of(cls, content: Picture | Drawing) -> Drawing:
        """A drawing as it is, and a picture as a drawing.

        Raises:
            ValueError: if it is neither.
        """
        if isinstance(content, Drawing):
            return content
        if content.ndim != 3 or content.shape[2] != 3 or content.dtype != np.uint8 or content.size == 0:
            raise ValueError(f"a picture is {content.dtype} {content.shape}; uint8 (H, W, 3) expected")
        return cls((content.shape[0], content.shape[1]), [Raster(0, 0, content)])

    def place(self, other: Drawing, left: float, top: float) -> None:
        """Put another drawing's marks here, its upper left corner at (left, top)."""
        self.marks += [mark.moved(left, top) for mark in other.marks]

    def to_array(self) -> Picture:
        """(H, W, 3) uint8 RGB."""
        canvas = np.full((*self.size_hw, 3), PAPER, dtype=np.uint8)
        for mark in self.marks:
            mark.paint(canvas)
        return canvas

    def figure(self) -> Figure:
        """A figure of matplotlib whose data are pixels."""
        from matplotlib.figure import Figure

        height, width = self.size_hw
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_autoscale_on(False)
        axes.set_axis_off()
        for order, mark in enumerate(self.marks):
            known = set(axes.get_children())
            mark.plot(axes)
            for artist in set(axes.get_children()) - known:
                artist.set_zorder(order + 10)
        return figure


@lru_cache(maxsize=8)
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows the letters of most languages."""
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size_px)


def shortened(text: str, width: float, font_px: int) -> str:
    """The text, or as much of it as fits into a width."""
    text, letters = printable(text), font(font_px)
    if letters.getlength(text) <= width:
        return text
    while text and letters.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _share(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
