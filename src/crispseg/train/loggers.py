"""Who keeps a run's curves and pictures: Lightning's loggers, as far as disk and installation have them."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger

from crispseg.config import Recipe
from crispseg.extras import needed
from crispseg.pictures.colour import Picture

__all__ = ["RunLogger", "build_logger", "unless_it_fails"]

_LOGGER = logging.getLogger("crispseg.train")


class RunLogger(Logger):
    """Mixed into a logger before its own class: what is only to be looked at does not stop a run.

    Attributes:
        kept: what it writes, for messages.
    """

    kept: str

    def log_metrics(self, *arguments: Any, **options: Any) -> None:
        """See Lightning."""
        with unless_it_fails(self.kept):
            super().log_metrics(*arguments, **options)  # type: ignore[safe-super] # the class that this is mixed into

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
        """See Lightning."""
        with unless_it_fails(self.kept):
            super().log_hyperparams(*arguments, **options)  # type: ignore[safe-super] # as above

    def add_image(self, tag: str, picture: Picture, step: int) -> None:
        """Show a picture, (H, W, 3) uint8, if it shows any."""

    def save(self) -> None:
        """See Lightning."""
        with unless_it_fails(self.kept):
            super().save()

    def finalize(self, status: str) -> None:
        """See Lightning."""
        with unless_it_fails(self.kept):
            super().finalize(status)


class _TensorBoard(RunLogger, TensorBoardLogger):
    kept = "TensorBoard's files"

    def add_image(self, tag: str, picture: Picture, step: int) -> None:
        with unless_it_fails(self.kept):
            self.experiment.add_image(tag, picture, step, dataformats="HWC")


class _Csv(RunLogger, CSVLogger):
    kept = "metrics.csv"


class _Wandb(RunLogger, WandbLogger):
    kept = "the run of Weights & Biases"

    def add_image(self, tag: str, picture: Picture, step: int) -> None:
        with unless_it_fails(self.kept):
            self.log_image(tag, [picture], step)


class _MLflow(RunLogger, MLFlowLogger):  # type: ignore[misc] # their `finalize` alone has a default status
    kept = "the run of MLflow"

    def add_image(self, tag: str, picture: Picture, step: int) -> None:
        with unless_it_fails(self.kept):
            self.experiment.log_image(self.run_id, picture, f"{tag}_{step:07d}.png")


def build_logger(recipe: Recipe, folder: Path) -> RunLogger:
    """The logger that ``train.logger`` chooses.

    Each has its own environment variables (``WANDB_PROJECT``, ``WANDB_MODE``, ``MLFLOW_TRACKING_URI``); unless they say
    otherwise everything stays below the run's folder, and the project is called crispseg.

    Args:
        recipe: of the run.
        folder: of the run.

    Raises:
        ConfigError: if it is not installed.
    """
    kind = recipe.train.logger
    if kind == "auto":
        kind = "tensorboard" if importlib.util.find_spec("tensorboard") else "csv"
    if kind != "csv":
        needed(kind, kind, f"train.logger {kind}")
    if kind == "csv":
        return _Csv(folder, name="csv")  # in a folder of its own for each sitting
    if kind == "tensorboard":
        return _TensorBoard(folder, name="", version="tensorboard")
    if kind == "wandb":
        project = os.environ.get("WANDB_PROJECT", "crispseg")
        wandb = _Wandb(recipe.name, save_dir=folder, project=project)
        wandb.log_hyperparams(recipe.model_dump(mode="json"))
        return wandb
    # MLflow refuses plain folders since version 3; what it calls artifacts still lies in one.
    place = folder.resolve()
    where = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'mlflow.db'}")
    files = None if "MLFLOW_TRACKING_URI" in os.environ else str(place / "mlruns")
    mlflow = _MLflow("crispseg", recipe.name, tracking_uri=where, artifact_location=files)
    mlflow.log_hyperparams(recipe.model_dump(mode="json"))
    return mlflow


@contextlib.contextmanager
def unless_it_fails(what: str) -> Iterator[None]:
    """Go on where a record cannot be written, and say so."""
    try:
        yield
    except OSError as error:
        _LOGGER.warning("%s could not be written (%s); the run goes on", what, error.strerror or error)
