"""Plots of scores and gates by matplotlib: arrays or files, no window, and no state that outlives a call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crispseg.pictures.colour import Picture
from crispseg.pictures.drawing import Drawn
from crispseg.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Plot", "boundary_f_plot", "distance_plot", "gate_plot", "plot_boundary_f", "plot_iou_at_distance"]

_DPI = 100
_COLOURS = ("#0b6e75", "#c2571a", "#5b4a9e", "#8a6a2b", "#a02c5d", "#3d7a2f", "#44546a")
_MARKERS = "osD^vPX"
_SMALLEST_HW = (240, 320)  # where the words still fit


class Plot(Drawn):
    """Axes, for the screen and for print.

    Args:
        size_hw: height and width in pixels.
    """

    def __init__(self, size_hw: tuple[int, int]) -> None:
        if any(found < least for found, least in zip(size_hw, _SMALLEST_HW, strict=True)):
            raise ValueError(f"size_hw is {size_hw}; {_SMALLEST_HW[0]}×{_SMALLEST_HW[1]} at least expected")
        height, width = size_hw
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")

    def axes(self, columns: int = 1, column: int = 1) -> Axes:
        """Axes of ours in one of several columns."""
        axes = self._figure.add_subplot(1, columns, column)
        axes.grid(color="#dfe4e9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def figure(self) -> Figure:
        """See `Drawn`."""
        return self._figure

    def to_array(self) -> Picture:
        """See `Drawn`."""
        with mpl.style.context("default"):
            canvas = FigureCanvasAgg(self._figure)
            canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


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
    return distance_plot(mean_iou, size_hw).to_array()


def plot_boundary_f(mean_f: Mapping[str, Mapping[float, float]], *, size_hw: tuple[int, int] = (420, 640)) -> Picture:
    """Plot mean boundary F over its radius, a line per run, as figure 3 of Decoupled (Li et al., ECCV 2020) does.

    Args:
        mean_f: by run and radius in pixels, in [0, 1]; NaN is left out.
        size_hw: as in `plot_iou_at_distance`, as are the errors.

    Returns:
        (H, W, 3) uint8 RGB.

    Example:
        >>> plot_boundary_f({"plain": {3: 0.62, 12: 0.79}, "decoupled": {3: 0.68, 12: 0.81}}).shape
        (420, 640, 3)
    """
    return boundary_f_plot(mean_f, size_hw).to_array()


def distance_plot(mean_iou: Mapping[str, Mapping[float, float]], size_hw: tuple[int, int] = (420, 640)) -> Plot:
    """`plot_iou_at_distance`, for print as well; see there."""
    return _score_plot(mean_iou, "mean_iou", "crop factor (px)", "mIoU (%)", size_hw)


def boundary_f_plot(mean_f: Mapping[str, Mapping[float, float]], size_hw: tuple[int, int] = (420, 640)) -> Plot:
    """`plot_boundary_f`, for print as well; see there."""
    return _score_plot(mean_f, "mean_f", "radius (px)", "mean boundary F (%)", size_hw)


def _score_plot(
    shares: Mapping[str, Mapping[float, float]],
    name: str,
    along: str,
    upward: str,
    size_hw: tuple[int, int],
) -> Plot:
    """Shares by run and by what goes along, in per cent."""
    values = [share for of_run in shares.values() for share in of_run.values() if not math.isnan(share)]
    if not values or not all(0 <= share <= 1 for share in values):
        raise ValueError(f"{name} is {dict(shares)}; a run with values in [0, 1] at least expected")
    with mpl.style.context("default"):  # whatever the user's matplotlibrc says
        plot = Plot(size_hw)
        axes = plot.axes()
        for index, (run, by_step) in enumerate(shares.items()):
            steps = sorted(by_step)
            axes.plot(
                steps,
                [100 * by_step[step] for step in steps],
                label=_shortened(run, (size_hw[1] - 120) // 9),
                color=_COLOURS[index % len(_COLOURS)],
                marker=_MARKERS[index % len(_MARKERS)],
                linewidth=2,
            )
        axes.set_xlabel(along)
        axes.set_ylabel(upward)
        every = sorted({step for of_run in shares.values() for step in of_run})
        axes.set_xticks(every, [f"{step:g}" for step in every])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.legend(frameon=False).set_in_layout(False)  # many runs must not squeeze the plot
    return plot


def gate_plot(
    gates: Mapping[str, tuple[npt.NDArray[np.float64], float, float | None]], size_hw: tuple[int, int] = (420, 900)
) -> Plot:
    """Plot how far gates are open, and how much changes without each.

    Args:
        gates: by title: shares of the cells in even ranges of the gate's value from 0 to 1, its mean, and the share of
            the pixels that change when it is closed, None if nobody has looked.
        size_hw: of the picture.

    Raises:
        ValueError: if there is no gate, or the picture is too small for its words.
    """
    if not gates:
        raise ValueError("no gates; at least one expected")
    changed = [change for _, _, change in gates.values() if change is not None]
    with mpl.style.context("default"):
        plot = Plot(size_hw)
        left = plot.axes(2 if changed else 1)
        for index, (title, (shares, mean, _)) in enumerate(gates.items()):
            colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
            middles = (np.arange(len(shares)) + 0.5) / len(shares)
            label = f"{_shortened(title, 24)}: mean {mean:.2f}"
            left.plot(middles, 100 * shares, label=label, color=colour, marker=marker, markersize=4)
        left.set_xlabel("value of the gate: 0 closed, 1 open")
        left.set_ylabel("cells (%)")
        left.set_xlim(0, 1)
        plot.figure().legend(loc="outside lower center", ncols=2, frameon=False)
        if changed:
            right = plot.axes(2, 2)
            titles = [_shortened(title, 24) for title in gates]
            shares_changed = [100 * (change or 0.0) for _, _, change in gates.values()]
            bars = right.barh(range(len(titles)), shares_changed, color=_COLOURS[: len(titles)])
            right.bar_label(bars, [f"{share:.1f}" for share in shares_changed], padding=3)
            right.set_yticks(range(len(titles)), titles)
            right.invert_yaxis()
            right.set_xlabel("pixels that change when it is closed (%)")
            right.margins(x=0.15)
    return plot


def _shortened(name: str, letters: int) -> str:
    """The end of a name, where paths differ; matplotlib takes text between dollar signs for formulas."""
    name = printable(name).replace("$", r"\$")
    return name if len(name) <= letters else "…" + name[1 - letters :]
