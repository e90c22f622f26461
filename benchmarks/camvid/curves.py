"""Learning curves: validation mean IoU over epochs, a line per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> np.ndarray:
    """Draw them.

    Args:
        curves: by row, (epoch, mean IoU in [0, 1]).

    Returns:
        (H, W, 3) uint8 RGB.
    """
    with matplotlib.style.context("default"):  # whatever the user's matplotlibrc says
        figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        colours = matplotlib.colormaps["tab10"].colors
        for index, (row, points) in enumerate(curves.items()):
            epochs, shares = zip(*points, strict=True)
            axes.plot(
                epochs,
                [100 * share for share in shares],
                label=row,
                color=colours[index % len(colours)],
                linestyle=("-", "--", ":")[index // len(colours) % 3],
                marker="o",
                markersize=3,
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation mIoU (%)")
        axes.grid(color="#dfe4e9")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
