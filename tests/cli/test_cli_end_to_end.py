"""The real command line from training to pictures, on streets small enough for seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from crispseg.cli import app
from crispseg.io import read_label_ids

pytestmark = pytest.mark.slow

TINY = [
    "data.toy_train_images=8",
    "data.toy_val_images=2",
    "data.toy_size_hw=[48, 64]",
    "data.crop_hw=[48, 64]",
    "model.channels=16",
    "train.epochs=1",
    "train.batch_size=4",
    "train.validate_every=1",
    "train.picture_count=1",
]
SET = [part for value in TINY for part in ("--set", value)]


def crispseg(*arguments: object, cwd: Path) -> str:
    """Run the command as a user would, in a process of its own, and return what it printed to stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "crispseg", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def crispseg_here(*arguments: object) -> str:
    """The same in this process, which has paid for the imports already."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``runs/tiny`` was trained."""
    folder = tmp_path_factory.mktemp("work")
    printed = crispseg("fit", "toy/gscnn", *SET, "--out", "runs/tiny", cwd=folder)
    assert "runs/tiny/model" in printed
    return folder


def test_fit_leaves_a_whole_run(run: Path):
    held = {str(path.relative_to(run / "runs/tiny")) for path in (run / "runs/tiny").rglob("*")}
    assert held >= {"recipe.yaml", "log.jsonl", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "model"}


def test_evaluate(run: Path):
    model, recipe, out = run / "runs/tiny/model", run / "runs/tiny/recipe.yaml", run / "scores"
    printed = crispseg_here("evaluate", model, "--data", recipe, "--out", out)
    scores = json.loads((out / "scores.json").read_text())
    assert scores["images"] == 2
    assert set(scores["boundary_f"]) == {"1", "2", "3", "5"}
    assert f"{100 * scores['mean_iou']:.1f}" in printed
    assert "| mean |" in (out / "scores.md").read_text()


def test_evaluate_takes_data_and_options_from_the_model(run: Path):
    printed = crispseg_here(
        "evaluate", run / "runs/tiny", "--set", "evaluate.radii_px=[4]", "--set", "data.toy_val_images=3"
    )
    assert "F 4 px" in printed
    assert "3 images" in printed


def test_segment(run: Path):
    rng = np.random.default_rng(0)
    for name in ("photos/a.png", "photos/east/b.png"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(run / name), rng.integers(0, 255, (50, 70, 3), dtype=np.uint8))
    printed = crispseg("segment", "runs/tiny/model", "photos", "--out", "masks", "--scales", "0.5,1", "--flip", cwd=run)
    assert "2 of 2" in printed
    written = sorted(str(path.relative_to(run / "masks")) for path in (run / "masks").rglob("*.png"))
    kinds = ("boundaries", "labels", "mask_boundaries", "overlay")
    assert written == [f"{stem}_{kind}.png" for stem in ("a", "east/b") for kind in kinds]
    boundaries = cv2.imread(str(run / "masks/a_boundaries.png"), cv2.IMREAD_UNCHANGED)
    assert boundaries.shape == (50, 70)
    assert len(np.unique(boundaries)) > 2  # a probability, from the shape stream
    of_mask = cv2.imread(str(run / "masks/a_mask_boundaries.png"), cv2.IMREAD_UNCHANGED)
    labels = read_label_ids(run / "masks/a_labels.png")
    borders = labels[:, 1:] != labels[:, :-1]
    assert set(np.unique(of_mask)) <= {0, 255}
    assert (of_mask[:, 1:][borders] == 255).all()
    assert (of_mask[:, :-1][borders] == 255).all()


def test_describe(run: Path):
    printed = crispseg_here("describe", run / "runs/tiny/model", "--size", "48x64")
    assert "48×64" in printed
    assert "total" in printed


def test_training_over_a_run_is_refused(run: Path):
    done = CliRunner().invoke(app, ["fit", "toy/gscnn", *SET, "--out", str(run / "runs/tiny")])
    assert done.exit_code == 2
    assert "resume" in done.stderr


@pytest.mark.parametrize(
    "system", ["gff", pytest.param("gscnn", marks=pytest.mark.slow), pytest.param("decoupled", marks=pytest.mark.slow)]
)
def test_the_demo_draws_a_page(system: str, tmp_path: Path):
    out = tmp_path / "demo"
    printed = crispseg_here("demo", "--system", system, "--compare", "--out", out, *SET)
    assert "Plain baseline" in printed
    html = (out / "report.html").read_text(encoding="utf-8")
    shown = {"gff": "gate of level 1", "gscnn": "attention 1", "decoupled": "flow"}[system]
    assert shown in html
    scores = json.loads((out / "scores.json").read_text())
    assert set(scores) == {system, "plain"}
