"""What processes that read data need: an OpenCV that fits beside others, and an end with their parent.

OpenCV's thread pool does not survive a fork, and pools in all workers would fight for the cores. Importing this module
is enough for forks; `data_worker` is for workers that are started in another way.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

import cv2

__all__ = ["data_worker", "end_with_parent"]

_threads = 0


def data_worker() -> None:
    """Let this process, a worker beside others, use OpenCV without a pool of threads."""
    if cv2.getNumThreads() > 1:
        cv2.setNumThreads(0)


def end_with_parent() -> None:
    """Let the kernel kill this process, a worker, when its parent has gone, however that went; on Linux.

    A worker that waits for its parent's next order may wait for ever, and hold memory and files.
    """
    if not sys.platform.startswith("linux"):
        return
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it has gone in between
        os._exit(1)


_PR_SET_PDEATHSIG = 1  # of Linux's sys/prctl.h


def _stop_threads() -> None:
    """A forked child has none of the pool's threads and would wait for them for ever: let there be no pool."""
    global _threads
    _threads = cv2.getNumThreads()
    cv2.setNumThreads(0)


def _start_threads() -> None:
    cv2.setNumThreads(_threads)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_stop_threads, after_in_parent=_start_threads)
