"""Batch normalisation over the batch of all processes, on any device and of any kind that a backbone brings.

The fused layers of PyTorch and timm run on GPUs only, and a layer of a kind that they do not know would lose in them
what it does beside normalising. Here a layer stays what it is; only its statistics are shared.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crispseg.backbones import fused_batch_norm

__all__ = ["synchronise_norms"]


def synchronise_norms(model: nn.Module, fused: bool = False) -> None:
    """Make every batch normalisation of a model share its statistics among the processes in training mode.

    Keys and values of the model's state stay as they are. Evaluation mode, and a single process, change nothing.

    Args:
        model: changed in place.
        fused: take the fused layers of PyTorch and timm where they do the same; they are faster and need a GPU.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if not isinstance(child, _BatchNorm) or isinstance(child, _Shared):
                continue
            replacement = fused_batch_norm(child) if fused else None
            if replacement is not None:
                setattr(parent, name, replacement)
            else:
                child.__class__ = _shared_kind(type(child))


class _Shared:
    """Mixed into a batch normalisation before its own class."""

    def forward(self: Any, x: Tensor) -> Tensor:
        shares = self.training and torch.distributed.is_available() and torch.distributed.is_initialized()
        if not shares or torch.distributed.get_world_size() == 1:
            normalised: Tensor = super().forward(x)  # type: ignore[misc] # the class that this is mixed into
            return normalised
        y = _normalise(self, x)
        for extra in ("drop", "act"):  # of timm's BatchNormAct2d
            if isinstance(module := getattr(self, extra, None), nn.Module):
                y = module(y)
        return y


_kinds: dict[type[_BatchNorm], type[_BatchNorm]] = {}


def _shared_kind(kind: type[_BatchNorm]) -> type[_BatchNorm]:
    if kind not in _kinds:
        _kinds[kind] = type(f"Shared{kind.__name__}", (_Shared, kind), {})
    return _kinds[kind]


def _normalise(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Ioffe and Szegedy (2015), with mean and variance over all processes; two passes, as numbers of images differ."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    axes = [0, *range(2, x.ndim)]
    values = x.float()
    count = _sum_of_processes(values.new_tensor(values.numel() / values.shape[1]))
    mean = _sum_of_processes(values.sum(axes)) / count
    centred = values - mean.view(shape)
    variance = _sum_of_processes(centred.square().sum(axes)) / count
    if norm.track_running_stats and norm.running_mean is not None and norm.running_var is not None:
        with torch.no_grad():
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
            momentum = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
            unbiased = variance * (count / (count - 1).clamp_min(1))
            norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
            norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), momentum)
    y = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        y = y * norm.weight.float().view(shape) + norm.bias.float().view(shape)
    return y.to(x.dtype)


def _sum_of_processes(part: Tensor) -> Tensor:
    total: Tensor = _SumOfProcesses.apply(part)
    return total


class _SumOfProcesses(torch.autograd.Function):
    """The sum; each process's part influences the losses of all, so gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total
