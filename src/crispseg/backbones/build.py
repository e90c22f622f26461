"""From a backbone's name to the backbone."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from pathlib import Path

import timm

from crispseg.backbones.base import Backbone
from crispseg.backbones.timm_backbone import Padding, TimmBackbone
from crispseg.errors import ConfigError
from crispseg.registry import BACKBONES as _BACKBONES
from crispseg.registry import Registry

__all__ = ["build_backbone", "list_backbones", "register_backbone"]

Constructor = Callable[[int, bool, str | Path | None], Backbone]

_backbones: Registry[Constructor] = _BACKBONES


def register_backbone(name: str, constructor: Constructor) -> None:
    """Make a backbone known by name to recipes, saved models and `build_backbone`, from outside of this room.

    Args:
        name: how recipes call it; none of ours. A timm model of this name is hidden by it.
        constructor: called with output stride, whether pretrained weights are wanted, and a weight file or None.

    Raises:
        ConfigError: if the name stands for another constructor.
    """
    _backbones.register(name, constructor)


def build_backbone(
    name: str,
    output_stride: int = 8,
    pretrained: bool = False,
    weights: str | Path | None = None,
    padding: Padding = "own",
    in_channels: int = 3,
) -> Backbone:
    """Build a backbone by name.

    Args:
        name: ``"wide_resnet38"`` or any timm model with ``features_only``, with or without a weight tag
            (``"resnet50s"``, ``"convnext_tiny.fb_in22k_ft_in1k"``).
        output_stride: the wanted stride of the deepest map: 8, 16 or 32. A family that cannot be dilated keeps its
            own stride, or the nearest that it offers; ``backbone.info.top.stride`` tells the true one.
        pretrained: load timm's ImageNet weights (from the Hugging Face Hub, or its cache).
        weights: a file with weights instead; it takes precedence over `pretrained`.
        padding: of a timm model's strided convolutions; see `TimmBackbone`.
        in_channels: of images; other than 3 for timm models alone.

    Returns:
        The backbone, in training mode as modules are when they are built.

    Raises:
        ConfigError: if there is no such model, or it cannot serve as a backbone here.
        WeightsError: if the weights cannot be had or do not fit.

    Example:
        >>> build_backbone("resnet18", output_stride=16).info.top
        FeatureInfo(name='layer4', channels=512, stride=16)
    """
    if _backbones.knows(name):
        if padding != "own":
            raise ConfigError(f"backbone {name}: padding is {padding!r}; only timm models take another than 'own'")
        if in_channels != 3:
            raise ConfigError(
                f"backbone {name}: takes 3 channels, not {in_channels} (model.in_channels); name a timm model"
            )
        return _backbones[name](output_stride, pretrained, weights)
    return TimmBackbone(
        name, output_stride, pretrained=pretrained, weights=weights, padding=padding, in_channels=in_channels
    )


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
    names: list[str] = [*_backbones, *timm.list_models()]
    return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern or "*"))
