"""Any timm model with ``features_only`` as a backbone.

timm's families differ in what their constructors take, in the layout and size of their maps and in the image sizes that
they accept. None of that is looked up in a list of families here: the constructor's complaints and small trial runs
tell, so that new families work when timm gains them, and so that `TimmBackbone.info` is measured rather than believed.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from crispseg.backbones.author_keys import timm_names
from crispseg.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone
from crispseg.backbones.dense_dilation import dilate_densenet
from crispseg.backbones.same_padding import fix_padding, input_channels
from crispseg.backbones.state_files import load_state, read_state
from crispseg.errors import ConfigError, WeightsError
from crispseg.ops.sizes import divide_up
from crispseg.types import FeatureInfo, Features, FeaturesInfo

__all__ = ["Padding", "TimmBackbone"]

Padding = Literal["own", "centred"]

_STRIDES = (8, 16, 32)
_STEM_STRIDE_BELOW = 4  # maps finer than this are the stem's; stages start at stride 4
_PYRAMID_LEVELS = 4
_LARGEST_TRIAL_SIDE = 512


class TimmBackbone(Backbone):
    """A timm model's feature maps, sorted into roles.

    The stem is the finest map; the levels are the maps of stride 4 and coarser (of all strides where there is none). A
    family whose finest map is a level (ConvNeXt, Swin, ViT) has that map in both roles.

    Where a dilated stage begins, timm gives the first block the previous stage's dilation; that is kept. DenseNets,
    which timm does not dilate, are dilated here.

    Images whose sides do not divide as the model needs are continued at the right and bottom by their last row and
    column, and the maps are cut to the cells that speak of the image.

    TensorFlow's one-sided padding (timm's ``tf_…`` models) is made independent of the image's size, as it is for sides
    that the deepest stride divides; see `crispseg.backbones.same_padding`.

    Args:
        name: the model's name in timm, with or without a tag.
        output_stride: the wanted stride of the deepest map, 8, 16 or 32. Not every family can be dilated, and
            some that take the argument ignore it: `info` tells the true strides.
        pretrained: load timm's weights for this name, from the Hugging Face Hub or its cache.
        weights: a file with the model's weights instead, as timm names them, or EfficientNet's authors on PyPI; a
            classifier in it is left out.
        padding: ``"centred"`` lets strided convolutions with one-sided padding begin early and late in turn, so that
            cells look at the middle of what they stand for, to a fifth of a cell.
        in_channels: of images. Weights for three are adapted as timm does it: added up for one, repeated and scaled for
            more.

    Raises:
        ConfigError: if the name or the stride is unknown, or the model offers no usable feature maps.
        WeightsError: if the weights cannot be had or do not fit.

    Example:
        >>> backbone = TimmBackbone("resnet18", output_stride=8)
        >>> backbone.info.stem.stride, [level.stride for level in backbone.info.levels]
        (2, [4, 8, 8, 8])
    """

    def __init__(
        self,
        name: str,
        output_stride: int = 8,
        *,
        pretrained: bool = False,
        weights: str | Path | None = None,
        padding: Padding = "own",
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        _check_name(name)
        if output_stride not in _STRIDES:
            raise ConfigError(f"backbone {name}: output_stride is {output_stride}; 8, 16 or 32 expected")
        if padding not in get_args(Padding):
            raise ConfigError(f"backbone {name}: padding is {padding!r}; one of {get_args(Padding)} expected")
        self.name = name
        self.net, options = _create(name, output_stride, in_channels)
        if pretrained and weights is None:
            self.net = _create_pretrained(name, options)
        if weights is not None:
            _load_weights(self.net, name, weights, in_channels)
        fix_padding(self.net, name, centred=padding == "centred")
        dilate_densenet(self.net, output_stride)
        self.channels_are_last = _format_of(self.net) == "NHWC"
        measured = _measure(self.net, name, self.channels_are_last)
        self.size_multiple = measured.size_multiple
        self.strides = tuple(info.stride for info in measured.maps)
        self.stem_index, self.level_indices = _roles(self.strides)
        levels = tuple(measured.maps[index] for index in self.level_indices)
        self.info = FeaturesInfo(
            stem=measured.maps[self.stem_index],
            levels=levels,
            mid_index=max(len(levels) - 2, 0),
            pyramid_indices=tuple(range(len(levels)))[-_PYRAMID_LEVELS:],
        )
        trained_with: Any = self.net.pretrained_cfg
        self.mean = _per_band(_three(trained_with.get("mean"), IMAGENET_MEAN), in_channels)
        self.std = _per_band(_three(trained_with.get("std"), IMAGENET_STD), in_channels)

    def forward(self, images_normalised: Tensor) -> Features:
        """See `Backbone.forward`."""
        height, width = images_normalised.shape[-2:]
        padded = _pad_to_multiple(images_normalised, self.size_multiple)
        maps = _run(self.net, padded, self.channels_are_last)  # (N, C, h, w) each
        if self.size_multiple > 1:
            maps = [  # the cells that speak of the image: ⌈H/stride⌉×⌈W/stride⌉
                feature[..., : divide_up(height, stride), : divide_up(width, stride)]
                for feature, stride in zip(maps, self.strides, strict=True)
            ]
        return Features(maps[self.stem_index], tuple(maps[index] for index in self.level_indices), self.info.mid_index)


@dataclass(frozen=True)
class _Measured:
    maps: tuple[FeatureInfo, ...]
    size_multiple: int  # both sides of the image must be multiples of it


def _check_name(name: str) -> None:
    if timm.is_model(name):
        return
    close = difflib.get_close_matches(name.split(".")[0], ["wide_resnet38", *timm.list_models()], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "no known name is near."
    raise ConfigError(
        f"backbone {name!r} is unknown; {hint} crispseg.backbones.list_backbones() lists all that this timm "
        f"({timm.__version__}) has"
    )


def _create(name: str, output_stride: int, in_channels: int) -> tuple[nn.Module, dict[str, Any]]:
    """The model without weights, dilated as near to the wanted stride as timm can, and the options that made it."""
    problem: Exception | None = None
    for stride in (*(s for s in _STRIDES if s >= output_stride), None):
        # The two switches free vision transformers and Swin from one fixed image size; `_accepted` drops what a
        # family does not know.
        options: dict[str, Any] = {"dynamic_img_size": True, "strict_img_size": False}
        if stride is not None:
            options["output_stride"] = stride
        if in_channels != 3:
            options["in_chans"] = in_channels
        try:
            return _create_accepted(name, options)
        # timm's families refuse a stride in whatever way they fail; the last refusal is the error's cause below.
        except (AssertionError, NotImplementedError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            problem = error
    raise ConfigError(
        f"backbone {name}: timm cannot make feature maps of it ({problem}); choose a model that supports features_only"
    ) from problem


def _create_accepted(name: str, options: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Create the model with as many of the options as its constructor knows."""
    options = dict(options)
    while True:
        try:
            return timm.create_model(name, pretrained=False, features_only=True, **options), options
        except TypeError as error:
            unknown = [key for key in options if re.search(rf"unexpected keyword.*'{key}'", str(error))]
            if not unknown:
                raise
            for key in unknown:
                del options[key]


def _create_pretrained(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        net: nn.Module = timm.create_model(name, pretrained=True, features_only=True, **options)
    except Exception as error:  # hub, proxy, disk and cache each raise their own; all mean the same to the user
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"backbone {name}: its pretrained weights cannot be fetched ({reason}); connect to the Hugging Face Hub, "
            "pass a file as model.backbone_weights, or set model.pretrained=false"
        ) from error
    return net


def _load_weights(net: nn.Module, name: str, path: str | Path, in_channels: int) -> None:
    own = net.state_dict()
    with torch.device("meta"):
        whole = timm.create_model(name, pretrained=False).state_dict()
    state = {}
    read = timm_names(read_state(path), whole)
    flat_stem = "conv1.6.weight" in own and "conv3.weight" in read
    for key, value in read.items():
        module, _, leaf = key.rpartition(".")
        if flat_stem and module in _FLAT_STEM:
            key = f"{_FLAT_STEM[module]}.{leaf}"
        # timm's feature wrappers flatten the first level ("stages.0" → "stages_0") or put the model one level down.
        names = (key, key.replace(".", "_", 1), f"model.{key}", f"body.{key}")
        found = next((candidate for candidate in names if candidate in own), key)
        state[found] = _adapted(value, own.get(found), in_channels)
    # What the whole classifier has and the features do not (its head, pruned norms and blocks) may stand in the file.
    heads = ("fc.", "head.", "classifier.")
    load_state(net, state, path, lambda key: key in whole or key.startswith(heads))


def _adapted(value: Tensor, own: Tensor | None, in_channels: int) -> Tensor:
    """A first layer's weight for three channels as one for another number, by timm's rule; others as they are."""
    first = own is not None and value.ndim == own.ndim == 4 and value.shape[1] == 3 and own.shape[1] == in_channels
    if not first or in_channels == 3:
        return value
    adapted: Tensor = timm.models.adapt_input_conv(in_channels, value)
    return adapted


# A deep stem side by side with the stages, as some ImageNet files of deep-stem ResNets have it, in timm's names.
_FLAT_STEM = {
    "conv1": "conv1.0",
    "bn1": "conv1.1",
    "conv2": "conv1.3",
    "bn2": "conv1.4",
    "conv3": "conv1.6",
    "bn3": "bn1",
}


def _format_of(net: nn.Module) -> str:
    layout = getattr(net, "output_fmt", "NCHW")
    return str(getattr(layout, "value", layout))


def _run(net: nn.Module, images: Tensor, channels_are_last: bool) -> list[Tensor]:
    maps: Sequence[Tensor] = net(images)
    return [feature.permute(0, 3, 1, 2).contiguous() if channels_are_last else feature for feature in maps]


def _pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    bottom, right = (divide_up(size, multiple) * multiple - size for size in images.shape[-2:])
    if bottom == 0 and right == 0:
        return images
    return functional.pad(images, (0, right, 0, bottom), mode="replicate")


def _measure(net: Any, name: str, channels_are_last: bool) -> _Measured:
    """Find widths, true strides and the size multiple by small trial runs.

    A multiple is right if an image of an aligned size and one of an odd size both give maps that cover the image
    exactly. Tried are: any size at all; the deepest declared stride; stride 32; the model's native size, for models
    that part their maps into a fixed number of windows.
    """
    declared = net.feature_info.get_dicts()
    deepest = max(int(entry["reduction"]) for entry in declared)
    native = int(net.pretrained_cfg.get("input_size", (3, 224, 224))[-1])
    multiples = [1, deepest, 32]
    if native % deepest == 0 and native <= _LARGEST_TRIAL_SIDE:
        multiples.append(native)
    was_training = net.training
    net.eval()
    try:
        for multiple in dict.fromkeys(multiples):
            unit = math.lcm(multiple, deepest)
            side = unit * math.ceil(max(64, 2 * deepest) / unit)
            odd_hw = (side - 3, side + 1)  # one more than a multiple shows wherever a size is rounded down
            aligned = _trial(net, (side, side), multiple, channels_are_last)
            odd = _trial(net, odd_hw, multiple, channels_are_last) if aligned else None
            if aligned is None or odd is None:
                continue
            strides = [max(side // feature.shape[-1], 1) for feature in aligned]
            padded_hw = [size + -size % multiple for size in odd_hw]
            covers = all(
                feature.shape[-2:] == (side // stride, side // stride)
                and other.shape[-2:] == tuple(-(-size // stride) for size in padded_hw)
                for feature, other, stride in zip(aligned, odd, strides, strict=True)
            )
            if covers:
                maps = tuple(
                    FeatureInfo(str(entry["module"]), feature.shape[1], stride)
                    for entry, feature, stride in zip(declared, aligned, strides, strict=True)
                )
                return _Measured(maps, multiple)
    finally:
        net.train(was_training)
    raise ConfigError(
        f"backbone {name}: its feature maps do not cover images of any size (it takes one size only, or its "
        "convolutions are not padded); choose another, for instance resnet50s, convnext_tiny or vit_small_patch16_224"
    )


def _trial(net: nn.Module, size_hw: tuple[int, int], multiple: int, channels_are_last: bool) -> list[Tensor] | None:
    """The maps of a blank image, or None where the model refuses its size."""
    parameter = next(net.parameters())
    image = torch.zeros(1, input_channels(net), *size_hw, device=parameter.device, dtype=parameter.dtype)
    try:
        with torch.no_grad():
            maps = _run(net, _pad_to_multiple(image, multiple), channels_are_last)
    except (AssertionError, RuntimeError, ValueError, IndexError):
        return None
    return maps if all(feature.ndim == 4 for feature in maps) else None


def _roles(strides: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """Which map is the stem and which are levels."""
    stem = min(range(len(strides)), key=lambda index: strides[index])
    levels = tuple(index for index, stride in enumerate(strides) if stride >= _STEM_STRIDE_BELOW)
    return stem, levels or tuple(range(len(strides)))


def _per_band(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    """Three as they are, and their mean for every one of another number of bands."""
    return values if count == 3 else (sum(values) / len(values),) * count


def _three(values: Any, default: tuple[float, float, float]) -> tuple[float, float, float]:
    if values is None or len(values) != 3:
        return default
    red, green, blue = (float(value) for value in values)
    return red, green, blue
