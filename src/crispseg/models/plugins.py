"""Which parts of a model are not the library's: its card says so, for whoever loads it to give the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crispseg.config import ModelConfig
from crispseg.errors import WeightsError
from crispseg.registry import BACKBONES, CONTEXTS, HEADS

__all__ = ["named_plugins", "needed_plugins", "plugin_in_words", "require_plugins"]

_REGISTRIES = {parts.kind: parts for parts in (HEADS, CONTEXTS, BACKBONES)}


def needed_plugins(config: ModelConfig) -> list[dict[str, str]]:
    """What a card says under ``plugins``: kind and name of each part that is not the library's, and where it is from.

    Args:
        config: of a built model, so that all its names are known.
    """
    chosen = {"head": config.head, "context": config.context or "", "backbone": config.backbone}
    return [
        {"part": kind, "name": name, "module": plugin.module, "distribution": plugin.distribution}
        for kind, name in chosen.items()
        if (plugin := _REGISTRIES[kind].plugin(name)) is not None
    ]


def named_plugins(card: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a card, which anybody may have written, says under ``plugins``; what is no such thing is left out."""
    listed = card.get("plugins")
    entries = [
        {key: str(entry.get(key, "")) for key in ("part", "name", "module", "distribution")}
        for entry in (listed if isinstance(listed, list) else [])
        if isinstance(entry, Mapping)
    ]
    return [entry for entry in entries if entry["part"] in _REGISTRIES]


def require_plugins(card: Mapping[str, Any], path: Path) -> None:
    """Say which plugins a model needs that are not there. To name them is all that a card may do.

    Args:
        card: see `crispseg.models.cards.read_card`.
        path: of the card, for the message.

    Raises:
        WeightsError: if the card names a part that nobody has registered.
    """
    for entry in named_plugins(card):
        if not _REGISTRIES[entry["part"]].knows(entry["name"]):
            raise WeightsError(
                f"{path}: needs the {entry['part']} {entry['name']!r} of the plugin {plugin_in_words(entry)}, which "
                "is not loaded; give its file or module with --plugin, or to crispseg.load_plugin. A plugin is code "
                "that runs here, so none is imported because a model names it: trust it first"
            )


def plugin_in_words(entry: Mapping[str, str]) -> str:
    """A card's plugin: its module, and the distribution that has it.

    Example:
        >>> plugin_in_words({"module": "rim", "distribution": "rim-heads 1.0"})
        "'rim' (of rim-heads 1.0)"
    """
    return f"{entry['module']!r}" + (f" (of {entry['distribution']})" if entry["distribution"] else "")
