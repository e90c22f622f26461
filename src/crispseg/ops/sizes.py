"""Sizes of maps, in whole numbers."""

from __future__ import annotations

__all__ = ["divide_up"]


def divide_up(size: int, by: int) -> int:
    """⌈size / by⌉ of what is not negative.

    Python's −(−size // by) is the same, but not in an exported graph: ONNX divides towards zero.

    Example:
        >>> divide_up(17, 8), divide_up(16, 8)
        (3, 2)
    """
    return (size + by - 1) // by
