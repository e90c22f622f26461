"""Where two recipes differ."""

from __future__ import annotations

from typing import Any

from crispseg.config import Recipe

__all__ = ["differing_keys"]


def differing_keys(first: Recipe, second: Recipe) -> dict[str, tuple[Any, Any]]:
    """Dotted path → both values, where they differ.

    Example:
        >>> differing_keys(Recipe(), Recipe(train={"epochs": 3}))
        {'train.epochs': (100, 3)}
    """
    left, right = _flat(first.model_dump(mode="json")), _flat(second.model_dump(mode="json"))
    return {key: (left.get(key), right.get(key)) for key in {**left, **right} if left.get(key) != right.get(key)}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
