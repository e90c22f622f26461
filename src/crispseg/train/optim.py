"""Which parameters learn how: groups, optimiser and schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from crispseg.config import TrainConfig
from crispseg.train.checkpointing import repeated_blocks

__all__ = ["build_optimizer", "build_schedule", "parameter_groups", "poly_factor"]


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Split parameters by learning rate and weight decay.

    Parameters with fewer than two dimensions (scales and shifts of norms, biases) and those that a backbone lists in
    its ``no_weight_decay`` (position embeddings) are not decayed, unless ``weight_decay_on`` is ``"all"``, as in the
    papers' SGD. Parameters under ``backbone.`` learn at ``lr`` times ``backbone_lr_factor``. With ``layer_lr_decay``
    below 1 each of its blocks does at that times the rate of the one above it (Bao et al., BEiT, 2021): the last learns
    at the full rate, the stem at the lowest. What takes no gradient is in no group.

    Args:
        model: a `crispseg.models.Segmenter`, or any module; without a ``backbone`` everything is head.
        config: the recipe's ``train`` section.

    Returns:
        Groups for an optimiser, each with ``name``, ``params``, ``lr`` and ``weight_decay``; empty ones are left out.

    Example:
        >>> model = nn.ModuleDict({"backbone": nn.Conv2d(3, 4, 1), "head": nn.BatchNorm2d(4)})
        >>> groups = parameter_groups(model, TrainConfig(lr=0.1, weight_decay=0.01, backbone_lr_factor=0.5))
        >>> [(group["name"], group["lr"], group["weight_decay"], len(group["params"])) for group in groups]
        [('head_no_decay', 0.1, 0.0, 2), ('backbone', 0.05, 0.01, 1), ('backbone_no_decay', 0.05, 0.0, 1)]
    """
    undecayed = _listed_as_undecayed(model)
    groups: dict[str, dict[str, Any]] = {}
    backbone_lr = config.lr * config.backbone_lr_factor
    block_of = _blocks_of_parameters(model) if config.layer_lr_decay < 1 else {}
    last = max(block_of.values(), default=0)
    rates = {"head": config.lr, "backbone": backbone_lr}
    rates |= {f"backbone_{block}": backbone_lr * config.layer_lr_decay ** (last - block) for block in range(last + 1)}
    for part, lr in rates.items():
        groups[part] = {"name": part, "params": [], "lr": lr, "weight_decay": config.weight_decay}
        groups[f"{part}_no_decay"] = {"name": f"{part}_no_decay", "params": [], "lr": lr, "weight_decay": 0.0}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part = "backbone" if name.startswith("backbone.") else "head"
        if name in block_of:
            part = f"backbone_{block_of[name]}"
        decayed = config.weight_decay_on == "all" or (parameter.ndim > 1 and name not in undecayed)
        groups[part if decayed else f"{part}_no_decay"]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """SGD with momentum, or AdamW, over `parameter_groups`."""
    groups = parameter_groups(model, config)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)


def poly_factor(total_steps: int, power: float, warmup_steps: int = 0) -> Callable[[int], float]:
    """The poly schedule, (1 − step / total)^power, with a linear rise before it.

    Args:
        total_steps: optimiser steps of the whole run.
        power: 0.9 in the papers.
        warmup_steps: over so many steps the factor is also multiplied by a ramp up to 1.

    Returns:
        step, from 0 → what the learning rate is multiplied with; 0 from the last step on.

    Example:
        >>> factor = poly_factor(10, power=1.0, warmup_steps=3)
        >>> [round(factor(step), 3) for step in (0, 1, 2, 3, 5, 10, 11)]
        [0.25, 0.45, 0.6, 0.7, 0.5, 0.0, 0.0]
    """

    def factor(step: int) -> float:
        remaining = max(0.0, 1.0 - step / max(1, total_steps))
        ramp = min(1.0, (step + 1) / (warmup_steps + 1))
        return float(ramp * remaining**power) if remaining > 0 else 0.0

    return factor


def build_schedule(optimizer: Optimizer, config: TrainConfig, total_steps: int) -> LambdaLR:
    """The poly schedule over an optimiser; its ``step`` is called after every step of the optimiser."""
    return LambdaLR(optimizer, poly_factor(total_steps, config.poly_power, config.warmup_steps))


def _blocks_of_parameters(model: nn.Module) -> dict[str, int]:
    """Number of the block that each parameter of the backbone is in, in the order of the network; 0 is the stem.

    What lies between two blocks, such as a stage's downsampling, counts to the one before it.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        return {}
    names = {id(module): name for name, module in backbone.named_modules()}
    blocks = [f"backbone.{names[id(block)]}." for block in repeated_blocks(backbone)]
    found, current = {}, 0
    for name, _ in model.named_parameters():
        if name.startswith("backbone."):
            within = [number for number, prefix in enumerate(blocks, start=1) if name.startswith(prefix)]
            current = within[0] if within else current
            found[name] = current
    return found


def _listed_as_undecayed(model: nn.Module) -> set[str]:
    """Full names of what modules say should not be decayed, by timm's custom."""
    names: set[str] = set()
    for prefix, module in model.named_modules():
        listed = getattr(module, "no_weight_decay", None)
        if callable(listed):
            names |= {f"{prefix}.{name}" if prefix else str(name) for name in listed()}
    return names
