"""What a user can mend ends in one line and an exit code, never in a traceback."""

import errno
import io
import logging
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import crispseg
from crispseg.cli import app
from crispseg.cli.console import make_progress, print_error, show_log
from crispseg.errors import TrainingError
from crispseg.io import read_label_ids


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_line(result: Result, code: int = 2) -> str:
    """The one line on stderr."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    network = crispseg.create_model("plain", backbone="resnet18", num_classes=3, channels=16, output_stride=32)
    crispseg.save_model(network, folder)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (40, 64, 3), dtype=np.uint8))
    return path


def test_an_unknown_key_names_the_nearest():
    assert "did you mean 'train.epochs'" in error_line(invoke("fit", "toy/gff", "--set", "train.epoch=3"))


def test_a_bad_value_names_the_key():
    line = error_line(invoke("fit", "toy/gff", "--set", "train.lr=fast"))
    assert "train.lr" in line
    assert "fast" in line


def test_an_unknown_recipe_names_the_nearest():
    assert "did you mean 'toy/gff'" in error_line(invoke("fit", "toy/gf"))


def test_a_missing_root_is_named(tmp_path: Path):
    root = tmp_path / "nowhere"
    line = error_line(invoke("fit", "camvid/gff", "--set", f"data.root={root}", "--out", tmp_path / "run"))
    assert str(root) in line


def test_failed_training_has_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def fail(*_: object, **__: object) -> None:
        raise TrainingError("loss is not finite in a.png")

    monkeypatch.setattr("crispseg.train.fit", fail)
    line = error_line(invoke("fit", "toy/gff", "--out", tmp_path), code=1)
    assert line == "error: loss is not finite in a.png"


def test_ctrl_c_has_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crispseg.train.fit", interrupt)
    assert invoke("fit", "toy/gff", "--out", tmp_path).exit_code == 130


def test_debug_keeps_the_traceback():
    result = invoke("--debug", "fit", "toy/gff", "--set", "train.epoch=3")
    assert isinstance(result.exception, crispseg.ConfigError)
    assert result.exception.__traceback__ is not None


def test_a_missing_model_is_named(photo: Path, tmp_path: Path):
    line = error_line(invoke("segment", tmp_path / "no_model", photo, "--out", tmp_path / "out"))
    assert "no_model" in line


def test_a_missing_image_stops_before_anything_is_done(model: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert "nothing.png" in error_line(invoke("segment", model, tmp_path / "nothing.png", "--out", out))
    assert not out.exists()


def test_a_broken_image_is_reported_and_the_others_are_done(model: Path, photo: Path, tmp_path: Path):
    broken, out = tmp_path / "broken.png", tmp_path / "out"
    broken.write_bytes(photo.read_bytes()[:2000])
    result = invoke("segment", model, broken, photo, "--out", out, "--device", "cpu")
    assert "broken.png" in error_line(result, code=1)
    assert "1 of 2" in result.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"photo_{kind}.png" for kind in ("boundaries", "labels", "mask_boundaries", "overlay")),
        "segmented.jsonl",
    ]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--scales", "big"], "--scales big"),
        (["--scales", "1e11"], "--scales 1e11"),
        (["--device", "abacus"], "--device abacus"),
        (["--window", "0", "64"], "window"),
        (["--only", "labels,"], "no output is called ''"),
        (["--shard", "3/2"], "--shard 3/2"),
        (["--shard", "9" * 5000], "--shard 999"),
    ],
)
def test_bad_options_of_segment_are_named(options: list[str], named: str, model: Path, photo: Path, tmp_path: Path):
    assert named in error_line(invoke("segment", model, photo, "--out", tmp_path / "out", *options))


def test_segmenting_in_windows(model: Path, photo: Path, tmp_path: Path):
    assert invoke("segment", model, photo, "--out", tmp_path / "out", "--window", "32", "48").exit_code == 0
    assert read_label_ids(tmp_path / "out/photo_labels.png").shape == (40, 64)


def test_evaluate_refuses_other_classes(model: Path):
    line = error_line(invoke("evaluate", model, "--data", "toy/plain"))
    assert "classes" in line


def test_evaluate_without_data_or_recipe_says_what_to_do(model: Path):
    assert "--data" in error_line(invoke("evaluate", model))


def test_evaluate_needs_a_layout_for_a_root(model: Path, tmp_path: Path):
    assert "--layout" in error_line(invoke("evaluate", model, "--data", tmp_path))


@pytest.mark.parametrize(
    "size", ["512", "0x512", "ax5", "5x", pytest.param("9" * 5000 + "x5", id="endless"), "9" * 30 + "x5", "5x1000001"]
)
def test_describe_refuses_a_bad_size(size: str):
    assert "--size" in error_line(invoke("describe", "plain", "--size", size))


def test_describe_refuses_classes_without_end():
    result = invoke("describe", "plain", "--classes", "9" * 20)
    assert result.exit_code == 2
    assert "--classes" in result.stderr


def test_describe_names_the_nearest_system():
    assert "did you mean 'gscnn'" in error_line(invoke("describe", "gscn"))


def test_describe_refuses_options_for_a_saved_model(model: Path):
    assert "backbone" in error_line(invoke("describe", model, "--backbone", "resnet18"))


def test_describe_refuses_an_unknown_stride():
    assert "output" in error_line(invoke("describe", "plain", "--output-stride", "7"))


def test_describe_prints_every_part():
    result = invoke("describe", "plain", "--backbone", "resnet18", "--size", "64x96", "--output-stride", "32")
    assert result.exit_code == 0, result.output
    assert "backbone" in result.stdout
    assert "total" in result.stdout


def test_the_demo_leaves_other_folders_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    assert "something else" in error_line(invoke("demo", "--out", tmp_path))


def test_the_baseline_is_not_compared_with_itself(tmp_path: Path):
    assert "baseline" in error_line(invoke("demo", "--system", "plain", "--compare", "--out", tmp_path / "demo"))


def test_version():
    assert invoke("--version").stdout == f"crispseg {crispseg.__version__}\n"


def test_nobody_has_to_read_stderr(monkeypatch: pytest.MonkeyPatch):
    """A terminal that has gone ends neither a run whose log goes there nor what an error says by its status."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EPIPE, "Broken pipe")

        flush = close = lambda self: None

    monkeypatch.setattr(sys, "stderr", Gone())
    show_log()
    logging.getLogger("crispseg.train").info("epoch 1 of 2")
    print_error("message")
    with make_progress() as progress:
        progress.update(progress.add_task("what"), completed=1)


def test_a_device_without_values_is_refused(model: Path, photo: Path, tmp_path: Path):
    line = error_line(invoke("segment", model, photo, "--out", tmp_path, "--device", "meta"))
    assert "--device meta" in line
