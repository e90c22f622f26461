"""DeepLabV3+: context, then a decoder that adds low-level detail."""

from __future__ import annotations

from torch import Tensor

from crispseg.context import Context
from crispseg.heads.base import Decoder, Head, image_size
from crispseg.ops.resize import resize
from crispseg.types import Features, FeaturesInfo, SegmentationOutput

__all__ = ["DeepLabV3Plus"]


class DeepLabV3Plus(Head):
    """Encoder-decoder of Chen et al. (2018), the baseline of GSCNN and of Decoupled."""

    default_context = "aspp"

    def __init__(
        self, info: FeaturesInfo, num_classes: int, context: Context, *, channels: int = 256, auxiliary: bool = False
    ) -> None:
        super().__init__(info, num_classes, context, channels=channels, auxiliary=auxiliary)
        self.decoder = Decoder(info.low, context.out_channels, num_classes, channels)

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`; there is nothing to show of its inside."""
        size_hw = image_size(images)
        coarse = self.context(features.top)  # (N, C, h, w) of the top level
        logits = resize(self.decoder(features.low, coarse), size_hw)  # (N, K, H, W)
        return SegmentationOutput(logits=logits, auxiliary_logits=self.auxiliary_logits(features, size_hw))
