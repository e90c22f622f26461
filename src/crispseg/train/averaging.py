"""An exponential moving average of the weights, which validation and the exported model use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import lightning.pytorch as L
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

__all__ = ["MovingAverage", "moving_average"]


class MovingAverage(WeightAveraging):
    """Lightning's weight averaging with `moving_average`, safe to save at any point.

    Lightning swaps the averaged weights in for validation; a checkpoint that is saved meanwhile would call them the
    current ones. This class knows which are in, and puts the right ones back when a run is interrupted there.

    Args:
        decay: see `moving_average`.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=moving_average(decay))
        self._swapped = False

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Put the current weights back before anybody saves them."""
        if self._swapped:
            self._swap_models(pl_module)

    def _swap_models(self, pl_module: L.LightningModule) -> None:
        super()._swap_models(pl_module)
        self._swapped = not self._swapped


def moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """The averaging function, in place: average ← average + (1 − d) · (current − average).

    d is the smaller of `decay` and (1 + n) / (10 + n) after n updates, so that a short run's average is not its random
    beginning. In this form, values that never change, such as the model's mean and deviation, stay as they are to the
    last bit. Whole numbers (batch norm's counter) are copied.

    Example:
        >>> import torch
        >>> averaged = [torch.tensor(0.0), torch.tensor(1)]
        >>> moving_average(0.5)(averaged, [torch.tensor(1.0), torch.tensor(3)], 100)
        >>> [value.item() for value in averaged]
        [0.5, 3]
    """

    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        count = float(updates)
        weight = 1.0 - min(decay, (1.0 + count) / (10.0 + count))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value.to(mean.dtype), weight)
            else:
                mean.copy_(value)

    return average
