"""What every backbone promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from crispseg.types import Features, FeaturesInfo

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Backbone"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module, ABC):
    """Turns normalised images into the feature maps that `info` describes.

    Attributes:
        info: names, widths and true strides of the maps, entry for entry as `forward` returns them.
        mean: of the images that the backbone expects, per RGB channel, for values in [0, 1].
        std: their deviation.
    """

    info: FeaturesInfo
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @abstractmethod
    def forward(self, images_normalised: Tensor) -> Features:
        """Compute the feature maps.

        Args:
            images_normalised: (N, 3, H, W), RGB minus `mean` over `std`; any height and width.

        Returns:
            Maps of ceil(H / stride) × ceil(W / stride) cells, laid out (N, C, h, w). Cell (i, j) speaks of the image
            region that starts at (i · stride, j · stride).
        """
