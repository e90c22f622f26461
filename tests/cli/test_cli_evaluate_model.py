"""``crispseg evaluate MODEL``: its title; and ``--resume``, which goes on only with the weights that it began with."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import crispseg
from crispseg.cli import app
from crispseg.labels import label_space

OPTIONS = ["--data", "toy/plain", "--set", "data.toy_val_images=3", "--set", "data.toy_size_hw=[32, 48]"]


def save_model(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    model = crispseg.create_model("plain", backbone="resnet18", num_classes=10, channels=16, output_stride=32)
    model.label_space = label_space("toy_streets")
    crispseg.save_model(model, folder)


@pytest.fixture
def stopped(tmp_path: Path) -> list[str]:
    """The command of a run whose last image and end are missing."""
    save_model(tmp_path / "model", seed=0)
    command = ["evaluate", str(tmp_path / "model"), *OPTIONS, "--device", "cpu", "--out", str(tmp_path / "out")]
    assert invoke(command).exit_code == 0
    records = tmp_path / "out/images.jsonl"
    (tmp_path / "whole.json").write_bytes((tmp_path / "out/scores.json").read_bytes())
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:-2]))
    return command


def invoke(command: list[str]) -> Result:
    return CliRunner().invoke(app, command)


def test_the_rest_is_scored(stopped: list[str], tmp_path: Path):
    result = invoke([*stopped, "--resume"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/scores.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_scores_are_of_float32_unless_another_precision_is_asked_for(stopped: list[str], tmp_path: Path):
    assert '"precision": "float32"' in (tmp_path / "out/images.jsonl").read_text()
    result = invoke([*stopped, "--resume", "--precision", "bfloat16"])
    assert result.exit_code == 2
    assert "source precision was float32, and is bfloat16 now" in result.stderr


def test_other_weights_are_refused(stopped: list[str], tmp_path: Path):
    save_model(tmp_path / "model", seed=1)
    result = invoke([*stopped, "--resume"])
    assert result.exit_code == 2
    assert "source weights was" in result.stderr


def test_other_radii_are_refused(stopped: list[str]):
    result = invoke([*stopped, "--resume", "--radii", "4"])
    assert result.exit_code == 2
    assert "radii_px was [1, 2, 3, 5], and is [4] now" in result.stderr


def test_the_title_names_the_images_that_were_scored(tmp_path: Path):
    save_model(tmp_path / "model", seed=0)
    split = ["--set", "data.val_split=train", "--set", "data.toy_train_images=3"]
    result = invoke(["evaluate", str(tmp_path / "model"), *OPTIONS, "--device", "cpu", *split])
    assert " on train of toy_streets" in " ".join(result.stdout.split())
