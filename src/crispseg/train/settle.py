"""What a recipe leaves for the run to find: class weights from the labels, a batch that fits the device."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crispseg.config import Recipe, TrainConfig
from crispseg.data import SegmentationDataset
from crispseg.data.class_counts import class_pixels
from crispseg.errors import ConfigError, DataError
from crispseg.losses import balanced_weights
from crispseg.models import Segmenter
from crispseg.recipes import read_saved_recipe
from crispseg.train.complete import uses_gpu
from crispseg.train.optim import build_optimizer
from crispseg.train.task import SegmentationTask

__all__ = ["CPU_BATCH", "largest_that_fits", "with_batch_size", "with_class_weights", "with_saved_choices"]

CPU_BATCH = 8
"""``train.batch_size: auto`` on a CPU: there time decides, not memory, and more are not faster."""

_STEPS_PER_EPOCH = 8  # that a batch found by trial must leave: one that is the whole set does not train well
_SHARE_OF_MEMORY = 0.9  # the rest is for fragments, validation and averages
_LOGGER = logging.getLogger("crispseg.train")


def with_saved_choices(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe of a run that is resumed, with what the run found for ``auto`` when it began."""
    place = folder / "recipe.yaml"
    if not place.is_file():
        return recipe
    saved = read_saved_recipe(place)
    loss, train = recipe.loss, recipe.train
    if loss.class_weights == "auto":
        loss = loss.model_copy(update={"class_weights": saved.loss.class_weights})
    if train.batch_size == "auto":
        train = train.model_copy(update={"batch_size": saved.train.batch_size})
    return recipe.model_copy(update={"loss": loss, "train": train})


def with_class_weights(
    recipe: Recipe, train_set: SegmentationDataset, progress: Callable[[int, int], object] | None = None
) -> Recipe:
    """Numbers in the place of ``loss.class_weights: auto``, from the pixels of all training labels.

    Raises:
        DataError: if no pixel is labelled, or a label file is broken.
    """
    if recipe.loss.class_weights != "auto":
        return recipe
    table = train_set.label_space
    pixels = class_pixels(train_set.source, table, folder=recipe.data.index_cache, progress=progress)
    if not sum(pixels):
        raise DataError("loss.class_weights is auto, but no pixel of the training set has a label; set numbers or null")
    weights = balanced_weights(pixels, recipe.loss.class_weight_power)
    named = zip(table.class_names, weights, strict=True)
    _LOGGER.info("class weights: %s", ", ".join(f"{name} {weight:g}" for name, weight in named))
    return recipe.model_copy(update={"loss": recipe.loss.model_copy(update={"class_weights": weights})})


def with_batch_size(recipe: Recipe, model: Segmenter, loss: nn.Module, count: int) -> Recipe:
    """A number in the place of ``train.batch_size: auto``.

    On a GPU it is the largest power of two, times ``train.accumulate``, with which two steps leave a tenth of the
    memory free; on a CPU it is `CPU_BATCH`. It never leaves fewer than eight steps an epoch, unless one image a step
    does.

    Args:
        recipe: `completed`.
        model: as it is going to be trained; not changed.
        loss: of the run.
        count: of the training images.

    Raises:
        ConfigError: if several processes train, or one image does not fit.
    """
    values = recipe.train
    if values.batch_size != "auto":
        return recipe
    if _processes(values) > 1:
        raise ConfigError(
            "train.batch_size is auto, which one process finds by trial; start once with train.devices=1, and set the "
            "number that it says times the number of devices"
        )
    most = max(1, count // (_STEPS_PER_EPOCH * values.accumulate))
    if uses_gpu(values):
        part = largest_that_fits(lambda size: _fits(recipe, model, loss, size), most)
        if part == 0:
            raise ConfigError(
                f"train.batch_size is auto, but not even one crop of {recipe.data.crop_hw} fits the GPU; shrink "
                "data.crop_hw, or set train.activation_checkpointing=light or train.precision=bf16"
            )
    else:
        part = largest_that_fits(lambda size: size * values.accumulate <= CPU_BATCH, most) or 1
    found = part * values.accumulate
    _LOGGER.info("train.batch_size auto: %d image%s a step", found, "s" * (found != 1))
    return recipe.model_copy(update={"train": values.model_copy(update={"batch_size": found})})


def largest_that_fits(fits: Callable[[int], bool], most: int) -> int:
    """The largest power of two up to a bound that fits, tried upwards; 0 where one does not.

    Example:
        >>> largest_that_fits(lambda size: size < 20, most=100), largest_that_fits(lambda size: True, most=6)
        (16, 4)
    """
    found, size = 0, 1
    while size <= most and fits(size):
        found, size = size, 2 * size
    return found


def _fits(recipe: Recipe, model: Segmenter, loss: nn.Module, size: int) -> bool:
    """Whether two steps on so many crops leave room on the GPU; the second has the optimiser's memory as well."""
    device = torch.device("cuda")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        _try_steps(recipe, model, loss, size, device)
        return torch.cuda.max_memory_reserved() <= _SHARE_OF_MEMORY * torch.cuda.mem_get_info()[1]
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()


def _try_steps(recipe: Recipe, model: Segmenter, loss: nn.Module, size: int, device: torch.device) -> None:
    """Two optimiser steps on noise, with copies of model and loss."""
    task = SegmentationTask(copy.deepcopy(model), copy.deepcopy(loss), recipe).to(device).train()
    optimizer = build_optimizer(task.model, recipe.train)
    height, width = recipe.data.crop_hw
    images = torch.rand(size, 3, height, width, device=device)
    labels = torch.randint(0, model.num_classes, (size, height, width), device=device)
    kind: dict[str, Any] = {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    precision = kind[recipe.train.precision]
    for _ in range(2):
        with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
            output = task.model(images)
        total = torch.stack(list(task.loss(output, labels).values())).sum()
        total.backward()  # type: ignore[no-untyped-call] # as torch has it
        optimizer.step()
        optimizer.zero_grad()


def _processes(values: TrainConfig) -> int:
    """How many are going to train, as far as it is known before they are started."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1"))
    if values.devices != "auto":
        return values.devices * values.nodes
    return (max(1, torch.cuda.device_count()) if uses_gpu(values) else 1) * values.nodes
