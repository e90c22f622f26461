"""What every loss needs: shape checks, per-pixel cross-entropy, means that survive an empty selection."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from crispseg.types import IGNORE_INDEX

__all__ = ["ClassWeighted", "check_labels", "check_same_shape", "masked_mean", "pixel_cross_entropy", "pixel_weights"]


def check_labels(logits: Tensor, labels: Tensor) -> None:
    """Raise a ValueError unless logits (N, K, H, W) and labels (N, H, W) belong together."""
    if logits.ndim != 4 or labels.ndim != 3 or (logits.shape[0], *logits.shape[2:]) != tuple(labels.shape):
        raise ValueError(
            f"logits (N, K, H, W) and labels (N, H, W) expected, {tuple(logits.shape)} and {tuple(labels.shape)} found"
        )


def check_same_shape(**tensors: Tensor) -> None:
    """Raise a ValueError that names the tensors unless all have one shape, (N, 1, H, W)."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 4 or shape[1] != 1 for shape in shapes.values()):
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"the same shape (N, 1, H, W) expected for each, {found} found")


def pixel_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Cross-entropy per pixel, (N, H, W) in float32; 0 where the label is void."""
    check_labels(logits, labels)
    return functional.cross_entropy(
        logits.float(),
        labels.long(),
        weight=class_weights,
        ignore_index=ignore_index,
        reduction="none",
        label_smoothing=label_smoothing,
    )


def pixel_weights(labels: Tensor, class_weights: Tensor | None, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Each pixel's weight, (N, H, W) in float32: its class's, or 1; 0 where the label is void."""
    valid = labels != ignore_index
    if class_weights is None:
        return valid.float()
    return class_weights.float()[labels.long().masked_fill(~valid, 0)] * valid


def masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Sum of values over the sum of weights; 0 with a gradient path where nothing weighs anything.

    Args:
        values: any shape, already weighted: 0 wherever the weight is 0.
        weights: of the same shape, 0 or above.
    """
    return values.sum() / weights.sum().clamp_min(torch.finfo(values.dtype).tiny)


class ClassWeighted(nn.Module):
    """A loss with one weight per class, or none.

    Attributes:
        class_weights: (K,) buffer, which moves with the module and is no part of its saved state; or None.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Tensor | Sequence[float] | None = None) -> None:
        super().__init__()
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
