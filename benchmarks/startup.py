"""What each command costs before and beside its work: processor seconds and memory, in a process of its own.

    python benchmarks/startup.py --label "version 0.2" [--repeats 7] [--append docs/results/startup.md]

Processor seconds are those of all the processes of a command, user and system; memory is the largest resident set of
one of them. Every command ran once before it is measured, so that Python's compiled files are there. The commands are
those of the crispseg that this Python imports: set PYTHONPATH to another checkout's `src` to measure that one.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machine import processor
from PIL import Image

IMAGES = 4
SIZE_HW = (90, 120)
TABLE = "name: three\nclasses: [road, pole, sky]\nignore_ids: [255]\n"
RECIPE = "name: streets\nmodle: {head: gff}\ndata: {layout: toy_streets}\n"


class Command(NamedTuple):
    """One row of the table."""

    title: str
    arguments: tuple[str, ...]
    status: int = 0  # of its end: a mistake ends in 2


class Cost(NamedTuple):
    """Of one run."""

    seconds: float
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--label", required=True, help="the table's title: which state was measured")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--append", type=Path, metavar="FILE.md", help="write the table to the end of this page, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [
            f"## {arguments.label}",
            "",
            f"{date.today():%d %B %Y}; {machine()}; median of {arguments.repeats} runs, lowest and highest beside it.",
            "",
            "| command | processor seconds | spread | memory (MB) |",
            "|---|---:|---:|---:|",
        ]
        print("\n".join(lines), flush=True)
        for command in prepare(folder):
            costs = [run(command, folder) for _ in range(arguments.repeats + 1)][1:]
            seconds = [cost.seconds for cost in costs]
            spread = f"{min(seconds):.2f}–{max(seconds):.2f}"
            memory = max(cost.megabytes for cost in costs)
            lines.append(f"| `crispseg {command.title}` | {statistics.median(seconds):.2f} | {spread} | {memory:.0f} |")
            print(lines[-1], flush=True)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as page:
            page.write("\n" + "\n".join(lines) + "\n")


def prepare(folder: Path) -> list[Command]:
    """Write what the commands read: a recipe with a mistyped key, masks, labels, and the records of two evaluations."""
    (folder / "mistyped.yaml").write_text(RECIPE, encoding="utf-8")
    (folder / "table.yaml").write_text(TABLE, encoding="utf-8")
    rows = np.arange(SIZE_HW[0])[:, None] * np.ones(SIZE_HW, int)
    for index in range(IMAGES):
        labels = (rows // (25 + index)).clip(max=2).astype(np.uint8)
        for kind, shift in (("labels", 0), ("one", 2), ("two", 5)):
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(np.roll(labels, shift, axis=0)).save(folder / kind / f"{index}.png")

    def scored(masks: str) -> tuple[str, ...]:
        return ("evaluate", "--predictions", masks, "--labels", "labels", "--label-space", "table.yaml")

    for masks in ("one", "two"):
        run(Command("evaluate", (*scored(masks), "--out", f"scores_{masks}")), folder)
    return [
        Command("--help", ("--help",)),
        Command("--version", ("--version",)),
        Command("evaluate --mistyped", ("evaluate", "--mistyped"), status=2),
        Command("fit mistyped.yaml", ("fit", "mistyped.yaml"), status=2),
        Command("recipes", ("recipes",)),
        Command("compare scores_one scores_two", ("compare", "scores_one", "scores_two")),
        Command("evaluate --predictions one --labels labels …", scored("one")),
        Command("describe plain --backbone resnet18", ("describe", "plain", "--backbone", "resnet18")),
    ]


def run(command: Command, folder: Path) -> Cost:
    """Run it once; another end than expected is an error, so that no failure is measured for a success."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "crispseg", *command.arguments], cwd=folder, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != command.status:
            output.seek(0)
            sys.exit(f"crispseg {command.title} ended with {process.returncode}:\n{output.read().decode()}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def machine() -> str:
    """Cores, processor and Python."""
    return f"{os.cpu_count()} cores of {processor()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
