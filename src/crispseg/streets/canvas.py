"""The pinhole, the light, and a canvas that paints image and labels in one stroke.

World coordinates are metres: x to the right of the camera's axis, y up from the ground, z ahead. Pixel coordinates
are u to the right and v down, with pixel centres at halves.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Camera", "Canvas", "Class", "Colour", "Grain", "Light", "noise_patch"]

Floats = npt.NDArray[np.float32]
Colour = tuple[float, float, float]
"""RGB, 0–255, under neutral light and without haze."""

_SUBPIXEL_BITS = 4
_SUBPIXELS = 1 << _SUBPIXEL_BITS


class Class(IntEnum):
    """Train ids of the packaged table ``toy_streets``."""

    SKY = 0
    BUILDING = 1
    ROAD = 2
    PAVEMENT = 3
    TREE = 4
    POLE = 5
    SIGN = 6
    FENCE = 7
    PERSON = 8
    CAR = 9


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks along z.

    Attributes:
        size_hw: of the picture.
        focal_px: pixels per metre at one metre's distance.
        centre_u: column of the vanishing point.
        horizon_v: row of the horizon.
        height_m: above the ground.
    """

    size_hw: tuple[int, int]
    focal_px: float
    centre_u: float
    horizon_v: float
    height_m: float

    def u(self, x: float, z: float) -> float:
        """Column of a point."""
        return self.centre_u + self.focal_px * x / z

    def sees(self, x: float, z: float, reach_m: float) -> bool:
        """Whether something at (x, z) that reaches so far to both sides may lie inside the picture."""
        return self.u(x + reach_m, z) >= 0 and self.u(x - reach_m, z) <= self.size_hw[1]

    def v(self, y: float, z: float) -> float:
        """Row of a point."""
        return self.horizon_v + self.focal_px * (self.height_m - y) / z

    def points(self, xyz: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
        """Columns and rows of points; z must be positive."""
        return [(self.u(x, z), self.v(y, z)) for x, y, z in xyz]


@dataclass(frozen=True)
class Light:
    """Sun, sky and air.

    Attributes:
        sun_side: −1 or 1: the side of the street behind whose walls the sun stands.
        sun: 0 overcast to 1 clear.
        shadow_per_m: ground offset (x, z) of the shadow of a point one metre high.
        haze: colour that distance fades to.
        haze_per_m: rate of that fading.
    """

    sun_side: int
    sun: float
    shadow_per_m: tuple[float, float]
    haze: Colour
    haze_per_m: float

    @functools.cached_property
    def haze_rgb(self) -> Floats:
        """(3,) float32."""
        return np.array(self.haze, dtype=np.float32)

    def fade(self, colour: Colour, z: float) -> Colour:
        """A colour as it looks from z metres away."""
        share = 1.0 - math.exp(-self.haze_per_m * z)
        (r, g, b), (hr, hg, hb) = colour, self.haze
        return r + (hr - r) * share, g + (hg - g) * share, b + (hb - b) * share


@dataclass
class Canvas:
    """Image and labels under the brush.

    Attributes:
        camera: projects what is painted in metres.
        light: fades what is painted at a distance.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 train ids.
    """

    camera: Camera
    light: Light
    image: npt.NDArray[np.uint8] = field(init=False)
    labels: npt.NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.image = np.zeros((*self.camera.size_hw, 3), dtype=np.uint8)
        self.labels = np.zeros(self.camera.size_hw, dtype=np.uint8)

    def polygon(self, uv: Sequence[tuple[float, float]], colour: Colour, label: int) -> None:
        """Fill a polygon given in pixels; it covers at least one pixel where it lies inside the picture."""
        # OpenCV puts pixel centres at whole numbers, this module at halves.
        fixed = [np.rint(np.array(uv) * _SUBPIXELS - 0.5 * _SUBPIXELS).astype(np.int32)]
        cv2.fillPoly(self.image, fixed, colour, cv2.LINE_8, _SUBPIXEL_BITS)
        cv2.fillPoly(self.labels, fixed, (label,), cv2.LINE_8, _SUBPIXEL_BITS)

    def face(self, xyz: Sequence[tuple[float, float, float]], colour: Colour, label: int) -> None:
        """Fill a polygon given in metres, faded by its nearest corner's distance."""
        nearest = min(z for _, _, z in xyz)
        self.polygon(self.camera.points(xyz), self.light.fade(colour, nearest), label)

    def flat(self, x: float, z: float, xy: Sequence[tuple[float, float]], colour: Colour, label: int) -> None:
        """Fill a polygon that faces the camera, its corners given in metres around the foot point (x, z)."""
        self.face([(x + dx, y, z) for dx, y in xy], colour, label)

    def disc(self, x: float, y: float, z: float, radii: tuple[float, float], colour: Colour, label: int) -> None:
        """Fill an ellipse that faces the camera."""
        self.flat(x, z, [(radii[0] * c, y + radii[1] * s) for c, s in _circle()], colour, label)

    def bar(
        self, x: float, z: float, bottom_top: tuple[float, float], width: float, colour: Colour, label: int
    ) -> None:
        """Fill an upright bar, `width` metres wide but never thinner than a pixel."""
        width_px = max(1, round(self.camera.focal_px * width / z))
        left = round(self.camera.u(x, z) - width_px / 2)
        top, bottom = (round(self.camera.v(y, z)) for y in (bottom_top[1], bottom_top[0]))
        bottom = max(bottom, top + 1)
        rows, columns = slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, left + width_px))
        self.image[rows, columns] = [min(255, max(0, int(c))) for c in self.light.fade(colour, z)]
        self.labels[rows, columns] = label

    def stamp(self, top: int, left: int, mask: npt.NDArray[np.bool_], colours: Floats, label: int) -> None:
        """Paint `colours` (h, w, 3) where `mask` (h, w) says, at a place that may lie partly outside."""
        height, width = self.labels.shape
        above, before = max(0, -top), max(0, -left)
        inside = slice(above, max(above, height - top)), slice(before, max(before, width - left))
        mask, colours = mask[inside], colours[inside]
        if mask.size == 0:
            return
        rows, columns = (
            slice(top + above, top + above + mask.shape[0]),
            slice(left + before, left + before + mask.shape[1]),
        )
        self.image[rows, columns][mask] = np.clip(colours[mask], 0, 255).astype(np.uint8)
        self.labels[rows, columns][mask] = label


@functools.cache
def _circle() -> list[tuple[float, float]]:
    turns = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    return [(float(np.cos(t)), float(np.sin(t))) for t in turns]


Grain = Literal["white", "fine", "mottled", "cloudy"]

_TILE = 256
_BANK = 768
_GRAIN_EXPONENT = {"white": 0.0, "fine": 0.6, "mottled": 1.2, "cloudy": 1.8}  # amplitude over frequency


@functools.cache
def _noise_bank(grain: Grain) -> Floats:
    """(768, 768): a tile of 256×256 noise, mean 0 and deviation 1, three times in each direction."""
    rng = np.random.default_rng(20)
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((_TILE, _TILE))) * frequency ** -_GRAIN_EXPONENT[grain]
    tile = np.fft.irfft2(spectrum, s=(_TILE, _TILE))
    tile = (tile - tile.mean()) / tile.std()
    return np.tile(tile.astype(np.float32), (_BANK // _TILE, _BANK // _TILE))


def noise_patch(rng: np.random.Generator, size_hw: tuple[int, int], grain: Grain) -> Floats:
    """A random cut of ready-made noise, which repeats after 256 pixels.

    Args:
        rng: draws the place.
        size_hw: of the patch.
        grain: how coarse its mottles are.

    Returns:
        (h, w) float32, about standard normal; a view, so do not change it in place.
    """
    bank = _noise_bank(grain)
    top, left = (int(v) for v in rng.integers(0, _TILE, 2))
    rows, columns = size_hw
    if top + rows <= _BANK and left + columns <= _BANK:
        return bank[top : top + rows, left : left + columns]
    return bank[np.arange(top, top + rows)[:, None] % _TILE, np.arange(left, left + columns)[None] % _TILE]
