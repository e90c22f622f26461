"""``crispseg compare`` through the real command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from crispseg.cli import app
from crispseg.evaluate import evaluate_folders
from crispseg.io import write_png
from crispseg.types import LabelSpace

SPACE = LabelSpace.from_dict({"name": "two", "classes": ["ground", "sky"]})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs ``plain``, one pixel off, ``right``, and ``fewer``, without the last image."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    for index in range(6):
        labels = (np.arange(12)[:, None] < rng.integers(3, 9)) * np.ones((1, 16), np.uint8)
        maps = {"labels": labels, "right": labels, "plain": np.roll(labels, 1, axis=0), "fewer": labels}
        for name, ids in maps.items():
            write_png(folder / f"masks/{name}/{index}.png", ids.astype(np.uint8))
    (folder / "masks/fewer/5.png").unlink()
    for name in ("plain", "right", "fewer"):
        skip = name == "fewer"
        masks = folder / "masks"
        evaluate_folders(masks / name, masks / "labels", SPACE, (0, 2), out=folder / name, skip_bad=skip)
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)], env={"COLUMNS": "200"})


def test_differences_are_printed_and_written(runs: Path, tmp_path: Path):
    result = invoke(runs / "plain", runs / "right", "--resamples", 200, "--seed", 4, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "compare.json").read_text())
    assert (values["images"], values["resamples"], values["seed"]) == (6, 200, 4)
    mean = values["differences"][0]
    assert mean["value"] == 1
    assert mean["excludes_zero"]
    assert mean["first"] == pytest.approx(json.loads((runs / "plain/scores.json").read_text())["mean_iou"])
    assert f"+{100 * mean['difference']:.2f}" in result.stdout
    assert "paired bootstrap over images" in " ".join(result.stdout.split())
    assert "| IoU | mean |" in (tmp_path / "compare.md").read_text()


def test_other_images_need_common(runs: Path):
    result = invoke(runs / "right", runs / "fewer")
    assert result.exit_code == 2
    assert "--common" in result.stderr
    result = invoke(runs / "right", runs / "fewer", "--common")
    assert result.exit_code == 0, result.output
    assert "5 images (1 others left out)" in " ".join(result.stdout.split())


def test_one_run_is_not_enough(runs: Path):
    result = invoke(runs / "plain")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
