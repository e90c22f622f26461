"""A recipe with nothing left open: what is trained, and what the run's folder remembers."""

from __future__ import annotations

import torch

from crispseg.config import Recipe, TrainConfig
from crispseg.data import layouts
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
    return recipe.model_copy(
        update={
            "data": layouts.completed_options(recipe.data),
            "loss": completed_options(parts.head_class.system, recipe.loss),
            "train": _with_precision(recipe.train),
        }
    )


def _with_precision(values: TrainConfig) -> TrainConfig:
    if values.precision != "auto":
        return values
    device = "cuda" if uses_gpu(values) else "mps" if values.accelerator == "mps" else "cpu"
    return values.model_copy(update={"precision": "bf16" if computes_bfloat16(device) else "32"})


def uses_gpu(values: TrainConfig) -> bool:
    """Whether a run is on CUDA GPUs of this machine."""
    return torch.cuda.is_available() and values.accelerator in ("auto", "gpu", "cuda")
