"""Atrous spatial pyramid pooling (DeepLab) and its densely connected kind (DenseASPP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crispseg.context.base import Context
from crispseg.layers.conv import ConvNormAct, SeparableConvNormAct

__all__ = ["ASPP", "DenseASPP"]


class ASPP(Context):
    """Atrous spatial pyramid pooling with image pooling (Chen et al., DeepLabV3, 2017).

    Args:
        in_channels: see `Context`.
        channels: see `Context`.
        stride: see `Context`.
        extra_channels: see `Context`. GSCNN feeds its boundary map here (section 3, "Fusion Module").
        rates: dilations of the 3×3 branches at stride 8; they halve at stride 16.
        separable: whether those branches are separable convolutions, as in DeepLabV3+ (2018, section 3.1).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        extra_channels: int = 0,
        *,
        rates: tuple[int, ...] = (12, 24, 36),
        separable: bool = False,
    ) -> None:
        super().__init__(in_channels, channels, stride, extra_channels)
        atrous = SeparableConvNormAct if separable else ConvNormAct
        self.pooling = ConvNormAct(in_channels, channels, 1)
        self.branches = nn.ModuleList(
            [
                ConvNormAct(in_channels, channels, 1),
                *(atrous(in_channels, channels, dilation=rate) for rate in self.scaled_rates(tuple(rates))),
            ]
        )
        self.merge: nn.Module = ConvNormAct((len(rates) + 2 + bool(extra_channels)) * channels, channels, 1)

    def forward(self, features: Tensor, extra: Tensor | None = None) -> Tensor:
        """See `Context.forward`."""
        height, width = features.shape[-2:]
        pooled = self.pooling(features.mean(dim=(2, 3), keepdim=True))  # (N, C, 1, 1)
        pooled = pooled.expand(-1, -1, height, width)
        branches = [branch(features) for branch in self.branches]  # (N, C, h, w) each
        known = torch.cat([pooled, *self.extra_features(features, extra), *branches], dim=1)  # 5C wide, 6C with extra
        merged: Tensor = self.merge(known)  # (N, C, h, w)
        return merged


class DenseASPP(Context):
    """Densely connected ASPP (Yang et al., 2018): every atrous layer reads the map and all layers before it.

    Args:
        in_channels: see `Context`.
        channels: see `Context`.
        stride: see `Context`.
        extra_channels: see `Context`.
        rates: dilations in the order of the cascade, at stride 8.
        growth_channels: what each layer adds.
        bottleneck_channels: width of the 1×1 convolution before each dilated one.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        extra_channels: int = 0,
        *,
        rates: tuple[int, ...] = (3, 6, 12, 18, 24),
        growth_channels: int = 64,
        bottleneck_channels: int = 256,
    ) -> None:
        super().__init__(in_channels, channels, stride, extra_channels)
        self.layers = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(in_channels + index * growth_channels, bottleneck_channels, 1),
                ConvNormAct(bottleneck_channels, growth_channels, dilation=rate),
            )
            for index, rate in enumerate(self.scaled_rates(tuple(rates)))
        )
        merged_channels = in_channels + len(rates) * growth_channels + (channels if extra_channels else 0)
        self.merge = ConvNormAct(merged_channels, channels, 1)

    def forward(self, features: Tensor, extra: Tensor | None = None) -> Tensor:
        """See `Context.forward`."""
        known = features
        for layer in self.layers:
            known = torch.cat([known, layer(known)], dim=1)  # wider by growth_channels
        merged: Tensor = self.merge(torch.cat([known, *self.extra_features(features, extra)], dim=1))  # (N, C, h, w)
        return merged
