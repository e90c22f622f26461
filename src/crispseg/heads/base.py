"""The contract of heads, and the parts that several of them share."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from crispseg.context import Context
from crispseg.errors import ConfigError
from crispseg.layers.conv import ConvNormAct, SeparableConvNormAct
from crispseg.ops.resize import resize
from crispseg.types import FeatureInfo, Features, FeaturesInfo, MapInfo, SegmentationOutput

__all__ = ["AuxiliaryClassifier", "Decoder", "Gate", "Head", "checked_level", "image_size"]


class Gate(NamedTuple):
    """A gate that can be closed from outside.

    Attributes:
        module: gives the gate's map, or what becomes it.
        closed: what the module gives where nothing passes: 0 for the map itself, −∞ for its logit.
    """

    module: nn.Module
    closed: float = 0.0


class Head(nn.Module):
    """Turn features into logits of the image's size.

    A head is handed its context module; it announces here what that module must be built for.

    Args:
        info: what the backbone hands out.
        num_classes: K, 2 or more.
        context: sits on the top map; its ``out_channels`` are the head's width there.
        channels: width of the head.
        auxiliary: whether a second classifier on the mid level is trained along (PSPNet; GFF).

    Attributes:
        default_context: the context of the head's paper.
        extra_channels: width of the extra map that the head feeds its context; 0 for none.
        system: which of the systems' losses trains it; see `crispseg.losses.build_loss`.
        cells_are_areas: whether maps are enlarged as areas; in released networks the centres of corner cells stay.
    """

    default_context: ClassVar[str] = "ppm"
    extra_channels: ClassVar[int] = 0
    system: ClassVar[str] = "segmentation"
    cells_are_areas: ClassVar[bool] = True

    def __init__(
        self, info: FeaturesInfo, num_classes: int, context: Context, *, channels: int = 256, auxiliary: bool = False
    ) -> None:
        super().__init__()
        self.info = info
        self.num_classes = num_classes
        self.channels = channels
        self.context = context
        self.auxiliary = AuxiliaryClassifier(info.mid.channels, num_classes) if auxiliary else None

    @property
    def map_info(self) -> dict[str, MapInfo]:
        """What `forward` shows of this head's inside when asked: the name of each map, in order, and what it is."""
        return {}

    @property
    def gate_modules(self) -> dict[str, Gate]:
        """The gates that may be closed one at a time to see what they do, by the names of their maps."""
        return {}

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """Segment.

        Args:
            features: of the backbone that `info` describes.
            images: (N, 3, H, W) RGB in [0, 1], for heads that look at the image itself, and for its size.
            with_maps: whether to return in `SegmentationOutput.maps` what `map_info` announces.
        """
        raise NotImplementedError

    def auxiliary_logits(self, features: Features, size_hw: tuple[int, int]) -> Tensor | None:
        """The auxiliary classifier's logits, (N, K, H, W), in training mode; None in evaluation or without one."""
        if self.auxiliary is None or not self.training:
            return None
        return resize(self.auxiliary(features.mid), size_hw)


class AuxiliaryClassifier(nn.Sequential):
    """3×3 convolution to a quarter of the width, dropout, classifier (PSPNet, section 3.3).

    Shape:
        (N, in_channels, h, w) → (N, num_classes, h, w)
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        channels = max(1, in_channels // 4)
        super().__init__(
            ConvNormAct(in_channels, channels), nn.Dropout2d(0.1), nn.Conv2d(channels, num_classes, kernel_size=1)
        )


class Decoder(nn.Module):
    """The DeepLabV3+ decoder (Chen et al., 2018): low-level detail, 48 wide, beside the coarse features, twice 3×3.

    Args:
        low: the level with the detail.
        coarse_channels: width of the features from above.
        num_classes: K.
        channels: width of the 3×3 convolutions.
        separable: whether those are separable.

    Shape:
        low map (N, low.channels, h, w), coarse (N, coarse_channels, h', w') → logits (N, K, h, w)
    """

    def __init__(
        self, low: FeatureInfo, coarse_channels: int, num_classes: int, channels: int, separable: bool = False
    ) -> None:
        super().__init__()
        convolution = SeparableConvNormAct if separable else ConvNormAct
        self.detail = ConvNormAct(low.channels, 48, 1)
        self.refine = nn.Sequential(convolution(coarse_channels + 48, channels), convolution(channels, channels))
        self.classify = nn.Conv2d(channels, num_classes, 1)

    def forward(self, low: Tensor, coarse: Tensor) -> Tensor:
        """See the class."""
        detail = self.detail(low)  # (N, 48, h, w)
        merged = torch.cat([detail, resize(coarse, image_size(detail))], dim=1)  # (N, 48 + coarse_channels, h, w)
        logits: Tensor = self.classify(self.refine(merged))  # (N, K, h, w)
        return logits


def checked_level(name: str, index: int, info: FeaturesInfo) -> int:
    """An option that chooses one of the backbone's levels, counted from the shallowest, or from the deepest by −1.

    Raises:
        ConfigError: if there is no such level.
    """
    count = len(info.levels)
    if not -count <= index < count:
        raise ConfigError(f"{name}: {index} found, an index into the backbone's {count} levels expected")
    return index % count


def image_size(images: Tensor) -> tuple[int, int]:
    """Height and width of (N, C, H, W)."""
    return images.shape[-2], images.shape[-1]
