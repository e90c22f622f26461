"""Mean and deviation of each band, for models of other inputs than RGB."""

from __future__ import annotations

import numpy as np

from crispseg.data.plausible import evenly
from crispseg.data.records import SampleSource
from crispseg.io.bands import full_value

__all__ = ["measured_bands"]

_MEASURED = 64  # images


def measured_bands(source: SampleSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure mean and deviation of each band over a few images, evenly spaced; every pixel counts the same.

    Args:
        source: of the training images.

    Returns:
        Means and deviations, of 1, to four decimals; a band that is even everywhere has a deviation of 0.001 at least.
    """
    total, sums, squares = 0, np.zeros(1), np.zeros(1)
    for index in evenly(len(source.names), _MEASURED):
        image = source.sample(index).image
        values = image.reshape(-1, image.shape[2]).astype(np.float64) / full_value(image)
        total += len(values)
        sums = sums + values.sum(axis=0)
        squares = squares + (values**2).sum(axis=0)
    mean = sums / max(total, 1)
    std = np.sqrt(np.maximum(squares / max(total, 1) - mean**2, 0)).clip(min=0.001)
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())
