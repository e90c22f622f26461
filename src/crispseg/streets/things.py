"""What every thing of a street can do, and the shapes that they share."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from crispseg.streets.canvas import Canvas, Colour

__all__ = ["DARK", "Rng", "Thing", "rectangle", "scaled", "shows_detail"]

Rng = np.random.Generator

DARK: Colour = (28, 29, 32)
"""Tyres, glyphs, shade."""


class Thing(Protocol):
    """Stands at (x, z) and paints itself; far things are painted before near ones."""

    x: float
    z: float

    def paint(self, canvas: Canvas, rng: Rng) -> None:
        """Paint image and labels."""
        ...

    def shadow(self) -> tuple[float, float, float]:
        """Width, depth and height in metres of what throws the shadow."""
        ...


def rectangle(x: float, y: float, half_w: float, half_h: float) -> list[tuple[float, float]]:
    """Corners of an upright rectangle around (x, y)."""
    return [(x - half_w, y - half_h), (x + half_w, y - half_h), (x + half_w, y + half_h), (x - half_w, y + half_h)]


def scaled(colour: Colour, factor: float) -> Colour:
    """A lighter or darker colour."""
    r, g, b = (min(255.0, c * factor) for c in colour)
    return r, g, b


def shows_detail(canvas: Canvas, z: float) -> bool:
    """Whether ten centimetres are about a pixel; below that, details would be painted larger than they are."""
    return canvas.camera.focal_px / z > 8
