"""The README's Python runs as it stands, its recipe and label table are valid, and its commands exist."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.main import get_command

import crispseg
from crispseg.cli import app
from crispseg.config import Recipe
from crispseg.io import read_label_ids

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The texts between fences of one language, ``""`` for none; every fence is read, so closing ones open nothing."""
    every = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for found, text in every if found == language]


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    model = crispseg.create_model("plain", backbone="resnet18", num_classes=3, channels=16, output_stride=32)
    crispseg.save_model(model, tmp_path / "runs/my_streets/model")
    cv2.imwrite("street.jpg", np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8))

    python = blocks("python")
    assert len(python) == 2
    names: dict[str, object] = {}
    for block in python:
        exec(compile(block, "README.md", "exec"), names)  # our own file

    assert names["output"].logits.shape == (1, 11, 120, 161)
    assert read_label_ids("street_labels.png").shape == (64, 96)


def test_label_table_and_recipe_are_valid():
    table, recipe = (yaml.safe_load(block) for block in blocks("yaml"))
    space = crispseg.LabelSpace.from_dict(table)
    assert space.lookup[[0, 1, 7, 2, 255]].tolist() == [0, 1, 1, 2, 255]
    assert Recipe.model_validate(recipe).model.pretrained


def test_the_two_commands_stand_on_the_first_screen():
    first_screen = README.splitlines()[:20]
    assert "python -m pip install -e . && crispseg demo" in first_screen
    assert 'python -m pip install -e ".[dev]" && pytest' in first_screen


def test_every_command_is_shown_and_every_shown_command_exists():
    shown = set(re.findall(r"^crispseg (\w+)", "\n".join(blocks("")), re.MULTILINE))
    assert shown == set(get_command(app).commands)


def test_links_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    root = Path(__file__).parents[2]
    assert targets
    assert [target for target in targets if not (root / target).exists()] == []
