"""GSCNN: a shape stream at image resolution beside the regular stream (Takikawa et al., 2019)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from crispseg.context import Context
from crispseg.errors import ConfigError
from crispseg.heads.base import Decoder, Head, image_size
from crispseg.layers.conv import ResidualBlock
from crispseg.layers.gates import GatedConvolution
from crispseg.ops.gradients import canny_edges, sobel_magnitude
from crispseg.ops.resize import resize
from crispseg.ops.sizes import divide_up
from crispseg.types import Features, FeaturesInfo, MapInfo, SegmentationOutput

__all__ = ["GSCNN", "STREAM_INFO", "ImageGradient", "ShapeStream"]

ImageGradient = Literal["canny", "sobel", "none"]

# Of the 0–255 image; the released network has the same two.
CANNY_LOW, CANNY_HIGH = 10.0, 100.0

STREAM_INFO = {
    **{
        f"attention_{number}": MapInfo(
            "gate",
            f"attention {number}",
            f"What gate {number} of 3 lets pass in the shape stream: near 1 where it expects a boundary (figure 10).",
        )
        for number in (1, 2, 3)
    },
    "image_gradient": MapInfo("share", "image gradient", "The edges of the image itself, of objects or not."),
}
"""What the shape stream shows, here and in the released network."""


class GSCNN(Head):
    """Gated-SCNN on any context: shape stream, its boundary map through the context's extra branch, decoder (figure 2).

    Args:
        info: see `Head`.
        num_classes: see `Head`.
        context: see `Head`; built with ``extra_channels=1``.
        channels: see `Head`.
        auxiliary: see `Head`.
        gate_levels: three levels of the regular stream that drive the gates, as indices into ``info.levels``. None: the
            paper's "third, fourth and last layer", that is the second and third level and the last.
        gradient: the image gradients ∇I: Canny edges (section 4.2), Sobel magnitude, or none.
        gradient_in_stream: whether ∇I enters the shape stream beside the first layer's features (section 3).
        gradient_in_fusion: whether ∇I joins the boundary map before the fusion ("Gradients" in table 3).
        stream_stride: 1 runs the shape stream at the image's resolution, as in the paper; 2 and 4 run it coarser.
    """

    default_context = "aspp"
    system = "gscnn"
    extra_channels = 1

    def __init__(
        self,
        info: FeaturesInfo,
        num_classes: int,
        context: Context,
        *,
        channels: int = 256,
        auxiliary: bool = False,
        gate_levels: tuple[int, int, int] | None = None,
        gradient: ImageGradient = "canny",
        gradient_in_stream: bool = True,
        gradient_in_fusion: bool = True,
        stream_stride: int = 1,
    ) -> None:
        super().__init__(info, num_classes, context, channels=channels, auxiliary=auxiliary)
        if gradient not in get_args(ImageGradient):
            raise ConfigError(f"gradient: {gradient!r} found, one of {get_args(ImageGradient)} expected")
        if stream_stride not in (1, 2, 4):
            raise ConfigError(f"stream_stride: {stream_stride} found, 1, 2 or 4 expected")
        self.gate_levels = _gate_levels(gate_levels, len(info.levels))
        self.gradient = gradient
        self.stream_stride = stream_stride
        self.gradient_in_stream = gradient_in_stream and gradient != "none"
        self.shape_stream = ShapeStream(
            info.stem.channels + int(self.gradient_in_stream),
            tuple(info.levels[index].channels for index in self.gate_levels),
        )
        self.join_gradient = nn.Conv2d(2, 1, 1) if gradient_in_fusion and gradient != "none" else None
        self.decoder = Decoder(info.low, context.out_channels, num_classes, channels)

    @property
    def map_info(self) -> dict[str, MapInfo]:
        """See `Head.map_info`."""
        return STREAM_INFO

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`."""
        size_hw = image_size(images)
        stream_hw = (divide_up(size_hw[0], self.stream_stride), divide_up(size_hw[1], self.stream_stride))
        gradient = self._image_gradient(images, stream_hw)  # (N, 1, h, w) of the stream: H×W at stride 1
        start = resize(features.stem, stream_hw)  # (N, C_stem, h, w)
        if self.gradient_in_stream:
            start = torch.cat([start, gradient.to(start.dtype)], dim=1)
        # (N, 1, h, w), and three of that shape
        boundary_logits, attention = self.shape_stream(start, [features.levels[index] for index in self.gate_levels])
        boundary = torch.sigmoid(boundary_logits)
        if self.join_gradient is not None:
            boundary = torch.sigmoid(self.join_gradient(torch.cat([boundary, gradient.to(boundary.dtype)], dim=1)))
        context = self.context(features.top, boundary)  # (N, C, h_top, w_top)
        logits = self.decoder(features.low, context)  # (N, K, h_low, w_low)
        maps = {f"attention_{number}": alpha for number, alpha in enumerate(attention, start=1)}
        return SegmentationOutput(
            logits=resize(logits, size_hw),
            boundary_logits=resize(boundary_logits, size_hw),
            auxiliary_logits=self.auxiliary_logits(features, size_hw),
            maps=maps | {"image_gradient": gradient} if with_maps else {},
        )

    def _image_gradient(self, images: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """∇I, (N, 1, h, w) in [0, 1]; zeros where the head uses none."""
        if self.gradient == "canny":
            return resize(canny_edges(images, CANNY_LOW, CANNY_HIGH), size_hw)
        if self.gradient == "sobel":
            return resize(sobel_magnitude(images), size_hw)
        return images.new_zeros(images.shape[0], 1, *size_hw)


class ShapeStream(nn.Module):
    """Residual blocks interleaved with three gated convolution layers (section 3; widths 64, 32, 16, 8).

    Args:
        in_channels: of the first layer's features, with the image gradients where they enter.
        level_channels: widths of the three levels that drive the gates.

    Shape:
        start (N, in_channels, h, w), levels → boundary logits (N, 1, h, w), three attention maps (N, 1, h, w)
    """

    def __init__(
        self, in_channels: int, level_channels: tuple[int, ...], widths: tuple[int, ...] = (64, 32, 16, 8)
    ) -> None:
        super().__init__()
        self.enter = nn.Conv2d(in_channels, widths[0], 1)
        self.blocks = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.narrow = nn.ModuleList(nn.Conv2d(wide, narrow, 1) for wide, narrow in pairwise(widths))
        self.gates = nn.ModuleList(
            GatedConvolution(width, level) for width, level in zip(widths[1:], level_channels, strict=True)
        )
        self.leave = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, start: Tensor, levels: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See the class."""
        shape = self.enter(start)  # (N, 64, h, w)
        attention = []
        for block, narrow, gate, level in zip(self.blocks, self.narrow, self.gates, levels, strict=True):
            shape, alpha = gate(narrow(block(shape)), level)  # half as wide: 32, 16, 8
            attention.append(alpha)  # (N, 1, h, w)
        return self.leave(shape), attention


def _gate_levels(wanted: tuple[int, int, int] | None, count: int) -> tuple[int, int, int]:
    """Check the three indices, or choose the paper's; backbones with fewer levels use some of them twice."""
    if wanted is None:
        return min(1, count - 1), min(2, count - 1), count - 1
    indices = tuple(wanted)
    if len(indices) != 3 or not all(-count <= index < count for index in indices):
        raise ConfigError(f"gate_levels: {indices} found, three indices into the backbone's {count} levels expected")
    first, second, third = (index % count for index in indices)
    return first, second, third
