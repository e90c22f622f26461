"""A refiner that looks at masks, from its training to the refined files, as a network and as an exported file."""

import numpy as np
import pytest
from typer.testing import CliRunner

from crispseg.cli import app
from crispseg.config import DataConfig
from crispseg.data import build_dataset
from crispseg.data.damage import blurred, shifted
from crispseg.io import read_label_ids, write_png

TINY = [
    "model.head_options={auxiliary: false}",
    "model.backbone=resnet10t",
    "model.context=identity",
    "model.channels=16",
    "model.output_stride=8",
    "model.weights=null",
    "model.weights_partial=false",
    "model.backbone_padding=own",
    "data.layout=toy_streets",
    "data.toy_size_hw=[96, 128]",
    "data.toy_train_images=48",
    "data.toy_val_images=4",
    "data.crop_hw=[64, 96]",
    "data.scale_range=[1, 1]",
    "data.workers=0",
    "train.epochs=10",
    "train.lr=0.003",
    "train.ema_decay=null",
    "train.precision=32",
    "train.validate_every=10",
    "train.picture_count=1",
]


def run(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_it_learns_to_mend_masks_and_does_so_as_an_exported_file(tmp_path):
    changes = [word for one in TINY for word in ("--set", one)]
    run("fit", "camvid/refiner_with_mask", *changes, "--out", tmp_path / "run")
    streets = build_dataset(DataConfig(layout="toy_streets", toy_size_hw=(96, 128)), "val", augment=False)
    truth = {}
    for index in range(10, 16):
        image, labels, name = streets.sample(index)
        truth[name] = labels
        write_png(tmp_path / "images" / f"{name}.png", image)
        write_png(tmp_path / "masks" / f"{name}.png", shifted(blurred(labels, 2.0), 1, 2))

    def wrong(folder):
        return np.mean([(read_label_ids(tmp_path / folder / f"{name}.png") != truth[name]).mean() for name in truth])

    common = ["refine", tmp_path / "masks", "--images", tmp_path / "images", "--precision", "float32"]
    run(*common, "--model", tmp_path / "run" / "model", "--out", tmp_path / "better")
    assert wrong("better") < 0.8 * wrong("masks")
    run("export", tmp_path / "run" / "model", "--out", tmp_path / "refiner.onnx")
    run("refine", *common[1:4], "--model", tmp_path / "refiner.onnx", "--out", tmp_path / "exported")
    assert abs(wrong("exported") - wrong("better")) < 1e-3
    alone = CliRunner().invoke(
        app, ["segment", str(tmp_path / "run" / "model"), str(tmp_path / "images"), "--out", "x"]
    )
    assert alone.exit_code == 2
    assert "crispseg refine MASKS" in alone.output
