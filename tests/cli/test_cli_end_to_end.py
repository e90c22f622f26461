"""The real command line from training to pictures, on streets small enough for seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

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
    """Run the command as a user would, and return what it printed to stdout."""
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


def test_evaluate_and_segment_and_describe(run: Path):
    printed = crispseg("evaluate", "runs/tiny/model", "--data", "runs/tiny/recipe.yaml", "--out", "scores", cwd=run)
    scores = json.loads((run / "scores/scores.json").read_text())
    assert scores["images"] == 2
    assert set(scores["boundary_f"]) == {"1", "2", "3", "5"}
    assert f"{100 * scores['mean_iou']:.1f}" in printed
    assert "| mean |" in (run / "scores/scores.md").read_text()

    rng = np.random.default_rng(0)
    for name in ("photos/a.png", "photos/east/b.png"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(run / name), rng.integers(0, 255, (50, 70, 3), dtype=np.uint8))
    crispseg("segment", "runs/tiny/model", "photos", "--out", "masks", "--scales", "0.5,1", "--flip", cwd=run)
    written = sorted(str(path.relative_to(run / "masks")) for path in (run / "masks").rglob("*.png"))
    kinds = ("boundaries", "labels", "overlay")
    assert written == [f"{stem}_{kind}.png" for stem in ("a", "east/b") for kind in kinds]
    boundaries = cv2.imread(str(run / "masks/a_boundaries.png"), cv2.IMREAD_UNCHANGED)
    assert boundaries.shape == (50, 70)
    assert len(np.unique(boundaries)) > 2  # a probability, from the shape stream

    printed = crispseg("describe", "runs/tiny/model", "--size", "48x64", cwd=run)
    assert "total" in printed
