"""From the labels of a data set to a network, and with it through a training, by the real commands."""

import json

import pytest
import torch
import yaml
from safetensors import safe_open
from typer.testing import CliRunner

from crispseg.cli import app

SMALL = ["data.toy_train_images=4", "data.toy_val_images=2", "data.toy_size_hw=[48, 64]"]
TINY = [
    *SMALL,
    "data.crop_hw=[48, 64]",
    "data.workers=0",
    "model.backbone=test_resnet",
    "model.channels=8",
    "train.epochs=2",
    "train.max_steps=2",
    "train.batch_size=4",
    "train.validate_every=1",
    "train.picture_count=0",
    "train.logger=csv",
]


def invoke(*arguments, settings=()):
    changes = [part for value in settings for part in ("--set", value)]
    return CliRunner().invoke(app, [*map(str, arguments), *changes], env={"COLUMNS": "200"})


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = invoke("data", "inverse-form", "--layout", "toy_streets", "--out", "form.st", "--steps", 3, settings=SMALL)
    assert done.exit_code == 0, done.output
    assert "form.st: on 2 label maps of val its transforms are" in done.output
    return tmp_path / "form.st"


def test_a_file_says_how_it_was_made(network):
    with safe_open(network, framework="pt") as file:
        settings = json.loads(file.metadata()["settings"])
    assert settings["maps"] == 4
    assert settings["steps"] == 3
    assert settings["seed"] == 0
    assert settings["error"].keys() == {"network", "identity", "aligned"}


def test_a_run_has_the_term_and_goes_on(network, tmp_path):
    term = ["loss.inverse_form_weight=0.5", "loss.inverse_form_network=form.st"]
    done = invoke("fit", "toy/gscnn", "--out", "run", settings=[*TINY, *term, "train.max_hours=1e-6"])
    assert done.exit_code == 0, done.output
    assert '"loss_inverse_form": ' in (tmp_path / "run" / "log.jsonl").read_text()
    saved = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert saved["loss"]["inverse_form_weight"] == 0.5
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)
    assert all(key.startswith("model.") for key in checkpoint["state_dict"])
    done = invoke("fit", "run/recipe.yaml", "--out", "run", "--resume", settings=["train.max_hours=null"])
    assert done.exit_code == 0, done.output


def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = invoke("fit", "toy/gscnn", settings=[*TINY, "loss.inverse_form_weight=1"])
    assert done.exit_code == 2
    assert "loss.inverse_form_network names no file" in done.output
    done = invoke("fit", "toy/gscnn", settings=[*TINY, "loss.inverse_form_weight=1", "loss.inverse_form_network=gone"])
    assert done.exit_code == 2
    assert "loss.inverse_form_network: gone: no such file" in done.output
    done = invoke("data", "inverse-form", "--layout", "toy_streets", "--out", tmp_path)
    assert done.exit_code == 2
    assert "a folder found where the name of a file was expected" in done.output
