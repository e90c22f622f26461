"""Memory that the C library keeps instead of giving back: training on a CPU asks for the same blocks every step."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_ONE_GIB = 1 << 30


def keep_freed_memory() -> bool:
    """Let glibc reuse freed blocks of up to 1 GiB instead of returning each to the kernel.

    By default it maps large blocks anew on every allocation, and the kernel zeroes their pages each time: 12 to 15 % of
    a training step on two cores (docs/results/camvid_quick_cpu.md). The price is that the process keeps its peak.

    Returns:
        Whether the C library took the setting; False where it is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _ONE_GIB)) and bool(mallopt(_TRIM_THRESHOLD, _ONE_GIB))
