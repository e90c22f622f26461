"""One run, from recipe and folder to the exported model and its scores."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from crispseg.config import EvaluateConfig, Recipe
from crispseg.data import OwnData, SegmentationDataset, build_dataset, require_sound
from crispseg.data.band_values import measured_bands
from crispseg.errors import ConfigError, DataError, TrainingError, TrainingInterrupted, WeightsError
from crispseg.evaluation import Scores, evaluate
from crispseg.evaluation.records import Settings
from crispseg.inference import Predictor
from crispseg.labels import LabelSpace
from crispseg.losses import build_loss
from crispseg.models import Segmenter, build_model, load_weights, save_model
from crispseg.recipes import as_recipe, save_recipe
from crispseg.stopping import StopSignals
from crispseg.train.averaging import MovingAverage
from crispseg.train.batches import EpochBatches, train_loader, validation_loader, without_worker_traceback
from crispseg.train.checkpoints import Checkpoints
from crispseg.train.complete import completed
from crispseg.train.ending import EarlyEnd
from crispseg.train.explaining import ExplainedPictures
from crispseg.train.folder import claimed_folder, how_to_go_on, require_room, what_stands
from crispseg.train.loggers import RunLogger
from crispseg.train.memory import LITTLE, MUCH, keep_freed_memory
from crispseg.train.own import OwnParts, require_same_classes
from crispseg.train.pace import Pace, ProgressBar, ProgressLines
from crispseg.train.page import RunPage
from crispseg.train.records import EpochLog, ValidationPictures
from crispseg.train.settle import with_batch_size, with_class_weights, with_saved_choices
from crispseg.train.sync_norm import synchronise_norms
from crispseg.train.task import SegmentationTask, diverged
from crispseg.train.trainer import build_trainer, quiet_lightning
from crispseg.types import SegmentationOutput

__all__ = ["FitResult", "fit"]

_LOGGER = logging.getLogger("crispseg.train")

Preparing = Callable[[str, int, int], object]


@dataclass(frozen=True)
class FitResult:
    """What a run ends with.

    Attributes:
        model_folder: the exported best model, for `crispseg.load_model`.
        best_checkpoint: what it was taken from.
        scores: of the best model on the validation set, as the recipe's ``evaluate`` section asks.
        best_epoch: counted from 1.
        seconds: spent training, over all sittings, and evaluating.
        is_first: whether this process is the first, which speaks for all.
    """

    model_folder: Path
    best_checkpoint: Path
    scores: Scores
    best_epoch: int
    seconds: float
    is_first: bool = True


def fit(
    recipe: Recipe | Mapping[str, Any] | str | os.PathLike[str],
    out_dir: str | Path,
    *,
    train_set: OwnData | None = None,
    val_set: OwnData | None = None,
    model: Segmenter | None = None,
    loss: Callable[[SegmentationOutput, Tensor], Tensor | Mapping[str, Tensor]] | None = None,
    resume: bool = False,
    from_previous: bool = False,
    progress: bool = True,
    preparing: Preparing | None = None,
) -> FitResult:
    """Train a recipe.

    The folder then holds ``recipe.yaml``, ``checkpoints/best.ckpt``, ``last.ckpt`` and the one before it,
    ``previous.ckpt``, ``log.jsonl`` with a line per epoch, TensorBoard's files, and ``model/``, the exported best model
    with its scores.

    Several processes, by ``train.devices`` or started by torchrun, train one model: the batch of the recipe is divided
    among them, its losses and batch normalisation are those of the whole batch, and each validation image counts once.

    Args:
        recipe: what to train, on what, how: a recipe, its values by section, a file's path or a packaged one's name.
        out_dir: the run's folder; it must not hold a run yet, unless `resume` is set.
        train_set: images and labels of one's own in the place of the recipe's, see `crispseg.data.Pairs`; with
            `val_set`. The recipe cuts and varies them. ``data.labels``, or the model, says what the labels mean.
        val_set: the same for validation; they stay whole.
        model: to train, in the place of the one that the recipe would build; it is changed.
        loss: output and labels (N, H, W) to a loss or to named terms, already weighted, whose sum is the loss; in the
            place of the recipe's. Who resumes a run hands over the same parts again.
        resume: go on from the folder's last checkpoint; the result is the same, bit for bit on the same machine, as if
            the run had never stopped.
        from_previous: go on from the checkpoint before the last one, where the last is broken; with `resume`.
        progress: show a progress bar of the training, if there is a terminal.
        preparing: called with (what, how many are done, of how many) while files are looked at before the training.

    Returns:
        Folder and scores of the best model: the one with the highest mean IoU on the validation set.

    Raises:
        ConfigError: if the folder holds a run already, there is nothing to resume, or the recipe does not fit its data,
            its machine or the run that is resumed.
        DataError: if the data set is missing or broken.
        TrainingError: if the loss turns non-finite; the checkpoints stay whole.
        TrainingInterrupted: on Ctrl-C or SIGTERM, after the state was saved.
    """
    folder = Path(out_dir)
    recipe = as_recipe(recipe)
    if model is not None:
        recipe = recipe.model_copy(update={"model": model.config.without_sources()})
    recipe = completed(recipe)
    own = OwnParts(train_set, val_set, model, loss)
    if resume:
        recipe = with_saved_choices(recipe, folder)
    with (
        StopSignals(lambda: what_stands(folder), TrainingInterrupted, _say_noted) as signals,
        claimed_folder(folder, recipe, resume=resume, from_previous=from_previous) as checkpoint,
        quiet_lightning(),
        without_worker_traceback(),
    ):
        return _fit(recipe, own, folder, checkpoint, signals, progress, preparing or (lambda what, done, total: None))


def _say_noted() -> None:
    _LOGGER.warning("stopping after this step; another signal stops at once and loses the work since the last save")


def _fit(
    recipe: Recipe,
    own: OwnParts,
    folder: Path,
    checkpoint: Path | None,
    signals: StopSignals,
    progress: bool,
    preparing: Preparing,
) -> FitResult:
    L.seed_everything(recipe.train.seed, workers=True, verbose=False)
    sets = own.datasets(recipe)
    if sets is None:
        require_sound(recipe.data, progress=partial(preparing, "checking files"))
        signals.check()
        train_set = build_dataset(recipe.data, "train", augment=True, seed=recipe.train.seed)
        val_set = build_dataset(recipe.data, "val", augment=False)
    else:
        train_set, val_set = sets
    _check_sets(train_set, val_set)
    if own.model is None:
        _check_bands(recipe, train_set)
    recipe = with_class_weights(recipe, train_set, partial(preparing, "counting classes"))
    model = own.model or _starting_model(recipe, train_set.label_space, resumed=checkpoint is not None)
    require_same_classes(model, train_set)
    if own.model is None and checkpoint is None:
        _measure_bands(model, train_set, recipe)
    _predictor(model, recipe)  # says now what would be wrong with it after the training, and so does the next line
    Settings(train_set.label_space, recipe.evaluate.radii_px, scores=recipe.evaluate.scores)
    require_room(folder, model, recipe.train)
    loss = own.terms() or build_loss(model.head.system, recipe.loss, model.num_classes)
    recipe = with_batch_size(recipe, model, loss, len(train_set))
    task = SegmentationTask(model, loss, recipe)

    if _scores_otherwise(recipe.evaluate):
        _LOGGER.info(
            "validation during training scores whole images at one scale, not mirrored; the best epoch is scored as "
            "the recipe's section evaluate says, at the end"
        )
    pace = Pace()
    log, pictures = EpochLog(folder / "log.jsonl", pace), ValidationPictures(recipe.train.picture_count)
    explained = ExplainedPictures(recipe.train.picture_count)
    callbacks: list[Callback] = [pace, log, pictures, explained]
    if recipe.train.ema_decay is not None:
        callbacks.append(MovingAverage(recipe.train.ema_decay))
    if progress:
        callbacks.append(ProgressBar(pace) if sys.stdout.isatty() else ProgressLines(pace))
    checkpoints = Checkpoints(folder / "checkpoints", signals, how_to_go_on(folder), checkpoint)
    page = RunPage(folder / "report.html", recipe, log, pace, pictures, explained, checkpoints)
    callbacks += [EarlyEnd(recipe.train, checkpoints, log), page]
    log_every = max(1, min(10, len(train_set) // recipe.train.images_per_step))  # steps; small sets are logged, too
    trainer = build_trainer(recipe, folder, [*callbacks, checkpoints], log_every)
    rank, world_size = trainer.global_rank, trainer.world_size
    if recipe.train.sync_batchnorm and world_size > 1:
        synchronise_norms(model, fused=trainer.strategy.root_device.type == "cuda")
    _require_two_values(recipe, model, world_size)
    loader = train_loader(train_set, recipe, rank, world_size, partial(preparing, "looking up classes"))
    assert isinstance(loader.batch_sampler, EpochBatches)
    checkpoints.steer(loader.batch_sampler, train_set)

    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory(LITTLE if recipe.train.activation_checkpointing == "full" else MUCH)
    if trainer.is_global_zero:
        save_recipe(recipe, folder / "recipe.yaml")
    with signals.postponed(), checkpoints.explaining_what_does_not_fit():
        trainer.fit(
            task, loader, validation_loader(val_set, recipe, rank, world_size), ckpt_path=checkpoint, weights_only=True
        )
    result = _export(task, val_set, folder, trainer, checkpoints, log.seconds)
    if result.is_first:
        page.finish(task, result.scores)
    return result


def _require_two_values(recipe: Recipe, model: Segmenter, world_size: int) -> None:
    """Refuse crops that are one cell in a backbone whose batch normalisation would see one image: no variance."""
    values, stride = recipe.train, model.backbone.info.top.stride
    size_hw = recipe.data.crop_hw
    together = values.sync_batchnorm and world_size > 1
    is_single = values.batch_size == world_size * values.accumulate and not together
    if is_single and max(size_hw) <= stride and any(isinstance(m, _BatchNorm) for m in model.backbone.modules()):
        raise ConfigError(
            f"data.crop_hw {size_hw[0]}×{size_hw[1]} is one cell at the backbone's stride of {stride}, and "
            f"train.batch_size {values.batch_size} leaves one image for each of {world_size} devices × "
            f"train.accumulate {values.accumulate}: its batch normalisation would see a single value; enlarge "
            "data.crop_hw or train.batch_size, or lower train.accumulate or model.output_stride"
        )


def _starting_model(recipe: Recipe, label_space: LabelSpace, resumed: bool) -> Segmenter:
    """The network with the weights that the recipe starts from; a checkpoint that is resumed brings its own."""
    start = recipe.model.weights
    if start is None:
        return build_model(recipe.model, label_space)
    model = build_model(recipe.model.without_sources(), label_space)
    if not resumed:
        load_weights(model, start, other_classes=True, partial=recipe.model.weights_partial)
    return model


def _export(
    task: SegmentationTask,
    val_set: SegmentationDataset,
    folder: Path,
    trainer: L.Trainer,
    checkpoints: Checkpoints,
    seconds: float,
) -> FitResult:
    """Score the best model and write it as a folder of its own."""
    started = time.monotonic()
    recipe, model = task.recipe, task.model
    weights = checkpoints.best_weights()
    if recipe.train.strategy == "fsdp":  # each process holds a part of it; one that is whole takes no gradients
        model = build_model(recipe.model.without_sources(), val_set.label_space)
    model.load_state_dict(weights)
    predictor = _predictor(model, recipe, trainer.strategy.root_device)
    asked = recipe.evaluate
    try:
        scores = evaluate(predictor, val_set, asked.radii_px, absent=asked.absent, scores=asked.scores)
    except WeightsError as error:  # what it computes is not finite
        raise diverged(f"scoring the model of epoch {checkpoints.best_epoch}, the best, found that {error}") from error
    if trainer.is_global_zero:
        if isinstance(trainer.logger, RunLogger):
            values = {f"val/boundary_f_{radius:g}px": value for radius, value in scores.mean_shown_boundary_f.items()}
            if scores.iou:
                values["val/best_mean_iou"] = scores.mean_iou
            trainer.logger.log_metrics(values, step=trainer.global_step)
            trainer.logger.finalize("success")
        try:
            save_model(model, folder / "model", recipe=recipe, metrics=scores.summary_dict())
        except OSError as error:
            raise TrainingError(
                f"{folder / 'model'}: the model could not be written ({error.strerror or error}); make room, then "
                f"{how_to_go_on(folder)}, which trains no more"
            ) from error
    trainer.strategy.barrier("exported")
    return FitResult(
        folder / "model",
        checkpoints.best_path,
        scores,
        checkpoints.best_epoch,
        seconds + time.monotonic() - started,
        trainer.is_global_zero,
    )


def _predictor(model: Segmenter, recipe: Recipe, device: torch.device | None = None) -> Predictor:
    values = recipe.evaluate
    return Predictor(
        model,
        scales=values.scales,
        flip=values.flip,
        window_hw=values.window_hw,
        class_bias=values.class_bias,
        device=device,
        precision="float32",  # scores are evidence, the same on every machine
    )


def _check_sets(train_set: SegmentationDataset, val_set: SegmentationDataset) -> None:
    ours, theirs = train_set.label_space.class_names, val_set.label_space.class_names
    if ours != theirs:
        raise DataError(
            f"training has the classes {', '.join(ours)}, validation {', '.join(theirs)}; the same expected"
        )
    if len(val_set) == 0:
        raise DataError("the validation set is empty; at least one image is needed to choose the best model")


def _check_bands(recipe: Recipe, train_set: SegmentationDataset) -> None:
    found = train_set.sample(0).image.shape[2]
    if found != recipe.model.image_channels:
        raise ConfigError(
            f"the images have {found} bands, and the model takes {recipe.model.image_channels} (model.in_channels); "
            "set data.bands to those that are meant, which sets model.in_channels as well"
        )


def _measure_bands(model: Segmenter, train_set: SegmentationDataset, recipe: Recipe) -> None:
    """Give a new model mean and deviation of its bands, where they are no colours, whose mean the backbone knows."""
    values = recipe.model
    if values.bands is None or values.weights is not None or (values.mean is not None and values.std is not None):
        return
    mean, std = measured_bands(train_set.source)
    _LOGGER.info("mean of each band %s, deviation %s, of 1 (model.mean, model.std)", list(mean), list(std))
    for buffer, given, measured in ((model.mean, values.mean, mean), (model.std, values.std, std)):
        if given is None:
            buffer.copy_(torch.tensor(measured).view_as(buffer))


def _scores_otherwise(config: EvaluateConfig) -> bool:
    """Whether the recipe scores in another way than validation during training."""
    return config.flip or config.window_hw is not None or config.scales != (1.0,) or bool(config.class_bias)
