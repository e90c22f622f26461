"""What every loss needs: shape checks, per-pixel cross-entropy, means that survive an empty selection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional

from crispseg.labels import IGNORE_INDEX

__all__ = [
    "ClassWeighted",
    "batch_of_all_processes",
    "check_labels",
    "check_same_shape",
    "gathered_over_batch",
    "hardest_of_batch",
    "masked_mean",
    "pixel_cross_entropy",
    "pixel_weights",
    "ratio_over_batch",
    "sum_over_batch",
]

_shared_batch: ContextVar[bool] = ContextVar("crispseg_shared_batch", default=False)


@contextmanager
def batch_of_all_processes() -> Iterator[None]:
    """Within it, losses are means over the batch of all processes, of which each holds a part.

    The mean over the processes of what they return, which is what DDP makes of gradients, is then the loss of the whole
    batch: a part with few valid pixels weighs little. All processes must compute the same losses in the same order.
    Without several processes nothing changes.
    """
    is_shared = torch.distributed.is_available() and torch.distributed.is_initialized()
    token = _shared_batch.set(is_shared and torch.distributed.get_world_size() > 1)
    try:
        yield
    finally:
        _shared_batch.reset(token)


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
    return ratio_over_batch(values.sum(), weights.sum())


def ratio_over_batch(total: Tensor, weight: Tensor) -> Tensor:
    """A sum over the batch by its weight; 0 with a gradient path where the weight is 0.

    Args:
        total: () in floating point.
        weight: () of this process's part; 0 or above, without gradient.

    Returns:
        total / weight; within `batch_of_all_processes`, total over the mean weight of a process.
    """
    weight = weight.to(total.dtype)
    if _shared_batch.get():
        weight = weight.clone()
        torch.distributed.all_reduce(weight)
        weight /= torch.distributed.get_world_size()
    return total / weight.where(weight > 0, 1.0)


def sum_over_batch(part: Tensor) -> Tensor:
    """The sum of all processes' parts within `batch_of_all_processes`; elsewhere the part itself.

    The gradient is that of the whole batch's loss once the processes' are averaged, which is what DDP does.

    Args:
        part: of one shape on every process.
    """
    if not _shared_batch.get():
        return part
    total = part.detach().clone()
    torch.distributed.all_reduce(total)
    return total + (part - part.detach()) * torch.distributed.get_world_size()


def gathered_over_batch(part: Tensor) -> Tensor:
    """All processes' parts side by side along the last dimension; see `sum_over_batch`."""
    if not _shared_batch.get():
        return part
    world_size = torch.distributed.get_world_size()
    parts = [torch.empty_like(part) for _ in range(world_size)]
    torch.distributed.all_gather(parts, part.detach().contiguous())
    own = torch.distributed.get_rank()
    parts[own] = parts[own] + (part - part.detach()) * world_size
    return torch.cat(parts, dim=-1)


def hardest_of_batch(hardness: Tensor, count: int) -> Tensor:
    """The `count`-th highest value of the batch, or the lowest if there are fewer.

    Args:
        hardness: (n,) of this process's part; parts are equally large.
        count: 1 or more, of the whole batch.

    Returns:
        ()
    """
    highest = hardness.topk(min(count, hardness.numel())).values
    if _shared_batch.get():
        parts = [torch.empty_like(highest) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, highest)
        gathered = torch.cat(parts)
        highest = gathered.topk(min(count, gathered.numel())).values
    return highest[-1]


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
