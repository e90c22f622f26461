"""Context modules where the released networks depart from the papers'. "Up" is bilinear with aligned corners."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crispseg.context import ASPP, Context
from crispseg.layers.conv import ConvNormAct
from crispseg.ops.pooling import pool_regions
from crispseg.ops.resize import resize

__all__ = ["ReleasedASPP", "ReleasedPyramidPooling", "up"]


def up(maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Resample as the released networks do, up or down: bilinear, corner cells' centres stay in place."""
    return resize(maps, size_hw, align_corners=True)


class ReleasedASPP(ASPP):
    """ASPP whose merging convolution stands alone, without normalisation and ReLU.

    Args:
        in_channels: see `Context`.
        channels: see `Context`.
        stride: see `Context`.
        extra_channels: see `Context`.
        merge_kernel_size: 1, or 3 in the released GFF.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, extra_channels: int = 0, *, merge_kernel_size: int = 1
    ) -> None:
        super().__init__(in_channels, channels, stride, extra_channels)
        merged_channels = (1 + bool(extra_channels) + len(self.branches)) * channels
        self.merge = nn.Conv2d(merged_channels, channels, merge_kernel_size, padding=merge_kernel_size // 2, bias=False)


class ReleasedPyramidPooling(Context):
    """Pyramid pooling with branches as wide as the result and without ReLU, and a 1×1 convolution to merge.

    Args:
        in_channels: see `Context`.
        channels: see `Context`.
        stride: see `Context`.
        extra_channels: see `Context`.
        bins: regions per side.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        extra_channels: int = 0,
        *,
        bins: tuple[int, ...] = (1, 2, 3, 6),
    ) -> None:
        super().__init__(in_channels, channels, stride, extra_channels)
        self.bins = tuple(bins)
        self.branches = nn.ModuleList(ConvNormAct(in_channels, channels, 1, activation=False) for _ in self.bins)
        self.merge = ConvNormAct((len(self.bins) + bool(extra_channels)) * channels + in_channels, channels, 1)
        self.dropout = nn.Dropout2d(0.1)

    def forward(self, features: Tensor, extra: Tensor | None = None) -> Tensor:
        """See `Context.forward`."""
        height, width = features.shape[-2:]
        pooled = [
            up(branch(pool_regions(features, bins)), (height, width))  # bins×bins → h×w
            for bins, branch in zip(self.bins, self.branches, strict=True)
        ]
        known = torch.cat([*pooled, *self.extra_features(features, extra), features], dim=1)  # 4C + in_channels wide
        merged = self.merge(known)  # (N, C, h, w)
        dropped: Tensor = self.dropout(merged)
        return dropped
