"""Runs that end before their last epoch: no better model for long, or no more time."""

from __future__ import annotations

import logging
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from crispseg.config import TrainConfig
from crispseg.train.checkpoints import Checkpoints
from crispseg.train.records import EpochLog

__all__ = ["EarlyEnd"]

_LOGGER = logging.getLogger("crispseg.train")


class EarlyEnd(Callback):
    """Ends a run by ``train.patience`` or ``train.max_hours``.

    It keeps nothing of its own: what decides is the place in the run, its best epoch and the seconds spent, which every
    checkpoint has. So a run that was stopped and resumed ends where it would have ended.

    Args:
        values: the recipe's ``train`` section.
        checkpoints: know the best epoch.
        log: knows the seconds, over all sittings.
    """

    def __init__(self, values: TrainConfig, checkpoints: Checkpoints, log: EpochLog) -> None:
        self._values, self._checkpoints, self._log = values, checkpoints, log

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A run that had ended ends again when it is resumed."""
        epochs = trainer.current_epoch
        if not (epochs and self._checkpoints.best_epoch and self._checkpoints.stands_between_epochs):
            return
        self._end_without_progress(trainer, epochs)
        if self._is_time_over(trainer, self._log.elapsed() * (epochs + 1) / epochs):
            self._end_by_time(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End by time: after the epoch in which another would not be ready, or else where the time is over."""
        if self._values.max_hours is None or (batch_idx + 1) % self._values.accumulate:
            return
        seconds = self._log.elapsed()
        if batch_idx + 1 == trainer.num_training_batches:
            seconds += seconds / (trainer.current_epoch + 1)
        if not trainer.should_stop and self._is_time_over(trainer, seconds):
            trainer.check_val_every_n_epoch = 1  # validation follows
            self._end_by_time(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning has validated by now."""
        self._end_without_progress(trainer, trainer.current_epoch + 1)

    def _end_without_progress(self, trainer: L.Trainer, epochs: int) -> None:
        """After so many epochs, if the best is too many validations ago."""
        best = self._checkpoints.best_epoch
        waited = (epochs - best) // self._values.validate_every
        if self._values.patience is None or not best or waited < self._values.patience:
            return
        trainer.should_stop = True
        _LOGGER.info(
            "train.patience: the last %s not better than that of epoch %d; the run ends",
            "validation was" if waited == 1 else f"{waited} validations were",
            best,
        )

    def _is_time_over(self, trainer: L.Trainer, seconds: float) -> bool:
        if self._values.max_hours is None:
            return False
        return trainer.strategy.reduce_boolean_decision(seconds >= 3600 * self._values.max_hours, all=False)

    def _end_by_time(self, trainer: L.Trainer) -> None:
        trainer.should_stop = True
        _LOGGER.info("train.max_hours: the %g hours are over, or would be in another epoch", self._values.max_hours)
