"""What the pictures of one image cost the network: all passes that `crispseg explain` needs, over one forward pass.

    python benchmarks/explain_cost.py [--repeats 7] [--out docs/results/explain]

One 360×480 image, one thread, the two ways in turn; processor seconds, median of the ratios, lowest and highest beside
it. Drawing is timed apart: all pictures as arrays.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import torch
from machine import commit, seconds_of
from startup import machine

import crispseg
from crispseg.explanation import Available, Options, Subject, choose_figures, look

SIZE_HW = (360, 480)
SMALL = {"backbone": "resnet18", "num_classes": 11, "channels": 64}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, help="write explain.json and explain.md into this folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    image = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    models = {
        "`models/camvid` (GFF, stride 32)": crispseg.load_model("models/camvid"),
        "GFF, ResNet-18, stride 16": crispseg.create_model("gff", output_stride=16, **SMALL),
        "Decoupled, ResNet-18, stride 16": crispseg.create_model("decoupled", output_stride=16, **SMALL),
        "GSCNN, ResNet-18, stride 16": crispseg.create_model("gscnn", output_stride=16, **SMALL),
    }
    rows = []
    for title, model in models.items():
        row = {"model": title, **measured(model.eval(), image, arguments.repeats)}
        rows.append(row)
        print(row, flush=True)
    facts = {"machine": machine(), "commit": commit(), "size_hw": SIZE_HW, "repeats": arguments.repeats}
    table = "| model | forward pass (s) | with all maps and gates closed (s) | ratio | spread | drawing all (s) |\n"
    table += "|---|---:|---:|---:|---:|---:|\n"
    for row in rows:
        low, high = row["spread"]
        table += f"| {row['model']} | {row['forward']:.2f} | {row['look']:.2f} | {row['ratio']:.2f} "
        table += f"| {low:.2f}–{high:.2f} | {row['drawing']:.2f} |\n"
    print(table)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**facts, "rows": rows}, indent=2) + "\n"
        (arguments.out / "explain.json").write_text(text, encoding="utf-8")
        (arguments.out / "table.md").write_text(table, encoding="utf-8")


def measured(model: crispseg.Segmenter, image: np.ndarray, repeats: int) -> dict[str, object]:
    predictor = crispseg.Predictor(model, precision="float32")  # as explaining is
    ratios, forwards, looks, drawings = [], [], [], []
    seen = look(model, image)
    for _ in range(repeats):
        forward = seconds_of(lambda: predictor(image))
        looked = seconds_of(lambda: look(model, image))
        forwards.append(forward)
        looks.append(looked)
        ratios.append(looked / forward)
    subject = Subject({"model": seen}, (image[..., 0] % 11).astype(np.uint8), Options())
    figures = choose_figures(None, Available(seen.shown, labels=True))
    drawings += [seconds_of(lambda: [figure.draw(subject).to_array() for figure in figures]) for _ in range(3)]
    return {
        "forward": statistics.median(forwards),
        "look": statistics.median(looks),
        "ratio": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
        "drawing": statistics.median(drawings),
        "pictures": len(figures),
    }


if __name__ == "__main__":
    main()
