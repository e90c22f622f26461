"""DenseNets with finer maps, which timm cannot dilate: as in DenseASPP (Yang et al., 2018), whose backbone they are.

A transition that would exceed the wanted stride keeps its 1×1 convolution and loses its pooling; the 3×3 convolutions
of the blocks behind it are dilated by as much. Weights stay as they are.
"""

from __future__ import annotations

from typing import Any

from timm.models.densenet import DenseBlock, DenseTransition
from torch import nn

__all__ = ["dilate_densenet"]

_STRIDE_OF_FIRST_BLOCK = 4


def dilate_densenet(net: Any, output_stride: int) -> None:
    """Bring a DenseNet's deepest map to a stride, in place; other networks stay as they are.

    Args:
        net: timm's ``features_only`` model.
        output_stride: 8, 16 or 32.
    """
    stride, dilation = _STRIDE_OF_FIRST_BLOCK, 1
    for module in net.children():  # in the order in which they run
        if isinstance(module, DenseTransition):
            if stride < output_stride:
                stride *= 2
            else:
                module.pool = nn.Identity()
                dilation *= 2
        elif isinstance(module, DenseBlock) and dilation > 1:
            for convolution in module.modules():
                if isinstance(convolution, nn.Conv2d) and convolution.kernel_size == (3, 3):
                    convolution.dilation = convolution.padding = (dilation, dilation)
    if dilation > 1:
        for entry in net.feature_info.info:
            entry["reduction"] = min(entry["reduction"], output_stride)
