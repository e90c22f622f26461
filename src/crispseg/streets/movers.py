"""Cars and people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crispseg.streets.canvas import Canvas, Class, Colour
from crispseg.streets.things import DARK, Rng, rectangle, scaled, shows_detail

__all__ = ["Car", "Person"]

_GLASS: Colour = (48, 58, 70)
# Side outline of a car seen from behind: metres ahead of the rear bumper, metres up.
_CAR_OUTLINE = (
    (0.0, 0.35),
    (0.0, 0.95),
    (0.35, 1.0),
    (0.75, 1.45),
    (2.3, 1.45),
    (3.05, 0.98),
    (4.1, 0.85),
    (4.2, 0.35),
)
_CAR_WINDOWS = ((0.75, 1.02), (0.95, 1.36), (2.2, 1.36), (2.75, 1.02))
_VAN_OUTLINE = ((0.0, 0.35), (0.0, 2.1), (4.3, 2.15), (5.0, 1.25), (5.4, 1.1), (5.4, 0.35))
_VAN_WINDOWS = ((3.6, 1.3), (3.6, 1.9), (4.25, 1.9), (4.7, 1.3))
_OCTAGON = [(float(np.cos(t)), float(np.sin(t))) for t in np.linspace(0, 2 * np.pi, 12, endpoint=False)]


@dataclass
class Car:
    """A car or van along the street, seen from behind or from the front, or across it, seen from the side."""

    x: float
    z: float
    colour: Colour
    towards: bool = False
    van: bool = False
    across: bool = False
    half_m: float = 0.88

    def shadow(self) -> tuple[float, float, float]:
        """Width, depth and height."""
        return (4.2, 1.8, 1.2) if self.across else (2 * self.half_m, 5.4 if self.van else 4.2, 1.2)

    def paint(self, canvas: Canvas, rng: Rng) -> None:
        """Paint image and labels."""
        if self.across:
            self._paint_across(canvas)
            return
        self._paint_side(canvas)
        if self.towards:
            self._paint_front(canvas)
        else:
            self._paint_rear(canvas)

    @property
    def _length_m(self) -> float:
        return self._outline[-1][0]

    @property
    def _outline(self) -> tuple[tuple[float, float], ...]:
        return _VAN_OUTLINE if self.van else _CAR_OUTLINE

    def _ahead(self, along: float) -> float:
        """The z of a point of the outline, which starts at the rear bumper."""
        return self.z + (self._length_m - along if self.towards else along)

    def _paint_side(self, canvas: Canvas) -> None:
        side = -1 if self.x > 0 else 1
        x = self.x + side * self.half_m
        if x * side > 0:  # the camera looks straight along the car
            x = self.x
        body = scaled(self.colour, 0.72)
        windows = _VAN_WINDOWS if self.van else _CAR_WINDOWS
        canvas.face([(x, y, self._ahead(a)) for a, y in self._outline], body, Class.CAR)
        canvas.face([(x, y, self._ahead(a)) for a, y in windows], _GLASS, Class.CAR)
        for along in (0.8, self._length_m - 0.85):
            rim = [(along + 0.33 * c, 0.33 + 0.33 * s) for c, s in _OCTAGON]
            canvas.face([(x, y, self._ahead(a)) for a, y in rim], DARK, Class.CAR)
            if not shows_detail(canvas, self.z):
                continue
            hub = [(along + 0.16 * c, 0.33 + 0.16 * s) for c, s in _OCTAGON]
            canvas.face([(x, y, self._ahead(a)) for a, y in hub], (120, 120, 122), Class.CAR)

    def _paint_rear(self, canvas: Canvas) -> None:
        w, top = self.half_m, 2.1 if self.van else 1.45
        self._paint_wheels(canvas)
        back = [(-w, 0.32), (w, 0.32), (w, 0.95), (0.84 * w, top), (-0.84 * w, top), (-w, 0.95)]
        canvas.flat(self.x, self.z, back, self.colour, Class.CAR)
        window = [(-0.82 * w, 1.0), (0.82 * w, 1.0), (0.72 * w, top - 0.1), (-0.72 * w, top - 0.1)]
        canvas.flat(self.x, self.z, window, _GLASS, Class.CAR)
        self._paint_lights(canvas, (190, 28, 24), 0.72)
        if not shows_detail(canvas, self.z):
            return
        canvas.flat(self.x, self.z, rectangle(0, 0.62, 0.25, 0.06), (225, 222, 200), Class.CAR)
        canvas.flat(self.x, self.z, rectangle(0, 0.4, w, 0.06), scaled(self.colour, 0.6), Class.CAR)

    def _paint_front(self, canvas: Canvas) -> None:
        w, z = self.half_m, self.z
        roof, slope_start, slope_end = (2.15, 0.4, 1.1) if self.van else (1.45, 1.1, 1.9)
        sill = 1.15 if self.van else 0.97
        self._paint_wheels(canvas)
        pillar = [(-w, sill, z + slope_start), (w, sill, z + slope_start), (0.84 * w, roof, z + slope_end)]
        canvas.face(_shifted(self.x, [*pillar, (-0.84 * w, roof, z + slope_end)]), self.colour, Class.CAR)
        glass = [(-0.9 * w, sill + 0.03, z + slope_start), (0.9 * w, sill + 0.03, z + slope_start)]
        glass += [(0.76 * w, roof - 0.07, z + slope_end), (-0.76 * w, roof - 0.07, z + slope_end)]
        canvas.face(_shifted(self.x, glass), (66, 78, 90), Class.CAR)
        hood = [(-w, 0.8, z), (w, 0.8, z), (w, sill, z + slope_start), (-w, sill, z + slope_start)]
        canvas.face(_shifted(self.x, hood), scaled(self.colour, 1.12), Class.CAR)
        canvas.flat(self.x, z, rectangle(0, 0.56, w, 0.25), self.colour, Class.CAR)
        self._paint_lights(canvas, (240, 238, 215), 0.66)
        if not shows_detail(canvas, self.z):
            return
        canvas.flat(self.x, z, rectangle(0, 0.58, 0.5 * w, 0.09), DARK, Class.CAR)
        canvas.flat(self.x, z, rectangle(0, 0.4, 0.25, 0.05), (225, 222, 200), Class.CAR)

    def _paint_wheels(self, canvas: Canvas) -> None:
        for side in (-1, 1):
            canvas.flat(self.x, self.z, rectangle(side * 0.8 * self.half_m, 0.22, 0.11, 0.22), DARK, Class.CAR)
        canvas.flat(self.x, self.z, rectangle(0, 0.27, self.half_m * 0.95, 0.1), DARK, Class.CAR)

    def _paint_lights(self, canvas: Canvas, colour: Colour, y: float) -> None:
        for side in (-1, 1):
            canvas.flat(self.x, self.z, rectangle(side * 0.8 * self.half_m, y, 0.13, 0.08), colour, Class.CAR)

    def _paint_across(self, canvas: Canvas) -> None:
        length, turn = self._length_m, -1 if self.towards else 1
        place = [(turn * (a - length / 2), y) for a, y in self._outline]
        canvas.flat(self.x, self.z, place, self.colour, Class.CAR)
        lower = [(turn * (a - length / 2), min(y, 0.6)) for a, y in self._outline]
        canvas.flat(self.x, self.z, lower, scaled(self.colour, 0.75), Class.CAR)
        windows = [(turn * (a - length / 2), y) for a, y in (_VAN_WINDOWS if self.van else _CAR_WINDOWS)]
        canvas.flat(self.x, self.z, windows, _GLASS, Class.CAR)
        for along in (0.8, length - 0.85):
            centre = turn * (along - length / 2)
            canvas.disc(self.x + centre, 0.33, self.z, (0.34, 0.33), DARK, Class.CAR)
            canvas.disc(self.x + centre, 0.33, self.z, (0.18, 0.18), (128, 128, 130), Class.CAR)


@dataclass
class Person:
    """Someone who stands or walks."""

    x: float
    z: float
    height_m: float
    top: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    stride: float  # −1 to 1
    coat: bool = False
    bag: bool = False

    def shadow(self) -> tuple[float, float, float]:
        """Width, depth and height."""
        return 0.45, 0.3, self.height_m

    def paint(self, canvas: Canvas, rng: Rng) -> None:
        """Paint image and labels."""
        k = self.height_m / 1.75
        label = Class.PERSON
        detail = shows_detail(canvas, self.z)

        def part(xy: list[tuple[float, float]], colour: Colour) -> None:
            canvas.flat(self.x, self.z, [(a * k, b * k) for a, b in xy], colour, label)

        for leg in (-1, 1):
            foot = leg * (0.08 + 0.24 * abs(self.stride)) + 0.05 * self.stride
            shade = 0.8 if leg < 0 else 1.0
            part(
                [(leg * 0.01, 0.88), (leg * 0.17, 0.88), (foot + 0.065, 0.05), (foot - 0.065, 0.05)],
                scaled(self.trousers, shade),
            )
            if not detail:
                continue
            part([(foot - 0.08, 0.0), (foot + 0.12, 0.0), (foot + 0.07, 0.08), (foot - 0.07, 0.08)], (38, 32, 30))
        for arm in (-1, 1):
            hand = arm * (0.24 + 0.14 * abs(self.stride))
            part(
                [(arm * 0.15, 1.42), (arm * 0.26, 1.38), (hand + 0.05, 0.86), (hand - 0.05, 0.86)],
                scaled(self.top, 0.82),
            )
            if not detail:
                continue
            part([(hand - 0.05, 0.86), (hand + 0.05, 0.86), (hand + 0.04, 0.77), (hand - 0.04, 0.77)], self.skin)
        hem = 0.5 if self.coat else 0.84
        part([(-0.2, 1.44), (0.2, 1.44), (0.25, 1.36), (0.19, hem), (-0.19, hem), (-0.25, 1.36)], self.top)
        if detail:
            part([(0.02, 1.44), (0.2, 1.44), (0.25, 1.36), (0.19, hem), (0.08, hem)], scaled(self.top, 0.85))
        if self.bag and detail:
            part([(0.15, 1.1), (0.34, 1.1), (0.36, 0.78), (0.14, 0.78)], scaled(self.trousers, 1.3))
        part([(-0.05, 1.42), (0.05, 1.42), (0.05, 1.52), (-0.05, 1.52)], self.skin)
        canvas.disc(self.x, 1.61 * k, self.z, (0.105 * k, 0.135 * k), self.hair, label)
        canvas.disc(self.x + 0.02 * k, 1.58 * k, self.z, (0.08 * k, 0.1 * k), self.skin, label)


def _shifted(x: float, xyz: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    return [(x + dx, y, z) for dx, y, z in xyz]
