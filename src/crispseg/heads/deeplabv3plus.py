"""DeepLabV3+: context, then a decoder that adds low-level detail."""

from __future__ import annotations

from torch import Tensor

from crispseg.context import Context
from crispseg.heads.base import Decoder, Head, checked_level, image_size
from crispseg.ops.resize import resize
from crispseg.types import Features, FeaturesInfo, SegmentationOutput

__all__ = ["DeepLabV3Plus"]


class DeepLabV3Plus(Head):
    """Encoder-decoder of Chen et al. (2018), the baseline of GSCNN and of Decoupled.

    Args:
        info: see `Head`.
        num_classes: see `Head`.
        context: see `Head`.
        channels: see `Head`.
        auxiliary: see `Head`.
        low_level: where the detail comes from, an index into ``info.levels``; 0: the shallowest.
        separable: whether the decoder's 3×3 convolutions are separable, as in the paper's fast networks (section 3.1);
            the context has an option of its own.
    """

    default_context = "aspp"

    def __init__(
        self,
        info: FeaturesInfo,
        num_classes: int,
        context: Context,
        *,
        channels: int = 256,
        auxiliary: bool = False,
        low_level: int = 0,
        separable: bool = False,
    ) -> None:
        super().__init__(info, num_classes, context, channels=channels, auxiliary=auxiliary)
        self.low_level = checked_level("low_level", low_level, info)
        self.decoder = Decoder(info.levels[self.low_level], context.out_channels, num_classes, channels, separable)

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`; there is nothing to show of its inside."""
        size_hw = image_size(images)
        coarse = self.context(features.top)  # (N, C, h, w) of the top level
        logits = resize(self.decoder(features.levels[self.low_level], coarse), size_hw)  # (N, K, H, W)
        return SegmentationOutput(logits=logits, auxiliary_logits=self.auxiliary_logits(features, size_hw))
