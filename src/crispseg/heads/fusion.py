"""Heads that fuse every level of the backbone: GFF and the fusions that its paper compares with (table 1)."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from crispseg.context import Context
from crispseg.errors import ConfigError
from crispseg.heads.base import Gate, Head, image_size
from crispseg.layers.conv import ConvNormAct
from crispseg.layers.fusion import (
    Addition,
    Concat,
    DenseFeaturePyramid,
    FullFusion,
    Fusion,
    GatedTopDown,
    StagedSum,
    TopDown,
)
from crispseg.ops.resize import resize
from crispseg.types import Features, FeaturesInfo, MapInfo, SegmentationOutput

__all__ = [
    "GFF",
    "AdditionFusion",
    "ConcatFusion",
    "Ending",
    "FusionHead",
    "GFFDense",
    "GatedPyramid",
    "Pyramid",
    "gate_info",
]

Ending = Literal["levels", "finest", "sum"]
"""What becomes of the fused levels before the classifier; see `FusionHead`."""


class FusionHead(Head):
    """Levels, fused and refined, and the context, merged and classified (GFF, figure 3 and table 1).

    Every level is projected to one width by a 1×1 convolution. The top-down fusions take the context's map as one more,
    deepest level, as in the paper's FPN of five maps; the others let it join at the end. Then, by `ending`:

    - ``levels`` (GFF): every fused level is refined by two 3×3 convolutions, and all are concatenated at the finest
      size.
    - ``finest`` (concatenation, addition): the finest fused level alone is; "two 3×3 layers to refine *the* fused
      feature map".
    - ``sum`` (FPN): every fused level passes a 3×3 convolution, as in Lin et al. (2017), and rises to the finest size
      in steps, where all are added: `StagedSum`, half as wide.

    A concatenation is merged by a 1×1 convolution to one width again; the paper does not say how it classifies it.
    The classifier follows a dropout of channels, as in PSPNet.

    Args:
        info: see `Head`.
        num_classes: see `Head`.
        context: see `Head`.
        channels: width of every level.
        auxiliary: see `Head`; weight 0.4 at stage 3 in the paper.
        levels: which of ``info.levels`` to fuse, from shallow to deep; None: the backbone's four.
        ending: see above; None: the paper's for this fusion.
        pyramid_kernel_size: of the dense feature pyramid's convolutions.
        pyramid_at_finest: see `DenseFeaturePyramid`.
        stem_channels: width of the stem's map (stride 2 in a ResNet) that joins the fused one before the classifier,
            for objects thinner than a cell of the shallowest level; 0, as in the paper: it does not.

    Attributes:
        fusion: how the levels become one another's.
        paper_ending: the ending that this fusion has in the paper.
        context_is_level: whether the context's map is fused as the deepest level.
        dense: whether the dense feature pyramid follows.
    """

    fusion: ClassVar[type[Fusion]]
    paper_ending: ClassVar[Ending] = "levels"
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
        ending: Ending | None = None,
        pyramid_kernel_size: int = 1,
        pyramid_at_finest: bool = True,
        stem_channels: int = 0,
    ) -> None:
        super().__init__(info, num_classes, context, channels=channels, auxiliary=auxiliary)
        self.level_indices = _level_indices(levels, info)
        self.project = nn.ModuleList(ConvNormAct(info.levels[i].channels, channels, 1) for i in self.level_indices)
        self.project_context = (
            ConvNormAct(context.out_channels, channels, 1) if context.out_channels != channels else nn.Identity()
        )
        self.ending = _ending(ending or self.paper_ending, self.dense)
        num_levels = len(self.level_indices) + int(self.context_is_level)
        self.fuse = self.fusion(num_levels, channels, only_finest=self.ending == "finest")
        num_convolutions = 1 if self.ending == "sum" else 2
        self.refine = nn.ModuleList(
            nn.Sequential(*(ConvNormAct(channels, channels) for _ in range(num_convolutions)))
            for _ in range(self.fuse.num_fused)
        )
        self.pyramid = (
            DenseFeaturePyramid(num_levels, channels, pyramid_kernel_size, at_finest=pyramid_at_finest)
            if self.dense
            else None
        )
        half = max(1, channels // 2)
        num_merged = self.fuse.num_fused + int(not self.context_is_level)
        strides = [*(info.levels[i].stride for i in self.level_indices), info.top.stride]
        self.merge = (
            StagedSum(strides, channels, half)
            if self.ending == "sum"
            else ConvNormAct(num_merged * channels, channels, 1)
        )
        merged_channels = half if self.ending == "sum" else channels
        width = half if stem_channels else merged_channels  # half of it at four times the cells
        self.detail = ConvNormAct(info.stem.channels, stem_channels, 1) if stem_channels else None
        self.sharpen = ConvNormAct(merged_channels + stem_channels, width) if stem_channels else None
        self.classify = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1))

    @property
    def map_info(self) -> dict[str, MapInfo]:
        """See `Head.map_info`: the gates of the gated fusions."""
        return gate_info(self.fuse.num_levels) if self.fuse.gated else {}

    @property
    def gate_modules(self) -> dict[str, Gate]:
        """See `Head.gate_modules`."""
        gates = self.fuse.gates if isinstance(self.fuse, (FullFusion, GatedTopDown)) else ()
        return {f"gate_{number}": Gate(module) for number, module in enumerate(gates, start=1)}

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
        merged_map = self._merge(merged, image_size(levels[0]))  # (N, C, h_1, w_1)
        if self.detail is not None and self.sharpen is not None:
            detail = self.detail(features.stem)  # (N, stem_channels, h_stem, w_stem)
            merged_map = self.sharpen(torch.cat([resize(merged_map, image_size(detail)), detail], dim=1))  # C/2 wide
        return SegmentationOutput(
            logits=resize(self.classify(merged_map), size_hw),
            auxiliary_logits=self.auxiliary_logits(features, size_hw),
            maps={f"gate_{number}": gate for number, gate in enumerate(gates, start=1)} if with_maps else {},
        )

    def _merge(self, merged: list[Tensor], finest_hw: tuple[int, int]) -> Tensor:
        if self.ending == "sum":
            total: Tensor = self.merge(merged)  # C/2 wide
            return total
        together: Tensor = self.merge(torch.cat([resize(one, finest_hw) for one in merged], dim=1))
        return together


class ConcatFusion(FusionHead):
    """Fusion by concatenation (GFF, eq. 2)."""

    fusion = Concat
    paper_ending = "finest"


class AdditionFusion(FusionHead):
    """Fusion by addition (GFF, eq. 3)."""

    fusion = Addition
    paper_ending = "finest"


class Pyramid(FusionHead):
    """Feature pyramid network on the context's map (GFF, eq. 4), ending as that of Kirillov et al. (2017, 2019)."""

    fusion = TopDown
    paper_ending = "sum"
    context_is_level = True


class GatedPyramid(FusionHead):
    """Feature pyramid network with gates (GFF, table 1, "Gated FPN")."""

    fusion = GatedTopDown
    paper_ending = "sum"
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
            "gate",
            f"gate of level {number}",
            f"How useful each cell of level {number} of {num_levels} is: near 1 it sends its feature to the other "
            "levels, near 0 it receives theirs.",
        )
        for number in range(1, num_levels + 1)
    }


def _ending(wanted: Ending, dense: bool) -> Ending:
    if wanted not in get_args(Ending):
        raise ConfigError(f"ending: {wanted!r} found, one of {get_args(Ending)} expected")
    if dense and wanted != "levels":
        raise ConfigError(f"ending: {wanted!r} found, but the dense feature pyramid reads every level; leave it out")
    return wanted


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
