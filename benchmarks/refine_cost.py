"""What refining a mask costs, beside segmenting its image: processor time of one thread, in turn.

    python benchmarks/refine_cost.py REFINER [REFINER …] [--model models/camvid] [--repeats 9] [--precision auto]

One 360×480 image and a mask of eleven labels at half the size, both made up; the files are not read. Ratios are medians
over the pairs, lowest and highest beside them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import cv2
import numpy as np
import torch
from machine import commit, processor, seconds_of

import crispseg

SIZE_HW = (360, 480)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("refiners", nargs="+")
    parser.add_argument("--model", default="models/camvid")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    regions = cv2.resize(rng.integers(0, 11, (9, 12), dtype=np.uint8), SIZE_HW[::-1], interpolation=cv2.INTER_NEAREST)
    image = np.repeat(regions[..., None] * np.uint8(20), 3, axis=-1) + rng.integers(
        0, 30, (*SIZE_HW, 3), dtype=np.uint8
    )
    mask = np.roll(regions, 3, axis=1)[::2, ::2].copy()
    segment = crispseg.Predictor(crispseg.load_model(arguments.model), precision=arguments.precision)
    print(f"{processor()}, one thread, commit {commit()}, precision {arguments.precision}")
    for name in arguments.refiners:
        file = name if name.endswith((".onnx", ".xml")) else crispseg.load_model(name)
        refine = crispseg.Refiner(file, precision="auto" if isinstance(file, str) else arguments.precision)
        ways: list[Callable[[], object]] = [lambda: segment(image), lambda refine=refine: refine(image, mask)]
        for way in ways:
            way()  # the first image makes the copy in 16 bits
        pairs = [[seconds_of(way) for way in ways] for _ in range(arguments.repeats)]
        ratios = sorted(refined / segmented for segmented, refined in pairs)
        middle = [statistics.median(column) for column in zip(*pairs, strict=True)]
        print(
            f"{name}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); segmenting "
            f"{middle[0]:.3f} s, refining {middle[1]:.3f} s"
        )


if __name__ == "__main__":
    main()
