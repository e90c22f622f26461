"""Class weights from how often classes occur."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["balanced_weights"]


def balanced_weights(pixels: Sequence[int], power: float = 0.5) -> tuple[float, ...]:
    """A weight for each class, higher the rarer it is: its share of the labelled pixels to the power −p.

    They are scaled so that those of the classes that occur have the mean 1. Classes that do not occur have 1: no pixel
    asks for it.

    Args:
        pixels: of each class.
        power: p; 0 weighs all alike, 1 is the inverse of the share.

    Returns:
        Numbers of four digits, one for each class.

    Example:
        >>> balanced_weights([90, 10, 0], power=0.5)
        (0.5, 1.5, 1.0)
    """
    raw = [(count / sum(pixels)) ** -power if count else None for count in pixels]
    occurring = [weight for weight in raw if weight is not None]
    scale = sum(occurring) / max(1, len(occurring))
    return tuple(1.0 if weight is None else float(f"{weight / scale:.4g}") for weight in raw)
