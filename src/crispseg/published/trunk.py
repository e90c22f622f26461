"""The dilated deep-stem ResNets of the released networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from crispseg.backbones import TimmBackbone

__all__ = ["ReleasedResNet", "released_resnet50s", "released_resnet101s"]


class ReleasedResNet(TimmBackbone):
    """A timm ResNet with every block of a dilated stage dilated alike, the first one too.

    timm, and the papers of dilated networks, give a stage's first block the dilation of the stage before.

    Args:
        name: a ResNet's name in timm, for instance ``"resnet50s"``.
        output_stride: 8, 16 or 32.
        pretrained: see `TimmBackbone`.
        weights: see `TimmBackbone`.
    """

    def __init__(
        self,
        name: str,
        output_stride: int = 8,
        *,
        pretrained: bool = False,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__(name, output_stride, pretrained=pretrained, weights=weights)
        for stage_name in ("layer3", "layer4"):
            stage = self.net.get_submodule(stage_name)
            first, second = stage.get_submodule("0.conv2"), stage.get_submodule("1.conv2")
            assert isinstance(first, nn.Conv2d)
            assert isinstance(second, nn.Conv2d)
            first.dilation, first.padding = second.dilation, second.padding

    @classmethod
    def constructor(cls, name: str) -> Callable[[int, bool, str | Path | None], ReleasedResNet]:
        """What `crispseg.backbones.register_backbone` takes for one of timm's ResNets."""
        return lambda output_stride, pretrained, weights: cls(
            name, output_stride, pretrained=pretrained, weights=weights
        )


released_resnet50s = ReleasedResNet.constructor("resnet50s")
released_resnet101s = ReleasedResNet.constructor("resnet101s")
