"""The run's page: how far it is, what it has learned, and where it is wrong."""

from __future__ import annotations

import contextlib
import heapq
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
from lightning.pytorch.callbacks import Callback

from crispseg.config import DataConfig, LossConfig, ModelConfig, Recipe
from crispseg.errors import ConfigError
from crispseg.evaluation import Scores
from crispseg.io import atomic_write
from crispseg.labels import IGNORE_INDEX
from crispseg.pages.training import Look, RunState, render_run
from crispseg.pictures import colourise, error_map
from crispseg.recipes import differing_keys
from crispseg.train.batches import Batch
from crispseg.train.checkpoints import Checkpoints
from crispseg.train.complete import completed
from crispseg.train.explaining import ExplainedPictures
from crispseg.train.loggers import unless_it_fails
from crispseg.train.pace import Pace
from crispseg.train.records import EpochLog, ValidationPictures, as_picture
from crispseg.train.task import SegmentationTask, as_task

__all__ = ["RunPage", "own_settings"]


class RunPage(Callback):
    """Writes ``report.html`` after each validation, and once more when the run has ended.

    Args:
        path: of the file.
        recipe: of the run.
        log: has the curves.
        pace: has speed and time left.
        pictures: of this validation's first images.
        explained: the same images as `crispseg explain` draws them.
        checkpoints: know the best epoch.
    """

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        log: EpochLog,
        pace: Pace,
        pictures: ValidationPictures,
        explained: ExplainedPictures,
        checkpoints: Checkpoints,
    ) -> None:
        self._path, self._recipe, self._log, self._pace = path, recipe, log, pace
        self._pictures, self._explained, self._checkpoints = pictures, explained, checkpoints
        self._worst: list[tuple[float, int, Look]] = []  # a heap: the best of the worst first

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin anew."""
        self._worst = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the images that are worst so far; the first process's, where there are several."""
        most = self._recipe.train.picture_count
        if not trainer.is_global_zero or not most or as_task(pl_module).diverged_on is not None:
            return
        palette = as_task(pl_module).model.label_space.palette
        for index, (labels, prediction) in enumerate(zip(batch["labels"], outputs["prediction"], strict=True)):
            judged = labels != IGNORE_INDEX
            count = int(judged.sum())
            right = float((labels == prediction)[judged].sum() / count) if count else math.nan
            if math.isnan(right) or (len(self._worst) == most and right >= -self._worst[0][0]):
                continue
            truth, found = (values.cpu().numpy().astype(np.uint8) for values in (labels, prediction))
            look = Look(
                batch["name"][index],
                f"{100 * right:.1f} % of its pixels right",
                {
                    "image": as_picture(batch["image"][index]),
                    "truth": colourise(truth, palette),
                    "prediction": colourise(found, palette),
                    "errors": error_map(found, truth),
                },
            )
            heapq.heappush(self._worst, (-right, -batch_idx * len(batch["name"]) - index, look))
            if len(self._worst) > most:
                heapq.heappop(self._worst)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the page, if the epoch was validated; the log has its line by now."""
        task = as_task(pl_module)
        if trainer.is_global_zero and task.scored_epoch == trainer.current_epoch:
            self._write(task, task.last_scores.iou, self._pace.seconds_left(task), "")

    def finish(self, task: SegmentationTask, scores: Scores) -> None:
        """Write it for the last time, with the scores of the best model."""
        self._write(task, scores.iou, None, scores.summary())

    def _write(self, task: SegmentationTask, iou: Mapping[str, float], left: float | None, ending: str) -> None:
        lines = self._log.entries()
        state = RunState(
            name=self._recipe.name,
            description=self._recipe.description,
            ending=ending,
            epoch=max((line["epoch"] for line in lines), default=0),
            epochs=self._recipe.train.epochs,
            best_epoch=self._checkpoints.best_epoch,
            seconds=self._log.elapsed(),
            seconds_left=left,
            images_per_second=self._pace.images_per_second,
            curves={
                key: {line["epoch"]: float(line[key]) for line in lines if isinstance(line.get(key), int | float)}
                for key in ("loss", "mean_iou", "pixel_accuracy")
            },
            iou=iou,
            looks=[Look(name, "", panels) for name, panels in self._pictures.looks()],
            figures=self._explained.drawn,
            worst=[look for _, _, look in sorted(self._worst, key=lambda entry: -entry[0])],
            settings=own_settings(self._recipe),
        )
        with unless_it_fails(str(self._path)), atomic_write(self._path) as temporary:
            temporary.write_text(render_run(state, task.model.label_space), encoding="utf-8")


def own_settings(recipe: Recipe) -> dict[str, tuple[str, str]]:
    """Key → value and default, of a completed recipe, where they differ; name and description are no settings.

    Example:
        >>> own_settings(completed(Recipe(train={"lr": 0.1})))
        {'train.lr': ('0.1', '0.01')}
    """
    model, data, loss = recipe.model, recipe.data, recipe.loss
    plain = Recipe(
        model=ModelConfig(head=model.head), data=DataConfig(layout=data.layout), loss=LossConfig(system=loss.system)
    )
    with contextlib.suppress(ConfigError):  # of a layout of a plugin that has options without default
        plain = completed(plain)  # with the options of its own loss and layout
    default = differing_keys(Recipe(), recipe)
    found: dict[str, tuple[Any, Any]] = {
        key: default[key] for key in ("model.head", "data.layout", "loss.system") if key in default
    }
    found |= {
        key: values for key, values in differing_keys(plain, recipe).items() if key not in ("name", "description")
    }
    return {key: (_said(now), _said(before)) for key, (before, now) in found.items()}


def _said(value: Any) -> str:
    return "–" if value is None else str(value).replace("'", "")
