"""Scores networks on the ISBI membranes: IoU and boundary F, and how cells are split and merged.

    crispseg fit isbi/gff --set data.root=../shared/isbi_membranes --out runs/membranes/gff/seed0
    python benchmarks/membranes.py score runs/membranes --root ../shared/isbi_membranes
    python benchmarks/membranes.py table

``score`` reads ``RUNS/ROW/seedN`` as `crispseg fit` left it, and writes ``docs/results/membranes/ROW/seedN.json`` of
each that has none yet. Cells are the connected regions where the probability of a membrane is below a threshold; the
threshold with the best Rand F on the validation images is used on the test images. Rand F and the variation of
information are scikit-image's, over the pixels that are cells in truth, as in Arganda-Carreras et al. (2015); what is
found to be membrane there counts as one more region.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from skimage.measure import label as connected_regions
from skimage.metrics import adapted_rand_error, variation_of_information

from crispseg import Predictor, describe, load_model
from crispseg.data import SegmentationDataset, build_dataset
from crispseg.evaluation import evaluate
from crispseg.evaluation.scores import markdown_table
from crispseg.recipes import load_recipe

RESULTS = Path("docs/results/membranes")
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.05), 2).tolist()
TITLES = {
    "pspnet": "PSPNet",
    "gff": "PSPNet + GFF",
    "deeplabv3plus": "DeepLabV3+",
    "decoupled": "DeepLabV3+ + Decoupled",
    "decoupled_balanced": "DeepLabV3+ + Decoupled, loss.edge_balance",
    "gscnn": "DeepLabV3+ + GSCNN",
}
MEMBRANE, CELL = 0, 1

Probability = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    score = commands.add_parser("score")
    score.add_argument("runs", type=Path)
    score.add_argument("--root", required=True)
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "table":
        print(markdown_table(table_rows()))
        return
    for run in sorted(arguments.runs.glob("*/seed*")):
        out = RESULTS / run.parent.name / f"{run.name}.json"
        if (run / "model").is_dir() and not out.is_file():
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(scored(run, arguments.root), indent=1) + "\n", encoding="utf-8")
            print(f"written: {out}", flush=True)


def scored(run: Path, root: str) -> dict[str, object]:
    """What a run reached on the test images, with its recipe and its curve."""
    recipe = load_recipe(run / "recipe.yaml")
    model = load_model(run / "model")
    predictor = Predictor(model, keep_probability=True, precision="float32")
    validation, test = (
        build_dataset(recipe.data.model_copy(update={"root": root}), split, augment=False) for split in ("val", "test")
    )
    pairs = list(_probabilities(predictor, validation))
    threshold = max(THRESHOLDS, key=lambda at: float(np.mean([cell_scores(*pair, at)["rand_f"] for pair in pairs])))
    of_images = [cell_scores(*pair, threshold) for pair in _probabilities(predictor, test)]
    scores = evaluate(predictor, test, recipe.evaluate.radii_px).summary_dict()
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    values = recipe.model_dump(mode="json")
    values["data"]["root"] = values["model"]["backbone_weights"] = None  # places on one machine
    return {
        "title": TITLES[run.parent.name],
        "seed": recipe.train.seed,
        "test": scores,
        "cells": {name: float(np.mean([image[name] for image in of_images])) for name in of_images[0]},
        "cell_threshold": threshold,
        "parameters": describe(model, (512, 512)).inference_parameters,
        "gmacs": describe(model, (512, 512)).gmacs,
        "seconds": log[-1]["seconds"],
        "recipe": values,
        "curve": log,
    }


def _probabilities(
    predictor: Predictor, images: SegmentationDataset
) -> Iterator[tuple[Probability, npt.NDArray[np.uint8]]]:
    """Probability (H, W) of a membrane, and the true labels, of each image."""
    for index in range(len(images)):
        sample = images.sample(index)
        probability = predictor(sample.image).probability
        assert probability is not None
        yield probability[MEMBRANE], sample.labels


def cell_scores(membrane: Probability, labels: npt.NDArray[np.uint8], threshold: float) -> dict[str, float]:
    """Rand F, 1 is best, and the bits by which cells are split and merged, 0 is best."""
    true, found = (connected_regions(cells, connectivity=1) for cells in (labels == CELL, membrane < threshold))
    _, precision, recall = adapted_rand_error(true, found, ignore_labels=(0,))
    split, merged = variation_of_information(true, found, ignore_labels=(0,))
    f = 2 * precision * recall / (precision + recall)
    return {"rand_f": float(f), "split_bits": float(split), "merged_bits": float(merged)}


def table_rows() -> list[list[str]]:
    """Heading and a row per network: mean ± deviation over seeds."""
    heading = ["row", "seeds", "mIoU", "membrane IoU", "F 1 px", "F 2 px", "Rand F", "split, bits", "merged, bits"]
    rows = [[*heading, "parameters, M", "GMACs"]]
    for name, title in TITLES.items():
        results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / name).glob("seed*.json"))]
        if not results:
            continue
        of = {
            "mIoU": [100 * result["test"]["mean_iou"] for result in results],
            "membrane": [100 * result["test"]["iou"]["membrane"] for result in results],
            "F1": [100 * result["test"]["mean_boundary_f"]["1"] for result in results],
            "F2": [100 * result["test"]["mean_boundary_f"]["2"] for result in results],
            "rand": [100 * result["cells"]["rand_f"] for result in results],
        }
        bits = ([result["cells"][key] for result in results] for key in ("split_bits", "merged_bits"))
        cells = [*(_mean(values, 1) for values in of.values()), *(_mean(values, 2) for values in bits)]
        costs = [f"{results[0]['parameters'] / 1e6:.2f}", f"{results[0]['gmacs']:.1f}"]
        rows.append([title, str(len(results)), *cells, *costs])
    return rows


def _mean(values: list[float], digits: int) -> str:
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


if __name__ == "__main__":
    main()
