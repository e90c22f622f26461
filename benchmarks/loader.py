"""How fast training samples are made: images per second and core, beside decoding their files alone, the limit.

    python benchmarks/loader.py [--images 6] [--rounds 9] [--camvid ROOT] [--json OUT.json]

PNG images of 1024×2048 (about 2.4 MB, as photographs of streets have) with label PNGs, an 832×832 crop at scales 0.75
to 2, flip and jitter. The limit is OpenCV's decoder on both files, without a check of what it gives; Pillow's, which we
use, stands beside it. All ways take turns in every round. Counted is the processor's time of one process with one
thread, so that other programs on the machine disturb little. Every figure is a median over the rounds with the range of
its middle half, every ratio one of the same round.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL
import torch
from PIL import Image

from crispseg.config import DataConfig
from crispseg.data import FileSource, SegmentationDataset, build_dataset
from crispseg.data.class_uniform import ClassDraw
from crispseg.io import read_image, write_png

SIZE_HW = (1024, 2048)
CLASSES = 19
AIM = 0.6

Ways = dict[str, Callable[[int], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--camvid", type=Path, metavar="ROOT", help="also CamVid at 480×360 in the tutorial's layout")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)

    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder), arguments.images)
        large = DataConfig(layout="folder", root=folder, crop_hw=(832, 832))
        results["1024×2048, crop 832×832"] = measured(large, arguments.images, arguments.rounds)
    if arguments.camvid is not None:
        small = DataConfig(layout="camvid", root=str(arguments.camvid), crop_hw=(320, 320))
        results["CamVid 360×480, crop 320×320"] = measured(small, 10 * arguments.images, arguments.rounds)
    for name, rows in results.items():
        print_table(name, rows)
    results["versions"] = {
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in (np, cv2, PIL, torch)},
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def measured(config: DataConfig, count: int, rounds: int) -> dict[str, dict[str, float]]:
    dataset = build_dataset(config, "train", augment=True)
    count = min(count, len(dataset))
    ways = ways_of(dataset)
    for way in ways.values():
        way(0)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        dataset.set_epoch(number)  # the same crops for all ways, others in the next round
        for name, way in ways.items():
            started = time.process_time()
            for index in range(count):
                way(index)
            rates[name].append(count / (time.process_time() - started))
    return {name: summary(of_one, rates["decode, OpenCV (the limit)"]) for name, of_one in rates.items()}


def ways_of(dataset: SegmentationDataset) -> Ways:
    source = dataset.source
    assert isinstance(source, FileSource)

    def by_opencv(index: int) -> None:
        cv2.imread(str(source.records[index].image), cv2.IMREAD_COLOR)
        cv2.imread(str(source.records[index].labels), cv2.IMREAD_UNCHANGED)

    def by_pillow(index: int) -> None:
        for path in (source.records[index].image, source.records[index].labels):
            with Image.open(path) as image:
                np.array(image)

    def around_a_class(index: int) -> None:
        height, width = source.size_hw(index)
        dataset[ClassDraw(index, index, classes[index], (0, 0, height, width))]

    classes = [int(np.bincount(source.labels(index).ravel()).argmax()) for index in range(len(source.records))]
    return {
        "decode, OpenCV (the limit)": by_opencv,
        "decode, Pillow": by_pillow,
        "read image": lambda index: read_image(source.records[index].image),
        "read labels": source.labels,
        "read both, checked": source.sample,
        "sample, augmented": dataset.__getitem__,
        "sample around a class, augmented": around_a_class,
    }


def summary(rates: list[float], limits: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else 3 * rates
    ratio = statistics.median(rate / limit for rate, limit in zip(rates, limits, strict=True))
    return {"images_per_core_second": median, "low": low, "high": high, "of_limit": ratio}


def print_table(name: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{name}\n\n| | images/s and core | middle half | ms | of the limit |\n|---|---:|---:|---:|---:|")
    for way, row in rows.items():
        rate = row["images_per_core_second"]
        spread = f"{row['low']:.1f}–{row['high']:.1f}"
        print(f"| {way} | {rate:.1f} | {spread} | {1000 / rate:.1f} | {100 * row['of_limit']:.0f} % |")
    reached = rows["sample, augmented"]["of_limit"]
    print(f"\naim {100 * AIM:.0f} % of the limit: {'reached' if reached >= AIM else 'missed'} ({100 * reached:.0f} %)")


def write_set(root: Path, count: int) -> None:
    names = ", ".join(f"class {index}" for index in range(CLASSES))
    (root / "images" / "train").mkdir(parents=True)
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels.yaml").write_text(f"classes: [{names}]\n", encoding="utf-8")
    for index in range(count):
        image, labels = made_up_street(index)
        write_png(root / "images" / "train" / f"{index:03}.png", image)
        write_png(root / "labels" / "train" / f"{index:03}.png", labels)


def made_up_street(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gradients from coarse to fine and a sensor's noise, which make files of a photograph's size; smooth regions."""
    rng = np.random.default_rng(seed)

    def smooth(rows: int, *channels: int) -> np.ndarray:
        field = rng.normal(size=(rows, 2 * rows, *channels)).astype(np.float32)
        return cv2.resize(field, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC)

    image = 110 + 60 * smooth(4, 3) + 30 * smooth(16, 3) + 14 * smooth(64, 3) + 7 * smooth(256, 3)
    image += cv2.GaussianBlur(rng.normal(size=SIZE_HW).astype(np.float32), (0, 0), 0.8)[..., None]
    labels = np.argmax([smooth(16) for _ in range(CLASSES)], axis=0)
    return image.clip(0, 255).astype(np.uint8), labels.astype(np.uint8)


if __name__ == "__main__":
    main()
