"""What every result says of where it was measured."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

__all__ = ["commit", "processor"]


def processor() -> str:
    """Its name, as Linux has it, or what Python knows of it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Of the sources, short; empty where git does not know."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
