"""The values that travel between the rooms: features and outputs.

Shapes: N images, C channels, K classes, H×W pixels of the image, h×w cells of a feature map.
Labels are train ids, uint8 or int64, with 255 = ignore, everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "FeatureInfo",
    "Features",
    "FeaturesInfo",
    "MapInfo",
    "MapKind",
    "SegmentationOutput",
]


@dataclass(frozen=True)
class FeatureInfo:
    """One feature map as its backbone describes it.

    Attributes:
        name: the backbone's own name of the map, for instance ``"layer1"``.
        channels: its width.
        stride: image pixels per cell.
    """

    name: str
    channels: int
    stride: int


@dataclass(frozen=True)
class FeaturesInfo:
    """What a backbone hands out, in the terms that heads ask for.

    Attributes:
        stem: the first layer's map, at the finest stride that the backbone has.
        levels: one map per stage, from shallow to deep.
        mid_index: which level carries the auxiliary loss (stage 3 of a ResNet).
        pyramid_indices: which levels a fusion head takes by default.
    """

    stem: FeatureInfo
    levels: tuple[FeatureInfo, ...]
    mid_index: int
    pyramid_indices: tuple[int, ...]

    @property
    def low(self) -> FeatureInfo:
        """The shallowest level, where decoders take their detail."""
        return self.levels[0]

    @property
    def mid(self) -> FeatureInfo:
        """The level of the auxiliary loss."""
        return self.levels[self.mid_index]

    @property
    def top(self) -> FeatureInfo:
        """The deepest level, where the context module sits."""
        return self.levels[-1]


@dataclass(frozen=True)
class Features:
    """A backbone's feature maps for a batch; `FeaturesInfo` describes them, entry for entry.

    Attributes:
        stem: (N, C, h, w).
        levels: (N, C_l, h_l, w_l) each, from shallow to deep.
        mid_index: see `FeaturesInfo`.
    """

    stem: Tensor
    levels: tuple[Tensor, ...]
    mid_index: int

    @property
    def low(self) -> Tensor:
        """The shallowest level."""
        return self.levels[0]

    @property
    def mid(self) -> Tensor:
        """The level of the auxiliary loss."""
        return self.levels[self.mid_index]

    @property
    def top(self) -> Tensor:
        """The deepest level."""
        return self.levels[-1]


MapKind = Literal["gate", "share", "logit", "flow", "features"]
"""What the values of a map are.

- ``gate``: each in [0, 1]: what passes there, 0 nothing and 1 all. Several channels are so many gates.
- ``share``: each in [0, 1], such as probabilities and strengths. Several channels are so many shares.
- ``logit``: one channel, any real number; its sigmoid is a share.
- ``flow``: two channels, x to the right and y down, in cells of the map.
- ``features``: any channels and values; only their likeness means something.
"""


@dataclass(frozen=True)
class MapInfo:
    """What a head says of one of its maps, for those who draw it.

    Attributes:
        kind: what its values are.
        title: a few words, for captions.
        sentence: what it shows and how to read it, for a reader who has not seen the paper.
    """

    kind: MapKind
    title: str
    sentence: str


@dataclass(frozen=True)
class SegmentationOutput:
    """What every model returns, in training and in evaluation: logits, never probabilities, never a loss.

    Attributes:
        logits: (N, K, H, W), of the image's size.
        boundary_logits: (N, 1, H, W), before the sigmoid; None where the head has no boundary branch.
        body_logits: (N, K, H, W) of the Decoupled head's body branch. Only the loss reads it, so evaluation skips it.
        auxiliary_logits: (N, K, H, W) of the auxiliary head. Only the loss reads it, so evaluation skips it.
        maps: what the head can show of its inside, when asked with ``with_maps=True``: gates, attention, flow,
            body and edge features, each (N, C, h, w) at its own resolution. `Head.map_info` says what each of them is.
    """

    logits: Tensor
    boundary_logits: Tensor | None = None
    body_logits: Tensor | None = None
    auxiliary_logits: Tensor | None = None
    maps: dict[str, Tensor] = field(default_factory=dict)

    def within(self, size_hw: tuple[int, int]) -> SegmentationOutput:
        """What belongs to the upper left part of the image, where the rest was filled up (`crispseg.ops.cells`).

        Args:
            size_hw: of that part, in pixels. Of maps all cells stay that reach into it.
        """
        height, width = size_hw
        whole_hw = self.logits.shape[-2:]
        if tuple(whole_hw) == (height, width):
            return self

        def cut(maps: Tensor) -> Tensor:
            rows, columns = (
                -(-cells * size // whole) for cells, size, whole in zip(maps.shape[-2:], size_hw, whole_hw, strict=True)
            )
            return maps[..., :rows, :columns]

        def cut_if(maps: Tensor | None) -> Tensor | None:
            return None if maps is None else cut(maps)

        return SegmentationOutput(
            cut(self.logits),
            cut_if(self.boundary_logits),
            cut_if(self.body_logits),
            cut_if(self.auxiliary_logits),
            {name: cut(values) for name, values in self.maps.items()},
        )


# torch.export and torch.compile see through the output, so every model exports as it is.
torch.export.register_dataclass(SegmentationOutput, serialized_type_name="crispseg.SegmentationOutput")
