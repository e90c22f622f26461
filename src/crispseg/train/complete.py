"""A recipe with nothing left open: what is trained, and what the run's folder remembers."""

from __future__ import annotations

import torch

from crispseg.config import DataConfig, ModelConfig, Recipe, TrainConfig
from crispseg.data import layouts
from crispseg.errors import ConfigError
from crispseg.losses import completed_options
from crispseg.models import parts_of
from crispseg.ops.hardware import computes_bfloat16

__all__ = ["completed", "uses_gpu"]


def completed(recipe: Recipe) -> Recipe:
    """Every option of the recipe's loss and layout, and no other, and the precision of this machine for ``auto``.

    So that a saved recipe means the same under later defaults, and that a wrong name or option is an error before
    anything is read.

    Raises:
        ConfigError: if head, context, loss or layout do not exist, or do not take an option that is set.
    """
    parts = parts_of(recipe.model)
    model, data = _with_bands(recipe.model, layouts.completed_options(recipe.data))
    return recipe.model_copy(
        update={
            "model": model,
            "data": data,
            "loss": completed_options(parts.head_class.system, recipe.loss),
            "train": _with_precision(recipe.train),
        }
    )


def _with_bands(model: ModelConfig, data: DataConfig) -> tuple[ModelConfig, DataConfig]:
    """Both sections with the same bands and range, whichever of them names the bands.

    Raises:
        ConfigError: if they name different numbers.
    """
    if data.target == "corrections" or model.sees_mask:
        return _with_mask(model, data), data
    bands, count = data.bands, model.in_channels
    if bands is None and count not in (None, 3):
        bands = model.bands or tuple(range(1, (count or 3) + 1))
    if bands is not None and count not in (None, len(bands)):
        raise ConfigError(
            f"model.in_channels is {count}, and data.bands names {len(bands)} bands, {list(bands)}; leave one of the "
            "two out, or let them agree"
        )
    for key in ("mean", "std"):
        values, expected = getattr(model, key), 3 if bands is None else len(bands)
        if values is not None and len(values) != expected:
            raise ConfigError(f"model.{key} has {len(values)} values, {expected} expected, one for each band")
    if bands is None and data.stored_range is None and model.bands is None and model.value_range is None:
        return model, data
    of_model = {"in_channels": None if bands is None else len(bands), "bands": bands, "value_range": data.stored_range}
    return model.model_copy(update=of_model), data.model_copy(update={"bands": bands})


def _with_mask(model: ModelConfig, data: DataConfig) -> ModelConfig:
    """A model that sees masks, for data that damages some.

    Raises:
        ConfigError: if data has none, or bands of its own.
    """
    if data.target != "corrections":
        raise ConfigError(
            f"model.sees_mask is set, and data.target is {data.target!r}, which has no masks; set it to corrections"
        )
    if data.bands is not None or data.stored_range is not None or model.bands is not None or model.in_channels:
        raise ConfigError(
            "data.target corrections gives a network red, green, blue and three bands of a mask; leave out "
            "data.bands, data.bit_depth, data.value_range, model.bands and model.in_channels"
        )
    return model.model_copy(update={"sees_mask": True})


def _with_precision(values: TrainConfig) -> TrainConfig:
    if values.precision != "auto":
        return values
    device = "cuda" if uses_gpu(values) else "mps" if values.accelerator == "mps" else "cpu"
    return values.model_copy(update={"precision": "bf16" if computes_bfloat16(device) else "32"})


def uses_gpu(values: TrainConfig) -> bool:
    """Whether a run is on CUDA GPUs of this machine."""
    return torch.cuda.is_available() and values.accelerator in ("auto", "gpu", "cuda")
