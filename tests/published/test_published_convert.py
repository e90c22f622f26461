"""Converting released files: every kind of file, every way it can be wrong, and the way back."""

import json
import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image
from released_files import random_state
from safetensors.torch import save_file
from typer.testing import CliRunner

import crispseg
from crispseg.cli.app import app
from crispseg.errors import ConfigError, WeightsError
from crispseg.labels import label_space
from crispseg.models import build_model, load_model, load_weights, numbered_labels, saved_card
from crispseg.published import NETWORKS, convert, released_state, to_released

NAME = "fcn_r50"


@pytest.fixture(scope="module")
def state():
    return random_state(NAME)


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("released") / "best.pth"
    scores = {
        "epoch": 3,
        "mean_iu": np.float64(0.766),
        "command": "train.py",
        "optimizer": {"param_groups": [{"lr": 0.01}]},
    }
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, **scores}, path)
    return path


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "model"
    result = run("convert", checkpoint, "--out", out)
    assert result.exit_code == 0, result.output
    assert "FCN, the baseline of Decoupled (fcn_r50), 19 classes, taken for those of Cityscapes" in result.output
    assert "licence: unknown. The repository states no clear licence." in result.output
    return out


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def same_state(model, state):
    """Whether the model holds the file's values, each in its place."""
    own = model.state_dict()
    return all(torch.equal(own[ours], state[key].to(own[ours].dtype)) for key, ours in NETWORKS[NAME].table.items())


# ── what is converted is an ordinary model ──


def test_the_folder_is_a_model_with_a_card(folder, state, checkpoint):
    model = load_model(folder)
    assert same_state(model, state)
    assert not model.training
    assert model.label_space.class_names == label_space("cityscapes").class_names
    card = saved_card(folder)
    assert card["licence"] == "unknown"
    assert "ask the authors" in card["notes"]
    assert card["source"]["network"] == NAME
    assert card["source"]["pretraining"] == "ImageNet classification"
    assert "ECCV 2020" in card["source"]["paper"]
    assert card["source"]["file"] == checkpoint.name
    assert os.stat(folder / "weights.safetensors").st_mode == os.stat(folder / "card.json").st_mode


def test_it_segments_and_describes_itself(folder, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (65, 97, 3), dtype=np.uint8)).save(
        tmp_path / "street.png"
    )
    result = run("segment", folder, tmp_path / "street.png", "--out", tmp_path / "masks")
    assert result.exit_code == 0, result.output
    assert any((tmp_path / "masks").iterdir())
    result = run("describe", folder, "--size", "64x64")
    assert result.exit_code == 0, result.output
    assert "licence: unknown" in result.output
    assert "network: fcn_r50" in result.output


def test_fine_tuning_for_other_classes_says_what_starts_fresh(folder, caplog):
    with caplog.at_level(logging.INFO, "crispseg"):
        model = load_model(folder, label_space=label_space("camvid"))
    assert model.num_classes == 11
    assert f"{folder}: made for 19 classes, not 11; these layers start fresh: head.classify.2" in caplog.text
    ours, theirs = model.state_dict(), load_model(folder).state_dict()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == ["head.classify.2.weight"]


def test_only_the_number_of_classes_may_differ(folder, state, tmp_path):
    model = build_model(NETWORKS[NAME].config, numbered_labels(11))
    own = {ours: state[key] for key, ours in NETWORKS[NAME].table.items()}
    own |= {"mean": model.mean, "std": model.std, "head.classify.0.0.weight": torch.zeros(256, 303, 3, 3)}
    save_file(own, tmp_path / "other.safetensors")
    before = model.head.classify[2].weight.clone()
    with pytest.raises(WeightsError, match=r"0 missing, 0 unknown, 2 of another shape"):
        load_weights(model, tmp_path / "other.safetensors", other_classes=True)
    assert torch.equal(model.head.classify[2].weight, before)
    with pytest.raises(WeightsError, match="1 of another shape"):
        load_weights(model, folder)


# ── kinds of files ──


@pytest.mark.parametrize("kind", ["bare", "prefixed", "old format", "safetensors", "without counters", "half"])
def test_every_kind_of_file(kind, state, tmp_path):
    path = tmp_path / "file.pth"
    if kind == "bare":
        torch.save(state, path)
    elif kind == "prefixed":
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
    elif kind == "old format":
        torch.save({"state_dict": state, "mean_iu": np.float64(0.7)}, path, _use_new_zipfile_serialization=False)
    elif kind == "safetensors":
        path = tmp_path / "file.safetensors"
        save_file(state, path)
    elif kind == "without counters":
        torch.save({key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}, path)
        state = {key: value * 0 if key.endswith("num_batches_tracked") else value for key, value in state.items()}
    elif kind == "half":
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
        torch.save({"state_dict": state}, path)
    model = convert(path)
    assert same_state(model, state)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.slow
def test_the_number_of_classes_is_read_from_the_file(tmp_path):
    torch.save(random_state(NAME, num_classes=11), tmp_path / "camvid.pth")
    model = convert(tmp_path / "camvid.pth", NAME)
    assert (model.num_classes, model.label_space.class_names[0]) == (11, "class_0")
    camvid = convert(tmp_path / "camvid.pth", labels=label_space("camvid"), out=tmp_path / "model", half=True)
    assert camvid.label_space.class_names[0] == "sky"
    assert load_model(tmp_path / "model").label_space == label_space("camvid")
    with pytest.raises(WeightsError, match=r"camvid\.pth: has 11 classes, the label table 'cityscapes' 19"):
        convert(tmp_path / "camvid.pth", labels=label_space("cityscapes"), out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


# ── the way back ──


def test_the_way_back_gives_the_same_file(folder, state, tmp_path):
    result = run("convert", folder, "--to-released", "--out", tmp_path / "back.pth")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{tmp_path / 'back.pth'}: FCN, the baseline of Decoupled (fcn_r50)")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert set(back) == {"state_dict"}
    assert list(back["state_dict"]) == [f"module.{key}" for key in state]
    assert all(torch.equal(back["state_dict"][f"module.{key}"], value) for key, value in state.items())
    with pytest.raises(WeightsError, match=r"back\.pth: exists already"):
        to_released(load_model(folder), tmp_path / "back.pth")


def test_unused_keys_are_written_so_that_strict_loading_works():
    network = NETWORKS["decoupled_deeplabv3plus_wrn38"]
    with torch.device("meta"):
        model = build_model(network.config, numbered_labels(19))
    written = released_state(model.to_empty(device="cpu"))
    assert set(written) == {*network.table, *network.unused}
    assert {key: tuple(written[key].shape) for key in network.unused} == dict(network.unused)


def test_only_converted_models_go_back(tmp_path):
    model = crispseg.create_model("fcn", backbone="test_resnet", num_classes=3, channels=16)
    crispseg.save_model(model, tmp_path / "model")
    result = run("convert", tmp_path / "model", "--to-released", "--out", tmp_path / "back.pth")
    assert result.exit_code == 2
    assert "is none of the released networks" in result.stderr
    assert not (tmp_path / "back.pth").exists()


# ── what can be wrong ──


class Malicious:
    def __reduce__(self):
        return os.system, ("touch owned",)


def _truncated(path, state):
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-2000])


BROKEN = {
    "truncated": (_truncated, r"cannot be read as weights"),
    "no checkpoint": (lambda path, state: path.write_text("<html>quota exceeded</html>"), "is no checkpoint"),
    "empty": (lambda path, state: path.touch(), "is no checkpoint"),
    "code": (
        lambda path, state: torch.save({"state_dict": state, "x": Malicious()}, path),
        r"refused.*run code \(\w+\.system\)",
    ),
    "no tensors": (lambda path, state: torch.save({"state_dict": {"a": 1}}, path), "1 entries are not named tensors"),
    "missing key": (
        lambda path, state: torch.save({k: v for k, v in state.items() if k != "bot_fine.weight"}, path),
        r"is nearest to fcn_r50, but 1 keys are missing: bot_fine\.weight",
    ),
    "unknown key": (
        lambda path, state: torch.save({**state, "head.extra": torch.zeros(1)}, path),
        r"1 are unknown: head\.extra",
    ),
    "another shape": (
        lambda path, state: torch.save({**state, "bot_fine.weight": torch.zeros(48, 64, 1, 1)}, path),
        r"1 of another shape: bot_fine\.weight \(48, 64, 1, 1\) instead of \(48, 256, 1, 1\)",
    ),
    "quantised": (
        lambda path, state: torch.save({**state, "bot_fine.weight": state["bot_fine.weight"].to(torch.int8)}, path),
        r"1 weights are torch\.int8, for instance bot_fine\.weight",
    ),
    "one class": (
        lambda path, state: torch.save({**state, "final.6.weight": torch.zeros(1, 256, 1, 1)}, path),
        r"two classes at least",
    ),
    "a classifier": (
        lambda path, state: torch.save({"layer1.0.conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, path),
        r"pass it as model\.backbone_weights",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_one_line_and_leave_nothing(kind, state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, message = BROKEN[kind]
    path = tmp_path / "file.pth"
    write(path, state)
    result = run("convert", path, "--out", tmp_path / "model")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {path}: ")
    assert result.stderr.count("\n") == 1
    with pytest.raises(WeightsError, match=message):
        convert(path)
    assert os.listdir(tmp_path) == ["file.pth"]


def test_a_wrong_name_an_existing_folder_and_missing_arguments(checkpoint, tmp_path):
    out = tmp_path / "model"

    def error(*arguments):
        result = run("convert", *arguments)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        return result.stderr

    assert "is fcn_r50, not gscnn_wrn38; convert it with --from fcn_r50" in error(
        checkpoint, "--from", "gscnn_wrn38", "--out", out
    )
    assert "unknown network 'fcn50'; did you mean 'fcn_r50'?" in error(checkpoint, "--from", "fcn50", "--out", out)
    assert "no such file" in error(tmp_path / "none.pth", "--out", out)
    assert "a folder, not a file" in error(tmp_path, "--out", out)
    assert "--out is missing" in error(checkpoint)
    assert "CHECKPOINT is missing" in error("--out", out)
    assert "leave out --to-released" in error(checkpoint, "--to-released", "--from", NAME, "--out", out)
    assert not out.exists()
    out.mkdir()
    assert f"{out}: exists already" in error(checkpoint, "--out", out)
    assert list(out.iterdir()) == []
    with pytest.raises(ConfigError, match="unknown network 'x'"):
        convert(checkpoint, "x")


def test_the_list_names_all_ten():
    result = run("convert", "--list")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in NETWORKS)
    assert len(NETWORKS) == 10


# ── backbones' ImageNet files ──


@pytest.mark.parametrize("stem", ["in a sequence", "side by side"])
def test_imagenet_files_of_deep_stem_resnets_load_as_backbones(stem, state, tmp_path):
    theirs = {
        ours.removeprefix("backbone.net."): state[key]
        for key, ours in NETWORKS[NAME].table.items()
        if ours.startswith("backbone.")
    }
    flat = {
        "conv1.0": "conv1",
        "conv1.1": "bn1",
        "conv1.3": "conv2",
        "conv1.4": "bn2",
        "conv1.6": "conv3",
        "bn1": "bn3",
    }
    written = {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    for key, value in theirs.items():
        module, _, leaf = key.rpartition(".")
        written[f"{flat.get(module, module)}.{leaf}" if stem == "side by side" else key] = value
    torch.save(written, tmp_path / "resnet50-deep.pth")
    for backbone in ("resnet50s", "released_resnet50s"):
        model = crispseg.create_model("fcn", backbone=backbone, backbone_weights=str(tmp_path / "resnet50-deep.pth"))
        own = model.backbone.net.state_dict()
        assert all(torch.equal(own[key], value) for key, value in theirs.items())


# ── fine-tuning through the command line ──


@pytest.mark.slow
def test_fine_tuning_and_evaluating_a_converted_model(folder, tmp_path):
    settings = [
        "data.toy_train_images=2",
        "data.toy_val_images=2",
        "data.toy_size_hw=[64,96]",
        "data.crop_hw=[64,64]",
        "data.workers=0",
        "train.epochs=1",
        "train.batch_size=2",
        "train.picture_count=0",
        "train.accelerator=cpu",
    ]
    overrides = [part for setting in settings for part in ("--set", setting)]
    result = run("fit", "toy/gff", "--model", folder, "--out", tmp_path / "run", *overrides)
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "run" / "model" / "card.json").read_text())
    assert card["model"]["head"] == "released_deeplabv3plus"
    assert card["recipe"]["model"]["weights"] == str(folder)
    tuned = load_model(tmp_path / "run")
    assert tuned.label_space.name == "toy_streets"
    result = run("evaluate", tmp_path / "run", "--out", tmp_path / "scores")
    assert result.exit_code == 0, result.output
