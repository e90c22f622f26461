"""Plots of scores, drawn by matplotlib into arrays: no window, and no state that outlives a call."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crispseg.pictures.colour import Picture

__all__ = ["plot_iou_at_distance"]

_DPI = 100
_COLOURS = ("#0b6e75", "#c2571a", "#5b4a9e", "#8a6a2b", "#a02c5d", "#3d7a2f", "#44546a")
_MARKERS = "osD^vPX"
_SMALLEST_HW = (240, 320)  # where the words still fit


def plot_iou_at_distance(
    mean_iou: Mapping[str, Mapping[float, float]], *, size_hw: tuple[int, int] = (420, 640)
) -> Picture:
    """Plot mIoU over the crop factor, a line per run, as figure 5 of GSCNN (Takikawa et al., ICCV 2019) does.

    Runs differ by colour and by marker, for those who do not tell the colours apart.

    Args:
        mean_iou: by run and crop factor in pixels, in [0, 1]; NaN, for crops that no image has room for, is left out.
        size_hw: of the picture, at least 240×320.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if no run has a value, a value is not in [0, 1], or the picture is too small for its words.

    Example:
        >>> plot_iou_at_distance({"plain": {0: 0.78, 400: 0.55}, "gscnn": {0: 0.80, 400: 0.61}}).shape
        (420, 640, 3)
    """
    values = [share for of_run in mean_iou.values() for share in of_run.values() if not math.isnan(share)]
    if not values or not all(0 <= share <= 1 for share in values):
        raise ValueError(f"mean_iou is {dict(mean_iou)}; a run with values in [0, 1] at least expected")
    if any(found < least for found, least in zip(size_hw, _SMALLEST_HW, strict=True)):
        raise ValueError(f"size_hw is {size_hw}; {_SMALLEST_HW[0]}×{_SMALLEST_HW[1]} at least expected")
    height, width = size_hw
    with mpl.style.context("default"):  # whatever the user's matplotlibrc says
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for index, (run, by_factor) in enumerate(mean_iou.items()):
            factors = sorted(by_factor)
            percent = [100 * by_factor[factor] for factor in factors]
            colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
            axes.plot(
                factors, percent, label=_shortened(run, (width - 120) // 9), color=colour, marker=marker, linewidth=2
            )
        axes.set_xlabel("crop factor (px)")
        axes.set_ylabel("mIoU (%)")
        every = sorted({factor for of_run in mean_iou.values() for factor in of_run})
        axes.set_xticks(every, [f"{factor:g}" for factor in every])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.grid(color="#dfe4e9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False).set_in_layout(False)  # many runs must not squeeze the plot
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _shortened(name: str, letters: int) -> str:
    """The end of a name, where paths differ."""
    return name if len(name) <= letters else "…" + name[1 - letters :]
