"""OpenCV beside processes: its thread pool does not survive a fork, and pools in all workers would fight for the cores.

Importing this module is enough for forks; `data_worker` is for workers that are started in another way.
"""

from __future__ import annotations

import os

import cv2

__all__ = ["data_worker"]

_threads = 0


def data_worker() -> None:
    """Let this process, a worker beside others, use OpenCV without a pool of threads."""
    if cv2.getNumThreads() > 1:
        cv2.setNumThreads(0)


def _stop_threads() -> None:
    """A forked child has none of the pool's threads and would wait for them for ever: let there be no pool."""
    global _threads
    _threads = cv2.getNumThreads()
    cv2.setNumThreads(0)


def _start_threads() -> None:
    cv2.setNumThreads(_threads)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_stop_threads, after_in_parent=_start_threads)
