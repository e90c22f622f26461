"""Activation checkpointing: blocks keep what goes in, and are computed again when their gradients are due."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from crispseg.train.depthwise import depthwise_in_float32

__all__ = ["checkpoint_blocks", "repeated_blocks"]

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def repeated_blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The blocks that a network's stages are rows of: what lies in a container and has two layers with weights or more.

    The innermost are taken. In a ResNet they are its bottlenecks, in a transformer its layers.

    Example:
        >>> block = nn.Module()
        >>> block.first, block.second = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        >>> stages = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(block, nn.ReLU()))
        >>> list(repeated_blocks(stages)) == [block]
        True
    """
    is_row = isinstance(model, _CONTAINERS)
    for child in model.children():
        inner = list(repeated_blocks(child))
        yield from inner
        if not inner and is_row and not isinstance(child, _CONTAINERS) and _weighted_layers(child) > 1:
            yield child


def checkpoint_blocks(model: nn.Module, what: Literal["light", "full"]) -> None:
    """Let every block of `repeated_blocks` keep little in training, and be computed again for its gradient.

    Results and gradients are the same: dropout draws the same numbers again, and what a block counts (the running
    statistics of its norms) it counts once. Keys and values of the model's state stay as they are.

    Args:
        model: changed in place.
        what: ``"light"`` keeps what convolutions compute, which takes the time, and computes norms, activations and
            casts again; ``"full"`` keeps a block's input alone.
    """
    for block in list(repeated_blocks(model)):
        block.__class__ = _checkpointed_kind(type(block))
        block.__dict__["keeps_convolutions"] = what == "light"


class _Checkpointed(nn.Module):
    """Mixed into a block before its own class."""

    keeps_convolutions: bool

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        if not self.training:
            return super().forward(*arguments, **keywords)
        return checkpoint(self._computed, *arguments, use_reentrant=False, context_fn=self._contexts, **keywords)

    def _computed(self, *arguments: Any, **keywords: Any) -> Any:
        """Both times as `SegmentationTask` computes a step's forward, which the second time is no part of."""
        with depthwise_in_float32(next(self.parameters()).device.type):
            return super().forward(*arguments, **keywords)

    def _contexts(self) -> tuple[Any, Any]:
        """Around the first computation of the block, and around the second."""
        if not self.keeps_convolutions:
            return contextlib.nullcontext(), _spare_buffers(self)
        first, again = create_selective_checkpoint_contexts(_keep_convolutions)  # type: ignore[no-untyped-call]
        return first, _spare_buffers(self, again)


def _keep_convolutions(context: Any, operator: Any, image: Any = None, *rest: Any, **keywords: Any) -> CheckpointPolicy:
    """Those of single cells (squeeze and excitation) cost nothing, and activations may be computed in their place."""
    is_map = operator is torch.ops.aten.convolution.default and image.shape[-2:].numel() > 1
    return CheckpointPolicy.MUST_SAVE if is_map else CheckpointPolicy.PREFER_RECOMPUTE


_kinds: dict[type[nn.Module], type[nn.Module]] = {}


def _checkpointed_kind(kind: type[nn.Module]) -> type[nn.Module]:
    if issubclass(kind, _Checkpointed):
        return kind
    if kind not in _kinds:
        _kinds[kind] = type(f"Checkpointed{kind.__name__}", (_Checkpointed, kind), {})
    return _kinds[kind]


@contextlib.contextmanager
def _spare_buffers(block: nn.Module, within: Any = None) -> Iterator[None]:
    """Copies take the place of a block's buffers, so that what is computed again is not counted again."""
    own = [(module, dict(module._buffers)) for module in block.modules() if module._buffers]
    for module, buffers in own:
        module._buffers.update({name: None if value is None else value.clone() for name, value in buffers.items()})
    try:
        with within or contextlib.nullcontext():
            yield
    finally:
        for module, buffers in own:
            module._buffers.update(buffers)


def _weighted_layers(module: nn.Module) -> int:
    return sum(any(p.ndim > 1 for p in layer.parameters(recurse=False)) for layer in module.modules())
