"""Fully sharded data parallelism: each process holds a part of every parameter, for models that fit no one device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

__all__ = ["local_part", "shard", "whole"]

# Parameters that are gathered at once. Smaller groups take less memory and more messages.
_GROUP = 20_000_000


def shard(model: nn.Module, device_type: str, world_size: int) -> None:
    """Divide a model's parameters, group by group, among all processes.

    Args:
        model: changed in place; its parameters become distributed tensors.
        device_type: ``"cuda"`` or ``"cpu"``.
        world_size: number of processes; their group must be there.
    """
    mesh = init_device_mesh(device_type, (world_size,))  # Lightning's own would divide within each machine only
    model.to(memory_format=torch.contiguous_format)  # FSDP divides no others yet; images may stay channels-last
    _shard_below(model, mesh)
    fully_shard(model, mesh=mesh)


def _shard_below(module: nn.Module, mesh: DeviceMesh) -> None:
    for child in module.children():
        count = sum(parameter.numel() for parameter in child.parameters())
        if isinstance(child, nn.ModuleList | nn.ModuleDict):  # have no forward of their own to gather for
            _shard_below(child, mesh)
        elif count:
            if count > _GROUP:
                _shard_below(child, mesh)
            fully_shard(child, mesh=mesh)


def whole(value: Tensor) -> Tensor:
    """The value on every process, where each held a part."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def local_part(value: Tensor) -> Tensor:
    """This process's part of a value; all of it, where it is not divided."""
    return value.to_local() if isinstance(value, DTensor) else value
