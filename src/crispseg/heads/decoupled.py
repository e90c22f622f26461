"""Decoupled body and edge supervision (Li et al., 2020)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from crispseg.context import Context
from crispseg.errors import ConfigError
from crispseg.heads.base import Head, checked_level, image_size
from crispseg.layers.body import BodyLayer, DeformableBody, Downsampling, FlowBody, PropagatedBody, Upsampling
from crispseg.layers.conv import ConvNormAct
from crispseg.ops.resize import resize
from crispseg.types import Features, FeaturesInfo, MapInfo, SegmentationOutput

__all__ = ["PARTS_INFO", "BodyGenerator", "Decoupled"]

BodyGenerator = Literal["flow", "dcn", "spn"]

PARTS_INFO = {
    "body": MapInfo("features", "body", "The insides of objects, F_body: like colours are like features (figure 5a)."),
    "residual": MapInfo("features", "F − F_body", "What the warp took away, before any detail joins (figure 5b)."),
    "edge": MapInfo(
        "features", "edge", "What the body lacks, with the fine detail: F_edge, which tells the boundaries."
    ),
    "merged": MapInfo(
        "features", "merged", "Body and edge together again, F̂, which is classified beside F (figure 5c)."
    ),
}
"""The parts that the system is named after, as a reader sees them."""


class Decoupled(Head):
    """Split the context's map F into body and edge, supervise each on its own pixels, and merge (section 3).

    F_body = φ(F) is made by a body generator, F_edge = γ((F − F_body) ‖ F_fine) with low-level detail (eq. 2), and
    the final map is F̂ = F_body + F_edge, classified beside F.

    Args:
        info: see `Head`.
        num_classes: see `Head`.
        context: see `Head`; identity gives the paper's FCN rows, ppm PSPNet's, aspp DeepLabV3+'s.
        channels: see `Head`.
        auxiliary: see `Head`.
        body: the body generator: the learned flow, or the DCN- and SPN-style operators of table 1f.
        downsample: of the flow's encoder (table 1c).
        downsample_count: of the flow's encoder (table 1e).
        upsample: of the flow's decoder (table 1d).
        fine: whether low-level detail joins the edge (table 1b, "w/o F_fine").
        low_level: where that detail comes from, and at which size the parts merge; an index into ``info.levels``.
    """

    default_context = "aspp"
    system = "decoupled"

    def __init__(
        self,
        info: FeaturesInfo,
        num_classes: int,
        context: Context,
        *,
        channels: int = 256,
        auxiliary: bool = False,
        body: BodyGenerator = "flow",
        downsample: Downsampling = "depthwise",
        downsample_count: int = 2,
        upsample: Upsampling = "bilinear",
        fine: bool = True,
        low_level: int = 0,
    ) -> None:
        super().__init__(info, num_classes, context, channels=channels, auxiliary=auxiliary)
        width = context.out_channels
        self.generate_body = _body_generator(body, width, downsample, downsample_count, upsample)
        self.low_level = checked_level("low_level", low_level, info)
        self.detail = ConvNormAct(info.levels[self.low_level].channels, 48, 1) if fine else None
        self.merge_edge = nn.Conv2d(width + (48 if fine else 0), width, 1, bias=False)
        self.classify_edge = nn.Sequential(ConvNormAct(width, 48), nn.Conv2d(48, 1, 1))
        self.classify_body = nn.Sequential(ConvNormAct(width, channels), nn.Conv2d(channels, num_classes, 1))
        self.refine = nn.Sequential(ConvNormAct(2 * width, channels), ConvNormAct(channels, channels))
        self.classify = nn.Conv2d(channels, num_classes, 1)

    @property
    def map_info(self) -> dict[str, MapInfo]:
        """See `Head.map_info`; what the generator shows comes first."""
        return self.generate_body.map_info | PARTS_INFO

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`."""
        size_hw, low = image_size(images), features.levels[self.low_level]
        low_hw = image_size(low)
        feature = self.context(features.top)  # F: (N, C, h, w) of the top level
        body, shown = self.generate_body(feature)  # (N, C, h, w)
        residual = feature - body
        edge = self._edge(residual, low)  # (N, C, h_low, w_low)
        merged = resize(body, low_hw) + edge
        both = torch.cat([resize(feature, low_hw), merged], dim=1)  # (N, 2C, h_low, w_low)
        logits = self.classify(self.refine(both))  # (N, K, h_low, w_low)
        return SegmentationOutput(
            logits=resize(logits, size_hw),
            boundary_logits=resize(self.classify_edge(edge), size_hw),
            body_logits=resize(self.classify_body(body), size_hw) if self.training else None,
            auxiliary_logits=self.auxiliary_logits(features, size_hw),
            maps=shown | {"body": body, "residual": residual, "edge": edge, "merged": merged} if with_maps else {},
        )

    def _edge(self, residual: Tensor, low: Tensor) -> Tensor:
        """Eq. 2: the edge feature at the low level's resolution."""
        residual = resize(residual, image_size(low))  # (N, C, h_low, w_low)
        if self.detail is not None:
            residual = torch.cat([residual, self.detail(low)], dim=1)  # (N, C + 48, h_low, w_low)
        edge: Tensor = self.merge_edge(residual)  # (N, C, h_low, w_low)
        return edge


def _body_generator(
    name: BodyGenerator, width: int, downsample: Downsampling, downsample_count: int, upsample: Upsampling
) -> BodyLayer:
    if name == "flow":
        return FlowBody(width, downsample=downsample, downsample_count=downsample_count, upsample=upsample)
    if name == "dcn":
        return DeformableBody(width)
    if name == "spn":
        return PropagatedBody(width)
    raise ConfigError(f"body: {name!r} found, one of {get_args(BodyGenerator)} expected")
