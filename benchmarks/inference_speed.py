"""How fast a `Predictor` is, and how much memory its windows take, beside eager float32.

    python benchmarks/inference_speed.py networks [NAME …] [--repeats 3] [--openvino FILE.xml] [--json OUT]
    python benchmarks/inference_speed.py windows [--repeats 3] [--json OUT]
    python benchmarks/inference_speed.py memory [--sides 1024 2048 4096 8192] [--json OUT]

`networks`: one image of 360×480 on one thread. The first way is the limit to beat: the forward pass alone, eager and in
float32, of the released network's layout. The others are whole calls of a `Predictor`, from uint8 pixels to labels and
confidences. `windows`: a `Predictor` that slides windows over 1024×1024 pixels, beside the forward passes of the same
windows alone. `memory`: a `Predictor` with windows over images of several sizes, with a network of one layer and 19
classes: the windows' own cost, and the process's memory above its start, which holds image, labels and confidences too.
Scenes that are read from files are `scenes.py`'s.

Counted are seconds of the processor, so that a machine that has other work is no worse than noisy; every round goes
through all ways, and ratios are of medians. Weights of `networks` are random but for `models/camvid`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import commit, processor
from torch import nn

import crispseg
from crispseg.models.build import build_model, numbered_labels
from crispseg.ops.windows import place_windows
from crispseg.published import NETWORKS
from crispseg.types import SegmentationOutput

SIZE_HW = (360, 480)
CAMVID = Path(__file__).parents[1] / "models" / "camvid"
SYSTEMS = {  # ours, and the released network of the same system
    "decoupled": ({"head": "decoupled", "backbone": "resnet50s", "context": "aspp"}, "decoupled_deeplabv3plus_r50"),
    "gscnn": ({"head": "gscnn", "backbone": "wide_resnet38", "context": "aspp"}, "gscnn_wrn38"),
    "pspnet": ({"head": "pspnet", "backbone": "resnet50s"}, None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["networks", "windows", "memory"])
    parser.add_argument("names", nargs="*", help=f"of {', '.join([*SYSTEMS, 'camvid'])}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--openvino", type=Path, help="models/camvid as an OpenVINO file")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "networks":
        names = arguments.names or ["camvid", *SYSTEMS]
        rows = [row for name in names for row in network_rows(name, arguments)]
    elif arguments.what == "windows":
        rows = window_rows(arguments.repeats)
    else:
        rows = [memory_row(side) for side in arguments.sides]
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({**where(), "rows": rows}, indent=2, ensure_ascii=False) + "\n")


def network_rows(name: str, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One image through every way of a network."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    images = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    own, released = SYSTEMS.get(name, (None, None))
    torch.manual_seed(0)
    model = (crispseg.load_model(CAMVID) if own is None else crispseg.create_model(**own)).eval()
    baseline = model
    if released is not None:
        baseline = build_model(NETWORKS[released].config, numbered_labels(19)).eval()

    @torch.inference_mode()
    def eager() -> None:
        baseline(images)

    layout = "eager float32, forward pass alone" + ("" if released is None else f", {released}")
    ways: dict[str, Callable[[], object]] = {layout: eager}
    for title, options in {
        "Predictor, float32": {"precision": "float32"},
        "Predictor, as it comes": {},
        **({"Predictor, compiled": {"compile": True}} if arguments.compile else {}),
    }.items():
        predictor = crispseg.Predictor(model, **options)
        ways[f"{title} ({predictor.precision})"] = lambda predictor=predictor: predictor(image)
        if options.get("compile"):
            print(f"{name}: the first image of the compiled network took {first_call(predictor, image)}")
    if name == "camvid" and arguments.openvino:
        for precision in ("float32", "auto"):
            of_file = crispseg.Predictor(arguments.openvino, precision=precision)
            ways[f"Predictor of the OpenVINO file ({of_file.precision})"] = lambda of_file=of_file: of_file(image)
    seconds = timed(ways, arguments.repeats)
    first = statistics.median(next(iter(seconds.values())))
    return [{"network": name, "way": way, **summary(values, first)} for way, values in seconds.items()]


def first_call(predictor: crispseg.Predictor, image: np.ndarray) -> str:
    """Compilers run in processes of their own, so both clocks are told."""
    clock, before = time.perf_counter(), os.times()
    predictor(image)
    after = os.times()
    busy = sum(after[:4]) - sum(before[:4])
    return f"{time.perf_counter() - clock:.0f} s on the clock, {busy:.0f} s of processors"


def window_rows(repeats: int) -> list[dict[str, object]]:
    """Windows of 256 and 512 pixels, half of them overlapping, and the same windows without what is around."""
    model = crispseg.load_model(CAMVID).eval()
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    rows: list[dict[str, object]] = []
    for side in (256, 512):
        count = len(place_windows((1024, 1024), (side, side), 0.5))
        window = torch.rand(1, 3, side, side)

        @torch.inference_mode()
        def alone(window: torch.Tensor = window, count: int = count) -> None:
            with torch.autocast("cpu", torch.bfloat16):
                for _ in range(count):
                    model(window.to(memory_format=torch.channels_last))

        predictor = crispseg.Predictor(model, window_hw=(side, side), precision="bfloat16")
        ways = {f"{count} windows, networks alone": alone, "Predictor": lambda predictor=predictor: predictor(image)}
        seconds = timed(ways, repeats)
        first = statistics.median(next(iter(seconds.values())))
        rows += [{"window": f"{side}×{side}", "way": way, **summary(found, first)} for way, found in seconds.items()]
    return rows


class OneLayer(nn.Module):
    """The least network with 19 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.label_space = numbered_labels(19)
        self.layer = nn.Conv2d(3, 19, 1)

    def forward(self, images: torch.Tensor) -> SegmentationOutput:
        return SegmentationOutput(logits=self.layer(images))


def memory_row(side: int) -> dict[str, object]:
    """A square image, in a process of its own, which has its own peak of memory."""
    code = "import sys; from inference_speed import measure_memory; measure_memory(int(sys.argv[1]))"
    found = subprocess.run(
        [sys.executable, "-c", code, str(side)],
        env={**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{Path(__file__).parent}"},
        check=True,
        capture_output=True,
        text=True,
    )
    row: dict[str, object] = json.loads(found.stdout)
    return row


def measure_memory(side: int) -> None:
    """Windows of 512×512, half of them overlapping."""
    torch.set_num_threads(1)
    predictor = crispseg.Predictor(OneLayer(), window_hw=(512, 512), precision="float32")
    predictor(np.zeros((512, 512, 3), dtype=np.uint8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image = np.full((side, side, 3), 100, dtype=np.uint8)
    started = time.process_time()
    predictor(image)
    seconds = time.process_time() - started
    above = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    row = {
        "image": f"{side}×{side}",
        "seconds a megapixel": round(seconds / (side * side / 1e6), 3),
        "MiB above the start": round(above / 2**20),
        "bytes a pixel": round(above / (side * side), 1),
    }
    print(json.dumps(row))


def timed(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Processor seconds of each way, round by round, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if number:
                seconds[name].append(time.process_time() - started)
    return seconds


def summary(seconds: list[float], first: float) -> dict[str, object]:
    return {
        "ratio": round(statistics.median(seconds) / first, 3),
        "ms": round(1000 * statistics.median(seconds)),
        "spread": f"{1000 * min(seconds):.0f}–{1000 * max(seconds):.0f}",
    }


def table(rows: list[dict[str, object]]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[name]) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def where() -> dict[str, object]:
    return {
        "machine": f"{os.cpu_count()} cores of {processor()}",
        "threads": 1,
        "load": round(os.getloadavg()[0], 1),
        "commit": commit(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


if __name__ == "__main__":
    main()
