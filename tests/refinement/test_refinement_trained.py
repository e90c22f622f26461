"""A refiner that looks at masks, from its training to the refined files, as a network and as an exported file."""

import numpy as np
import pytest
from typer.testing import CliRunner

from crispseg.cli import app
from crispseg.config import DataConfig
from crispseg.data import build_dataset
from crispseg.data.damage import blurred, shifted
from crispseg.io import read_label_ids, write_png
from crispseg.models import saved_card

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
    "train.epochs=2",
    "train.lr=0.003",
    "train.ema_decay=null",
    "train.precision=32",
    "train.validate_every=2",
    "train.picture_count=1",
]


def run(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_it_is_trained_refines_masks_by_its_card_and_does_so_as_an_exported_file(tmp_path):
    changes = [word for one in TINY for word in ("--set", one)]
    run("fit", "camvid/refiner_with_mask", *changes, "--out", tmp_path / "run")
    streets = build_dataset(DataConfig(layout="toy_streets", toy_size_hw=(96, 128)), "val", augment=False)
    truth = {}
    for index in range(10, 16):
        image, labels, name = streets.sample(index)
        truth[name] = labels
        write_png(tmp_path / "images" / f"{name}.png", image)
        write_png(tmp_path / "masks" / f"{name}.png", shifted(blurred(labels, 2.0), 1, 2))

    def read(folder):
        return {name: read_label_ids(tmp_path / folder / f"{name}.png") for name in truth}

    card = saved_card(tmp_path / "run" / "model")
    assert card["model"]["sees_mask"] is True
    assert card["recipe"]["data"]["target"] == "corrections"
    common = ["refine", tmp_path / "masks", "--images", tmp_path / "images"]
    run(*common, "--precision", "float32", "--model", tmp_path / "run" / "model", "--out", tmp_path / "better")
    for name, refined in read("better").items():  # whatever it has learned: labels of near by, and the rest stays
        mask = read_label_ids(tmp_path / "masks" / f"{name}.png")
        moved = refined != mask
        assert moved.mean() < 0.5
        for row, column in np.argwhere(moved)[::97]:
            near = mask[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5]
            assert refined[row, column] in near
    run("export", tmp_path / "run" / "model", "--out", tmp_path / "refiner.onnx")
    run(*common, "--model", tmp_path / "refiner.onnx", "--out", tmp_path / "exported")
    exported = read("exported")
    assert np.mean([(one != exported[name]).mean() for name, one in read("better").items()]) < 1e-3
    alone = CliRunner().invoke(
        app, ["segment", str(tmp_path / "run" / "model"), str(tmp_path / "images"), "--out", str(tmp_path / "alone")]
    )
    assert alone.exit_code == 2
    assert "crispseg refine MASKS" in alone.output
