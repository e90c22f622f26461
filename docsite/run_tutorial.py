"""Run docs/tutorials/first-model.md for real: `python docsite/run_tutorial.py [FOLDER]`, some minutes on a CPU.

The files that the page shows (fences of the kind ```python title="NAME"```) are written, every line `$ COMMAND` is run,
in order, and what it prints replaces what stands below it. The page's pictures are small copies of what came out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/tutorials/first-model.md"
PICTURES = {  # of the page: what the commands wrote
    "samples.jpg": "samples.png",
    "overlay.jpg": "masks/00_overlay.png",
    "gates.jpg": "pictures/00_gates.png",
    "errors.jpg": "pictures/00_errors.png",
}
WIDTH_PX = 900  # of a picture at most
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def main(folder: Path) -> None:
    """Run the page in a folder and rewrite it."""

    def run(fence: re.Match[str]) -> str:
        language, title, text = fence.groups()
        if title:
            (folder / title).write_text(text, encoding="utf-8")
        if language != "console":
            return fence[0]
        shown = "".join(f"$ {command}\n{output(command, folder)}" for command in commands(text))
        return f"```console\n{shown}```"

    PAGE.write_text(FENCE.sub(run, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name, source in PICTURES.items():
        picture = Image.open(folder / source).convert("RGB")
        picture.thumbnail((WIDTH_PX, 10_000))
        target = ROOT / "docs/pictures/tutorial" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target, quality=88)


def commands(text: str) -> list[str]:
    """The commands of a fence, without what they print."""
    return re.findall(r"^\$ (.+)$", text, re.MULTILINE)


def output(command: str, folder: Path) -> str:
    """What a command prints, without the ends of lines that a terminal pads; it must succeed."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": beside, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": str(ROOT / "src")}
    program, _, rest = command.partition(" ")
    command = f"{sys.executable} -m crispseg {rest}" if program == "crispseg" else command
    print(f"$ {command}", flush=True)
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(done.stdout, flush=True)
    if done.returncode:
        sys.exit(f"{command}: exit status {done.returncode}")
    lines = (line.rpartition("\r")[2].rstrip() for line in done.stdout.splitlines())
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()))
