"""One run, from recipe and folder to the exported model and its scores."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import lightning.pytorch as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_only

from crispseg.config import Recipe, TrainConfig
from crispseg.data import SegmentationDataset, build_dataset, require_sound
from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.evaluation import Scores, evaluate
from crispseg.inference import Predictor
from crispseg.labels import LabelSpace
from crispseg.losses import build_loss
from crispseg.models import Segmenter, build_model, load_weights, save_model
from crispseg.recipes import differing_keys, load_recipe, save_recipe
from crispseg.train.averaging import MovingAverage
from crispseg.train.batches import EpochBatches, train_loader, validation_loader
from crispseg.train.checkpoints import AtomicCheckpointIO, Checkpoints, is_whole, remove_leftovers
from crispseg.train.memory import keep_freed_memory
from crispseg.train.records import EpochLog, ValidationPictures
from crispseg.train.stopping import StopSignals
from crispseg.train.sync_norm import synchronise_norms
from crispseg.train.task import SegmentationTask

__all__ = ["FitResult", "fit"]

_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
_RUN_ENTRIES = ("recipe.yaml", "checkpoints", "log.jsonl", "tensorboard", "model")
_MAY_CHANGE = re.compile(
    r"name|description|data\.(root|workers|cache|index_cache|check)|train\.(devices|nodes|accelerator|picture_count|save_every_steps)"
    r"|evaluate\..*|paper.*"
)


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
    recipe: Recipe,
    out_dir: str | Path,
    *,
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
        recipe: what to train, on what, how.
        out_dir: the run's folder; it must not hold a run yet, unless `resume` is set.
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
    checkpoint = _claim(folder, recipe, resume, from_previous)
    with (
        _quiet_lightning(),
        _without_worker_traceback(),
        StopSignals(f"go on with resume=True (crispseg fit … --out {folder} --resume)") as signals,
    ):
        return _fit(recipe, folder, checkpoint, signals, progress, preparing or (lambda what, done, total: None))


def _fit(
    recipe: Recipe, folder: Path, checkpoint: Path | None, signals: StopSignals, progress: bool, preparing: Preparing
) -> FitResult:
    L.seed_everything(recipe.train.seed, workers=True, verbose=False)
    require_sound(recipe.data, progress=partial(preparing, "checking files"))
    train_set = build_dataset(recipe.data, "train", augment=True, seed=recipe.train.seed)
    val_set = build_dataset(recipe.data, "val", augment=False)
    _check_sets(train_set, val_set)
    model = _starting_model(recipe, train_set.label_space, resumed=checkpoint is not None)
    loss = build_loss(model.head.system, recipe.loss, model.num_classes)
    task = SegmentationTask(model, loss, recipe)

    log = EpochLog(folder / "log.jsonl")
    callbacks: list[Callback] = [log, ValidationPictures(recipe.train.picture_count)]
    if recipe.train.ema_decay is not None:
        callbacks.append(MovingAverage(recipe.train.ema_decay))
    if progress and sys.stdout.isatty():
        callbacks.append(RichProgressBar())
    checkpoints = Checkpoints(folder / "checkpoints", signals, checkpoint)
    log_every = max(1, min(10, len(train_set) // recipe.train.batch_size))  # steps; small sets are logged, too
    trainer = _trainer(recipe, folder, [*callbacks, checkpoints], log_every)
    rank, world_size = trainer.global_rank, trainer.world_size
    if recipe.train.sync_batchnorm and world_size > 1:
        synchronise_norms(model, native=trainer.strategy.root_device.type == "cuda")
    loader = train_loader(train_set, recipe, rank, world_size, partial(preparing, "looking up classes"))
    assert isinstance(loader.batch_sampler, EpochBatches)
    checkpoints.steer(loader.batch_sampler, train_set)

    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    if trainer.is_global_zero:
        save_recipe(recipe, folder / "recipe.yaml")
    trainer.fit(
        task, loader, validation_loader(val_set, recipe, rank, world_size), ckpt_path=checkpoint, weights_only=True
    )
    return _export(task, val_set, folder, trainer, checkpoints, log.seconds)


def _starting_model(recipe: Recipe, label_space: LabelSpace, resumed: bool) -> Segmenter:
    """The network with the weights that the recipe starts from; a checkpoint that is resumed brings its own."""
    start = recipe.model.weights
    if start is None:
        return build_model(recipe.model, label_space)
    model = build_model(recipe.model.without_sources(), label_space)
    if not resumed:
        load_weights(model, start, other_classes=True, partial=recipe.model.weights_partial)
    return model


def _trainer(recipe: Recipe, folder: Path, callbacks: list[Callback], log_every: int) -> L.Trainer:
    values = recipe.train
    on_gpu = torch.cuda.is_available() and values.accelerator in ("auto", "gpu", "cuda")
    if values.precision == "fp16" and not on_gpu:
        raise ConfigError("train.precision is fp16, which needs a CUDA GPU, and none is used; set bf16 or 32")
    devices, nodes = _devices_and_nodes(values)
    is_sharded = values.strategy == "fsdp"
    if is_sharded and values.ema_decay is not None:
        raise ConfigError("train.ema_decay averages whole models, train.strategy fsdp has none; leave out one of them")
    try:
        return L.Trainer(
            default_root_dir=folder,
            accelerator=values.accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=ModelParallelStrategy(save_distributed_checkpoint=False) if is_sharded else values.strategy,
            precision=_PRECISION[values.precision],
            max_epochs=values.epochs,
            accumulate_grad_batches=values.accumulate,
            gradient_clip_val=values.clip_norm,
            sync_batchnorm=False,  # Lightning's loses the activation of timm's norms, and runs on GPUs only
            log_every_n_steps=log_every,
            num_sanity_val_steps=0,  # the whole loop is tested; a sanity check would count into the scores
            use_distributed_sampler=False,  # our samplers know the processes, and repeat no validation image
            logger=TensorBoardLogger(folder, name="", version="tensorboard"),
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(callback, RichProgressBar) for callback in callbacks),
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"train.accelerator {values.accelerator!r}, train.devices {values.devices!r}, train.precision "
            f"{values.precision!r}: {' '.join(str(error).split())}"
        ) from error


def _devices_and_nodes(values: TrainConfig) -> tuple[int | Literal["auto"], int]:
    """As the recipe says, or as torchrun has started processes."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return values.devices, values.nodes
    here, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return here, everywhere // here


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
    if recipe.train.strategy == "fsdp":  # each process holds a part of it; one that is whole takes no gradients
        model = build_model(recipe.model.without_sources(), val_set.label_space)
    _load_best(model, checkpoints.best_path)
    predictor = Predictor(
        model,
        scales=recipe.evaluate.scales,
        flip=recipe.evaluate.flip,
        window_hw=recipe.evaluate.window_hw,
        device=trainer.strategy.root_device,
    )
    scores = evaluate(predictor, val_set, recipe.evaluate.radii_px)
    if trainer.is_global_zero:
        if isinstance(trainer.logger, TensorBoardLogger):
            values = {f"val/boundary_f_{radius:g}px": value for radius, value in scores.mean_boundary_f.items()}
            trainer.logger.log_metrics({**values, "val/best_mean_iou": scores.mean_iou}, step=trainer.global_step)
            trainer.logger.finalize("success")
        save_model(model, folder / "model", recipe=recipe, metrics=scores.summary_dict())
    trainer.strategy.barrier("exported")
    return FitResult(
        folder / "model",
        checkpoints.best_path,
        scores,
        checkpoints.best_epoch,
        seconds + time.monotonic() - started,
        trainer.is_global_zero,
    )


def _load_best(model: Segmenter, path: Path) -> None:
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    weights = {k.removeprefix("model."): v for k, v in checkpoint["state_dict"].items() if k.startswith("model.")}
    model.load_state_dict(weights)


def _claim(folder: Path, recipe: Recipe, resume: bool, from_previous: bool) -> Path | None:
    """The checkpoint to go on from; None for the beginning."""
    if from_previous and not resume:
        raise ConfigError("from_previous is for going on with a run; set resume as well (--resume --previous)")
    last = folder / "checkpoints" / ("previous.ckpt" if from_previous else "last.ckpt")
    if getattr(rank_zero_only, "rank", 0) != 0:
        # Started by the first process, which has looked, and has begun to write.
        return last if resume and last.exists() else None
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: a file found where the run's folder was expected; name another")
    found = [name for name in _RUN_ENTRIES if (folder / name).exists()]
    if not resume:
        if found:
            raise ConfigError(
                f"{folder}: holds a run already ({', '.join(found)}); go on with it by --resume (resume=True), or name "
                "another folder. Nothing was changed"
            )
        return None
    saved = folder / "recipe.yaml"
    if not saved.is_file():
        raise ConfigError(
            f"{folder}: nothing to resume, recipe.yaml is missing; name a run's folder, or leave out --resume"
        )
    changed = [
        f"{key} was {before!r} and is now {after!r}"
        for key, (before, after) in differing_keys(load_recipe(saved), recipe).items()
        if not _MAY_CHANGE.fullmatch(key)
    ]
    if changed:
        raise ConfigError(
            f"{folder}: the recipe differs from the run's: {'; '.join(changed)}; resume with {saved}, or begin another "
            "run"
        )
    remove_leftovers(last.parent)
    previous = last.with_name("previous.ckpt")
    if not last.exists():
        if previous.exists():
            raise WeightsError(f"{last}: missing, but {previous.name} is there; go on from it with --resume --previous")
        return None  # stopped before the first checkpoint
    if not is_whole(last):
        advice = "remove it to begin the run anew, or restore it from a copy"
        if not from_previous and previous.exists() and is_whole(previous):
            advice = f"{previous.name}, the one before it, is whole: go on from it with --resume --previous"
        raise WeightsError(f"{last}: not a whole checkpoint, its end or a checksum is wrong; {advice}")
    return last


def _check_sets(train_set: SegmentationDataset, val_set: SegmentationDataset) -> None:
    ours, theirs = train_set.label_space.class_names, val_set.label_space.class_names
    if ours != theirs:
        raise DataError(
            f"training has the classes {', '.join(ours)}, validation {', '.join(theirs)}; the same expected"
        )
    if len(val_set) == 0:
        raise DataError("the validation set is empty; at least one image is needed to choose the best model")


@contextlib.contextmanager
def _without_worker_traceback() -> Iterator[None]:
    """A loader's worker wraps what went wrong into its traceback; only our message is for the user."""
    try:
        yield
    except DataError as error:
        text = str(error)
        if not text.startswith("Caught "):
            raise
        raise DataError(text.rpartition(f"{type(error).__name__}: ")[2].strip()) from error


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep back what Lightning says about choices that we made."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_EXPECTED_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's, about its own use of torch
    r".*overrides the configure_model callback.*",  # which shards in a strategy that refuses averaging
    r".*does not have many workers.*",  # a recipe may choose so; toy streets are kept in memory
    r".*your dataloader is not resumable.*",  # it is: Checkpoints tells the sampler where to go on
    r".*exists and is not empty.*",  # the run's own folder
    r".*Checkpoint directory.*",
    r".*GPU available but not used.*",  # a recipe may choose so
)
