"""What every result says of where it was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["commit", "one_thread", "processor", "seconds_of"]


def processor() -> str:
    """Its name, as Linux has it, or what Python knows of it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def one_thread() -> str:
    """The machine as a measurement on one of its threads meets it now."""
    return f"one thread of {processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}"


def commit() -> str:
    """Of the sources, short; empty where git does not know."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()


def seconds_of(work: Callable[[], object]) -> float:
    """Of the processor, for other work shares it."""
    started = time.process_time()
    work()
    return time.process_time() - started
