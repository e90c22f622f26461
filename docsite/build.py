"""Build the documentation: `python docsite/build.py`, then open site/index.html; `--serve` shows it while you write.

Search needs a server, which `--serve` is, and `python -m http.server --directory site`; all else works from the disk.

Pages from the code are made first, then Zensical builds the site as mkdocs.yml says; any warning is an error.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> int:
    """Exit status of the build."""
    sys.path[:0] = [str(ROOT / "docsite"), str(ROOT / "src")]
    import reference

    reference.write_pages(ROOT / "docs" / "reference")
    command = ["serve"] if arguments == ["--serve"] else ["build", "--strict", "--clean"]
    paths = [str(ROOT / "docsite"), os.environ.get("PYTHONPATH", "")]  # mkdocs.yml names mathml.block
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        [sys.executable, "-m", "zensical", *command], cwd=ROOT, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
