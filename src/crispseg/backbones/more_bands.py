"""A backbone for images that sees further bands beside them, which add nothing until they are learned."""

from __future__ import annotations

import torch
from torch import nn

from crispseg.backbones.base import Backbone
from crispseg.errors import ConfigError

__all__ = ["see_more_bands", "with_more_inputs"]

_MEAN, _STD = 0.5, 0.25
"""Of the further bands, whose values fill [0, 1] about its middle."""


def see_more_bands(backbone: Backbone, count: int, name: str) -> None:
    """Let a backbone's first convolution take bands behind those that it has, with weights of 0.

    Args:
        backbone: is changed; it has mean and deviation of the further bands afterwards, too.
        count: of the further bands.
        name: of the backbone, for the error.

    Raises:
        ConfigError: if its first layer is no plain convolution.

    Example:
        >>> from crispseg.backbones import build_backbone
        >>> backbone = build_backbone("resnet18")
        >>> see_more_bands(backbone, 3, "resnet18")
        >>> backbone(torch.zeros(1, 6, 64, 64)).top.shape, len(backbone.mean)
        (torch.Size([1, 512, 8, 8]), 6)
    """
    first = next((module for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.groups != 1 or first.in_channels != len(backbone.mean):
        raise ConfigError(
            f"backbone {name}: its first layer is no convolution of the image's bands, so it cannot see a mask beside "
            "them (data.target corrections, model.sees_mask); name another, such as resnet18"
        )
    first.weight = nn.Parameter(with_more_inputs(first.weight.detach(), count))
    first.in_channels += count
    backbone.mean = (*backbone.mean, *[_MEAN] * count)
    backbone.std = (*backbone.std, *[_STD] * count)


def with_more_inputs(weight: torch.Tensor, count: int) -> torch.Tensor:
    """A convolution's weight (O, C, h, w) for more inputs behind those that it has, (O, C + count, h, w): zeros."""
    return torch.cat([weight, weight.new_zeros(weight.shape[0], count, *weight.shape[2:])], dim=1)
