"""Five ways to fuse the levels of a backbone (GFF, eq. 2–5), and two ways on from there.

Every fusion takes L maps of one width, ordered from shallow to deep, each at its own resolution, and gives L maps of
the same shapes, or the finest of them alone, with the gate maps that it used (none for the fusions without gates).
Where an equation adds maps of different sizes, they are resampled to the size of the level that is being made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from crispseg.layers.conv import ConvNormAct
from crispseg.layers.gates import LevelGate
from crispseg.ops.resize import resize
from crispseg.ops.sizes import divide_up

__all__ = [
    "Addition",
    "Concat",
    "DenseFeaturePyramid",
    "FullFusion",
    "Fusion",
    "GatedTopDown",
    "StagedSum",
    "TopDown",
]


class Fusion(nn.Module):
    """What the fusions have in common: L levels of one width in, fused levels of that width and the gates out.

    Args:
        num_levels: L.
        channels: width of the levels.
        only_finest: whether the shallowest level alone is made, and not all of them.

    Attributes:
        gated: whether there is a gate per level.
    """

    gated: ClassVar[bool] = False

    def __init__(self, num_levels: int, channels: int, *, only_finest: bool = False) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.num_fused = 1 if only_finest else num_levels

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Fuse (N, C, h_l, w_l) × L into `num_fused` maps of these shapes; also L gates (N, 1, h_l, w_l), or none."""
        raise NotImplementedError


class Concat(Fusion):
    """X̃_l = concat(X_1, …, X_L) (eq. 2), reduced to the common width by a 1×1 convolution as in the experiments."""

    def __init__(self, num_levels: int, channels: int, *, only_finest: bool = False) -> None:
        super().__init__(num_levels, channels, only_finest=only_finest)
        self.reduce = nn.ModuleList(ConvNormAct(num_levels * channels, channels, 1) for _ in range(self.num_fused))

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """See `Fusion`."""
        return (
            [
                reduce(
                    torch.cat([_like(other, level) for other in levels], dim=1)
                )  # (N, L·C, h_l, w_l) → (N, C, h_l, w_l)
                for reduce, level in zip(self.reduce, levels[: self.num_fused], strict=True)
            ],
            [],
        )


class Addition(Fusion):
    """X̃_l = Σ_i X_i (eq. 3)."""

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """See `Fusion`."""
        return [sum_like(levels, level) for level in levels[: self.num_fused]], []


class TopDown(Fusion):
    """FPN: X̃_l = X̃_{l+1} + X_l, where X̃_L = X_L (eq. 4)."""

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """See `Fusion`."""
        fused = [levels[-1]]
        for level in reversed(levels[:-1]):
            fused.insert(0, level + _like(fused[0], level))  # (N, C, h_l, w_l)
        return fused[: self.num_fused], []


class GatedTopDown(Fusion):
    """FPN with gates (table 1, "Gated FPN"): each step is eq. 5 with the next deeper level as the only sender.

    X̃_l = (1 + G_l)·X_l + (1 − G_l)·G_{l+1}·X̃_{l+1}, where X̃_L = X_L.
    """

    gated = True

    def __init__(self, num_levels: int, channels: int, *, only_finest: bool = False) -> None:
        super().__init__(num_levels, channels, only_finest=only_finest)
        self.gates = nn.ModuleList(LevelGate(channels) for _ in range(num_levels))

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """See `Fusion`."""
        gates = [gate(level) for gate, level in zip(self.gates, levels, strict=True)]  # (N, 1, h_l, w_l) each
        fused = [levels[-1]]
        for index in range(len(levels) - 2, -1, -1):
            level = levels[index]
            sent = _like(gates[index + 1] * fused[0], level)
            fused.insert(0, (1 + gates[index]) * level + (1 - gates[index]) * sent)  # (N, C, h_l, w_l)
        return fused[: self.num_fused], gates


class FullFusion(Fusion):
    """Gated fully fusion: X̃_l = (1 + G_l)·X_l + (1 − G_l)·Σ_{i≠l} G_i·X_i (eq. 5), all levels at once."""

    gated = True

    def __init__(self, num_levels: int, channels: int, *, only_finest: bool = False) -> None:
        super().__init__(num_levels, channels, only_finest=only_finest)
        self.gates = nn.ModuleList(LevelGate(channels) for _ in range(num_levels))

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """See `Fusion`."""
        gates = [gate(level) for gate, level in zip(self.gates, levels, strict=True)]  # (N, 1, h_l, w_l) each
        sent = [gate * level for gate, level in zip(gates, levels, strict=True)]  # (N, C, h_l, w_l) each
        fused = []
        for index, (gate, level) in enumerate(zip(gates[: self.num_fused], levels[: self.num_fused], strict=True)):
            received = sum_like(sent[:index] + sent[index + 1 :], level)
            fused.append((1 + gate) * level + (1 - gate) * received)
        return fused, gates


class DenseFeaturePyramid(nn.Module):
    """Dense feature pyramid: y_i = H_i([y_0, X̃_1, …, X̃_{i−1}]) (eq. 6), top-down from the context map y_0.

    The fused levels are counted from the deepest, so X̃_1 is the top; i runs from 1 to L + 1, so that every level is
    used. H_i is one convolution layer.

    Args:
        num_levels: L.
        channels: width of y_0, of every level and of every y_i.
        kernel_size: of H_i. The paper says "a single convolution layer"; its 0.8 M extra parameters (table 3) are
            those of 1×1 kernels.
        at_finest: whether every H_i runs at the size of the shallowest level, as the operations of table 3 ask for;
            if not, at the size of the last map that it reads.

    Shape:
        y_0 (N, C, h, w), levels from shallow to deep (N, C, h_l, w_l) → L + 1 maps (N, C, ·, ·), from deep to shallow
    """

    def __init__(self, num_levels: int, channels: int, kernel_size: int = 1, *, at_finest: bool = True) -> None:
        super().__init__()
        self.at_finest = at_finest
        self.convolutions = nn.ModuleList(
            ConvNormAct(count * channels, channels, kernel_size) for count in range(1, num_levels + 2)
        )

    def forward(self, context: Tensor, levels: Sequence[Tensor]) -> list[Tensor]:
        """See the class."""
        read = [context, *reversed(levels)]
        outputs = []
        for count, convolution in enumerate(self.convolutions, start=1):
            like = read[-1] if self.at_finest else read[count - 1]
            known = torch.cat([_like(one, like) for one in read[:count]], dim=1)  # (N, count·C, h_i, w_i)
            outputs.append(convolution(known))  # (N, C, h_i, w_i)
        return outputs


class StagedSum(nn.Module):
    """Levels go up to the finest in steps, a 3×3 convolution and a doubling each, and are added there.

    The segmentation branch of a feature pyramid network (Kirillov et al., 2019, figure 3; first in their entry to the
    COCO Stuff challenge of 2017, which GFF's table 1 cites). The finest level has one convolution and no doubling.

    Args:
        strides: of the levels, from shallow to deep, in cells of anything: what counts is their ratio to the first.
        channels: width of the levels.
        out_channels: width of the steps and of the sum; half of the levels' there.

    Shape:
        levels from shallow to deep (N, channels, h_l, w_l) → (N, out_channels, h_1, w_1)
    """

    def __init__(self, strides: Sequence[int], channels: int, out_channels: int) -> None:
        super().__init__()
        self.ways = nn.ModuleList(
            nn.ModuleList(
                ConvNormAct(channels if step == 0 else out_channels, out_channels)
                for step in range(max(1, round(math.log2(stride / strides[0]))))
            )
            for stride in strides
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """See the class."""
        height, width = levels[0].shape[-2:]
        total: Tensor | None = None
        for way, level in zip(self.ways, levels, strict=True):
            risen = level
            steps = list(way.children())
            for step, convolution in enumerate(steps, start=1):
                factor = 2 ** (len(steps) - step)
                size_hw = (divide_up(height, factor), divide_up(width, factor))  # the last: h_1×w_1
                risen = resize(convolution(risen), size_hw)
            total = risen if total is None else total + risen
        assert total is not None  # there are levels
        return total


def sum_like(maps: Sequence[Tensor], like: Tensor) -> Tensor:
    """Add maps after resampling each to the size of `like`."""
    total = _like(maps[0], like)
    for one in maps[1:]:
        total = total + _like(one, like)
    return total


def _like(maps: Tensor, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return resize(maps, (height, width))
