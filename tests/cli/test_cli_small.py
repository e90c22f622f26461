"""Small things that people meet in their first hour, through the real command line."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import crispseg
from crispseg.cli import app
from crispseg.labels import LabelSpace


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    network = crispseg.create_model("plain", backbone="test_resnet", num_classes=3, channels=8, output_stride=32)
    crispseg.save_model(network, folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / "__MACOSX").mkdir()
    cv2.imwrite(str(folder / "a.png"), np.random.default_rng(0).integers(0, 255, (40, 64, 3), dtype=np.uint8))
    for copy in ("b.png", ".ipynb_checkpoints/a-checkpoint.png"):
        shutil.copy(folder / "a.png", folder / copy)
    for left_over in ("._a.png", "__MACOSX/a.png"):
        (folder / left_over).write_bytes(b"Mac OS X")
    return folder


def test_help_shows_no_markup():
    text = invoke("push", "--help").stdout
    assert "hf auth login" in text
    assert "[b]" not in text


@pytest.mark.parametrize(
    ("typed", "meant"), [("train", "fit"), ("predict", "segment"), ("test", "evaluate"), ("check", "data check")]
)
def test_what_other_tools_call_a_command_is_known(typed, meant):
    result = invoke(typed, "something")
    assert result.exit_code == 2
    assert f"No such command '{typed}'. Did you mean '{meant}'?" in result.stderr.replace("\n", " ")


def test_debug_may_stand_behind_the_command():
    result = invoke("fit", "toy/gff", "--set", "train.epoch=3", "--debug")
    assert isinstance(result.exception, crispseg.ConfigError)
    assert invoke("fit", "toy/gff", "--set", "train.epoch=3").exit_code == 2


def test_a_mistyped_recipe_file_is_one_short_line():
    line = invoke("fit", "my_streets.yml").stderr.strip()
    assert line.endswith("no such file, and no packaged recipe; crispseg recipes lists them")
    assert "did you mean 'toy/gff'? crispseg recipes" in invoke("fit", "toy/gf").stderr


def test_segment_leaves_alone_what_systems_keep_for_themselves(model: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = invoke("segment", model, photos, "--out", out, "--only", "labels", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.glob("*.png")) == ["a_labels.png", "b_labels.png"]


def test_segment_skips_what_is_there_whoever_wrote_it(model: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_labels.png").write_bytes(b"mine")
    typed = ["segment", model, photos, "--out", out, "--only", "labels", "--skip-existing", "--device", "cpu"]
    result = invoke(*typed)
    assert "1 of 2 are in" in result.stdout
    assert "1 of 1 images segmented" in result.stdout
    assert (out / "a_labels.png").read_bytes() == b"mine"
    again = invoke(*typed)
    assert again.exit_code == 0
    assert "2 of 2 are in" in again.stdout


def test_one_fault_of_six_files_is_one_sentence(tmp_path: Path):
    (tmp_path / "labels.yaml").write_text("classes: [road, crack]\n", encoding="utf-8")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(3):
            labels = np.zeros((8, 8), np.uint8)
            labels[0, :4], labels[3, 3] = 1, 7
            for kind, pixels in (("images", rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)), ("labels", labels)):
                path = tmp_path / kind / split / f"{split}{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
    result = invoke("fit", "starter/fast", "--set", f"data.root={tmp_path}", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert result.stderr.count("it knows 0-1 and 255; add them to the table") == 1


def test_a_list_is_called_a_list():
    assert "data.crop_hw is 64, a list expected" in invoke("fit", "toy/gff", "--set", "data.crop_hw=64").stderr


def test_backgrounds_are_not_painted_red():
    table = LabelSpace.from_dict({"name": "cracks", "classes": ["background", "crack"]})
    assert [tuple(colour) for colour in table.palette[:2].tolist()] == [(64, 64, 64), (0, 128, 0)]
