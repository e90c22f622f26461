"""``crispseg fit --starter``: from a folder of pictures to a trained network, without a recipe."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from crispseg.cli import app
from crispseg.io import write_png
from crispseg.recipes import load_recipe

SMALL = [
    *("model.backbone=test_resnet", "model.backbone_padding=own", "model.pretrained=false", "model.channels=8"),
    *("data.crop_hw=[32, 32]", "data.workers=0", "train.epochs=1", "train.batch_size=2", "train.picture_count=0"),
]
SET = [part for value in SMALL for part in ("--set", value)]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``my pictures`` as docs/datasets.md asks for, in the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for index in range(count):
            ids = (np.arange(40) > rng.integers(10, 30)).astype(np.uint8) * np.ones((40, 1), np.uint8)
            write_png(tmp_path / f"my pictures/images/{split}/{index}.png", np.repeat(ids[..., None] * 200, 3, axis=2))
            write_png(tmp_path / f"my pictures/labels/{split}/{index}.png", ids)
    (tmp_path / "my pictures/labels.yaml").write_text("classes: [ground, sky]")
    return Path("my pictures")


def fit(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["fit", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.mark.parametrize("starter", ["fast", "balanced", "accurate"])
def test_a_starter_trains_on_a_folder(starter: str, pictures: Path):
    stem = [] if starter == "fast" else ["--set", "model.output_stride=32"]
    result = fit("--starter", starter, pictures, *SET, *stem)
    assert result.exit_code == 0, result.output
    run = Path(f"runs/my pictures_{starter}")
    assert (run / "model/card.json").is_file()
    recipe = load_recipe(run / "recipe.yaml")
    assert (recipe.data.root, recipe.data.layout) == ("my pictures", "folder")
    assert recipe.description == load_recipe(f"starter/{starter}").description


def test_what_is_wrong_is_said(pictures: Path):
    unknown = fit("--starter", "ballanced", pictures)
    assert unknown.exit_code == 2
    assert "did you mean 'balanced'" in unknown.stderr
    assert "elsewhere: no such folder" in fit("--starter", "fast", "elsewhere").stderr
    mistyped = fit("--starter", "fast", pictures, "--set", "train.epoch=3")
    assert "train.epochs" in mistyped.stderr
