"""docs/with-other-tools.md runs as it stands, where the other tools are installed (the group ``peers``)."""

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from crispseg import Prediction
from crispseg.cli import app
from crispseg.io import read_label_ids, write_png

PAGE = Path(__file__).parents[2] / "docs" / "with-other-tools.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
NEEDED = "pip install --group peers, for docs/with-other-tools.md"


def run(names, *blocks):
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # our own file
    return names


def test_the_page_has_the_blocks_that_are_run_here():
    assert ["segmentation_models_pytorch" in block for block in BLOCKS] == [True, False, False, False, False]
    assert ["transformers" in block for block in BLOCKS] == [False, True, False, False, False]


def test_a_model_of_segmentation_models_pytorch_trains_with_our_loss():
    pytest.importorskip("segmentation_models_pytorch", reason=NEEDED)
    names = run({}, BLOCKS[0])
    assert all(parameter.grad is not None for parameter in names["model"].parameters())
    assert names["boundary_loss"](names["logits"], names["labels"]).item() > 0


def test_a_model_of_transformers_trains_with_our_loss_and_its_masks_are_refined_and_scored(tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason=NEEDED)
    monkeypatch.chdir(tmp_path)  # a block writes a file
    names = run({}, *BLOCKS[1:])
    assert all(parameter.grad is not None for parameter in names["model"].parameters())
    assert names["better"].shape == names["mask"].shape
    assert set(np.unique(names["better"])) <= set(np.unique(names["mask"]))
    prediction = names["prediction"]
    assert isinstance(prediction, Prediction)
    assert prediction.labels.shape == (64, 64)

    # the commands of the page, with masks that their network could have made and a method that needs no refiner
    truth = names["labels"][0].numpy().astype(np.uint8)
    for name in ("a", "b"):
        write_png(tmp_path / "photos" / f"{name}.png", names["photo"])
        write_png(tmp_path / "labels" / f"{name}.png", truth)
        write_png(tmp_path / "masks" / f"{name}.png", np.roll(truth, 2, axis=1))
    (tmp_path / "three.yaml").write_text("name: three\nclasses: [ground, box, other]\n", encoding="utf-8")
    folders = [str(tmp_path / name) for name in ("masks", "better", "labels", "photos")]
    table = ["--label-space", str(tmp_path / "three.yaml")]
    for command in (
        ["refine", folders[0], "--images", folders[3], "--method", "guided_filter", "--out", folders[1]],
        ["score", folders[0], folders[2], *table, "--out", str(tmp_path / "theirs")],
        ["score", folders[1], folders[2], *table, "--out", str(tmp_path / "refined")],
        ["compare", str(tmp_path / "theirs"), str(tmp_path / "refined")],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    assert (read_label_ids(tmp_path / "better" / "a.png") == truth).mean() > (np.roll(truth, 2, axis=1) == truth).mean()
