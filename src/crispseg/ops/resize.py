"""The one caller of ``interpolate``."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional

__all__ = ["resize"]


def resize(
    maps: Tensor,
    size_hw: tuple[int, int],
    mode: Literal["bilinear", "nearest"] = "bilinear",
    *,
    align_corners: bool = False,
) -> Tensor:
    """Resample feature maps to another height and width.

    Pixels are areas (``align_corners=False``) everywhere in this library; only released networks that were trained
    with the other convention ask for it.

    Args:
        maps: (N, C, h, w), floating point.
        size_hw: the wanted height and width.
        mode: ``"bilinear"`` or ``"nearest"``.
        align_corners: whether corner cells' centres, rather than their outer edges, stay in place.

    Returns:
        (N, C, H, W); the argument itself where it has that size already.

    Example:
        >>> import torch
        >>> resize(torch.tensor([[[[0.0, 4.0]]]]), (1, 4)).flatten().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    if all(statically_known_true(old == new) for old, new in zip(maps.shape[-2:], size_hw, strict=True)):
        return maps  # in a graph of free sizes, where they are equal for every image, not only for the example
    if mode == "nearest":
        return functional.interpolate(maps, size=size_hw, mode="nearest-exact")
    return functional.interpolate(maps, size=size_hw, mode="bilinear", align_corners=align_corners)
