"""Scoring two folders of 1024×2048 label images with 19 classes: images per second, and memory at N and at 4 N images.

    python benchmarks/evaluate_set.py [--images 40] [--workers 2] [--repeats 3]

Memory must not grow with the number of images. Each measurement runs in a process of its own, whose largest resident
set is read at its end; what the same process holds after its imports is taken off. The images are made up: regions
with smooth borders, and predictions that are bent by a few pixels and wrong in patches.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

SIZE_HW = (1024, 2048)
CLASSES = 19
RADII_PX = (3, 5, 9, 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40, help="N")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # the child process
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure, arguments.workers)))
        return
    print("| images | images/s, median | spread | memory beyond the imports, largest (MB) |")
    print("|---:|---:|---:|---:|")
    largest = []
    for count in (arguments.images, 4 * arguments.images):
        with tempfile.TemporaryDirectory() as folder:
            write_pairs(Path(folder), count)
            command = [sys.executable, __file__, "--measure", folder, "--workers", str(arguments.workers)]
            runs = [
                json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                for _ in range(arguments.repeats)
            ]
        rates = [count / run["seconds"] for run in runs]
        largest.append(max(run["bytes"] for run in runs) / 1e6)
        print(
            f"| {count} | {statistics.median(rates):.2f} | {min(rates):.2f}–{max(rates):.2f} | {largest[-1]:.0f} |",
            flush=True,
        )
    print(f"\nmemory at 4 N over memory at N: {largest[1] / largest[0]:.2f}")


def measure(folder: Path, workers: int) -> dict[str, float]:
    from crispseg.evaluation import evaluate_folders
    from crispseg.labels import LabelSpace

    cv2.setNumThreads(1)  # the workers are the parallelism
    space = LabelSpace.from_dict({"name": "made up", "classes": [f"class {index}" for index in range(CLASSES)]})
    before = peak_bytes()
    started = time.perf_counter()
    evaluate_folders(folder / "predictions", folder / "labels", space, RADII_PX, out=folder / "scores", workers=workers)
    return {"seconds": time.perf_counter() - started, "bytes": peak_bytes() - before}


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # what the system counts in
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def write_pairs(folder: Path, count: int) -> None:
    """A few scenes, each moved sideways for every image that shows it."""
    scenes = [make_pair(seed) for seed in range(4)]
    for name in ("predictions", "labels"):
        (folder / name).mkdir()
    for index in range(count):
        shift = 97 * (index // len(scenes))
        for name, ids in zip(("predictions", "labels"), scenes[index % len(scenes)], strict=True):
            cv2.imwrite(str(folder / name / f"scene_{index:06d}.png"), np.roll(ids, shift, axis=1))


def make_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and its labels, uint8, 255 in a strip at the bottom of the labels."""
    rng = np.random.default_rng(seed)
    height, width = SIZE_HW
    fields = [cv2.resize(rng.normal(size=(16, 32)).astype(np.float32), (width, height)) for _ in range(CLASSES)]
    labels = np.argmax(fields, axis=0).astype(np.uint8)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    bend = [3 * cv2.resize(rng.normal(size=(32, 64)).astype(np.float32), (width, height)) for _ in range(2)]
    prediction = cv2.remap(labels, columns + bend[0], rows + bend[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
    for _ in range(40):
        top, left = rng.integers(0, height - 40), rng.integers(0, width - 60)
        prediction[top : top + 40, left : left + 60] = rng.integers(0, CLASSES)
    labels[-40:] = 255
    return prediction, labels


if __name__ == "__main__":
    main()
