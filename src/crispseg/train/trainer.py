"""Lightning's trainer as a recipe asks for it, and what Lightning need not say."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import lightning.pytorch as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.strategies import ModelParallelStrategy

from crispseg.config import Recipe, TrainConfig
from crispseg.errors import ConfigError
from crispseg.parsing import parse_whole
from crispseg.train.checkpoint_files import AtomicCheckpointIO
from crispseg.train.complete import uses_gpu
from crispseg.train.loggers import build_logger

__all__ = ["build_trainer", "quiet_lightning"]

_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def build_trainer(recipe: Recipe, folder: Path, callbacks: list[Callback], log_every: int) -> L.Trainer:
    """The trainer of a run.

    Args:
        recipe: its section ``train``; `completed`.
        folder: of the run.
        callbacks: all that the run needs.
        log_every: steps between two entries of the logger.

    Raises:
        ConfigError: if this machine cannot do what the recipe asks for.
    """
    values = recipe.train
    if values.precision == "fp16" and not uses_gpu(values):
        raise ConfigError("train.precision is fp16, which needs a CUDA GPU, and none is used; set bf16 or 32")
    devices, nodes = _devices_and_nodes(values)
    is_sharded = values.strategy == "fsdp"
    if is_sharded and values.ema_decay is not None:
        raise ConfigError("train.ema_decay averages whole models, train.strategy fsdp has none; leave out one of them")
    logger = build_logger(recipe, folder)
    try:
        trainer = L.Trainer(
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
            logger=logger,
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
    # Lightning's handlers would stop a run in the middle of accumulation; StopSignals hears all that they would hear.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    _require_company(trainer)
    return trainer


def _require_company(trainer: L.Trainer) -> None:
    """Refuse to wait, half an hour and in silence, for machines that nobody told this one about."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.num_nodes == 1 or not isinstance(environment, LightningEnvironment):
        return  # alone, or torchrun or a job scheduler tells who the others are
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if not {"NODE_RANK", "GROUP_RANK"} & os.environ.keys():
        missing.append("NODE_RANK")
    if missing:
        raise ConfigError(
            f"train.nodes is {trainer.num_nodes}, but nothing says where the other machines are; start the run by "
            f"torchrun on each of them, which needs no train.nodes, or set {', '.join(missing)} on each"
        )


def _devices_and_nodes(values: TrainConfig) -> tuple[int | Literal["auto"], int]:
    """As the recipe says, or as torchrun has started processes."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        # Two on one core are how several processes are tried out; Lightning would start any number.
        most = max(2, os.cpu_count() or 1)
        on_cpu = values.accelerator in ("auto", "cpu") and not uses_gpu(values)
        if on_cpu and values.devices != "auto" and values.devices > most:
            raise ConfigError(
                f"train.devices is {values.devices}, processes on a CPU, which has {os.cpu_count()} cores here; set "
                f"train.devices to {most} or fewer"
            )
        return values.devices, values.nodes
    texts = {name: os.environ.get(name, "") for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE", "RANK", "LOCAL_RANK")}
    numbers = {name: number for name, text in texts.items() if (number := parse_whole(text)) is not None}
    if wrong := [f"{name} is {text!r:.100}" for name, text in texts.items() if name not in numbers]:
        raise ConfigError(
            f"TORCHELASTIC_RUN_ID is set, as by torchrun, but {', '.join(wrong)}; start the run by torchrun, or "
            "unset it"
        )
    here, everywhere = numbers["LOCAL_WORLD_SIZE"], numbers["WORLD_SIZE"]
    if here < 1 or everywhere % here:
        raise ConfigError(f"WORLD_SIZE is {everywhere} and LOCAL_WORLD_SIZE {here}; a multiple of it expected")
    return here, everywhere // here


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
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
    r"Found .* in eval mode at the start of training.*",  # a frozen backbone
    r".*GPU available but not used.*",  # a recipe may choose so
)
