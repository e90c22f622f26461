"""Maps of a head with their scales: a bar for shares, a wheel and arrows for flows."""

from __future__ import annotations

import numpy as np

from crispseg.ops.arrays import ArrayLike, to_array
from crispseg.pictures.arrays import enlarge
from crispseg.pictures.colour import Picture
from crispseg.pictures.drawing import Arrows, Drawing, Raster, Words
from crispseg.pictures.features import flow_picture, gate_picture
from crispseg.pictures.labels import faded
from crispseg.pictures.sheets import draw_sheet

__all__ = ["draw_flow", "draw_share_bar", "flow_arrows", "flow_wheel"]

_FONT_PX = 13


def draw_share_bar(low: str = "0", high: str = "1", width: int = 240) -> Drawing:
    """The colours of `gate_picture` from 0 to 1, with a word for either end."""
    bar = gate_picture(np.linspace(0, 1, width // 2)[None], (14, width // 2))
    drawing = Drawing((20, 2 * width))
    drawing.place(Drawing.of(bar), 8, 3)
    drawing.marks.append(Words(width // 2 + 16, 2, f"{low} to {high}", _FONT_PX))
    return drawing


def flow_wheel(diameter_px: int = 96) -> Picture:
    """The colours of `flow_picture`: at a point of the disk that of a flow from its middle to there.

    Args:
        diameter_px: of the disk, and side of the picture.

    Returns:
        (H, W, 3) uint8, white outside of the disk.

    Example:
        >>> wheel = flow_wheel(65)
        >>> wheel[32, 32].tolist(), wheel[32, 64].tolist(), wheel[0, 0].tolist()
        ([255, 255, 255], [255, 0, 0], [255, 255, 255])
    """
    along = np.linspace(-1, 1, diameter_px)
    x, y = np.meshgrid(along, along)
    wheel = flow_picture(np.stack([x, y]), longest_px=1.0)
    wheel[np.hypot(x, y) > 1 + 1e-9] = 255
    return wheel


def flow_arrows(flow_px: ArrayLike, size_hw: tuple[int, int], step_px: int = 20) -> tuple[Arrows, float]:
    """Arrows of a flow field over an image, from a cell to where it takes its feature from.

    Args:
        flow_px: (2, h, w), x to the right and y down, in cells.
        size_hw: of the image in pixels.
        step_px: between arrows, and as long as the longest of them are.

    Returns:
        The arrows in pixels of the image, and how many times longer than true they are. Arrows below half a pixel are
        left out.
    """
    flow = to_array(flow_px).astype(np.float32)
    height, width = size_hw
    field = enlarge(np.ascontiguousarray(flow.transpose(1, 2, 0)), size_hw)
    pixels_a_cell = np.array([width / flow.shape[2], height / flow.shape[1]], dtype=np.float64)
    rows = np.arange(min(step_px // 2, height - 1), height, step_px)
    columns = np.arange(min(step_px // 2, width - 1), width, step_px)
    steps = field[np.ix_(rows, columns)].reshape(-1, 2) * pixels_a_cell
    x, y = np.meshgrid(columns, rows)
    starts = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
    longest = float(np.hypot(*steps.T).max())
    times = step_px / longest if longest > 0 else 1.0
    steps = steps * times
    seen = np.hypot(*steps.T) >= 0.5
    return Arrows(starts[seen], starts[seen] + steps[seen]), times


def draw_flow(flow_px: ArrayLike, image: Picture) -> Drawing:
    """A flow field in colours and as arrows on the faded image, with the wheel that its colours are read by.

    Args:
        flow_px: (2, h, w), x to the right and y down, in cells.
        image: (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if the shape does not fit or a value is not finite.
    """
    height, width = image.shape[:2]
    colours = flow_picture(flow_px, (height, width))
    arrows, times = flow_arrows(flow_px, (height, width))
    longest = float(np.hypot(*to_array(flow_px).astype(np.float32)).max())
    over_image = Drawing((height, width), [Raster(0, 0, faded(image)), arrows])
    wheel = Drawing.of(flow_wheel(_WHEEL_PX))
    return draw_sheet(
        [[colours, over_image, wheel]],
        ["flow: colours of the wheel", f"arrows, {times:.1f} × as long", f"rim: {longest:.2g} cells"],
    )


_WHEEL_PX = 112
