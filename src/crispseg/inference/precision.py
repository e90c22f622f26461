"""How precisely a model computes: the names, and which an unasked `Predictor` takes. See docs/deploy.md."""

from __future__ import annotations

from crispseg.errors import ConfigError

__all__ = ["PRECISIONS", "checked_precision"]

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
"""Of the network's convolutions; probabilities are float32 always."""


def checked_precision(precision: str) -> str:
    """One of `PRECISIONS`.

    Raises:
        ConfigError: if it is none.

    Example:
        >>> checked_precision("bfloat16")
        'bfloat16'
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision is {precision!r:.40}; one of {', '.join(PRECISIONS)} expected")
    return precision
