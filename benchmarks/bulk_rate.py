"""How much of the network's own rate is left when images are read and results written: `segment_images`.

    python benchmarks/bulk_rate.py MODEL IMAGES… [--count 200] [--rounds 5] [--threads 1] [--json OUT] [--md OUT]

The images of a round go three ways, one after another: through the network alone, from memory to memory, which is the
limit; through `segment_images`, with all four files of each; and read, segmented and written in turn, as the command
did before it had threads (whole PNG compression). Counted are seconds on the clock, because overlap is what is
measured: so nothing else should run. Every ratio is one of the same round; shown are medians
and the range of the middle half. Beside them stand milliseconds of the processor, which other programs disturb little:
of the thread that runs the network, which bounds the rate where other cores are free, and of all threads, which bounds
it where none is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL
import torch
from machine import commit, processor

import crispseg
from crispseg.bulk import collect_images, segment_images
from crispseg.io import read_image, write_png

AIM = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--md", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    predictor = crispseg.Predictor(crispseg.load_model(arguments.model))
    found = list(collect_images(arguments.images, "nowhere").items())[: arguments.count]
    seconds: dict[str, list[Seconds]] = {name: [] for name in WAYS}
    network_alone(predictor, dict(found[:8]))  # what is made at the first call
    for number in range(arguments.rounds):
        of_round = dict(found[number :: arguments.rounds])
        for name, way in WAYS.items():
            seconds[name].append(Seconds(*(value / len(of_round) for value in way(predictor, of_round))))
    results = {
        "images": len(found),
        "rounds": arguments.rounds,
        "size_hw": list(read_image(found[0][1]).shape[:2]),
        "ways": {name: summary(values, seconds[ALONE]) for name, values in seconds.items()},
        "precision": predictor.precision,
        "threads": arguments.threads,
        "cores": os.cpu_count(),
        "machine": processor(),
        "commit": commit(),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (np, cv2, PIL, torch)},
        },
    }
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if arguments.md:
        arguments.md.write_text(table(results) + "\n")


def network_alone(predictor: crispseg.Predictor, images: dict[Path, Path]) -> Seconds:
    pictures = [read_image(path) for path in images.values()]
    return timed(lambda: [None for _ in predictor.predict_many(pictures)])


def overlapped(predictor: crispseg.Predictor, images: dict[Path, Path]) -> Seconds:
    return into_a_folder(lambda folder: segment_images(predictor, images, folder))


def in_turn(predictor: crispseg.Predictor, images: dict[Path, Path]) -> Seconds:
    def work(folder: Path) -> None:
        for position, prediction in predictor.predict_many(images.values()):
            stem = folder / str(position)
            prediction.save(f"{stem}_labels.png")
            write_png(f"{stem}_overlay.png", prediction.overlay())
            write_png(f"{stem}_boundaries.png", np.rint(255 * prediction.boundaries()).astype(np.uint8))
            write_png(f"{stem}_mask_boundaries.png", (255 * prediction.mask_boundaries()).astype(np.uint8))

    return into_a_folder(work)


ALONE = "the network alone"
WAYS: dict[str, Callable[[crispseg.Predictor, dict[Path, Path]], Seconds]] = {
    ALONE: network_alone,
    "`segment_images`": overlapped,
    "in turn": in_turn,
}


def into_a_folder(work: Callable[[Path], object]) -> Seconds:
    folder = Path(tempfile.mkdtemp())
    try:
        return timed(lambda: work(folder))
    finally:
        shutil.rmtree(folder)


class Seconds(NamedTuple):
    clock: float
    thread: float
    process: float


def timed(work: Callable[[], object]) -> Seconds:
    started = Seconds(time.perf_counter(), time.thread_time(), time.process_time())
    work()
    ended = Seconds(time.perf_counter(), time.thread_time(), time.process_time())
    return Seconds(*(end - start for start, end in zip(started, ended, strict=True)))


def summary(seconds: list[Seconds], alone: list[Seconds]) -> dict[str, float]:
    clock = [one.clock for one in seconds]
    low, median, high = statistics.quantiles(clock, n=4) if len(clock) > 1 else 3 * clock
    pairs = list(zip(seconds, alone, strict=True))
    return {
        "images_per_second": 1 / median,
        "low": 1 / high,
        "high": 1 / low,
        **{
            f"of_limit_by_{kind}": statistics.median(getattr(limit, kind) / getattr(one, kind) for one, limit in pairs)
            for kind in Seconds._fields
        },
        "worst_of_limit": min(limit.clock / one.clock for one, limit in pairs),
        "thread_ms": 1000 * statistics.median(one.thread for one in seconds),
        "process_ms": 1000 * statistics.median(one.process for one in seconds),
    }


def table(results: dict) -> str:
    height, width = results["size_hw"]
    lines = [
        f"{results['images']} images of {height}×{width} in {results['rounds']} rounds, network in "
        f"{results['precision']} on {results['threads']} of {results['cores']} cores ({results['machine']}), commit "
        f"{results['commit']}; aim {AIM:.0%}",
        "",
        "| way | images/s | middle half | of the network's rate | worst round "
        "| ms of the network's thread | of its rate | ms of all threads | of its rate |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {way['images_per_second']:.2f} | {way['low']:.2f}–{way['high']:.2f} "
        f"| {way['of_limit_by_clock']:.0%} | {way['worst_of_limit']:.0%} | {way['thread_ms']:.0f} "
        f"| {way['of_limit_by_thread']:.0%} | {way['process_ms']:.0f} | {way['of_limit_by_process']:.0%} |"
        for name, way in results["ways"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
