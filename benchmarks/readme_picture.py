"""The picture of the README's first screen: a street of CamVid's validation images as `models/camvid` sees it.

    python benchmarks/readme_picture.py ../shared/camvid docs/pictures/street.jpg [--image 0016E5_08039]

The street, its truth, the prediction, the boundaries of the prediction in the street, and a gate of the network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from crispseg import Predictor, load_model
from crispseg.data import build_dataset
from crispseg.pictures import colourise, gate_picture, legend, sheet
from crispseg.recipes import load_recipe

RECIPE = "camvid/long_cpu"  # which trained it, and knows the data
FONT_PX = 22
QUALITY = 85  # under 300 kB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path, help="CamVid's folder, with val and valannot")
    parser.add_argument("out", type=Path)
    parser.add_argument("--image", default="0016E5_08039", help="name of a validation image")
    parser.add_argument("--gate", default="gate_2", help="which of the network's gates, 1 is the shallowest")
    parser.add_argument("--model", default="models/camvid")
    arguments = parser.parse_args()

    dataset = build_dataset(load_recipe(RECIPE, [f"data.root={arguments.camvid}"]).data, "val", augment=False)
    samples = (dataset.sample(index) for index in range(len(dataset)))
    street, truth, _ = next(sample for sample in samples if Path(sample.name).stem == arguments.image)
    model = load_model(arguments.model)
    prediction = Predictor(model)(street)
    batch = torch.from_numpy(street).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        gate = model.eval()(batch, with_maps=True).maps[arguments.gate][0]

    palette = model.label_space.palette
    outlined = street // 2 + 64
    outlined[np.asarray(prediction.boundaries()) > 0.5] = (255, 225, 60)
    rows = [
        [street, colourise(truth, palette), colourise(prediction.labels, palette)],
        [outlined, gate_picture(gate, street.shape[:2]), legend(model.label_space, columns=2, font_px=FONT_PX)],
    ]
    captions = [
        ["street", "truth", "prediction"],
        ["boundaries of the prediction", "a gate: bright passes, dark is held back", "classes"],
    ]
    Image.fromarray(sheet(rows, captions, font_px=FONT_PX)).save(arguments.out, quality=QUALITY, subsampling=0)


if __name__ == "__main__":
    main()
