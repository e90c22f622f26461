"""Heads as the released networks compute them, where that is not what their papers say; see ``docs/published.md``.

The papers' heads are in `crispseg.heads`; train those. These exist so that released weights mean what they meant.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from crispseg.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from crispseg.context import Context
from crispseg.heads import Head
from crispseg.heads.base import Gate, image_size
from crispseg.heads.decoupled import PARTS_INFO
from crispseg.heads.fusion import gate_info
from crispseg.heads.gscnn import STREAM_INFO
from crispseg.layers.body import FLOW_INFO
from crispseg.layers.conv import ConvNormAct, ResidualBlock
from crispseg.ops.gradients import canny_edges
from crispseg.ops.resize import resize
from crispseg.published.contexts import up
from crispseg.types import Features, FeaturesInfo, MapInfo, SegmentationOutput

__all__ = ["ReleasedDecoupled", "ReleasedDeepLabV3Plus", "ReleasedGFF", "ReleasedGSCNN"]


class ReleasedDeepLabV3Plus(Head):
    """The baselines: context, bare 1×1 convolution of the low level, two 3×3, classifier without bias.

    On the identity context this is the released "FCN", which has the same decoder.
    """

    cells_are_areas = False
    default_context = "released_aspp"

    def __init__(self, info: FeaturesInfo, num_classes: int, context: Context, *, channels: int = 256) -> None:
        super().__init__(info, num_classes, context, channels=channels)
        self.detail = nn.Conv2d(info.low.channels, 48, 1, bias=False)
        self.classify = _classifier(context.out_channels + 48, channels, num_classes)

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`; there is nothing to show of its inside."""
        top = self.context(features.top)  # (N, 256, h, w) of the top level
        # (N, 48 + 256, h_low, w_low)
        merged = torch.cat([self.detail(features.low), up(top, image_size(features.low))], dim=1)
        return SegmentationOutput(logits=up(self.classify(merged), image_size(images)))


class ReleasedGSCNN(Head):
    """GSCNN: image gradients join after the shape stream only; gates with a hidden layer; Canny of wrapped bytes."""

    cells_are_areas = False
    default_context = "released_aspp"
    extra_channels = 1
    system = "gscnn"

    def __init__(self, info: FeaturesInfo, num_classes: int, context: Context, *, channels: int = 256) -> None:
        super().__init__(info, num_classes, context, channels=channels)
        last = len(info.levels) - 1
        self.gate_levels = (min(1, last), min(2, last), last)
        widths = (info.stem.channels, 32, 16, 8)
        self.sides = nn.ModuleList(nn.Conv2d(info.levels[index].channels, 1, 1) for index in self.gate_levels)
        self.blocks = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.narrow = nn.ModuleList(nn.Conv2d(widths[step], widths[step + 1], 1) for step in range(3))
        self.gates = nn.ModuleList(_Gate(width) for width in widths[1:])
        self.leave = nn.Conv2d(widths[-1], 1, 1, bias=False)
        self.join_gradient = nn.Conv2d(2, 1, 1, bias=False)
        self.detail = nn.Conv2d(info.low.channels, 48, 1, bias=False)
        self.classify = _classifier(context.out_channels + 48, channels, num_classes)

    @property
    def map_info(self) -> dict[str, MapInfo]:
        """See `Head.map_info`."""
        return STREAM_INFO

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`."""
        size_hw = image_size(images)
        shape = up(features.stem, size_hw)  # (N, 64, H, W)
        attention = []
        for index, side, block, narrow, gate in zip(
            self.gate_levels, self.sides, self.blocks, self.narrow, self.gates, strict=True
        ):
            regular = up(side(features.levels[index]), size_hw)  # (N, 1, H, W)
            shape, alpha = gate(narrow(block(shape)), regular)  # half as wide: 32, 16, 8
            attention.append(alpha)  # (N, 1, H, W)
        boundary_logits = self.leave(shape)  # (N, 1, H, W)

        gradient = _canny_of_wrapped_bytes(images).to(shape.dtype)
        boundary = torch.sigmoid(self.join_gradient(torch.cat([torch.sigmoid(boundary_logits), gradient], dim=1)))
        # The extra branch of the context resamples in the library's way; a map of the right size it leaves alone.
        top = self.context(features.top, up(boundary, image_size(features.top)))  # (N, 256, h, w) of the top level
        # (N, 48 + 256, h_low, w_low)
        merged = torch.cat([self.detail(features.low), up(top, image_size(features.low))], dim=1)
        logits = resize(self.classify(merged), size_hw)  # without aligned corners, for once
        maps = {f"attention_{number}": alpha for number, alpha in enumerate(attention, start=1)}
        return SegmentationOutput(
            logits=logits,
            boundary_logits=boundary_logits,
            maps=maps | {"image_gradient": gradient / 255} if with_maps else {},
        )


class ReleasedDecoupled(Head):
    """Decoupled: unpadded downsampling, a warp that shifts by up to half a cell at zero flow, zeros outside."""

    cells_are_areas = False
    default_context = "released_aspp"
    system = "decoupled"

    def __init__(self, info: FeaturesInfo, num_classes: int, context: Context, *, channels: int = 256) -> None:
        super().__init__(info, num_classes, context, channels=channels)
        width = context.out_channels
        self.encode = nn.Sequential(*_halving(width), *_halving(width))
        self.flow = nn.Conv2d(2 * width, 2, 3, padding=1, bias=False)
        self.detail = nn.Conv2d(info.low.channels, 48, 1, bias=False)
        self.merge_edge = nn.Conv2d(width + 48, width, 1, bias=False)
        self.classify_edge = nn.Sequential(ConvNormAct(width, 48), nn.Conv2d(48, 1, 1, bias=False))
        self.classify_body = nn.Sequential(
            ConvNormAct(width, channels), nn.Conv2d(channels, num_classes, 1, bias=False)
        )
        self.classify = _classifier(2 * width, channels, num_classes)

    @property
    def map_info(self) -> dict[str, MapInfo]:
        """See `Head.map_info`."""
        return {"flow": FLOW_INFO} | PARTS_INFO

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`."""
        size_hw, low_hw = image_size(images), image_size(features.low)
        feature = self.context(features.top)  # (N, 256, h, w) of the top level
        coarse = up(self.encode(_at_least(feature, _SMALLEST_ENCODED)), image_size(feature))
        flow = self.flow(torch.cat([feature, coarse], dim=1))  # (N, 2, h, w)
        body = _released_warp(feature, flow)  # (N, 256, h, w)
        # (N, 256, h_low, w_low)
        residual = feature - body
        edge = self.merge_edge(torch.cat([up(residual, low_hw), self.detail(features.low)], dim=1))
        merged = edge + up(body, low_hw)
        logits = self.classify(torch.cat([up(feature, low_hw), merged], dim=1))
        return SegmentationOutput(
            logits=up(logits, size_hw),
            boundary_logits=up(self.classify_edge(edge), size_hw),
            body_logits=up(self.classify_body(body), size_hw) if self.training else None,
            maps={"flow": flow, "body": body, "residual": residual, "edge": edge, "merged": merged}
            if with_maps
            else {},
        )


class ReleasedGFF(Head):
    """GFF: three levels of half the width, a gate per channel, fused one after the other; dilated dense blocks."""

    cells_are_areas = False
    default_context = "released_aspp"

    def __init__(self, info: FeaturesInfo, num_classes: int, context: Context, *, channels: int = 256) -> None:
        super().__init__(info, num_classes, context, channels=channels)
        width = channels // 2
        sources = (info.low.channels, info.mid.channels, context.out_channels)
        self.project = nn.ModuleList(ConvNormAct(source, width, 1) for source in sources)
        self.gates = nn.ModuleList(nn.Conv2d(source, width, 1) for source in sources)
        self.dense = nn.ModuleList(_dense_block(count * width, width, dilation=3 * count) for count in (1, 2, 3))
        self.classify = _classifier(4 * width, channels, num_classes)

    @property
    def map_info(self) -> dict[str, MapInfo]:
        """See `Head.map_info`; each gate has a channel for every channel of its level."""
        return gate_info(len(self.gates))

    @property
    def gate_modules(self) -> dict[str, Gate]:
        """See `Head.gate_modules`."""
        closed = float("-inf")
        return {f"gate_{number}": Gate(module, closed) for number, module in enumerate(self.gates, start=1)}

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`."""
        raw = (features.low, features.mid, self.context(features.top))
        gates = [torch.sigmoid(gate(level)) for gate, level in zip(self.gates, raw, strict=True)]
        # (N, 128, h_l, w_l) each, as the gates
        levels = [project(level) for project, level in zip(self.project, raw, strict=True)]
        low_fused, mid_fused, top_fused = _fuse_in_sequence(levels, gates)

        low_hw = image_size(features.low)
        top_dense = self.dense[0](up(top_fused, low_hw))  # (N, 128, h_low, w_low), as the next two
        mid_dense = self.dense[1](torch.cat([top_dense, up(mid_fused, low_hw)], dim=1))
        low_dense = self.dense[2](torch.cat([top_dense, mid_dense, low_fused], dim=1))
        logits = self.classify(torch.cat([top_dense, up(levels[2], low_hw), mid_dense, low_dense], dim=1))
        return SegmentationOutput(
            logits=up(logits, image_size(images)),
            maps={f"gate_{number}": gate for number, gate in enumerate(gates, start=1)} if with_maps else {},
        )


class _Gate(nn.Module):
    """The shape stream's gate: α from s and one channel of the regular stream; returns w(s·(α + 1)) and α."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.BatchNorm2d(channels + 1),
            nn.Conv2d(channels + 1, channels + 1, 1),
            nn.ReLU(),
            nn.Conv2d(channels + 1, 1, 1),
            nn.BatchNorm2d(1),
            nn.Sigmoid(),
        )
        self.weight = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, shape: Tensor, regular: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self.attention(torch.cat([shape, regular], dim=1))
        return self.weight(shape * (alpha + 1)), alpha


def _classifier(in_channels: int, channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNormAct(in_channels, channels),
        ConvNormAct(channels, channels),
        nn.Conv2d(channels, num_classes, 1, bias=False),
    )


def _halving(channels: int) -> list[nn.Module]:
    """Depthwise, without padding."""
    return [nn.Conv2d(channels, channels, 3, stride=2, groups=channels), nn.BatchNorm2d(channels), nn.ReLU()]


_SMALLEST_ENCODED = 7  # two unpadded 3×3 convolutions of stride 2 need as many cells


def _at_least(maps: Tensor, side: int) -> Tensor:
    """Continue maps by their last row and column; the released network fails on images that small.

    By indices rather than padding, and of maps that are large enough too, so that one graph serves every size.
    """
    height, width = image_size(maps)
    rows = torch.arange(torch.sym_max(height, side), device=maps.device).clamp(max=height - 1)
    columns = torch.arange(torch.sym_max(width, side), device=maps.device).clamp(max=width - 1)
    return maps[..., rows[:, None], columns]


def _released_warp(features: Tensor, flow: Tensor) -> Tensor:
    """Sample at a grid that spans the cells' centres, read as if it spanned their edges."""
    height, width = image_size(features)
    dtype = torch.promote_types(flow.dtype, torch.float32)
    columns, rows = _spread(width, flow.device, dtype), _spread(height, flow.device, dtype)[:, None]
    flow = flow.to(dtype)
    grid = torch.stack([columns + flow[:, 0] / width, rows + flow[:, 1] / height], dim=-1)
    warped = functional.grid_sample(
        features.to(dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return warped.to(features.dtype)


def _spread(count: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Numbers from −1 to 1 at even steps."""
    if not torch.compiler.is_compiling():
        return torch.linspace(-1, 1, count, device=device, dtype=dtype)
    # Graphs take linspace's count for a constant; this differs by its rounding, 6e-8.
    index = torch.arange(count, device=device, dtype=dtype)
    step = 2 / torch.sym_max(count - 1, 1)
    return torch.where(index < torch.sym_max(count // 2, 1), index * step - 1, 1 - (count - 1 - index) * step)


def _fuse_in_sequence(levels: list[Tensor], gates: list[Tensor]) -> list[Tensor]:
    """Level by level x + g·x + (1 − g)·Σ gᵢ·xᵢ; a later level receives what the earlier ones have become."""
    fused = list(levels)
    for index, gate in enumerate(gates):
        own = fused[index]
        one, other = (up(gates[i] * fused[i], image_size(own)) for i in range(3) if i != index)
        fused[index] = own + gate * own + (1 - gate) * (one + other)
    return fused


def _dense_block(in_channels: int, channels: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, channels, 1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
    )


def _canny_of_wrapped_bytes(images: Tensor) -> Tensor:
    """Canny edges, 0 or 255, of the normalised image truncated to whole numbers and wrapped into bytes.

    A bug of the released code that its weights have learnt to live with: it meant the image itself.
    """
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    normalised = (images.detach().float() - mean) / std
    wrapped = normalised.to(torch.int32).bitwise_and(255).to(torch.uint8)
    return 255 * canny_edges(wrapped, 10, 100)
