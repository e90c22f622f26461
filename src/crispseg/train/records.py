"""What a run leaves to be read: a line per epoch in ``log.jsonl``, pictures for the logger."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from crispseg.io import atomic_write, bands
from crispseg.parsing import parse_json
from crispseg.pictures import boundary_picture, colourise, map_picture, sheet
from crispseg.pictures.colour import Picture
from crispseg.train.batches import Batch
from crispseg.train.loggers import RunLogger, unless_it_fails
from crispseg.train.pace import Pace
from crispseg.train.task import SegmentationTask, as_task

__all__ = ["EpochLog", "ValidationPictures", "as_picture"]

_CAPTIONS = ("image", "truth", "prediction", "boundaries")

MAP_WIDTH = 480
"""Pixels across a picture of a map in TensorBoard; the maps themselves are coarse."""

_LOGGER = logging.getLogger("crispseg.train")


class EpochLog(Callback):
    """Writes a line of JSON per epoch: number from 1, steps, seconds, learning rate, mean losses, scores.

    A run that goes on from a checkpoint first drops the lines of the epochs that it will do again.

    Args:
        path: of the file.
        pace: of the run, for the line in the log.
    """

    def __init__(self, path: Path, pace: Pace) -> None:
        self.path, self._pace = path, pace
        self.seconds = 0.0  # spent in the loop, over all sittings before this one, or with it when it has ended
        self._resumed_at: float | None = None  # while it goes on
        self._sums: dict[str, float] = {}
        self._recent: list[
            dict[str, Tensor]
        ] = []  # on the device: adding them up only now and then does not wait for it
        self._count = 0

    def state_dict(self) -> dict[str, Any]:
        """Sums of an epoch in its middle, so that its line is the same after an interruption."""
        self._add_up()
        return {"seconds": self.elapsed(), "sums": dict(self._sums), "count": self._count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.seconds, self._sums, self._count = state_dict["seconds"], dict(state_dict["sums"]), state_dict["count"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, and keep the lines of the epochs that are done."""
        self._resumed_at = time.monotonic()
        if not trainer.is_global_zero:
            return
        self._write([line for line in self._lines() if 0 < _epoch_of(line) <= trainer.current_epoch])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch's losses."""
        self._recent.append(as_task(pl_module).last_terms)
        self._count += 1
        if len(self._recent) >= 50:
            self._add_up()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line."""
        self._add_up()
        task = as_task(pl_module)
        line = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "seconds": round(self.elapsed(), 2),
            "lr": task.head_lr(),
            **{name if name == "loss" else f"loss_{name}": value / self._count for name, value in self._sums.items()},
            **_scores_of(task, trainer),
        }
        self._sums, self._count = {}, 0
        if trainer.is_global_zero:
            self._write([*self._lines(), json.dumps(line, ensure_ascii=False)])
            shown = [f"mean IoU {100 * line['mean_iou']:.1f} %"] if line.get("mean_iou") is not None else []
            _LOGGER.info(
                "epoch %d of %d: loss %.4f, %s",
                line["epoch"],
                trainer.max_epochs,
                line["loss"],
                ", ".join([*shown, f"{line['seconds']:.0f} s", *self._pace.in_words(task)]),
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self.seconds, self._resumed_at = self.elapsed(), None

    def elapsed(self) -> float:
        """Seconds spent in the loop, over all sittings."""
        return self.seconds + (0.0 if self._resumed_at is None else time.monotonic() - self._resumed_at)

    def _add_up(self) -> None:
        for terms in self._recent:
            for name, term in terms.items():
                self._sums[name] = self._sums.get(name, 0.0) + float(term)
        self._recent.clear()

    def entries(self) -> list[dict[str, Any]]:
        """What the file says of each epoch that is done."""
        return [parse_json(line) for line in self._lines() if _epoch_of(line)]

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:  # there is none yet, or a disk fails: training needs nothing of it
            return []

    def _write(self, lines: list[str]) -> None:
        with unless_it_fails(str(self.path)), atomic_write(self.path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _epoch_of(line: str) -> int:
    """Of a line of the log; 0 where it is none, as when a disk lost its end."""
    try:
        values = parse_json(line)
    except ValueError:
        return 0
    epoch = values.get("epoch") if isinstance(values, dict) else None
    return epoch if isinstance(epoch, int) else 0


class ValidationPictures(Callback):
    """Shows the first validation images in the logger: image, truth, prediction, boundaries; and the head's maps.

    Args:
        count: of the images.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._names: list[str] = []
        self._rows: list[list[Picture]] = []
        self._maps: list[list[Picture]] = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin anew."""
        self._names, self._rows, self._maps = [], [], []

    def looks(self) -> list[tuple[str, dict[str, Picture]]]:
        """Name and pictures of each image, of the last validation."""
        return [
            (name, dict(zip(_CAPTIONS, row, strict=True))) for name, row in zip(self._names, self._rows, strict=True)
        ]

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw a row per image while there is room."""
        if not trainer.is_global_zero or as_task(pl_module).diverged_on is not None:
            return
        model = as_task(pl_module).model
        palette, map_info = model.label_space.palette, model.head.map_info
        images, labels = batch["image"], batch["labels"]
        for index in range(min(len(images), self.count - len(self._rows))):
            prediction = outputs["prediction"][index].cpu().numpy()
            boundary = outputs["boundary_probability"]
            self._names.append(batch["name"][index])
            self._rows.append(
                [
                    as_picture(images[index]),
                    colourise(labels[index].cpu().numpy(), palette),
                    colourise(prediction, palette),
                    boundary_picture(prediction if boundary is None else boundary[index].float().cpu().numpy()),
                ]
            )
            size_hw = prediction.shape
            self._maps.append(
                [
                    map_picture(values[index].float(), map_info[name], size_hw)
                    for name, values in outputs["maps"].items()
                ]
            )

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Hand the sheets to the logger."""
        if self._rows and isinstance(trainer.logger, RunLogger):
            titles = [info.title for info in as_task(pl_module).model.head.map_info.values()]
            picture = sheet(self._rows, _CAPTIONS)
            trainer.logger.add_image("validation", picture, trainer.global_step)
            if titles:
                picture = sheet(self._maps, titles, cell_width=MAP_WIDTH)
                trainer.logger.add_image("validation_maps", picture, trainer.global_step)
        self._maps = []


def as_picture(image: Tensor) -> Picture:
    """(C, H, W) in [0, 1] to (H, W, 3) uint8."""
    return bands.as_picture((image.permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy())


def _scores_of(task: SegmentationTask, trainer: L.Trainer) -> dict[str, Any]:
    """Of this epoch's validation; nothing in an epoch without one."""
    if task.scored_epoch != trainer.current_epoch:
        return {}
    scores = task.last_scores
    return {
        "mean_iou": _plain(scores.mean_iou),
        "pixel_accuracy": _plain(scores.pixel_accuracy),
        "iou": {name: _plain(iou) for name, iou in scores.iou.items()},
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
