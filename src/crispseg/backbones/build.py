"""From a backbone's name to the backbone."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from pathlib import Path

import timm

from crispseg.backbones.base import Backbone
from crispseg.backbones.timm_backbone import TimmBackbone
from crispseg.backbones.wide_resnet38 import WideResNet38

__all__ = ["OWN_BACKBONES", "build_backbone", "list_backbones"]

OWN_BACKBONES: dict[str, Callable[[int, bool, str | Path | None], Backbone]] = {
    "wide_resnet38": lambda output_stride, pretrained, weights: WideResNet38(
        output_stride, pretrained=pretrained, weights=weights
    ),
}
"""Name to constructor, of the backbones that are not timm's."""


def build_backbone(
    name: str, output_stride: int = 8, pretrained: bool = False, weights: str | Path | None = None
) -> Backbone:
    """Build a backbone by name.

    Args:
        name: ``"wide_resnet38"`` or any timm model with ``features_only``, with or without a weight tag
            (``"resnet50s"``, ``"convnext_tiny.fb_in22k_ft_in1k"``).
        output_stride: the wanted stride of the deepest map: 8, 16 or 32. A family that cannot be dilated keeps its
            own stride, or the nearest that it offers; ``backbone.info.top.stride`` tells the true one.
        pretrained: load timm's ImageNet weights (from the Hugging Face Hub, or its cache).
        weights: a file with weights instead; it takes precedence over `pretrained`.

    Returns:
        The backbone, in training mode as modules are when they are built.

    Raises:
        ConfigError: if there is no such model, or it cannot serve as a backbone here.
        WeightsError: if the weights cannot be had or do not fit.

    Example:
        >>> build_backbone("resnet18", output_stride=16).info.top
        FeatureInfo(name='layer4', channels=512, stride=16)
    """
    if name in OWN_BACKBONES:
        return OWN_BACKBONES[name](output_stride, pretrained, weights)
    return TimmBackbone(name, output_stride, pretrained=pretrained, weights=weights)


def list_backbones(pattern: str = "") -> list[str]:
    """Name the backbones that `build_backbone` knows.

    timm does not say ahead which of its models have ``features_only``; most do, and the others raise a `ConfigError`.

    Args:
        pattern: a shell-style pattern, for instance ``"*resnet50*"``; empty means all.

    Returns:
        Sorted names.

    Example:
        >>> list_backbones("wide_resnet[35]*")
        ['wide_resnet38', 'wide_resnet50_2']
    """
    names: list[str] = [*OWN_BACKBONES, *timm.list_models()]
    return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern or "*"))
