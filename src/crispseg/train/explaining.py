"""Explanation pictures of the first validation images: what `crispseg explain` draws, as it changes in training."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from crispseg.explanation import Available, Look, Options, Shown, Subject, figures_of
from crispseg.inference import Prediction
from crispseg.pictures.colour import Picture
from crispseg.pictures.sheets import stack
from crispseg.train.batches import Batch
from crispseg.train.loggers import RunLogger
from crispseg.train.records import as_picture
from crispseg.train.task import as_task

__all__ = ["ExplainedPictures"]

_FIGURES = ("outlines", "errors", "edge_prior", "gates", "flow", "features")
"""Of `crispseg.explanation.FIGURES`: what changes as a network learns, and needs no pass of its own."""

_OPTIONS = Options(cell_width=320)


class ExplainedPictures(Callback):
    """Shows the first validation images as `crispseg explain` does: outlines, errors, gates, flow, features and so on.

    They are drawn from what the validation computes anyway, so nothing runs twice, and sharded models are no matter.

    Args:
        count: of the images.

    Attributes:
        drawn: of the last validation: name, sentence and picture of each figure, all images below each other.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.drawn: list[tuple[str, str, Picture]] = []
        self._subjects: list[Subject] = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin anew."""
        self._subjects = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what was seen of an image while there is room."""
        task = as_task(pl_module)
        if not trainer.is_global_zero or task.diverged_on is not None:
            return
        for index in range(min(len(batch["image"]), self.count - len(self._subjects))):
            boundary = outputs["boundary_probability"]
            prediction = Prediction(
                labels=outputs["prediction"][index].to(torch.uint8).cpu().numpy(),
                confidence=_floats(outputs["confidence"][index]),
                image=as_picture(batch["image"][index]),
                label_space=task.model.label_space,
                boundary_probability=None if boundary is None else _floats(boundary[index, 0]),
            )
            shown = Shown(task.model.head.map_info, boundaries=boundary is not None)
            maps = {name: _floats(values[index]) for name, values in outputs["maps"].items()}
            truth = batch["labels"][index].to(torch.uint8).cpu().numpy()
            self._subjects.append(Subject({"model": Look(prediction, shown, maps)}, truth, _OPTIONS))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw them, and hand them to the logger."""
        if self._subjects:
            can = figures_of(Available(self._subjects[0].look.shown, labels=True))
            figures = [can[name] for name in _FIGURES if name in can]
            self.drawn = [(one.name, one.sentence, stack(*map(one.draw, self._subjects)).to_array()) for one in figures]
            if isinstance(trainer.logger, RunLogger):
                for name, _, picture in self.drawn:
                    trainer.logger.add_image(f"explain/{name}", picture, trainer.global_step)
        self._subjects = []


def _floats(values: Tensor) -> Any:
    return values.float().cpu().numpy()
