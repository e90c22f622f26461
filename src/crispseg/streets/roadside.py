"""Trees, lamp posts, signs and fences."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.streets.canvas import Canvas, Class, Colour, Grain, noise_patch
from crispseg.streets.things import DARK, Rng, rectangle, scaled

__all__ = ["Fence", "LampPost", "SignPost", "Tree"]


@dataclass
class Tree:
    """A trunk under a ragged crown with holes."""

    x: float
    z: float
    height_m: float
    radius_m: float
    colour: Colour
    conifer: bool = False

    def shadow(self) -> tuple[float, float, float]:
        """Width, depth and height."""
        return self.radius_m, self.radius_m, self.height_m * 0.7

    def paint(self, canvas: Canvas, rng: Rng) -> None:
        """Paint image and labels."""
        crown_bottom = self.height_m - 2 * self.radius_m * (1.5 if self.conifer else 1.0)
        thick = 0.05 * self.height_m / 2
        trunk_top = max(crown_bottom, 0) + 0.8 * self.radius_m
        trunk = [(-thick, 0.0), (thick, 0.0), (0.6 * thick, trunk_top), (-0.6 * thick, trunk_top)]
        canvas.flat(self.x, self.z, trunk, (78, 62, 48), Class.TREE)
        canvas.flat(
            self.x, self.z, [(0.2 * thick, 0.0), trunk[1], trunk[2], (0.1, trunk_top)], (58, 46, 36), Class.TREE
        )
        self._paint_crown(canvas, rng, max(crown_bottom, 0.3))

    def _paint_crown(self, canvas: Canvas, rng: Rng, bottom: float) -> None:
        camera = canvas.camera
        reach = 1.25 * self.radius_m
        left, right = camera.u(self.x - reach, self.z), camera.u(self.x + reach, self.z)
        top_v, bottom_v = camera.v(self.height_m + 0.3, self.z), camera.v(bottom - 0.3, self.z)
        height, width = max(3, round(bottom_v - top_v)), max(3, round(right - left))
        # Close crowns reach far above the picture: compute a coarse one and enlarge it.
        coarse = max(1, height // 112, width // 112)
        rows, columns = max(3, height // coarse), max(3, width // coarse)
        v = np.linspace(-1.1, 1.1, rows, dtype=np.float32)[:, None]
        u = np.linspace(-1.25, 1.25, columns, dtype=np.float32)[None]
        clumps = _texture(rng, (rows, columns), 2.6 * self.radius_m, "mottled", per_m=7)
        leaves = _texture(rng, (rows, columns), 2.6 * self.radius_m, "fine", per_m=14)
        if self.conifer:
            distance = np.abs(u) / (0.06 + 0.38 * (v + 1.1)) + 0.3 * np.maximum(v - 0.8, 0)
        else:
            distance = np.full((rows, columns), 9.0, dtype=np.float32)
            for _ in range(6):
                cu, cv = rng.uniform(-0.45, 0.45, 2)
                ru, rv = rng.uniform(0.45, 0.75, 2)
                np.minimum(distance, ((u - cu) / ru) ** 2 + ((v - cv) / rv) ** 2, out=distance)
        mask = distance + 0.28 * clumps + 0.16 * leaves < 0.95
        mask &= clumps + 0.7 * leaves < 2.1 - 0.8 * np.clip(distance, 0, 1)
        sun = canvas.light.sun
        bright = 0.8 + 0.17 * leaves + 0.13 * clumps - 0.28 * v + 0.2 * sun * u * canvas.light.sun_side
        faded = np.array(canvas.light.fade(self.colour, self.z), dtype=np.float32)
        colours = bright.clip(0.25, 1.7)[..., None] * faded
        if coarse > 1:
            mask = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).view(np.bool_)
            colours = cv2.resize(colours, (width, height))
        canvas.stamp(round(top_v), round(left), mask, colours, Class.TREE)


@dataclass
class LampPost:
    """A tall thin pole with an arm over the road."""

    x: float
    z: float
    height_m: float
    colour: Colour
    arm_m: float  # towards the road: signed

    def shadow(self) -> tuple[float, float, float]:
        """Width, depth and height."""
        return 0.12, 0.12, self.height_m

    def paint(self, canvas: Canvas, rng: Rng) -> None:
        """Paint image and labels."""
        _paint_pole(canvas, self.x, self.z, self.height_m, 0.15, self.colour)
        if self.arm_m:
            thin = max(0.05, 0.5 / canvas.camera.focal_px * self.z)
            top = self.height_m
            arm = [(0, top - thin), (0, top + thin), (self.arm_m, top + 0.3 + thin), (self.arm_m, top + 0.3 - thin)]
            canvas.flat(self.x, self.z, arm, self.colour, Class.POLE)
            lamp = rectangle(self.arm_m, top + 0.3, 0.28, max(0.09, thin))
            canvas.flat(self.x, self.z, lamp, scaled(self.colour, 1.3), Class.POLE)


@dataclass
class SignPost:
    """A pole with a sign or a traffic light."""

    x: float
    z: float
    height_m: float
    kind: str  # one of KINDS
    colour: Colour

    KINDS = ("round", "triangle", "square", "diamond", "board", "back", "light")

    def shadow(self) -> tuple[float, float, float]:
        """Width, depth and height."""
        return 0.1, 0.1, self.height_m

    def paint(self, canvas: Canvas, rng: Rng) -> None:
        """Paint image and labels."""
        _paint_pole(canvas, self.x, self.z, self.height_m, 0.09, self.colour)
        x, y, z = self.x, self.height_m, self.z

        def plate(xy: list[tuple[float, float]], colour: Colour) -> None:
            canvas.flat(x, z, xy, colour, Class.SIGN)

        if self.kind == "round":
            canvas.disc(x, y, z, (0.36, 0.36), (188, 26, 30), Class.SIGN)
            canvas.disc(x, y, z, (0.26, 0.26), (232, 230, 224), Class.SIGN)
            plate(rectangle(0, y, 0.07, 0.14), DARK)
        elif self.kind == "triangle":
            plate([(-0.46, y - 0.3), (0.46, y - 0.3), (0, y + 0.5)], (190, 30, 32))
            plate([(-0.27, y - 0.19), (0.27, y - 0.19), (0, y + 0.28)], (234, 230, 220))
        elif self.kind == "square":
            plate(rectangle(0, y, 0.34, 0.34), (30, 72, 165))
            plate([(-0.22, y - 0.2), (0.22, y - 0.2), (0, y + 0.24)], (230, 232, 236))
        elif self.kind == "diamond":
            plate([(-0.45, y), (0, y - 0.45), (0.45, y), (0, y + 0.45)], (236, 234, 225))
            plate([(-0.33, y), (0, y - 0.33), (0.33, y), (0, y + 0.33)], (228, 180, 36))
        elif self.kind == "board":
            plate(rectangle(0, y, 1.0, 0.5), (226, 228, 226))
            plate(rectangle(0, y, 0.92, 0.42), (24, 92, 70) if self.height_m > 2.8 else (32, 66, 140))
            for row in (-0.16, 0.14):
                plate(rectangle(-0.15, y + row, 0.6, 0.06), (224, 226, 224))
        elif self.kind == "back":
            canvas.disc(x, y, z, (0.36, 0.36), (124, 126, 128), Class.SIGN)
        else:
            plate(rectangle(0, y, 0.19, 0.52), (34, 36, 34))
            lit = int(rng.integers(0, 3))
            for place, colour in enumerate(((226, 40, 32), (236, 176, 40), (48, 210, 120))):
                shown = colour if place == lit else (58, 56, 52)
                canvas.disc(x, y + 0.32 - 0.32 * place, z, (0.11, 0.11), shown, Class.SIGN)


@dataclass
class Fence:
    """A stretch of see-through fence, along the street (x fixed) or across it (z fixed)."""

    x: float
    z: float
    length_m: float
    along: bool
    colour: Colour
    height_m: float
    spacing_m: float
    picket_m: float

    def shadow(self) -> tuple[float, float, float]:
        """Width, depth and height."""
        return (0.05, self.length_m, 0.0) if self.along else (self.length_m, 0.05, 0.0)

    def paint(self, canvas: Canvas, rng: Rng) -> None:
        """Paint image and labels."""
        for y in (0.22 * self.height_m, 0.85 * self.height_m):
            self._paint_rail(canvas, y)
        # Closer pickets would be a grey veil without gaps, so only every second, fourth… one is painted.
        focal = canvas.camera.focal_px
        step_px = self.spacing_m * focal * (abs(self.x) / self.z**2 if self.along else 1 / self.z)
        wanted_px = max(3.0, 2 * focal * self.picket_m / self.z)
        spacing = self.spacing_m * 2 ** math.ceil(max(0.0, math.log2(wanted_px / max(step_px, 1e-3))))
        start = self.z if self.along else self.x
        first = math.ceil(start / spacing)
        last = math.floor((start + self.length_m) / spacing)
        # From far to near, where the fence runs away from the camera.
        for index in range(last, first - 1, -1):
            x, z = (self.x, index * spacing) if self.along else (index * spacing, self.z)
            shade = 0.85 + 0.3 * ((index * 7919) % 13) / 13
            canvas.bar(x, z, (0.0, self.height_m), self.picket_m, scaled(self.colour, shade), Class.FENCE)

    def _paint_rail(self, canvas: Canvas, y: float) -> None:
        ends = [(self.x, self.z), (self.x, self.z + self.length_m)]
        if not self.along:
            ends = [(self.x, self.z), (self.x + self.length_m, self.z)]
        (x0, z0), (x1, z1) = ends
        thick0, thick1 = (max(0.035, 0.4 * z / canvas.camera.focal_px) for z in (z0, z1))
        corners = [(x0, y - thick0, z0), (x0, y + thick0, z0), (x1, y + thick1, z1), (x1, y - thick1, z1)]
        canvas.face(corners, scaled(self.colour, 0.9), Class.FENCE)


def _paint_pole(canvas: Canvas, x: float, z: float, height_m: float, width_m: float, colour: Colour) -> None:
    canvas.bar(x, z, (0.0, height_m), width_m, colour, Class.POLE)
    if canvas.camera.focal_px * width_m / z >= 3:  # wide enough to show that it is round
        canvas.bar(x - 0.25 * width_m, z, (0.0, height_m), 0.3 * width_m, scaled(colour, 1.35), Class.POLE)


def _texture(rng: Rng, size_hw: tuple[int, int], width_m: float, grain: Grain, per_m: int) -> npt.NDArray[np.float32]:
    """Noise whose grain is fixed in metres, resampled to pixels."""
    columns = max(4, round(width_m * per_m))
    rows = max(4, round(columns * size_hw[0] / size_hw[1]))
    patch = noise_patch(rng, (min(rows, 400), min(columns, 400)), grain)
    shrink = cv2.INTER_AREA if patch.shape[0] > size_hw[0] else cv2.INTER_LINEAR
    resized: npt.NDArray[np.float32] = cv2.resize(patch, (size_hw[1], size_hw[0]), interpolation=shrink)
    return resized
