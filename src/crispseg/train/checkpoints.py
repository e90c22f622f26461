"""The best and the last checkpoint: whole, finite, and with the place from which the run goes on exactly."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from crispseg.data import SegmentationDataset
from crispseg.errors import ConfigError, TrainingError, TrainingInterrupted
from crispseg.io import atomic_write
from crispseg.train.batches import EpochBatches
from crispseg.train.sharding import local_part
from crispseg.train.stopping import StopSignals
from crispseg.train.task import SegmentationTask, as_task
from crispseg.wording import some

__all__ = ["AtomicCheckpointIO", "Checkpoints", "is_whole", "remove_leftovers"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, and hold nothing but tensors and plain values.

    Lightning's own go through the system's temporary folder, from where a move to another file system is a copy.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write beside `path`, flush to the disk, put in place.

        Raises:
            TrainingError: if the disk does not take it; what stood at `path` stays whole.
        """
        try:
            with atomic_write(path) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:  # PyTorch's writer has no error of its own for a full disk
            raise TrainingError(_not_written(Path(path), error)) from error


def is_whole(path: Path) -> bool:
    """Whether a checkpoint can be read to its end with all checksums right."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error):
        return False


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it wrote a checkpoint has left beside it."""
    for leftover in folder.glob(".*.new-*.ckpt"):
        leftover.unlink(missing_ok=True)


def _not_written(path: Path, error: Exception) -> str:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
    with contextlib.suppress(OSError):
        reason += f"; {shutil.disk_usage(path.parent).free / 2**20:.0f} MiB are free there"
    standing = "the checkpoint that stands there is whole" if path.exists() else "there is no checkpoint yet"
    return f"{path}: could not be written ({reason}); {standing}. Make room, then go on with --resume"


class Checkpoints(Checkpoint):
    """Saves ``best.ckpt`` after validations that are better than all before, and ``last.ckpt`` after every epoch.

    ``last.ckpt`` is also saved every ``train.save_every_steps`` steps; the one before it stays as ``previous.ckpt``.

    On a signal the run also saves ``last.ckpt`` and ends: after the current optimiser step, or in the middle of a
    validation, which is repeated on resuming. What was saved resumes to the same weights, bit for bit, that the run
    would have had: the order of samples, their augmentation and a step's random draws depend on the seed and the place
    only, and the place is part of the checkpoint.

    Lightning calls subclasses of its ``Checkpoint`` after all other callbacks, so what they hold is up to date.

    Args:
        folder: of the checkpoints.
        signals: asked whether to stop.
        resumed_from: the checkpoint that the run goes on from; None for the beginning.
    """

    _batches: EpochBatches
    _dataset: SegmentationDataset

    def __init__(self, folder: Path, signals: StopSignals, resumed_from: Path | None = None) -> None:
        self.best_path, self.last_path = folder / "best.ckpt", folder / "last.ckpt"
        self.previous_path = folder / "previous.ckpt"
        # A run that goes on from previous.ckpt does so because last.ckpt is broken: that must not take its place.
        self._last_is_whole = resumed_from == self.last_path
        self.best_score = -math.inf
        self.best_epoch = 0  # counted from 1, as in the log
        self._signals = signals
        self._epoch, self._batch = 0, 0  # where a run that is saved now goes on

    def steer(self, batches: EpochBatches, dataset: SegmentationDataset) -> None:
        """Name the training set and its batches, which are to be told the epoch and where to go on."""
        self._batches, self._dataset = batches, dataset

    # ── the place ──

    def state_dict(self) -> dict[str, Any]:
        """Part of every checkpoint."""
        return {
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "epoch": self._epoch,
            "batch": self._batch,
            "batches": len(self._batches),
            "world_size": self._batches.world_size,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called before the loaders' iterators are made."""
        before, now = state_dict["batches"], len(self._batches)
        if 0 < state_dict["batch"] < before and (before, state_dict["world_size"]) != (now, self._batches.world_size):
            raise ConfigError(
                f"the run was stopped in the middle of an epoch of {before} batches on {state_dict['world_size']} "
                f"processes and cannot go on with {now} batches on {self._batches.world_size}; resume it on as many "
                "devices"
            )
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self._go_to(state_dict["epoch"], state_dict["batch"])

    def _go_to(self, epoch: int, batch: int) -> None:
        self._epoch, self._batch = epoch, batch
        self._batches.start_at(epoch, batch)
        self._dataset.set_epoch(epoch)

    # ── the loop ──

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From here on signals are looked at between steps."""
        task = as_task(pl_module)
        if trainer.world_size == 1:  # several processes may be at different images: they stop after the epoch
            task.before_validation_step = lambda: self._stop_in_validation(trainer)
        self._signals.catch()  # Lightning has set a handler of its own, which stops in the middle of accumulation
        self._signals.in_loop = True
        self._choose_validation(trainer, task)
        if trainer.global_step >= task.total_steps and self._batch == 0:
            trainer.should_stop = True  # resumed after the last step

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning makes the epoch's iterator after this."""
        self._go_to(trainer.current_epoch, 0)
        self._choose_validation(trainer, as_task(pl_module))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the place; stop at ``max_steps``, or on a signal if no gradients are waiting."""
        self._batch = batch_idx + 1
        task = as_task(pl_module)
        if self._batch == len(self._batches):
            return  # the epoch's end comes first
        if trainer.global_step >= task.total_steps:
            trainer.should_stop = True
        elif self._batch % task.recipe.train.accumulate == 0:
            save_every = task.recipe.train.save_every_steps
            if save_every is not None and trainer.global_step % save_every == 0:
                self._save_last(trainer)
            self._stop_if_requested(trainer, f"{self.last_path} holds step {trainer.global_step} of {task.total_steps}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the model if it is the best so far."""
        score = as_task(pl_module).last_scores.mean_iou
        score = -1.0 if math.isnan(score) else score  # a set without labels
        if score > self.best_score:
            self.best_score, self.best_epoch = score, trainer.current_epoch + 1
            self._save(trainer, self.best_path)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the state; the run goes on with the next epoch."""
        self._epoch, self._batch = trainer.current_epoch + 1, 0
        self._save_last(trainer)
        if trainer.global_step < as_task(pl_module).total_steps:
            self._stop_if_requested(trainer, f"{self.last_path} holds epoch {self._epoch}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """There is nothing left to save."""
        self._signals.in_loop = False

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save where a signal stopped the loop; after any other exception the checkpoints stay as they are."""
        self._signals.in_loop = False
        if not isinstance(exception, TrainingInterrupted) or self._signals.abrupt or self._batch == 0:
            return  # in the order of the conditions: a failure; in the middle of a step; saved already
        if trainer.validating:
            # Lightning would go on with the images that remain, and the counts of the others are gone.
            trainer.fit_loop.epoch_loop.val_loop.batch_progress.current.reset()
        self._save_last(trainer)

    def _choose_validation(self, trainer: L.Trainer, task: SegmentationTask) -> None:
        """Every so many epochs, and after the last one in any case."""
        steps_per_epoch = math.ceil(len(self._batches) / task.recipe.train.accumulate)
        is_last = (trainer.current_epoch + 1) * steps_per_epoch >= task.total_steps
        trainer.check_val_every_n_epoch = 1 if is_last else task.recipe.train.validate_every

    def _stop_in_validation(self, trainer: L.Trainer) -> None:
        # Lightning cannot repeat a validation of an epoch that `should_stop` cut short.
        if not trainer.should_stop:
            self._stop_if_requested(trainer, f"{self.last_path} holds the state before this validation")

    def _stop_if_requested(self, trainer: L.Trainer, state: str) -> None:
        if trainer.strategy.reduce_boolean_decision(self._signals.received is not None, all=False):
            raise self._signals.interruption(state)

    def _save_last(self, trainer: L.Trainer) -> None:
        """Save, and keep the checkpoint before as well: a disk may lose what it has taken."""
        if trainer.is_global_zero and self._last_is_whole and self.last_path.exists():
            with atomic_write(self.previous_path) as temporary:
                try:
                    os.link(self.last_path, temporary)
                except OSError:  # a file system without hard links
                    shutil.copyfile(self.last_path, temporary)
        self._save(trainer, self.last_path)
        self._last_is_whole = True

    def _save(self, trainer: L.Trainer, path: Path) -> None:
        task = as_task(trainer.lightning_module)
        state = task.model.state_dict()
        broken = [name for name, values in state.items() if not torch.isfinite(local_part(values)).all()]
        if not trainer.strategy.reduce_boolean_decision(not broken):
            found = some(broken, most=1) if broken else "on another process"
            raise TrainingError(
                f"the weights are not finite after step {trainer.global_step} of {task.total_steps} ({found}); {path} "
                "stays as it was. Lower train.lr, lengthen train.warmup_steps or set train.clip_norm"
            )
        trainer.save_checkpoint(path)
