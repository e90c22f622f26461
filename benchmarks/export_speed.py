"""What exported files take, beside the model in eager float32, by processor time on one thread.

    python benchmarks/export_speed.py MODEL NAME=FILE… --images FOLDER [--count 6] [--rounds 3] [--json OUT]

MODEL is a folder, or `decoupled` for Decoupled on ResNet-50 at stride 8 with random weights. FILE is an exported file;
`FILE@bf16` runs an OpenVINO file in bfloat16. In each round every one runs once on the same image; a ratio is of one
round. Shown are medians and the range of the middle half. An 8-bit file's card says what it lost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from machine import commit, processor

import crispseg
from crispseg.inference import ExportedModel
from crispseg.io import files_below, read_image

EAGER = "eager float32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths = list(files_below(arguments.images))
    paths = paths[:: max(len(paths) // arguments.count, 1)][: arguments.count]
    images = [np.float32(read_image(path).transpose(2, 0, 1)[None]) / np.float32(255) for path in paths]
    model = decoupled() if arguments.model == "decoupled" else crispseg.load_model(arguments.model)
    runs = {EAGER: eager(model.eval())}
    cards = {}
    for argument in arguments.files:
        name, _, path = argument.partition("=")
        runs[name] = opened(path)
        cards[name] = dict(ExportedModel(path.partition("@")[0]).card.quantised)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(arguments.rounds + 1):
        for image in images:
            for name, run in runs.items():
                start = time.process_time()
                run(image)
                if number:  # the first round warms
                    seconds[name].append(time.process_time() - start)
    rows = {name: summary(values, seconds[EAGER]) for name, values in seconds.items()}
    results = {"model": arguments.model, "images": len(images), "size_hw": images[0].shape[2:], "rows": rows}
    results |= {"quantised": cards, "machine": machine()}
    for name, row in rows.items():
        print(f"| {name} | {row['ms']:.0f} | {row['ratio']:.3f} ({row['low']:.3f}–{row['high']:.3f}) |")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def decoupled() -> torch.nn.Module:
    torch.manual_seed(0)
    return crispseg.create_model("decoupled", backbone="resnet50", num_classes=19, output_stride=8)


def eager(model: torch.nn.Module) -> object:
    def run(image: np.ndarray) -> None:
        with torch.inference_mode():
            model(torch.from_numpy(image))

    return run


def opened(name: str) -> object:
    """On one thread, unlike `ExportedModel`, which takes all."""
    path, _, precision = name.partition("@")
    if path.endswith(".onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda image: session.run(None, {"images": image})
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": precision or "f32", "INFERENCE_NUM_THREADS": 1}
    return openvino.Core().compile_model(path, "CPU", hints)


def summary(seconds: list[float], base: list[float]) -> dict[str, float]:
    ratios = [one / other for one, other in zip(seconds, base, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"ms": 1000 * statistics.median(seconds), "ratio": middle, "low": low, "high": high}


def machine() -> dict[str, str]:
    return {
        "cpu": processor(),
        "system": platform.platform(),
        "torch": torch.__version__,
        "commit": commit(),
        "load": f"{os.getloadavg()[0]:.0f}",
    }


if __name__ == "__main__":
    main()
