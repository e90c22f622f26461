"""The only place that knows all names: from values to a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from crispseg.backbones import build_backbone
from crispseg.backbones.more_bands import see_more_bands
from crispseg.config import MASK_BANDS, ModelConfig
from crispseg.context import CONTEXTS, Context
from crispseg.errors import ConfigError
from crispseg.heads import HEADS, Head
from crispseg.labels import LabelSpace
from crispseg.models.segmenter import Segmenter

__all__ = ["ALIASES", "build_model", "create_model", "numbered_labels", "parts_of", "register_context", "register_head"]

ALIASES = {"fcn": ("plain", "identity"), "pspnet": ("plain", "ppm")}
"""Names of whole networks: head and context."""


def register_head(name: str, head_class: type[Head]) -> None:
    """Make a head known by name to recipes, saved models and `create_model`, from outside of `crispseg.heads`.

    Whoever loads a saved model with that head must have registered it before, in each process.

    Args:
        name: how recipes call it; not taken yet.
        head_class: see `crispseg.heads.Head`.

    Raises:
        ConfigError: if the name stands for another class.
    """
    HEADS.register(name, head_class, taken=ALIASES)


def register_context(name: str, context_class: type[Context]) -> None:
    """Make a context known by name; see `register_head`.

    Args:
        name: how recipes call it; not taken yet.
        context_class: see `crispseg.context.Context`.

    Raises:
        ConfigError: if the name stands for another class.
    """
    CONTEXTS.register(name, context_class)


def create_model(
    head: str = "gff",
    *,
    backbone: str = "resnet50s",
    context: str | None = None,
    num_classes: int = 19,
    output_stride: int = 8,
    channels: int = 256,
    context_channels: int | None = None,
    pretrained: bool = False,
    backbone_weights: str | None = None,
    backbone_padding: str = "own",
    head_options: Mapping[str, Any] | None = None,
    context_options: Mapping[str, Any] | None = None,
    label_space: LabelSpace | None = None,
    in_channels: int = 3,
    sees_mask: bool = False,
) -> Segmenter:
    """Build a model from names.

    Args:
        head: a name in `crispseg.heads.HEADS`, or ``fcn`` or ``pspnet``.
        backbone: any timm model with ``features_only``, or ``wide_resnet38``.
        context: a name in `crispseg.context.CONTEXTS`; None: that of the head's paper.
        num_classes: 2 to 255; ignored when a label space is given.
        output_stride: 8, 16 or 32, where the backbone can be dilated.
        channels: width of the head.
        context_channels: width of the context module; None: the head's.
        pretrained: whether timm's ImageNet weights are loaded, from the Hugging Face Hub.
        backbone_weights: a file with the backbone's weights.
        backbone_padding: ``"own"`` or, for models with TensorFlow's one-sided padding, ``"centred"``; see
            `crispseg.backbones.TimmBackbone`.
        head_options: keyword arguments of the head's class.
        context_options: keyword arguments of the context's class.
        label_space: the classes with names and colours; None: ``class_0`` and so on.
        in_channels: bands of an image, 3 for RGB; others need a timm backbone, whose first layer's weights are adapted.
        sees_mask: whether three bands more come behind those of the image, which tell of a mask, as refiners see it
            (`crispseg.ops.directions.mask_bands`); they add nothing at first.

    Raises:
        ConfigError: if a name or an option is unknown.
        WeightsError: if weights cannot be loaded.

    Example:
        >>> import torch
        >>> model = create_model("gff", backbone="resnet18", num_classes=11, channels=32, output_stride=32).eval()
        >>> model(torch.rand(1, 3, 65, 97)).logits.shape
        torch.Size([1, 11, 65, 97])
    """
    try:
        config = ModelConfig(
            head=head,
            backbone=backbone,
            context=context,
            output_stride=output_stride,  # type: ignore[arg-type] # validated by pydantic
            channels=channels,
            context_channels=context_channels,
            pretrained=pretrained,
            backbone_weights=backbone_weights,
            backbone_padding=backbone_padding,  # type: ignore[arg-type] # validated by pydantic
            head_options=dict(head_options or {}),
            context_options=dict(context_options or {}),
            in_channels=None if in_channels == 3 else in_channels,
            sees_mask=sees_mask,
        )
    except ValidationError as error:
        found = error.errors()[0]
        raise ConfigError(f"{found['loc'][0]}: {found['input']!r} found; {found['msg']}") from error
    return build_model(config, label_space or numbered_labels(num_classes))


class Parts(NamedTuple):
    """What a ``model`` section chooses beside the backbone: classes, and their options, validated."""

    head: str
    head_class: type[Head]
    head_options: dict[str, Any]
    context: str
    context_class: type[Context]
    context_options: dict[str, Any]


def parts_of(config: ModelConfig) -> Parts:
    """Find a ``model`` section's head and context, without building anything.

    Raises:
        ConfigError: if a name is unknown, or a part does not take an option that is set.
    """
    head, alias_context = ALIASES.get(config.head, (config.head, None))
    head_class = HEADS.find(head, "head", also=ALIASES)
    context = config.context or alias_context or head_class.default_context
    if alias_context is not None and context != alias_context:
        raise ConfigError(
            f"context: {context!r} found, but {config.head!r} means context {alias_context!r}; "
            f"leave it out or use head {head!r}"
        )
    return Parts(
        head,
        head_class,
        HEADS.checked(head, config.head_options, "head_options"),
        context,
        CONTEXTS.find(context, "context"),
        CONTEXTS.checked(context, config.context_options, "context_options"),
    )


def build_model(config: ModelConfig, label_space: LabelSpace) -> Segmenter:
    """Build a model from a recipe's ``model`` section; see `create_model`."""
    parts = parts_of(config)
    backbone = build_backbone(
        config.backbone,
        config.output_stride,
        pretrained=config.pretrained,
        weights=config.backbone_weights,
        padding=config.backbone_padding,
        in_channels=3 if config.sees_mask else config.image_channels,
    )
    if config.sees_mask:
        see_more_bands(backbone, MASK_BANDS, config.backbone)
    info, extra_channels = backbone.info, parts.head_class.extra_channels
    context = parts.context_class(
        info.top.channels,
        config.context_channels or config.channels,
        info.top.stride,
        extra_channels,
        **parts.context_options,
    )
    head = parts.head_class(info, label_space.num_classes, context, channels=config.channels, **parts.head_options)
    resolved = config.model_copy(update={"head": parts.head, "context": parts.context, **_bands(config)})
    return Segmenter(backbone, head, resolved, label_space)


def _bands(config: ModelConfig) -> dict[str, Any]:
    """Which bands image files give, where a model is made for another number of them than three."""
    if config.bands is not None or config.image_channels == 3 or config.sees_mask:
        return {}
    return {"bands": tuple(range(1, config.image_channels + 1))}


def numbered_labels(num_classes: int) -> LabelSpace:
    """A table for a model that was made without one: ``class_0``, ``class_1`` and so on.

    Args:
        num_classes: 2 to 255.
    """
    table = {"name": "numbered", "classes": [f"class_{index}" for index in range(num_classes)]}
    return LabelSpace.from_dict(table)
