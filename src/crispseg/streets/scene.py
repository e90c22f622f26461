"""A whole street from a seed: plan, light, things, paint, and a camera's faults."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.streets.backdrop import Street, paint_backdrop, plan_street
from crispseg.streets.canvas import Camera, Canvas, Class, Colour, Light, noise_patch
from crispseg.streets.movers import Car, Person
from crispseg.streets.roadside import Fence, LampPost, SignPost, Tree
from crispseg.streets.things import Thing

__all__ = ["make_street"]

Rng = np.random.Generator

_NEAR_M = 2.6  # nothing stands closer to the camera
_REACH_M = 10.0  # no thing reaches further from its place to the side
_SKINS: tuple[Colour, ...] = ((228, 190, 160), (196, 150, 118), (150, 104, 76), (98, 66, 48))
_HAIRS: tuple[Colour, ...] = ((32, 26, 24), (70, 46, 30), (150, 112, 66), (168, 166, 162))


def make_street(
    seed: int | Sequence[int], size_hw: tuple[int, int] = (192, 256)
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Paint a street.

    Args:
        seed: one or more non-negative numbers; the same give the same picture.
        size_hw: height and width, each at least 16.

    Returns:
        Image (H, W, 3) uint8 RGB and labels (H, W) uint8 train ids of the table ``toy_streets``. The camera's blur and
        noise are in the image only; the labels are exact.

    Raises:
        ValueError: if the size is smaller than 16.

    Example:
        >>> image, labels = make_street((0, 7), (96, 128))
        >>> image.shape, labels.shape, bool((make_street((0, 7), (96, 128))[0] == image).all())
        ((96, 128, 3), (96, 128), True)
    """
    height, width = size_hw
    if height < 16 or width < 16:
        raise ValueError(f"a toy street of {height}×{width} pixels was asked for; both must be at least 16")
    rng = np.random.default_rng(seed)
    camera = Camera(
        size_hw,
        focal_px=rng.uniform(0.75, 1.15) * float(np.sqrt(height * width)),
        centre_u=width * rng.uniform(0.3, 0.7),
        horizon_v=height * rng.uniform(0.36, 0.55),
        height_m=rng.uniform(1.3, 2.1),
    )
    light = _draw_light(rng)
    street = plan_street(rng)
    canvas = Canvas(camera, light)
    things = _place_things(street, rng)
    paint_backdrop(canvas, street, rng)
    _paint_shadows(canvas, things)
    for thing in sorted(things, key=lambda thing: -thing.z):
        if camera.sees(thing.x, thing.z, _REACH_M):
            thing.paint(canvas, rng)
    return _photograph(canvas, rng), canvas.labels


def _draw_light(rng: Rng) -> Light:
    side = int(rng.choice([-1, 1]))
    sun = float(rng.choice([0.1, 0.6, 1.0]))
    level = rng.uniform(165, 232)
    haze = (level - rng.uniform(0, 14), level - 2, level + rng.uniform(0, 14))
    # The sun stands behind the walls of its side, so shadows fall to the other one.
    shadow = (-side * rng.uniform(0.2, 0.9), rng.uniform(-0.3, 0.5))
    return Light(side, sun, shadow, haze, float(rng.uniform(0.001, 0.009)))


def _place_things(street: Street, rng: Rng) -> list[Thing]:
    things: list[Thing] = []
    things += _place_cars(street, rng)
    things += _place_people(street, rng)
    for side in (-1, 1):
        things += _place_roadside(street, side, rng)
    return [thing for thing in things if thing.z >= _NEAR_M]


def _place_cars(street: Street, rng: Rng) -> list[Thing]:
    cars: list[Thing] = []
    lanes: list[tuple[float, bool, float]] = []  # x, towards the camera, typical gap
    for side in (-1, 1):
        parked = street.road_half_m > 4 and rng.random() < 0.6
        driven_x = street.road_centre_m + side * (0.28 if parked else 0.48) * street.road_half_m
        lanes.append((driven_x, side < 0, rng.uniform(12, 40)))
        if parked:
            lanes.append((street.kerb(side) - side * 1.05, bool(rng.random() < 0.3), rng.uniform(6.5, 12)))
    for x, towards, gap in lanes:
        z = rng.uniform(3.5, 9 + gap)
        while z < street.end_m - 8:
            cars.append(Car(x + rng.uniform(-0.1, 0.1), z, _car_colour(rng), towards, bool(rng.random() < 0.15)))
            z += rng.uniform(6.5, 2 * gap)
    if street.crossing:
        for _ in range(rng.integers(0, 3)):
            z = rng.uniform(street.crossing[0] + 1.5, street.crossing[1] - 1.5)
            x = rng.uniform(-1.2, 1.2) * street.wall_m
            van = bool(rng.random() < 0.2)
            cars.append(Car(x, z, _car_colour(rng), bool(rng.random() < 0.5), van, across=True))
    return cars


def _place_people(street: Street, rng: Rng) -> list[Thing]:
    people: list[Thing] = []
    for _ in range(rng.integers(3, 11)):
        side = int(rng.choice([-1, 1]))
        inner, outer = street.kerb(side) + side * 0.4, side * (street.wall_m - 0.4)
        z = 4 + 36 * rng.random() ** 1.5
        x = rng.uniform(min(inner, outer), max(inner, outer))
        if street.zebra_z is not None and rng.random() < 0.3:
            x, z = rng.uniform(street.kerb(-1), street.kerb(1)), street.zebra_z + rng.uniform(0.3, 2.7)
        elif rng.random() < 0.08:
            x = rng.uniform(street.kerb(-1), street.kerb(1))
        height = rng.uniform(1.05, 1.4) if rng.random() < 0.15 else rng.uniform(1.55, 1.92)
        top, trousers = _colour(rng, (0, 0.8), (0.15, 0.95)), _colour(rng, (0, 0.6), (0.1, 0.6))
        skin, hair = _SKINS[rng.integers(4)], _HAIRS[rng.integers(4)]
        stride, coat, bag = rng.uniform(-1, 1), rng.random() < 0.3, rng.random() < 0.3
        people.append(Person(x, z, height, top, trousers, skin, hair, stride, bool(coat), bool(bag)))
    return people


def _place_roadside(street: Street, side: int, rng: Rng) -> list[Thing]:
    """Lamps, signs, trees and fences along one pavement."""
    things: list[Thing] = []
    kerb = street.kerb(side)
    crossing = street.crossing or (1e9, 1e9)

    def free(z: float) -> bool:
        return not crossing[0] - 0.5 < z < crossing[1] + 0.5

    metal = _colour(rng, (0, 0.15), (0.2, 0.7))
    spacing, height, arm = rng.uniform(10, 22), rng.uniform(4, 7.5), rng.choice([0.0, 1.4])
    for z in np.arange(rng.uniform(4, 4 + spacing), street.end_m, spacing):
        if free(z):
            things += [LampPost(kerb + side * 0.45, float(z), height, metal, -side * float(arm))]
    for _ in range(rng.integers(1, 5)):
        z = rng.uniform(4, 32)
        if free(z):
            kind = SignPost.KINDS[rng.integers(len(SignPost.KINDS))]
            things.append(SignPost(kerb + side * rng.uniform(0.3, 0.7), z, rng.uniform(2.1, 3.2), kind, metal))
    if street.crossing and rng.random() < 0.6:
        things.append(SignPost(kerb + side * 0.35, street.crossing[0] - 0.7, 3.1, "light", metal))
    things += _place_trees(street, side, rng)
    things += _place_fence(street, side, rng)
    return things


def _place_trees(street: Street, side: int, rng: Rng) -> list[Thing]:
    trees: list[Thing] = []
    crossing = street.crossing or (1e9, 1e9)
    avenue, spacing = rng.random() < 0.4, rng.uniform(7, 14)
    for z in np.arange(rng.uniform(6, 6 + spacing), street.end_m + 20, spacing):
        behind = not any(b.side == side and b.near_m - 2 < z < b.far_m + 2 for b in street.blocks)
        if crossing[0] - 1 < z < crossing[1] + 1 or not (avenue or (behind and rng.random() < 0.8)):
            continue
        x = street.kerb(side) + side * 0.9 if avenue and not behind else side * (street.wall_m + rng.uniform(1.5, 6))
        if avenue and not behind:
            height, radius = rng.uniform(4.5, 7), rng.uniform(1.2, 1.9)
        else:
            height, radius = rng.uniform(4, 9), rng.uniform(1.3, 2.6)
        green = colorsys.hsv_to_rgb(rng.uniform(0.17, 0.36), rng.uniform(0.3, 0.65), rng.uniform(0.35, 0.65))
        r, g, b = (255 * c for c in green)
        trees.append(Tree(x, float(z), height, radius, (r, g, b), bool(not avenue and rng.random() < 0.25)))
    return trees


def _place_fence(street: Street, side: int, rng: Rng) -> list[Thing]:
    """In stretches of two metres, so that things stand rightly before and behind them."""
    fences: list[Thing] = []
    wooden = rng.random() < 0.5
    colour = _colour(rng, (0, 0.5), (0.35, 0.95)) if wooden else _colour(rng, (0, 0.2), (0.1, 0.45))
    height = rng.uniform(0.9, 1.4)
    spacing, picket = (0.25, 0.11) if wooden else (0.3, 0.035)
    if rng.random() < 0.55:
        x = street.kerb(side) + side * 0.25 if rng.random() < 0.6 else side * (street.wall_m - 0.05)
        start = rng.uniform(3, 14)
        for z in np.arange(start, start + rng.uniform(6, 22), 2.0):
            if not (street.crossing and street.crossing[0] - 2 < z < street.crossing[1]):
                fences += [Fence(x, float(z), 2.0, True, colour, height, spacing, picket)]
    # Gardens between houses are closed to the street's end of the gap.
    near_ends = [block.far_m for block in street.blocks if block.side == side]
    for z in near_ends:
        if rng.random() < 0.5 and not (street.crossing and abs(z - street.crossing[0]) < 1):
            length = rng.uniform(4, 9)
            x = street.wall_m if side > 0 else -street.wall_m - length
            fences.append(Fence(x, z + 0.6, length, False, colour, height + 0.4, spacing, picket))
    return fences


def _paint_shadows(canvas: Canvas, things: Sequence[Thing]) -> None:
    """Darken the ground under and beside the things."""
    camera, light = canvas.camera, canvas.light
    under = np.zeros(canvas.labels.shape, dtype=np.uint8)
    cast = np.zeros(canvas.labels.shape, dtype=np.uint8)
    for thing in things:
        width, depth, height = thing.shadow()
        if isinstance(thing, Fence):
            continue
        z_near, z_far = max(1.5, thing.z - 0.1), thing.z + depth + 0.1
        half = width / 2
        foot = [(thing.x - half, z_near), (thing.x + half, z_near), (thing.x + half, z_far), (thing.x - half, z_far)]
        _fill_ground(camera, under, foot, 255)
        if light.sun > 0.3:
            dx, dz = (offset * height for offset in light.shadow_per_m)
            moved = [(x + dx, max(1.5, z + dz)) for x, z in foot]
            hull = cv2.convexHull(np.array([*foot, *moved], dtype=np.float32))[:, 0]
            _fill_ground(camera, cast, [(float(x), float(z)) for x, z in hull], round(255 * light.sun))
    ground = (canvas.labels == Class.ROAD) | (canvas.labels == Class.PAVEMENT)
    soft = max(0.6, 0.004 * canvas.labels.shape[0])
    dark = np.maximum(cv2.GaussianBlur(cast, (0, 0), soft) * 0.42, cv2.GaussianBlur(under, (0, 0), 2 * soft) * 0.55)
    kept = np.where(ground, 1 - dark / 255, 1).astype(np.float32)
    canvas.image[...] = canvas.image * kept[..., None]


def _fill_ground(camera: Camera, mask: npt.NDArray[np.uint8], xz: Sequence[tuple[float, float]], value: int) -> None:
    points = np.array(camera.points([(x, 0.0, z) for x, z in xz])).clip(-9999, 9999)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], (value,))


# How rough each class looks, as a share of its brightness.
_ROUGHNESS = np.zeros(256, dtype=np.float32)
_ROUGHNESS[[Class.TREE, Class.POLE, Class.SIGN, Class.FENCE, Class.PERSON, Class.CAR]] = [
    0.06,
    0.05,
    0.04,
    0.09,
    0.07,
    0.035,
]


def _photograph(canvas: Canvas, rng: Rng) -> npt.NDArray[np.uint8]:
    """Material texture, then a lens (blur, vignette) and a sensor (exposure, white balance, noise)."""
    height, width = canvas.labels.shape
    image = canvas.image.astype(np.float32)
    rough = _ROUGHNESS[canvas.labels] * noise_patch(rng, (height, width), "fine")
    v, u = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
    vignette = 1 - rng.uniform(0, 0.14) * (u**2 + v**2)
    exposure = rng.uniform(0.72, 1.18)
    image *= (exposure * vignette * (1 + rough))[..., None]
    image *= rng.uniform(0.94, 1.06, 3).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.75))
    image += cv2.merge([noise_patch(rng, (height, width), "white") for _ in range(3)]) * np.float32(rng.uniform(2, 6))
    return np.asarray(np.clip(image, 0, 255, out=image), dtype=np.uint8)


def _car_colour(rng: Rng) -> Colour:
    if rng.random() < 0.6:  # most cars are white, grey or black
        grey = rng.choice([42, 70, 110, 150, 190, 225]) + rng.uniform(-12, 12)
        return grey, grey, grey + 3
    return _colour(rng, (0.4, 0.85), (0.3, 0.8))


def _colour(rng: Rng, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return 255 * r, 255 * g, 255 * b
