"""The best and the last checkpoint: whole, finite, and with the place from which the run goes on exactly."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from crispseg.data import SegmentationDataset
from crispseg.errors import ConfigError, CrispsegError, WeightsError
from crispseg.io import atomic_write
from crispseg.stopping import StopSignals
from crispseg.train.batches import EpochBatches
from crispseg.train.checkpoint_files import RESTORE, differences_of_kind, is_whole, read_checkpoint, weights_of
from crispseg.train.sharding import local_part
from crispseg.train.task import SegmentationTask, as_task, diverged
from crispseg.wording import some

__all__ = ["Checkpoints"]

_LOGGER = logging.getLogger("crispseg.train")


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
        advice: how to go on after a stop, for the message.
        resumed_from: the checkpoint that the run goes on from; None for the beginning.
    """

    _batches: EpochBatches
    _dataset: SegmentationDataset
    _best: dict[str, torch.Tensor] | None

    def __init__(self, folder: Path, signals: StopSignals, advice: str, resumed_from: Path | None = None) -> None:
        self.best_path, self.last_path = folder / "best.ckpt", folder / "last.ckpt"
        self.previous_path = folder / "previous.ckpt"
        # A run that goes on from previous.ckpt does so because last.ckpt is broken: that must not take its place.
        self._last_is_whole = resumed_from == self.last_path
        self._resumed_from = resumed_from
        self._has_begun = False
        self._saves_best, self._best = False, None
        self.best_score = -math.inf
        self.best_epoch = 0  # counted from 1, as in the log
        self._signals, self._advice = signals, advice
        self._epoch, self._batch = 0, 0  # where a run that is saved now goes on
        self._saved_place: tuple[int, int] | None = None  # of a checkpoint on the disk
        self._planned: BaseException | None = None  # raised at a point from which the run goes on exactly

    def steer(self, batches: EpochBatches, dataset: SegmentationDataset) -> None:
        """Name the training set and its batches, which are to be told the epoch and where to go on."""
        self._batches, self._dataset = batches, dataset

    @property
    def stands_between_epochs(self) -> bool:
        """Whether the run is, or goes on, at the beginning of an epoch."""
        return self._batch == 0

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
        if self.best_epoch and not is_whole(self.best_path):
            _LOGGER.warning(
                "%s is missing or broken, and the model of epoch %d with it: the best of the epochs that follow counts",
                self.best_path,
                self.best_epoch,
            )
            self.best_score = -math.inf
        self._go_to(state_dict["epoch"], state_dict["batch"])
        self._saved_place = (self._epoch, self._batch)

    def _go_to(self, epoch: int, batch: int) -> None:
        self._epoch, self._batch = epoch, batch
        self._batches.start_at(epoch, batch)
        self._dataset.set_epoch(epoch)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look whether a checkpoint has all that this run would save, before any of it is believed.

        Raises:
            WeightsError: if it has not.
        """
        callbacks = {callback.state_key: callback.state_dict() for callback in trainer.callbacks}  # type: ignore[attr-defined] # Lightning's
        sums = checkpoint["callbacks"].get("EpochLog", {}).get("sums", {})
        expected = {
            "loops": {"fit_loop": trainer.fit_loop.state_dict()},
            "callbacks": {key: state for key, state in callbacks.items() if state},
        }
        expected["callbacks"]["EpochLog"]["sums"] = dict.fromkeys(sums, 0.0)  # of whichever losses there are
        found = {"loops": {"fit_loop": checkpoint["loops"].get("fit_loop")}, "callbacks": checkpoint["callbacks"]}
        wrong = differences_of_kind(found, expected)
        values = as_task(pl_module).recipe.train
        for key, inner in {"optimizer_states": "state", "lr_schedulers": "last_epoch"}.items():
            states = checkpoint[key]
            if len(states) != 1 or not isinstance(states[0], dict):
                wrong.append(f"{key} has {len(states)} entries")
            elif inner not in states[0]:
                wrong.append(f"{key}[0].{inner} is missing")
        if values.ema_decay is not None:
            wrong += [
                f"{key} is missing"
                for key in ("current_model_state", "averaging_state")
                if not isinstance(checkpoint.get(key), dict)
            ]
        if wrong:
            raise WeightsError(f"{self._resumed_from}: no checkpoint of this run ({some(wrong, 3)}); {RESTORE}")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the best weights in memory as well, for a disk that loses them before they are exported."""
        if self._saves_best and as_task(pl_module).recipe.train.strategy != "fsdp":
            self._best = {key: value.detach().cpu().clone() for key, value in weights_of(checkpoint).items()}

    @contextlib.contextmanager
    def explaining_what_does_not_fit(self) -> Iterator[None]:
        """What goes wrong between reading a checkpoint and the first step is about the checkpoint.

        Raises:
            WeightsError: in the place of what Lightning and PyTorch raise then.
        """
        try:
            yield
        except CrispsegError:
            raise
        except Exception as error:  # each part of them has its own for a state that is not as they left it
            if self._resumed_from is None or self._has_begun:
                raise
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise WeightsError(
                f"{self._resumed_from}: does not fit this run ({type(error).__name__}: {reason}); {RESTORE}"
            ) from error

    def best_weights(self) -> dict[str, torch.Tensor]:
        """The best model's; the last epoch's where they are lost.

        Raises:
            WeightsError: if those are lost as well.
        """
        if self._best is not None:
            return self._best
        try:
            return weights_of(read_checkpoint(self.best_path))
        except WeightsError as error:
            _LOGGER.warning("%s; the model of the last epoch is exported instead", error)
            self.best_epoch = self._epoch
            return weights_of(read_checkpoint(self.last_path))

    # ── the loop ──

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From here on signals are looked at between steps."""
        task = as_task(pl_module)
        if trainer.world_size == 1:  # several processes may be at different images: they stop after the epoch
            task.before_validation_step = lambda: self._stop_in_validation(trainer)
        self._require_moments(trainer, task)
        self._has_begun = True
        self._signals.check()
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
            self._stop_if_requested(trainer, f"step {trainer.global_step} of {task.total_steps}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the model if it is the best so far."""
        score = as_task(pl_module).last_scores.mean_iou
        score = -1.0 if math.isnan(score) else score  # a set without labels
        if score > self.best_score:
            self.best_score, self.best_epoch = score, trainer.current_epoch + 1
            self._saves_best = True
            self._save(trainer, self.best_path)
            self._saves_best = False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the state; the run goes on with the next epoch."""
        self._epoch, self._batch = trainer.current_epoch + 1, 0
        self._save_last(trainer)
        if trainer.global_step < as_task(pl_module).total_steps:
            self._stop_if_requested(trainer, f"epoch {self._epoch}")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save where a signal stopped the loop; after any other exception the checkpoints stay as they are."""
        if exception is not self._planned or self._is_saved():
            return  # a failure, or in the middle of a step; nothing to do
        if trainer.validating:
            # Lightning would go on with the images that remain, and the counts of the others are gone.
            trainer.fit_loop.epoch_loop.val_loop.batch_progress.current.reset()
        self._save_last(trainer)

    def _require_moments(self, trainer: L.Trainer, task: SegmentationTask) -> None:
        """What an optimiser that goes on remembers must be there, and fit its parameters."""
        values = task.recipe.train
        if trainer.global_step == 0 or (values.optimizer == "sgd" and values.momentum == 0):
            return
        state = trainer.optimizers[0].state
        wrong = [
            f"optimizer_states: {key} of shape {tuple(value.shape)} for a parameter of {tuple(parameter.shape)}"
            for parameter, entries in state.items()
            for key, value in entries.items()
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameter.shape
        ]
        if not state:
            wrong = ["optimizer_states: no momentum_buffer or other memory of a parameter"]
        if wrong:
            raise WeightsError(f"{self._resumed_from}: no checkpoint of this run ({some(wrong, 3)}); {RESTORE}")

    def _choose_validation(self, trainer: L.Trainer, task: SegmentationTask) -> None:
        """Every so many epochs, and after the last one in any case."""
        steps_per_epoch = math.ceil(len(self._batches) / task.recipe.train.accumulate)
        is_last = (trainer.current_epoch + 1) * steps_per_epoch >= task.total_steps
        trainer.check_val_every_n_epoch = 1 if is_last else task.recipe.train.validate_every

    def _stop_in_validation(self, trainer: L.Trainer) -> None:
        # Lightning cannot repeat a validation of an epoch that `should_stop` cut short.
        if not trainer.should_stop:
            self._stop_if_requested(trainer, "the state before this validation")

    def _is_saved(self) -> bool:
        """Whether a checkpoint holds this place: one that was written, or that the run has just gone on from."""
        return self._batch == 0 or (self._epoch, self._batch) == self._saved_place

    def _stop_if_requested(self, trainer: L.Trainer, held: str) -> None:
        """Raise, if a process has received a signal; `held` is what the checkpoint will hold then."""
        if trainer.strategy.reduce_boolean_decision(self._signals.received is not None, all=False):
            path = self.last_path if self._last_is_whole or not self._is_saved() else self._resumed_from
            self._planned = self._signals.interruption(f"{path} holds {held}; {self._advice}")
            raise self._planned

    def _save_last(self, trainer: L.Trainer) -> None:
        """Save, and keep the checkpoint before as well: a disk may lose what it has taken."""
        if trainer.is_global_zero and self._last_is_whole and self.last_path.exists():
            with atomic_write(self.previous_path) as temporary:
                try:
                    os.link(self.last_path, temporary)
                except OSError:  # a file system without hard links
                    shutil.copyfile(self.last_path, temporary)
        self._save(trainer, self.last_path)
        self._last_is_whole, self._saved_place = True, (self._epoch, self._batch)

    def _save(self, trainer: L.Trainer, path: Path) -> None:
        task = as_task(trainer.lightning_module)
        state = task.model.state_dict()
        broken = [name for name, values in state.items() if not torch.isfinite(local_part(values)).all()]
        if not trainer.strategy.reduce_boolean_decision(not broken):
            found = some(broken, most=1) if broken else "on another process"
            raise diverged(
                f"the weights are not finite after step {trainer.global_step} of {task.total_steps} ({found})"
            )
        trainer.save_checkpoint(path)
