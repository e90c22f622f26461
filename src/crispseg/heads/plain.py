"""The plain head: context, then a classifier. On `Identity` it is FCN, on `PyramidPooling` PSPNet."""

from __future__ import annotations

from torch import Tensor, nn

from crispseg.context import Context
from crispseg.heads.base import Head, image_size
from crispseg.ops.resize import resize
from crispseg.types import Features, FeaturesInfo, SegmentationOutput

__all__ = ["Plain"]


class Plain(Head):
    """Context and a 1×1 classifier, with PSPNet's auxiliary classifier on the mid level (Zhao et al., 2017)."""

    def __init__(
        self, info: FeaturesInfo, num_classes: int, context: Context, *, channels: int = 256, auxiliary: bool = True
    ) -> None:
        super().__init__(info, num_classes, context, channels=channels, auxiliary=auxiliary)
        self.classify = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(context.out_channels, num_classes, 1))

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`; there is nothing to show of its inside."""
        size_hw = image_size(images)
        context = self.context(features.top)  # (N, C, h, w) of the top level
        logits = resize(self.classify(context), size_hw)  # (N, K, H, W)
        return SegmentationOutput(logits=logits, auxiliary_logits=self.auxiliary_logits(features, size_hw))
