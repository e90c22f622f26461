"""A model: a backbone and a head, with what belongs to them: normalisation and label table."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from crispseg.backbones import Backbone
from crispseg.config import ModelConfig
from crispseg.heads import Head
from crispseg.labels import LabelSpace
from crispseg.notebooks import html_legend, html_table
from crispseg.ops.cells import Filling
from crispseg.types import Features, SegmentationOutput

__all__ = ["Segmenter"]

_OVERSHOOT = 0.5  # resampling with sharp kernels leaves [0, 1] by less; normalised images by more
_LOGGER = logging.getLogger("crispseg.models")


class Segmenter(nn.Module):
    """Images to `SegmentationOutput`.

    Args:
        backbone: makes the features; its mean and deviation become the model's.
        head: makes the output.
        config: the values that build this network again.
        label_space: the classes.

    Shape:
        (N, C, H, W) in [0, 1], C = 3 for RGB → logits (N, K, H, W)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, head: Head, config: ModelConfig, label_space: LabelSpace) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.config = config
        self.label_space = label_space
        self._batches_seen, self._range_is_odd = 0, False
        self.register_buffer("mean", torch.tensor(config.mean or backbone.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(config.std or backbone.std).view(1, -1, 1, 1))

    @property
    def num_classes(self) -> int:
        """K."""
        return self.label_space.num_classes

    @property
    def filling(self) -> Filling:
        """How images are to be filled up so that maps of all strides lie where the image does; `forward` does not."""
        return Filling(self._whole_cells, tuple(self.mean.flatten().tolist()))

    def filled(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) as `filling` fills them; a GPU is not waited for where there is nothing to do."""
        is_whole = all(side % self._whole_cells == 0 for side in images.shape[-2:])
        return images if is_whole else torch.as_tensor(self.filling.fill(images))

    @property
    def _whole_cells(self) -> int:
        """What sides of images are to be multiples of."""
        return self.backbone.info.top.stride if self.head.cells_are_areas else 1

    def _repr_html_(self) -> str:
        """What the model is made of and which classes it knows, for notebooks."""
        config, space = self.config, self.label_space
        parts = {
            "head": config.head,
            "backbone": config.backbone,
            "context": config.context or "the head's own",
            "output stride": str(config.output_stride),
            "parameters": f"{sum(parameter.numel() for parameter in self.parameters()) / 1e6:.1f} M",
            "label table": f"{space.name}, {space.num_classes} classes",
        }
        legend = html_legend((entry.name, space.palette[index], "") for index, entry in enumerate(space.classes))
        return html_table([["Segmenter", ""], *map(list, parts.items())], first=2) + legend

    def forward(self, images: Tensor, with_maps: bool = False) -> SegmentationOutput:
        """Segment a batch.

        Args:
            images: (N, C, H, W), RGB or the bands that the model was made for, floating point in [0, 1]; any H and W.
            with_maps: whether to return what the head can show of its inside; see `SegmentationOutput.maps`.

        Raises:
            ValueError: if the images are not of this shape or type.
        """
        if images.ndim != 4 or images.shape[1] != self.config.image_channels or not images.is_floating_point():
            raise ValueError(
                f"images: {images.dtype} of shape {tuple(images.shape)} found, floating point RGB in [0, 1] of shape "
                f"(N, {self.config.image_channels}, H, W) expected; divide uint8 images by 255"
            )
        if not self.training and type(images) is Tensor and not torch.compiler.is_compiling():
            self._look_at_range(images)
        output: SegmentationOutput = self.head(self.features(images), images, with_maps=with_maps)
        return output

    def _look_at_range(self, images: Tensor) -> None:
        """Say once that images were not brought to [0, 1], or were normalised already.

        A coarse grid of the 1st, 2nd, 4th, 8th … batch is looked at, so that a GPU is hardly ever waited for.
        """
        self._batches_seen += 1
        is_turn = not self._batches_seen & (self._batches_seen - 1)
        if self._range_is_odd or not is_turn or not images.numel() or images.is_meta:
            return
        lowest, highest = (float(value) for value in images[..., ::8, ::8].aminmax())
        if lowest >= -_OVERSHOOT and highest <= 1 + _OVERSHOOT:
            return
        self._range_is_odd = True
        cure = "divide 8-bit images by 255" if lowest >= 0 else "leave them as they are: the model normalises itself"
        _LOGGER.warning("images hold %.3g to %.3g where RGB in [0, 1] is expected; %s", lowest, highest, cure)

    def features(self, images: Tensor) -> Features:
        """What the backbone makes of images, (N, C, H, W) in [0, 1], for heads to read."""
        features: Features = self.backbone((images - self.mean) / self.std)
        return features
