"""A sheet of validation images for the pages under docs/results: image | truth | a prediction of each model.

    python benchmarks/prediction_sheet.py RECIPE OUT.png MODEL --root ../shared/camvid
    python benchmarks/prediction_sheet.py RECIPE OUT.png PSPNet=MODEL GFF=MODEL --root ../shared/camvid --images 5

With one model the wrong pixels follow. The images are evenly spaced over the validation set, so that nobody chose them.
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+", metavar="[TITLE=]MODEL")
    parser.add_argument("--root")
    parser.add_argument("--images", type=int, default=4)
    arguments = parser.parse_args()

    overrides = [f"data.root={arguments.root}"] if arguments.root else []
    dataset = build_dataset(load_recipe(arguments.recipe, overrides).data, "val", augment=False)
    named = [text.rpartition("=")[::2] for text in arguments.models]
    predictors = [Predictor(load_model(model)) for _, model in named]
    palette = dataset.label_space.palette
    rows = []
    for index in np.linspace(0, len(dataset) - 1, arguments.images).round().astype(int):
        image, labels, _ = dataset.sample(int(index))
        predictions = [predictor(image).labels for predictor in predictors]
        row = [image, *(colourise(ids, palette) for ids in (labels, *predictions))]
        rows.append([*row, error_map(predictions[0], labels)] if len(predictions) == 1 else row)
    titles = ["image", "truth", *(title or "prediction" for title, _ in named), "wrong pixels"][: len(rows[0])]
    rows.append([legend(dataset.label_space, columns=4)])
    captions = [titles, *[[""] * len(row) for row in rows[1:]]]
    write_png(arguments.out, sheet(rows, captions, cell_width=320 if len(titles) < 5 else 240))


if __name__ == "__main__":
    main()
