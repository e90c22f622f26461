"""How fast a run is and how long it is going to take, for bars, logs and the run's page."""

from __future__ import annotations

import logging
import time
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, RichProgressBar

from crispseg.io.streams import BestEffort
from crispseg.train.batches import Batch
from crispseg.train.task import SegmentationTask, as_task
from crispseg.wording import seconds_in_words

__all__ = ["Pace", "ProgressBar", "ProgressLines"]

_LOGGER = logging.getLogger("crispseg.train")


class Pace(Callback):
    """Counts images and seconds of this sitting."""

    def __init__(self) -> None:
        self._began, self._first_step = time.monotonic(), 0
        self._last: float | None = None  # end of the last batch of this epoch
        self._images, self._seconds = 0, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._began, self._first_step = time.monotonic(), trainer.global_step

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What was between the epochs is no training."""
        self._last = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch."""
        now = time.monotonic()
        if self._last is not None:
            self._images += len(batch["name"]) * trainer.world_size
            self._seconds += now - self._last
        self._last = now

    @property
    def images_per_second(self) -> float | None:
        """Of training, over all processes, without validations; None in the beginning."""
        return self._images / self._seconds if self._seconds else None

    def seconds_left(self, task: SegmentationTask) -> float | None:
        """If the run goes on as in this sitting, with validations; None in the beginning."""
        done = task.global_step - self._first_step
        if done < 1:
            return None
        return (time.monotonic() - self._began) / done * max(0, task.total_steps - task.global_step)

    def in_words(self, task: SegmentationTask) -> list[str]:
        """Both, as far as they are known.

        Example:
            >>> Pace().images_per_second is None
            True
        """
        rate, left = self.images_per_second, self.seconds_left(task)
        words = [] if rate is None else [f"{rate:.1f} images/s"]
        return [*words, *([] if left is None else [f"{seconds_in_words(left)} left"])]


class ProgressBar(RichProgressBar):
    """Lightning's, with loss, mean IoU so far, images a second and time left.

    Its terminal may go away before the run ends.

    Args:
        pace: of the run.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__(console_kwargs={"file": BestEffort("stdout")})
        self._pace = pace

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        rate, left = self._pace.images_per_second, self._pace.seconds_left(as_task(pl_module))
        if rate is not None:
            shown["images/s"] = f"{rate:.1f}"
        if left is not None:
            shown["left"] = seconds_in_words(left)
        return shown


class ProgressLines(Callback):
    """The bar's numbers as a line now and then, where there is no terminal, as in a log file.

    Args:
        pace: of the run.
        every: seconds between two lines; epochs that are shorter have only the line at their end.
    """

    def __init__(self, pace: Pace, every: float = 60.0) -> None:
        self._pace, self._every = pace, every
        self._said = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The epoch before has said its line."""
        self._said = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Say it, if it is time."""
        if not trainer.is_global_zero or time.monotonic() - self._said < self._every:
            return
        self._said = time.monotonic()
        task = as_task(pl_module)
        scored = [f"mean IoU {100 * task.last_scores.mean_iou:.1f} %"] if task.scored_epoch >= 0 else []
        words = [f"loss {float(task.last_terms['loss']):.4f}", *scored, *self._pace.in_words(task)]
        _LOGGER.info(
            "epoch %d of %d, step %d of %d: %s",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            trainer.global_step,
            task.total_steps,
            ", ".join(words),
        )
