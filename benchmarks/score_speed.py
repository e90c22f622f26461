"""What pairs of 1024×2048 label images cost by the scores that are asked for, beside a NumPy loop and official code.

    python benchmarks/score_speed.py [--images 4] [--repeats 9] [--json OUT.json]

From PNG files to scores, one thread, processor seconds (which other work on the machine disturbs least). All ways take
turns, so that their ratios are of one run:

- a NumPy loop: Pillow reads both files, one `bincount` over the pixels that are not void, IoU at the end;
- cityscapesScripts (needs `pip install cityscapesscripts`): its `evaluatePair` on the same raw ids, without instances;
- `crispseg.evaluate_folders` with ``scores=`` as named, and without: all.

The first two must find the same IoU as ours. Below it, what each count costs on pairs that are in memory.
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
from boundary_scores import made_up_pair
from PIL import Image

from crispseg.evaluation import evaluate_folders
from crispseg.io import write_png
from crispseg.labels import IGNORE_INDEX, label_space
from crispseg.metrics import boundary_iou_counts, boundary_match_counts, confusion_counts, trimap_counts_by_radius

RADII_PX = (1, 2, 3, 5)
SPACE = label_space("cityscapes")
CLASSES = SPACE.num_classes
CHOICES = (
    ("iou",),
    ("iou", "boundary_f"),
    ("iou", "trimap_iou"),
    ("iou", "boundary_iou"),
    None,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = [made_up_pair(seed, CLASSES) for seed in range(arguments.images)]
    with tempfile.TemporaryDirectory() as name:
        write(pairs, Path(name))
        ways: dict[str, Callable[[], list[float]]] = {"NumPy loop": lambda: by_numpy(Path(name))}
        try:
            ways["cityscapesScripts"] = cityscapes_way(Path(name))
        except ImportError as error:
            print(f"without cityscapesScripts: {error}")
        for choice in CHOICES:
            title = "crispseg, all scores" if choice is None else f"crispseg, {','.join(choice)}"
            ways[title] = lambda choice=choice: ours(Path(name), choice)
        wanted = ways["NumPy loop"]()
        for title, way in ways.items():
            np.testing.assert_allclose(way(), wanted, rtol=1e-12, err_msg=title)
        of_files = measured(ways, arguments.repeats, arguments.images)
    counts = {
        "confusion": lambda: [confusion_counts(*pair, CLASSES) for pair in pairs],
        "boundary F, 4 radii": lambda: [boundary_match_counts(*pair, CLASSES, RADII_PX) for pair in pairs],
        "Boundary IoU, 2 %": lambda: [boundary_iou_counts(*pair, CLASSES, 46) for pair in pairs],
        "trimap IoU, 4 radii": lambda: [trimap_counts_by_radius(*pair, CLASSES, RADII_PX) for pair in pairs],
    }
    in_memory = measured(counts, arguments.repeats, arguments.images)
    first = next(iter(of_files.values()))["ms"]
    print(f"\n| from PNG files | ms a pair | spread | × {next(iter(of_files))} |\n| --- | ---: | ---: | ---: |")
    for title, row in of_files.items():
        print(f"| {title} | {row['ms']:.1f} | {row['low']:.1f}–{row['high']:.1f} | {row['ms'] / first:.2f} |")
    print("\n| a count, in memory | ms a pair | spread |\n| --- | ---: | ---: |")
    for title, row in in_memory.items():
        print(f"| {title} | {row['ms']:.1f} | {row['low']:.1f}–{row['high']:.1f} |")
    if arguments.json:
        versions = {"python": platform.python_version(), "numpy": np.__version__, "opencv": cv2.__version__}
        values = {"from files": of_files, "in memory": in_memory, "versions": versions}
        arguments.json.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def write(pairs: list[tuple[np.ndarray, np.ndarray]], folder: Path) -> None:
    """As raw ids of Cityscapes, void being 0."""
    raw = np.zeros(256, np.uint8)
    raw[:CLASSES] = [SPACE.id_in_files(train_id) for train_id in range(CLASSES)]
    for number, pair in enumerate(pairs):
        for part, ids in zip(("masks", "labels"), pair, strict=True):
            write_png(folder / part / f"city_{number:06d}_000019.png", raw[ids])


def files(folder: Path) -> list[tuple[Path, Path]]:
    return list(zip(sorted((folder / "masks").iterdir()), sorted((folder / "labels").iterdir()), strict=True))


def by_numpy(folder: Path) -> list[float]:
    table = np.full(256, IGNORE_INDEX, np.uint8)
    for train_id, entry in enumerate(SPACE.classes):
        table[list(entry.ids)] = train_id
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    for mask, labels in files(folder):
        predicted, true = (table[np.array(Image.open(path))] for path in (mask, labels))
        known = true < CLASSES
        pairs = CLASSES * true[known].astype(int) + predicted[known]
        counts += np.bincount(pairs, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    right = np.diag(counts)
    with np.errstate(invalid="ignore"):
        return list(right / (counts.sum(0) + counts.sum(1) - right))


def cityscapes_way(folder: Path) -> Callable[[], list[float]]:
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    names = {name: label.id for name, label in official.name2label.items()}
    official.args.evalInstLevelScore = False
    official.args.evalPixelAccuracy = False
    official.args.quiet = True

    def score() -> list[float]:
        confusion = official.generateMatrix(official.args)
        weighted = official.generateInstanceStats(official.args)
        for mask, labels in files(folder):
            official.evaluatePair(str(mask), str(labels), confusion, weighted, None, official.args)
        return [official.getIouScoreForLabel(names[name], confusion, official.args) for name in SPACE.class_names]

    return score


def ours(folder: Path, scores: tuple[str, ...] | None) -> list[float]:
    found = evaluate_folders(folder / "masks", folder / "labels", SPACE, RADII_PX, scores=scores, workers=1)
    return list(found.iou.values())


def measured(ways: dict[str, Callable[[], object]], repeats: int, images: int) -> dict[str, dict[str, float]]:
    """Processor milliseconds a pair, the ways taking turns."""
    times: dict[str, list[float]] = {title: [] for title in ways}
    for _ in range(repeats):
        for title, way in ways.items():
            start = time.process_time()
            way()
            times[title].append(1000 * (time.process_time() - start) / images)
    rows = {}
    for title, of_way in times.items():
        low, median, high = statistics.quantiles(of_way, n=4)
        rows[title] = {"ms": median, "low": low, "high": high}
    return rows


if __name__ == "__main__":
    main()
