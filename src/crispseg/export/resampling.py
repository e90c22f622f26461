"""Smoothed bicubic resampling as two matrix products, because OpenVINO's own differs from PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["RESAMPLING", "resample_bicubic"]


def resample_bicubic(maps: Tensor, size_hw: Sequence[int], *_: object) -> Tensor:
    """What ``interpolate(maps, size_hw, mode="bicubic", antialias=True)`` gives, for graphs of every size.

    Vision transformers resample their position embeddings so. Of Resize with ``antialias`` ONNX Runtime makes the same,
    OpenVINO something else.

    Args:
        maps: (N, C, h, w).
        size_hw: the new height and width.

    Returns:
        (N, C, *size_hw)

    Example:
        >>> [round(float(cell), 3) for cell in resample_bicubic(torch.tensor([[[[0.0, 1.0, 0.0]]]]), (1, 2))[0, 0, 0]]
        [0.39, 0.39]
    """
    height, width = size_hw
    down, across = _weights(maps.shape[-2], height, maps), _weights(maps.shape[-1], width, maps)
    return down @ maps @ across.T


def _weights(size: int, new: int, like: Tensor) -> Tensor:
    """(new, size): what each old cell gives to each new one: Keys's kernel (1981), a = −0.5, wider on the way down."""
    cells = torch.arange(size, device=like.device, dtype=torch.float32) + 0.5
    centres = (torch.arange(new, device=like.device, dtype=torch.float32) + 0.5) * (size / new)
    wider: Any = torch.sym_max(size / new, 1.0)
    distance = (cells - centres[:, None]).abs() / wider
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))
    return weights / weights.sum(dim=1, keepdim=True)


RESAMPLING: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten._upsample_bicubic2d_aa.default: resample_bicubic,
    torch.ops.aten._upsample_bicubic2d_aa.vec: resample_bicubic,
}
"""What `torch.export` calls the operation, and what to put in its place."""
