"""A sheet of validation images: image | truth | prediction | wrong pixels, for the pages under docs/results.

    python benchmarks/prediction_sheet.py MODEL RECIPE OUT.png --root ../shared/camvid --images 4

The images are evenly spaced over the validation set, so that nobody chose them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from crispseg import Predictor, load_model
from crispseg.data import build_dataset
from crispseg.io import write_png
from crispseg.pictures import colourise, error_map, legend, sheet
from crispseg.recipes import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("recipe")
    parser.add_argument("out", type=Path)
    parser.add_argument("--root")
    parser.add_argument("--images", type=int, default=4)
    arguments = parser.parse_args()

    overrides = [f"data.root={arguments.root}"] if arguments.root else []
    dataset = build_dataset(load_recipe(arguments.recipe, overrides).data, "val", augment=False)
    predictor = Predictor(load_model(arguments.model))
    palette = dataset.label_space.palette
    rows = []
    for index in np.linspace(0, len(dataset) - 1, arguments.images).round().astype(int):
        image, labels, _ = dataset.sample(int(index))
        prediction = predictor(image).labels
        rows.append([image, colourise(labels, palette), colourise(prediction, palette), error_map(prediction, labels)])
    rows.append([legend(dataset.label_space, columns=4)])
    captions = [["image", "truth", "prediction", "wrong pixels"], *[[""] * len(row) for row in rows[1:]]]
    write_png(arguments.out, sheet(rows, captions, cell_width=320))


if __name__ == "__main__":
    main()
