"""What older cards mean today: a saved model computes what it computed when it was saved, whatever a name means now."""

from __future__ import annotations

from typing import Any

from crispseg.config import ModelConfig

__all__ = ["upgraded"]

# Options that build what a head was before format 2. The fusions that GFF compares with fused, refined and concatenated
# every level, and the dense feature pyramid ran each convolution at the size of the last map that it reads.
_BEFORE_2: dict[str, dict[str, Any]] = {
    "concat": {"ending": "levels"},
    "addition": {"ending": "levels"},
    "fpn": {"ending": "levels"},
    "gated_fpn": {"ending": "levels"},
    "gff_dfp": {"pyramid_at_finest": False},
}


def upgraded(config: ModelConfig, format_version: int) -> ModelConfig:
    """The values that build today the network that they meant when a card of that version was written.

    Args:
        config: as the card has it.
        format_version: of the card, from 1; see `crispseg.models.weights`.

    Example:
        >>> upgraded(ModelConfig(head="gff_dfp"), 1).head_options, upgraded(ModelConfig(head="gff_dfp"), 2).head_options
        ({'pyramid_at_finest': False}, {})
    """
    if format_version >= 2:
        return config
    changes: dict[str, Any] = {}
    if config.head in _BEFORE_2:
        changes["head_options"] = {**_BEFORE_2[config.head], **config.head_options}
    if config.backbone.startswith("densenet"):
        changes["output_stride"] = 32  # whatever was asked for: they could not be dilated
    return config.model_copy(update=changes)
