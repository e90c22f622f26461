"""Decoders that users would pick instead of ours, as heads on the same backbone: what a comparison asks for.

Importing this registers ``smp_deeplabv3plus`` and ``smp_fpn``, of segmentation_models_pytorch 0.6 with its own widths,
and ``torchvision_lraspp``. Backbone, weights, images, augmentation, loss and schedule are then those of any other row;
the packages are needed when such a head is built.

Their decoders enlarge by fixed factors and expect images whose sides are multiples of the deepest stride. Users pad
images for them; here features are padded, at the bottom and the right by repeating their last cells, and the logits are
cut.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from crispseg.context import Context
from crispseg.errors import ConfigError
from crispseg.heads import Head
from crispseg.heads.base import image_size
from crispseg.models import register_head
from crispseg.ops.resize import resize
from crispseg.types import Features, FeaturesInfo, SegmentationOutput

__all__ = ["SmpDeepLabV3Plus", "SmpFPN", "TorchvisionLRASPP"]


class _Peer(Head):
    """A decoder over levels; each says which strides it was made for."""

    default_context = "identity"
    strides: tuple[int, ...] = ()

    def __init__(
        self, info: FeaturesInfo, num_classes: int, context: Context, *, channels: int = 256, auxiliary: bool = False
    ) -> None:
        super().__init__(info, num_classes, context, channels=channels, auxiliary=auxiliary)
        found = tuple(level.stride for level in info.levels)
        if found != self.strides:
            raise ConfigError(f"{type(self).__name__}: levels at strides {found} found, {self.strides} expected")
        self.context = nn.Identity()  # the decoder has its own
        self.decoder = self.build()

    def build(self) -> nn.Module:
        """The foreign decoder, with its classifier."""
        raise NotImplementedError

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Logits, (N, K, h, w), of levels whose sizes are whole multiples of each other."""
        raise NotImplementedError

    def forward(self, features: Features, images: Tensor, *, with_maps: bool = False) -> SegmentationOutput:
        """See `Head.forward`."""
        height, width = image_size(images)
        coarsest = self.info.top.stride
        rows, columns = -(-height // coarsest) * coarsest, -(-width // coarsest) * coarsest
        padded = [
            F.pad(level, (0, columns // stride - level.shape[-1], 0, rows // stride - level.shape[-2]), "replicate")
            for level, stride in zip(features.levels, self.strides, strict=True)
        ]
        logits = resize(self.decode(padded), (rows, columns))[..., :height, :width]
        return SegmentationOutput(logits=logits, auxiliary_logits=self.auxiliary_logits(features, (height, width)))


class SmpDeepLabV3Plus(_Peer):
    """segmentation_models_pytorch's DeepLabV3+: separable ASPP at rates 12, 24, 36, 48 channels of detail."""

    strides = (4, 8, 16, 16)

    def build(self) -> nn.Module:
        """See `_Peer.build`."""
        from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

        low, top = self.info.low.channels, self.info.top.channels
        # The encoder's channels as smp lists them: the image, strides 2 and 4 (the detail), …, the deepest.
        decoder = DeepLabV3PlusDecoder((3, 0, low, 0, 0, top), 5, self.channels, (12, 24, 36), 16, True, 0.5)
        return nn.ModuleDict({"decoder": decoder, "classify": nn.Conv2d(self.channels, self.num_classes, 1)})

    def decode(self, levels: list[Tensor]) -> Tensor:
        """See `_Peer.decode`."""
        low, *_, top = levels
        logits: Tensor = self.decoder["classify"](self.decoder["decoder"]([low, low, low, top]))
        return logits


class SmpFPN(_Peer):
    """segmentation_models_pytorch's FPN: pyramid 256 wide, segmentation blocks half as wide, added."""

    strides = (4, 8, 16, 32)

    def build(self) -> nn.Module:
        """See `_Peer.build`."""
        from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder

        widths = [level.channels for level in self.info.levels]
        decoder = FPNDecoder([3, 0, *widths], 5, self.channels, self.channels // 2)
        return nn.ModuleDict({"decoder": decoder, "classify": nn.Conv2d(self.channels // 2, self.num_classes, 1)})

    def decode(self, levels: list[Tensor]) -> Tensor:
        """See `_Peer.decode`."""
        logits: Tensor = self.decoder["classify"](self.decoder["decoder"](levels))
        return logits


class TorchvisionLRASPP(_Peer):
    """torchvision's LR-ASPP, as its lraspp_mobilenet_v3_large has it: detail from stride 8, 128 channels between."""

    strides = (4, 8, 16, 16)

    def build(self) -> nn.Module:
        """See `_Peer.build`."""
        from torchvision.models.segmentation.lraspp import LRASPPHead

        return LRASPPHead(self.info.levels[1].channels, self.info.top.channels, self.num_classes, self.channels)

    def decode(self, levels: list[Tensor]) -> Tensor:
        """See `_Peer.decode`."""
        logits: Tensor = self.decoder({"low": levels[1], "high": levels[-1]})
        return logits


register_head("smp_deeplabv3plus", SmpDeepLabV3Plus)
register_head("smp_fpn", SmpFPN)
register_head("torchvision_lraspp", TorchvisionLRASPP)
