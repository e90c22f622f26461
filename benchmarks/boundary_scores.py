"""Boundary scores on images of 1024×2048: ours beside the plain definition, on one core.

    python benchmarks/boundary_scores.py [--json OUT.json] [--repeats 15] [--images 8]

1. Boundary F of a pair, 11 classes, radii 3, 5, 9 and 12: ours; one disk dilation per class and radius with
   scikit-image, the plain definition; and two exact distance transforms per class with OpenCV. All three must agree.
2. All scores of `crispseg evaluate` on images with 19 classes, and what that makes for 500 of them.
3. Boundary targets from labels, 800×800 with 19 classes, on the CPU, and on the GPU where there is one.

Streets are drawn by `crispseg.streets`, predictions are their labels displaced by a few pixels. Every figure
is a median with the range of its middle half.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.morphology import dilation, disk

from crispseg.metrics import (
    boundary_f_score,
    boundary_iou,
    boundary_match_counts,
    confusion_counts,
    distance_counts,
    trimap_iou,
)
from crispseg.ops.boundaries import boundary_targets
from crispseg.streets import make_street

SIZE_HW = (1024, 2048)
RADII_PX = (3, 5, 9, 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--plain-repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=8)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)

    results: dict[str, object] = {
        "pair of 1024×2048, 11 classes": boundary_f_of_a_pair(arguments.repeats, arguments.plain_repeats),
        "1024×2048, 19 classes": all_scores(arguments.images),
        "boundary targets 800×800, 19 classes": targets(arguments.repeats),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (np, cv2, torch)},
        },
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def boundary_f_of_a_pair(repeats: int, plain_repeats: int) -> dict[str, object]:
    prediction, labels = made_up_pair(0, 11)
    counts = boundary_match_counts(prediction, labels, 11, RADII_PX)
    print(f"boundary F of a pair of {SIZE_HW[0]}×{SIZE_HW[1]}, 11 classes, radii {RADII_PX}")
    print(f"  boundary pixels: {counts.predicted.sum()} predicted, {counts.true.sum()} true")
    ways: dict[str, tuple[Callable[[], np.ndarray], int]] = {
        "ours": (lambda: boundary_f_score(prediction, labels, 11, RADII_PX, absent="one"), repeats),
        "ours, 2 threads": (
            lambda: boundary_f_score(prediction, labels, 11, RADII_PX, absent="one", threads=2),
            repeats,
        ),
        "two distance transforms a class": (lambda: by_distance(prediction, labels, 11), plain_repeats),
        "plain definition": (lambda: by_dilation(prediction, labels, 11), plain_repeats),
    }
    wanted = ways["ours"][0]()
    timed: dict[str, dict[str, float]] = {}
    for name, (score, times) in ways.items():
        assert np.abs(score() - wanted).max() < 1e-12, name
        timed[name] = measured(score, times)
    for name, figures in timed.items():
        figures["times ours"] = figures["median_ms"] / timed["ours"]["median_ms"]
        print(f"  {name:32} {described(figures)}   {figures['times ours']:7.1f} × ours")
    return {"boundary pixels": int(counts.predicted.sum() + counts.true.sum()), **timed}


def by_dilation(prediction: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The definition, word for word: a boundary pixel matches inside the other boundary's dilation by a disk."""
    scores = np.ones((len(RADII_PX), num_classes))
    for k, ours, theirs in boundaries(prediction, labels, num_classes):
        for index, radius in enumerate(RADII_PX):
            near_ours, near_theirs = (dilation(one.astype(np.uint8), disk(radius)) > 0 for one in (ours, theirs))
            scores[index, k] = f_score((ours & near_theirs).sum(), ours.sum(), (theirs & near_ours).sum(), theirs.sum())
    return scores


def by_distance(prediction: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The distance to the other boundary, once per class and map, for all radii."""
    scores = np.ones((len(RADII_PX), num_classes))
    for k, ours, theirs in boundaries(prediction, labels, num_classes):
        to_ours, to_theirs = (
            cv2.distanceTransform((~one).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[other]
            if one.any()
            else np.full(int(other.sum()), np.inf)
            for one, other in ((ours, theirs), (theirs, ours))
        )
        for index, radius in enumerate(RADII_PX):
            right, found = ((of_one <= radius + 1e-4).sum() for of_one in (to_theirs, to_ours))
            scores[index, k] = f_score(right, ours.sum(), found, theirs.sum())
    return scores


def boundaries(prediction: np.ndarray, labels: np.ndarray, num_classes: int):
    """For each class its two boundary maps."""
    for k in range(num_classes):
        yield k, *(boundary((ids == k) & (labels != 255)) for ids in (prediction, labels))


def boundary(mask: np.ndarray) -> np.ndarray:
    edge = np.zeros_like(mask)
    edge[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def f_score(right: int, predicted: int, found: int, true: int) -> float:
    if not predicted and not true:
        return 1.0
    if not right or not found:
        return 0.0
    precision, recall = right / predicted, found / true
    return 2 * precision * recall / (precision + recall)


def all_scores(images: int) -> dict[str, object]:
    pairs = [made_up_pair(seed, 19) for seed in range(images)]
    scores: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
        "confusion counts": lambda p, t: confusion_counts(p, t, 19),
        "boundary F": lambda p, t: boundary_match_counts(p, t, 19, RADII_PX),
        "Boundary IoU, 2 %": lambda p, t: boundary_iou(p, t, 19),
        "trimap IoU, 4 radii": lambda p, t: trimap_iou(p, t, 19, RADII_PX),
        "IoU at distance, 5 crops": lambda p, t: distance_counts(p, t, 19, (0, 100, 200, 300, 400)),
    }
    print(f"scores of {images} images of {SIZE_HW[0]}×{SIZE_HW[1]}, 19 classes, an image")
    results: dict[str, object] = {}
    together = 0.0
    for name, score in scores.items():
        score(*pairs[0])
        figures = summary([timed(lambda pair=pair, score=score: score(*pair)) for pair in pairs])
        together += figures["median_ms"]
        results[name] = figures
        print(f"  {name:32} {described(figures)}")
    results["500 images, s"] = together / 1000 * 500
    print(f"  all, 500 images: {together / 2:.0f} s on one core, without reading files")
    return results


def targets(repeats: int) -> dict[str, object]:
    labels = torch.from_numpy(made_up_pair(0, 19)[1][100:900, 100:900][None].copy())
    print("boundary targets 800×800, 19 classes")
    results: dict[str, object] = {"cpu": measured(lambda: boundary_targets(labels), repeats)}
    if torch.cuda.is_available():
        on_device = labels.cuda()

        def run() -> None:
            boundary_targets(on_device)
            torch.cuda.synchronize()

        results["cuda"] = measured(run, repeats)
    for name, figures in results.items():
        print(f"  {name:32} {described(figures)}")
    return results


def made_up_pair(seed: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a street with void below, and the same displaced by some pixels, smoothly, as a prediction."""
    rng = np.random.default_rng(seed)
    labels = make_street(seed, SIZE_HW)[1].astype(np.uint8)
    for y in range(0, SIZE_HW[0], 128):  # the classes that a street does not have, as boards
        for x in range(0, SIZE_HW[1], 256):
            labels[y : y + 40, x : x + 60] = rng.integers(10, num_classes)
    shift_x, shift_y = (
        cv2.resize(4 * rng.normal(size=(32, 64)).astype(np.float32), SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC)
        for _ in range(2)
    )
    rows, columns = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]].astype(np.float32)
    prediction = cv2.remap(
        labels, columns + shift_x, rows + shift_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    labels[-60:] = 255
    return prediction, labels


def measured(work: Callable[[], object], repeats: int) -> dict[str, float]:
    work()
    return summary([timed(work) for _ in range(repeats)])


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def summary(times_ms: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(times_ms, n=4) if len(times_ms) > 1 else 3 * times_ms
    return {"median_ms": median, "low_ms": low, "high_ms": high}


def described(figures: dict[str, float]) -> str:
    return f"{figures['median_ms']:9.1f} ms ({figures['low_ms']:.1f} to {figures['high_ms']:.1f})"


if __name__ == "__main__":
    main()
