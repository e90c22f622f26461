"""Heads that fuse every level of the backbone: GFF and the fusions that its paper compares with."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from crispseg.context import Context
from crispseg.errors import ConfigError
from crispseg.heads.base import Head, image_size
from crispseg.layers.conv import ConvNormAct
from crispseg.layers.fusion import (
    Addition,
    Concat,
    DenseFeaturePyramid,
    FullFusion,
    Fusion,
    GatedTopDown,
    TopDown,
)
from crispseg.ops.resize import resize
from crispseg.types import Features, FeaturesInfo, MapInfo, SegmentationOutput

__all__ = ["GFF", "AdditionFusion", "ConcatFusion", "FusionHead", "GFFDense", "GatedPyramid", "Pyramid", "gate_info"]


class FusionHead(Head):
    """Levels and context, fused, refined by two 3×3 convolutions each, concatenated and classified (GFF, figure 3).

    Every level is projected to one width by a 1×1 convolution. The top-down fusions take the context's map as one more,
    deepest level, as in the paper's FPN of five maps; the others let it join at the end.

    Args:
        info: see `Head`.
        num_classes: see `Head`.
        context: see `Head`.
        channels: width of every level.
        auxiliary: see `Head`; weight 0.4 at stage 3 in the paper.
        levels: which of ``info.levels`` to fuse, from shallow to deep; None: the backbone's four.
        pyramid_kernel_size: of the dense feature pyramid's convolutions.
        stem_channels: width of the stem's map (stride 2 in a ResNet) that joins the fused one before the classifier,
            for objects thinner than a cell of the shallowest level; 0, as in the paper: it does not.

    Attributes:
        fusion: how the levels become one another's.
        context_is_level: whether the context's map is fused as the deepest level.
        dense: whether the dense feature pyramid follows.
    """

    fusion: ClassVar[type[Fusion]]
    context_is_level: ClassVar[bool] = False
    dense: ClassVar[bool] = False

    def __init__(
        self,
        info: FeaturesInfo,
        num_classes: int,
        context: Context,
        *,
        channels: int = 256,
        auxiliary: bool = True,
        levels: tuple[int, ...] | None = None,
        pyramid_kernel_size: int = 1,
        stem_channels: int = 0,
    ) -> None:
        super().__init__(info, num_classes, context, channels=channels, auxiliary=auxiliary)
        self.level_indices = _level_indices(levels, info)
        self.project = nn.ModuleList(ConvNormAct(info.levels[i].channels, channels, 1) for i in self.level_indices)
        self.project_context = (
            ConvNormAct(context.out_channels, channels, 1) if context.out_channels != channels else nn.Identity()
        )
        num_fused = len(self.level_indices) + int(self.context_is_level)
        self.fuse = self.fusion(num_fused, channels)
        self.refine = nn.ModuleList(
            nn.Sequential(ConvNormAct(channels, channels), ConvNormAct(channels, channels)) for _ in range(num_fused)
        )
        self.pyramid = DenseFeaturePyramid(num_fused, channels, pyramid_kernel_size) if self.dense else None
        num_merged = num_fused + int(not self.context_is_level)
        self.merge = ConvNormAct(num_merged * channels, channels, 1)
        width = max(1, channels // 2) if stem_channels else channels  # half of it at four times the cells
        self.detail = ConvNormAct(info.stem.channels, stem_channels, 1) if stem_channels else None
        self.sharpen = ConvNormAct(channels + stem_channels, width) if stem_channels else None
        self.classify = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1))

    @property
    def map_info(self) -> dict[str, MapInfo]:
        """See `Head.map_info`: the gates of the gated fusions."""
        return gate_info(self.fuse.num_levels) if self.fuse.gated else {}

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`."""
        size_hw = image_size(images)
        context = self.project_context(self.context(features.top))  # (N, C, h, w) of the top level
        # All levels are (N, C, h_l, w_l) from here on.
        levels = [project(features.levels[i]) for i, project in zip(self.level_indices, self.project, strict=True)]
        if self.context_is_level:
            levels.append(context)
        fused, gates = self.fuse(levels)
        refined = [refine(level) for refine, level in zip(self.refine, fused, strict=True)]
        if self.pyramid is not None:
            merged = self.pyramid(context, refined)
        else:
            merged = refined if self.context_is_level else [*refined, context]
        finest_hw = image_size(levels[0])
        merged_map = self.merge(torch.cat([resize(one, finest_hw) for one in merged], dim=1))  # (N, C, h_1, w_1)
        if self.detail is not None and self.sharpen is not None:
            detail = self.detail(features.stem)  # (N, stem_channels, h_stem, w_stem)
            merged_map = self.sharpen(torch.cat([resize(merged_map, image_size(detail)), detail], dim=1))  # C/2 wide
        return SegmentationOutput(
            logits=resize(self.classify(merged_map), size_hw),
            auxiliary_logits=self.auxiliary_logits(features, size_hw),
            maps={f"gate_{number}": gate for number, gate in enumerate(gates, start=1)} if with_maps else {},
        )


class ConcatFusion(FusionHead):
    """Fusion by concatenation (GFF, eq. 2)."""

    fusion = Concat


class AdditionFusion(FusionHead):
    """Fusion by addition (GFF, eq. 3)."""

    fusion = Addition


class Pyramid(FusionHead):
    """Feature pyramid network on the context's map (GFF, eq. 4; Lin et al., 2017)."""

    fusion = TopDown
    context_is_level = True


class GatedPyramid(FusionHead):
    """Feature pyramid network with gates (GFF, table 1, "Gated FPN")."""

    fusion = GatedTopDown
    context_is_level = True


class GFF(FusionHead):
    """Gated fully fusion (GFF, eq. 5)."""

    fusion = FullFusion


class GFFDense(FusionHead):
    """Gated fully fusion with the dense feature pyramid (GFF, eq. 5 and 6)."""

    fusion = FullFusion
    dense = True


def gate_info(num_levels: int) -> dict[str, MapInfo]:
    """What the gates of L levels show, ``gate_1`` (shallowest) to ``gate_L`` (figures 6 and 7)."""
    return {
        f"gate_{number}": MapInfo(
            "share",
            f"gate of level {number}",
            f"How useful each cell of level {number} of {num_levels} is: near 1 it sends its feature to the other "
            "levels, near 0 it receives theirs.",
        )
        for number in range(1, num_levels + 1)
    }


def _level_indices(wanted: tuple[int, ...] | None, info: FeaturesInfo) -> tuple[int, ...]:
    if wanted is None:
        return info.pyramid_indices
    indices = tuple(
        index % len(info.levels) if -len(info.levels) <= index < len(info.levels) else -1 for index in wanted
    )
    if len(indices) < 2 or -1 in indices or list(indices) != sorted(set(indices)):
        raise ConfigError(
            f"levels: {tuple(wanted)} found, two or more ascending indices into the backbone's "
            f"{len(info.levels)} levels expected"
        )
    return indices
