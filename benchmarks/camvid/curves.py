"""Learning curves: validation mean IoU over epochs, a line per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Curve = Mapping[int, float]
"""Mean IoU in [0, 1] by epoch."""


def plot_curves(curves: Mapping[str, Sequence[Curve]]) -> np.ndarray:
    """Draw them: each row's mean over its seeds as a line, the single seeds faintly behind it.

    Args:
        curves: by row, one for each seed.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    with matplotlib.style.context("default"):  # whatever the user's matplotlibrc says
        figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        colours = matplotlib.colormaps["tab10"].colors
        for index, (row, runs) in enumerate(curves.items()):
            style = {
                "color": colours[index % len(colours)],
                "linestyle": ("-", "--", ":")[index // len(colours) % 3],
            }
            if len(runs) > 1:
                for run in runs:
                    axes.plot(list(run), [100 * share for share in run.values()], alpha=0.25, linewidth=1, **style)
            mean = mean_curve(runs)
            label = f"{row}, {len(runs)} seed{'s' if len(runs) > 1 else ''}"
            axes.plot(
                list(mean), [100 * share for share in mean.values()], label=label, marker="o", markersize=3, **style
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation mIoU (%)")
        axes.grid(color="#dfe4e9")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def mean_curve(runs: Sequence[Curve]) -> Curve:
    """The mean over runs, at the epochs at which all of them were validated."""
    shared = [epoch for epoch in runs[0] if all(epoch in run for run in runs)]
    return {epoch: sum(run[epoch] for run in runs) / len(runs) for epoch in shared}
