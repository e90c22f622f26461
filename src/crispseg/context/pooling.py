"""Identity (FCN) and pyramid pooling (PSPNet)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crispseg.context.base import Context
from crispseg.errors import ConfigError
from crispseg.layers.conv import ConvNormAct
from crispseg.ops.pooling import pool_regions
from crispseg.ops.resize import resize

__all__ = ["Identity", "PyramidPooling"]


class Identity(Context):
    """No context: one 3×3 convolution to the head's width, as in a fully convolutional network (Long et al., 2015)."""

    def __init__(self, in_channels: int, channels: int, stride: int, extra_channels: int = 0) -> None:
        super().__init__(in_channels, channels, stride, extra_channels)
        self.reduce = ConvNormAct(in_channels, channels)
        self.merge = ConvNormAct(2 * channels, channels, 1) if extra_channels else nn.Identity()

    def forward(self, features: Tensor, extra: Tensor | None = None) -> Tensor:
        """See `Context.forward`."""
        branches = [self.reduce(features), *self.extra_features(features, extra)]  # (N, C, h, w) each
        merged: Tensor = self.merge(torch.cat(branches, dim=1) if len(branches) > 1 else branches[0])
        return merged


class PyramidPooling(Context):
    """Pyramid pooling module (Zhao et al., PSPNet, 2017): means over 1, 2², 3² and 6² regions beside the map itself.

    Args:
        in_channels: see `Context`.
        channels: see `Context`.
        stride: see `Context`.
        extra_channels: see `Context`.
        bins: regions per side.
        branch_channels: width of each region's branch; None: as PSPNet, so that all of them are as wide as the map.
        merge_kernel_size: of the convolution that merges: 3 in PSPNet; 1 fits the costs of Decoupled's PSPNet.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        extra_channels: int = 0,
        *,
        bins: tuple[int, ...] = (1, 2, 3, 6),
        branch_channels: int | None = None,
        merge_kernel_size: int = 3,
    ) -> None:
        super().__init__(in_channels, channels, stride, extra_channels)
        if branch_channels is not None and branch_channels < 1:
            raise ConfigError(f"branch_channels: {branch_channels} found, a positive width or none expected")
        if merge_kernel_size not in (1, 3):
            raise ConfigError(f"merge_kernel_size: {merge_kernel_size} found, 1 or 3 expected")
        self.bins = tuple(bins)
        width = branch_channels or max(1, in_channels // len(self.bins))
        self.branches = nn.ModuleList(ConvNormAct(in_channels, width, 1) for _ in self.bins)
        merged_channels = in_channels + len(self.bins) * width + (channels if extra_channels else 0)
        self.merge = ConvNormAct(merged_channels, channels, merge_kernel_size)

    def forward(self, features: Tensor, extra: Tensor | None = None) -> Tensor:
        """See `Context.forward`."""
        height, width = features.shape[-2:]
        pooled = [
            resize(branch(pool_regions(features, bins)), (height, width))  # bins×bins → h×w
            for bins, branch in zip(self.bins, self.branches, strict=True)
        ]
        known = torch.cat([features, *pooled, *self.extra_features(features, extra)], dim=1)
        merged: Tensor = self.merge(known)  # (N, C, h, w)
        return merged
