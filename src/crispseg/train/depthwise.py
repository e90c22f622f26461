"""Depthwise convolutions on a CPU: in bfloat16 their gradients take as long as all else of a step together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["depthwise_in_float32"]

_GROUPS = 6  # place of `groups` among conv2d's arguments


def depthwise_in_float32(device_type: str) -> AbstractContextManager[Any]:
    """Inside, depthwise convolutions compute in float32 where CPU autocast would take bfloat16.

    The processor multiplies bfloat16 matrices itself, but a depthwise convolution has none, and its backward pass takes
    more than three times as long in bfloat16 as in float32 (PyTorch 2.14). A step of EfficientNet-Lite0 takes 0.6 to
    0.8 of the time with them in float32 (docs/results/training_step.md). What comes out is of the dtype that autocast
    gives, so that what follows is as before. Where a backward pass computes the forward again, that must be inside,
    too: see `checkpointing`.

    Args:
        device_type: of the tensors; nothing changes but for ``"cpu"``.

    Example:
        >>> images, weight = torch.ones(1, 8, 4, 4), torch.ones(8, 1, 3, 3)
        >>> with torch.autocast("cpu", torch.bfloat16), depthwise_in_float32("cpu"):
        ...     torch.conv2d(images * 1.001, weight, groups=8).dtype  # 1.001 would be 1 in bfloat16
        torch.bfloat16
    """
    return _DepthwiseInFloat32() if device_type == "cpu" else nullcontext()


class _DepthwiseInFloat32(TorchFunctionMode):
    """At the function and not at modules: no network is changed, and those that call ``conv2d`` themselves are met."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is not torch.conv2d or not torch.is_autocast_enabled("cpu") or not _is_depthwise(args, named):
            return func(*args, **named)
        dtype = torch.get_autocast_dtype("cpu")
        exact = {key: _as_float32(value) for key, value in named.items()}
        with torch.autocast("cpu", enabled=False):
            computed: Tensor = func(*map(_as_float32, args), **exact)
        return computed.to(dtype)


def _is_depthwise(args: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Whether each group has one channel."""
    groups = args[_GROUPS] if len(args) > _GROUPS else named.get("groups", 1)
    weight = args[1] if len(args) > 1 else named["weight"]
    return bool(groups > 1 and weight.shape[1] == 1)


def _as_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value
