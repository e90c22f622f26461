"""Memory that the C library keeps instead of giving back: training on a CPU asks for the same blocks every step."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["LITTLE", "MUCH", "keep_freed_memory"]

MUCH, LITTLE = 1 << 30, 4 << 20
"""Sizes of blocks up to which freed ones are kept: nearly all, or none that matter."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def keep_freed_memory(up_to: int = MUCH) -> bool:
    """Let glibc reuse freed blocks of up to a size instead of returning each to the kernel.

    By default it maps large blocks anew on every allocation, and the kernel zeroes their pages each time: 12 to 15 % of
    a training step on two cores (docs/results/camvid_quick_cpu.md). The price is that the process keeps its peak, with
    gaps between the blocks: a quarter of a step's memory more (docs/results/training_step.md).

    Args:
        up_to: bytes; larger blocks are returned when they are freed.

    Returns:
        Whether the C library took the setting; False where it is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, up_to)) and bool(mallopt(_TRIM_THRESHOLD, MUCH))
