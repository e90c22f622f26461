"""What stands still behind the things: sky, skyline, ground and the walls along the street."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crispseg.streets.canvas import Canvas, Class, Colour, noise_patch

__all__ = ["Block", "Street", "paint_backdrop", "plan_street"]

Floats = npt.NDArray[np.float32]
Rng = np.random.Generator

_MARKING: Colour = (212, 208, 196)
_SIDE_DEPTH_M = 14.0  # how far blocks reach away from the street


@dataclass(frozen=True)
class Block:
    """A house: from `near_m` to `far_m` along one side of the street."""

    side: int
    near_m: float
    far_m: float
    height_m: float
    colour: Colour
    storey_m: float
    bay_m: float  # one window per bay
    window_share: tuple[float, float]  # of the bay's width and of the storey's height


@dataclass(frozen=True)
class Street:
    """The plan of one street, in metres."""

    road_half_m: float
    road_centre_m: float
    wall_m: float  # the walls stand at x = ±wall_m
    crossing: tuple[float, float] | None  # a side street, from z to z
    zebra_z: float | None
    end_m: float
    closed_end: bool
    blocks: tuple[Block, ...]
    road_colour: Colour
    pavement_colour: Colour

    def kerb(self, side: int) -> float:
        """The x of the edge between road and pavement."""
        return self.road_centre_m + side * self.road_half_m


def plan_street(rng: Rng) -> Street:
    """Draw the plan of a street."""
    road_half = rng.uniform(2.8, 5.5)
    pavement = rng.uniform(1.6, 4.0)
    centre = rng.uniform(-0.5, 0.5) * (road_half - 1.5)
    near_side = rng.uniform(14, 40)
    crossing = (near_side, near_side + rng.uniform(6, 10)) if rng.random() < 0.6 else None
    end = rng.uniform(50, 110)
    wall = road_half + abs(centre) + pavement
    blocks = [block for side in (-1, 1) for block in _plan_blocks(rng, side, crossing, end)]
    zebra = None
    if rng.random() < 0.5:
        zebra = crossing[0] - rng.uniform(3.5, 5) if crossing else rng.uniform(7, 25)
    grey, pale = rng.uniform(62, 120), rng.uniform(105, 165)
    tint = rng.uniform(-9, 9, 2)
    return Street(
        road_half, centre, wall, crossing, zebra, end, bool(rng.random() < 0.45), tuple(blocks),
        (grey + tint[0], grey, grey - tint[0]), (pale + 6 + tint[1], pale, pale - 8 - tint[1]),
    )  # fmt: skip


def _plan_blocks(rng: Rng, side: int, crossing: tuple[float, float] | None, end: float) -> list[Block]:
    blocks = []
    gap_share = rng.choice([0.05, 0.3, 0.7])
    z = rng.uniform(0.5, 3.0)
    while z < end:
        far = min(z + rng.uniform(6, 20), end)
        if crossing and z < crossing[1] and far > crossing[0]:
            far = crossing[0]
        if far - z > 2 and rng.random() > gap_share:
            base = (
                np.array([rng.uniform(80, 205)] * 3)
                + rng.uniform(-1, 1) * np.array([38, 4, -34])
                + rng.uniform(-12, 12, 3)
            )
            storey = rng.uniform(2.8, 3.8)
            height = storey * rng.integers(2, 7) + rng.uniform(0.3, 1.5)
            share = (rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.65))
            r, g, b = (float(v) for v in base)
            blocks.append(Block(side, z, far, height, (r, g, b), storey, rng.uniform(1.6, 3.2), share))
        z = far
        if crossing and abs(z - crossing[0]) < 1e-6:
            z = crossing[1]
        elif rng.random() < 0.25:
            z += rng.uniform(1, 5)
    return blocks


def paint_backdrop(canvas: Canvas, street: Street, rng: Rng) -> None:
    """Paint everything that is further away than any thing, over the whole canvas."""
    image = np.empty((*canvas.labels.shape, 3), dtype=np.float32)
    _paint_sky(canvas, image, rng)
    _paint_skyline(canvas, image, street, rng)
    _paint_ground(canvas, image, street, rng)
    for block in sorted(street.blocks, key=lambda block: -block.near_m):
        _paint_block(canvas, image, street, block, rng)
    np.clip(image, 0, 255, out=image)
    canvas.image[...] = image


def _paint_sky(canvas: Canvas, image: Floats, rng: Rng) -> None:
    light = canvas.light
    height = image.shape[0]
    zenith = np.array([105, 150, 215]) * light.sun + np.array([175, 182, 190]) * (1 - light.sun)
    zenith = (zenith * rng.uniform(0.8, 1.1)).astype(np.float32)
    rise = (np.arange(height, dtype=np.float32) / max(1.0, canvas.camera.horizon_v)).clip(0, 1)[:, None, None] ** 1.5
    image[...] = zenith + (light.haze_rgb - zenith) * rise
    clouds = (noise_patch(rng, image.shape[:2], "cloudy") * 0.45 + rng.uniform(-0.6, 0.4)).clip(0, 0.85)[..., None]
    image += clouds * (rng.uniform(190, 250) - image)
    canvas.labels[...] = Class.SKY


def _paint_skyline(canvas: Canvas, image: Floats, street: Street, rng: Rng) -> None:
    """Trees and houses behind the end of the street, or a row of houses across it."""
    camera, width = canvas.camera, image.shape[1]
    columns = np.arange(width)
    rows = np.arange(image.shape[0])[:, None]
    z = street.end_m + 40
    per_m = camera.focal_px / z
    reach = noise_patch(rng, (1, width), "mottled")[0] * 1.6 + rng.uniform(4, 9)
    _fill_under(canvas, image, rows, camera.horizon_v - reach * per_m, (62, 88, 48), z, Class.TREE)
    x_m = (columns - camera.centre_u) / per_m
    row_of_houses = rng.uniform(-1.5, 1.5, 64) * 5 + 7
    heights = np.where(rng.random(64) < 0.6, row_of_houses, 0)[(x_m / rng.uniform(8, 16)).astype(int) % 64]
    _fill_under(canvas, image, rows, camera.horizon_v - heights * per_m, (128, 112, 104), z, Class.BUILDING)
    if street.closed_end:
        base = rng.uniform(90, 180)
        block = Block(
            0, street.end_m, street.end_m + 10, rng.uniform(8, 22), (base + 15, base, base - 12), 3.2,
            rng.uniform(1.8, 3), (0.45, 0.5),
        )  # fmt: skip
        reach_m = street.wall_m + _SIDE_DEPTH_M
        left, right = (round(camera.u(side * reach_m, street.end_m)) for side in (-1, 1))
        _paint_wall(canvas, image, block, (left, right), None, 0.9, rng)


def _fill_under(
    canvas: Canvas, image: Floats, rows: npt.NDArray[np.int64], top_v: Floats, colour: Colour, z: float, label: int
) -> None:
    mask = (rows >= top_v[None]) & (rows < canvas.camera.horizon_v + 1)
    image[mask] = canvas.light.fade(colour, z)
    canvas.labels[mask] = label


def _paint_ground(canvas: Canvas, image: Floats, street: Street, rng: Rng) -> None:
    camera, light = canvas.camera, canvas.light
    first = min(max(0, int(np.ceil(camera.horizon_v))), image.shape[0])
    v = np.arange(first, image.shape[0], dtype=np.float32)[:, None] + 0.5
    if v.size == 0:
        return
    z = camera.focal_px * camera.height_m / np.maximum(v - camera.horizon_v, 0.25)
    x = (np.arange(image.shape[1], dtype=np.float32)[None] + 0.5 - camera.centre_u) * z / camera.focal_px
    offset = x - street.road_centre_m
    on_road = np.abs(offset) < street.road_half_m
    if street.crossing:
        on_road |= (z > street.crossing[0]) & (z < street.crossing[1])
    if street.closed_end:
        on_road |= (z > street.end_m - 7) & (z < street.end_m)
    ground = np.array([street.pavement_colour, street.road_colour], dtype=np.float32)[on_road.view(np.uint8)]

    texture = noise_patch(rng, (256, 256), "fine")[(z * 14).astype(np.int32) & 255, (x * 14).astype(np.int32) & 255]
    stains = noise_patch(rng, (256, 256), "cloudy")[(z * 2).astype(np.int32) & 255, (x * 5).astype(np.int32) & 255]
    ground *= (1 + 0.09 * texture * np.exp(-z / 18) + 0.06 * stains)[..., None]

    near = np.exp(-z / 9)
    joints = ((x % 0.6 < 0.05) | (z % 0.9 < 0.07)) & ~on_road
    ground -= (26 * joints * near)[..., None]
    kerb = np.abs(np.abs(offset) - street.road_half_m - 0.1) < 0.1
    ground[kerb & ~on_road] += 22
    gutter = np.abs(np.abs(offset) - street.road_half_m + 0.08) < 0.08
    ground[gutter & on_road] -= 16

    marking = (np.abs(offset) < rng.uniform(0.06, 0.1)) & (z % 6 < rng.choice([3.0, 6.0]))
    if rng.random() < 0.4:
        marking |= np.abs(np.abs(offset) - street.road_half_m + 0.4) < 0.07
    if street.crossing:
        marking &= (z < street.crossing[0]) | (z > street.crossing[1])
    if street.zebra_z is not None:
        stripes = (z > street.zebra_z) & (z < street.zebra_z + 3)
        marking = np.where(stripes, (offset % 1.0 < 0.5) & (np.abs(offset) < street.road_half_m - 0.2), marking)
    worn = (0.75 + 0.12 * texture).clip(0.3, 1)
    painted = marking & on_road
    ground[painted] += (np.array(_MARKING, dtype=np.float32) - ground[painted]) * worn[painted][:, None]

    shaded = np.zeros_like(on_road)
    for block in street.blocks:
        if block.side == light.sun_side:
            reach = street.wall_m - min(block.height_m * abs(light.shadow_per_m[0]), 2 * street.wall_m)
            shaded |= (z > block.near_m) & (z < block.far_m) & (block.side * x > reach)
    ground *= (1 - 0.45 * light.sun * shaded)[..., None]
    share = 1 - np.exp(-light.haze_per_m * z)[..., None]
    image[first:] = ground + (light.haze_rgb - ground) * share
    canvas.labels[first:] = np.where(on_road, Class.ROAD, Class.PAVEMENT)


def _paint_block(canvas: Canvas, image: Floats, street: Street, block: Block, rng: Rng) -> None:
    """The end that looks at the camera, then the long wall along the street."""
    camera, light, width = canvas.camera, canvas.light, image.shape[1]
    corner = round(camera.u(block.side * street.wall_m, block.near_m))
    neighbour = next((b for b in street.blocks if b.side == block.side and b.far_m == block.near_m), None)
    if neighbour is None or neighbour.height_m < block.height_m:
        outer = round(camera.u(block.side * (street.wall_m + _SIDE_DEPTH_M), block.near_m))
        lit = 1.0 - 0.25 * light.sun
        _paint_wall(canvas, image, block, (min(corner, outer), max(corner, outer)), None, lit, rng)

    away = (np.arange(width, dtype=np.float32) + 0.5 - camera.centre_u) * block.side
    z = camera.focal_px * street.wall_m / np.maximum(away, 1e-3)
    far_end = round(camera.u(block.side * street.wall_m, block.far_m))
    lit = 1.0 + light.sun * (0.12 if block.side != light.sun_side else -0.38)
    _paint_wall(canvas, image, block, (min(corner, far_end), max(corner, far_end)), z, lit, rng)


def _paint_wall(
    canvas: Canvas,
    image: Floats,
    block: Block,
    left_right: tuple[int, int],
    z_of_column: Floats | None,
    lit: float,
    rng: Rng,
) -> None:
    """One wall with its windows; every column has one distance, `block.near_m` where none is given."""
    camera, light = canvas.camera, canvas.light
    left, right = max(0, left_right[0]), min(image.shape[1], left_right[1])
    if left >= right:
        return
    columns = np.arange(left, right, dtype=np.float32) + 0.5
    # One column stands for all where they are equally far: what follows broadcasts.
    z = np.array([block.near_m], dtype=np.float32) if z_of_column is None else z_of_column[left:right]
    v_top = camera.horizon_v - camera.focal_px * (block.height_m - camera.height_m) / z
    v_bottom = camera.horizon_v + camera.focal_px * camera.height_m / z
    top, bottom = max(0, int(v_top.min())), min(image.shape[0], math.ceil(v_bottom.max()))
    if top >= bottom:
        return
    v = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
    shape = (bottom - top, right - left)
    inside = np.broadcast_to((v >= v_top) & (v < v_bottom), shape)
    y = camera.height_m - (v - camera.horizon_v) * z / camera.focal_px
    along = (columns - camera.centre_u) * z / camera.focal_px if z_of_column is None else z - block.near_m

    bays, storeys = along / block.bay_m, y / block.storey_m
    in_bay, in_storey = bays - np.floor(bays), storeys - np.floor(storeys)
    window = (y < block.height_m - 0.5) & (y > block.storey_m) & (np.abs(in_storey - 0.55) < block.window_share[1] / 2)
    shop = (y < block.storey_m * 0.8) & (y > 0.5)
    panes = inside & (
        (window & (np.abs(in_bay - 0.5) < block.window_share[0] / 2)) | (shop & (np.abs(bays % 2 - 1) < 0.8))
    )
    ledge = (y > block.height_m - 0.45) | (np.abs(in_storey - 0.04) < 0.04)
    shade = lit * (1 - 0.22 * ledge) * (0.88 + 0.12 * np.clip(y / 4, 0, 1))
    if z.min() < 14:  # courses of stones, too fine further away
        shade = shade * (1 - 0.08 * ((y * 2 - np.floor(y * 2) < 0.25) & (z < 14)))
    shade = shade * (1 + 0.05 * noise_patch(rng, shape, "mottled"))

    clear = np.exp(-light.haze_per_m * z)[:, None]
    wall = (shade[..., None] * np.array(block.colour, dtype=np.float32)) * clear + light.haze_rgb * (1 - clear)
    rows_of_panes, columns_of_panes = np.nonzero(panes)
    brightness = rng.uniform(40, 102, (16, 16)).astype(np.float32)[
        np.broadcast_to(storeys, shape)[panes].astype(np.int32) & 15, bays.astype(np.int32)[columns_of_panes] & 15
    ]
    clear_panes = np.broadcast_to(clear, (shape[1], 1))[columns_of_panes]
    glass = (brightness[:, None] + np.array([-6, 2, 12], dtype=np.float32)) * (0.6 + 0.4 * lit)
    wall[rows_of_panes, columns_of_panes] = glass * clear_panes + light.haze_rgb * (1 - clear_panes)
    image[top:bottom, left:right][inside] = wall[inside]
    canvas.labels[top:bottom, left:right][inside] = Class.BUILDING
