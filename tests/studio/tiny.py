"""Models for the page's tests: tiny networks, and an exported file that is none; and a server of them.

python tiny.py            serves them at a free port, as `crispseg app` does
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import crispseg
from crispseg.inference import ExportedModel
from crispseg.inference.card import ExportCard
from crispseg.labels import LabelSpace

HOSTILE = '</script><img src=x onerror="alert(1)">'
SPACE = LabelSpace.from_dict(
    {
        "name": "three",
        "classes": [
            {"name": "dark", "ids": [4], "colour": [10, 20, 30]},
            {"name": HOSTILE, "ids": [9], "colour": [200, 0, 0]},
            {"name": "pole", "ids": [11]},
        ],
        "ignore_ids": [77],
    }
)


def network(head: str = "gff", seed: int = 0) -> crispseg.Segmenter:
    torch.manual_seed(seed)
    size = {"backbone": "test_resnet", "channels": 8, "output_stride": 32}
    return crispseg.create_model(head, label_space=SPACE, **size).eval()


class ByBrightness(ExportedModel):
    """What an exported file is to the page: probabilities and a card, and nothing of its inside."""

    def __init__(self):
        self.path, self.precision = "bright.onnx", "float32"
        self.card = ExportCard(("probabilities", "boundaries"), SPACE, 1)

    def __call__(self, images):
        bright = images[:, :1]
        return {
            "probabilities": np.concatenate([0.9 - 0.8 * bright, 0.8 * bright, np.full_like(bright, 0.1)], axis=1),
            "boundaries": bright,
        }


class Server:
    """A process of its own that serves them, with a drawn street as example."""

    def __init__(self):
        command = [sys.executable, __file__]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(command, env=environment, **pipes)
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rpartition(":")[2])
        self.picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors


def main() -> None:
    from crispseg.cli.console import show_log
    from crispseg.errors import Interrupted
    from crispseg.stopping import leave_on_signals
    from crispseg.studio import Bounds, drawn_street, run_studio
    from crispseg.studio.examples import Example

    leave_on_signals()
    show_log()
    openers = {"gff": network, "bright": ByBrightness, "decoupled": lambda: network("decoupled")}
    examples = [drawn_street(), *[Example(HOSTILE, Path(path)) for path in sys.argv[1:]]]

    def say(address: str, is_open: bool) -> None:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()

    bounds = Bounds(max_bytes=400_000, max_pixels=1_000_000)
    try:
        run_studio(openers, port=0, bounds=bounds, examples=examples, precision="float32", on_start=say)
    except Interrupted as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
