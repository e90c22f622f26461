"""``crispseg evaluate`` on two folders of label images, through the real command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from crispseg.cli import app
from crispseg.evaluation.journal import Journal
from crispseg.io import write_png

TABLE = "classes:\n  - {name: ground, ids: [3]}\n  - {name: sky, ids: [5]}\nignore_ids: [9]\n"


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A folder with ``masks``, ``labels`` and ``table.yaml``."""
    (tmp_path / "table.yaml").write_text(TABLE)
    rng = np.random.default_rng(0)
    for index in range(4):
        labels = np.where(np.arange(12)[:, None] > rng.integers(3, 9), 3, 5) * np.ones((1, 16), int)
        for name, ids in (("labels", labels), ("masks", np.roll(labels, 1, axis=0))):
            write_png(tmp_path / name / f"{index}.png", ids.astype(np.uint8))
    return tmp_path


def options(scene: Path) -> list[str]:
    return [
        *("--predictions", str(scene / "masks"), "--labels", str(scene / "labels")),
        *("--label-space", str(scene / "table.yaml")),
    ]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "200"})


def error_line(result: Result) -> str:
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_the_papers_rule_for_absent_classes_is_shown_and_both_are_written(scene: Path):
    write_png(scene / "labels/9.png", np.full((12, 16), 3, np.uint8))  # shows neither boundaries nor sky
    write_png(scene / "masks/9.png", np.full((12, 16), 3, np.uint8))
    result = invoke(*options(scene), "--out", scene / "out", "--radii", "1", "--absent", "one")
    assert result.exit_code == 0, result.output
    scores = json.loads((scene / "out/scores.json").read_text())
    papers, ours = scores["mean_boundary_f_absent_one"]["1"], scores["mean_boundary_f"]["1"]
    assert papers == pytest.approx((4 * ours + 1) / 5)
    printed = " ".join(result.stdout.split())
    assert "F (absent 1) 1 px" in printed
    assert "absent classes counting 1, as in the papers" in printed
    assert f"{100 * papers:.1f}" in (scene / "out/scores.md").read_text()
    assert "--absent zero: skip or one expected" in error_line(invoke(*options(scene), "--absent", "zero"))


def test_folders_are_scored_and_files_written(scene: Path):
    result = invoke(*options(scene), "--out", scene / "out", "--radii", "0,1.5", "--workers", 2)
    assert result.exit_code == 0, result.output
    scores = json.loads((scene / "out/scores.json").read_text())
    assert scores["images"] == 4
    assert list(scores["boundary_f"]) == ["0", "1.5"]
    assert "F 1.5 px" in result.stdout
    assert f"{100 * scores['mean_iou']:.1f}" in result.stdout
    assert "mean over images" in " ".join(result.stdout.split())
    held = sorted(path.name for path in (scene / "out").iterdir())
    assert held == ["images.jsonl", "report.html", "scores.json", "scores.md"]


def test_the_page_of_all_images_is_written_where_it_is_asked_for(scene: Path):
    result = invoke(*options(scene), "--out", scene / "out", "--browse")
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith("browse.html")
    assert len(list((scene / "out/browse").glob("errors/*.png"))) == 4
    assert 'href="browse.html"' in (scene / "out/report.html").read_text()
    result = invoke(*options(scene), "--out", scene / "out")
    assert 'href="browse.html"' not in (scene / "out/report.html").read_text()
    assert "--browse" in error_line(invoke(*options(scene), "--browse"))


def test_bad_files_are_listed_in_one_error_and_can_be_skipped(scene: Path):
    (scene / "masks/0.png").unlink()
    (scene / "masks/1.png").write_bytes(b"no image")
    line = error_line(invoke(*options(scene)))
    assert "no prediction" in line
    assert "1.png" in line
    assert "--skip-bad" in line
    result = invoke(*options(scene), "--skip-bad", "--out", scene / "out")
    assert result.exit_code == 0
    assert "2 images skipped" in result.stdout
    assert "problems.txt" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "name a model, or give --predictions"),
        (["runs/x/model", "--predictions", "masks"], "name a model, or give --predictions"),
        (["--predictions", "masks"], "--labels and --label-space"),
        (["runs/x/model", "--labels", "labels"], "--labels: of use with --predictions only"),
        (
            ["--predictions", "m", "--labels", "l", "--label-space", "camvid", "--data", "d"],
            "--data: of use with a model",
        ),
        (["--predictions", "m", "--labels", "l", "--label-space", "camvib"], "did you mean 'camvid'"),
        (["--predictions", "m", "--labels", "l", "--label-space", "camvid", "--radii", "a"], "--radii a"),
        (["--predictions", "m", "--labels", "l", "--label-space", "camvid", "--encoding", "ids"], "'raw-ids'"),
        (["--predictions", "m", "--labels", "l", "--label-space", "camvid", "--resume"], "--out"),
    ],
)
def test_options_that_do_not_fit_are_named(arguments: list[str], named: str):
    assert named in error_line(invoke(*arguments))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_to_go_on(scene: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    append, appended = Journal.append, []

    def stop_at_third(self, record):
        appended.append(record)
        if len(appended) == 3:
            os.kill(os.getpid(), number)
        append(self, record)

    monkeypatch.setattr(Journal, "append", stop_at_third)
    asked = [*options(scene), "--out", scene / "out", "--workers", 1]
    result = invoke(*asked)
    assert result.exit_code == 128 + number
    assert "2 of 4 images are scored; the same command with --resume goes on" in result.stderr
    monkeypatch.undo()
    assert "--resume" in error_line(invoke(*asked))
    assert invoke(*asked, "--resume").exit_code == 0
    whole = invoke(*options(scene), "--out", scene / "whole")
    assert whole.exit_code == 0
    assert (scene / "out/scores.json").read_bytes() == (scene / "whole/scores.json").read_bytes()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system cannot kill")
def test_a_killed_process_leaves_what_it_scored(scene: Path):
    """Nothing of Python runs any more after SIGKILL; what was written must do."""
    for index in range(4, 400):
        for name in ("masks", "labels"):
            (scene / name / f"{index}.png").write_bytes((scene / name / f"{index % 4}.png").read_bytes())
    command = [
        sys.executable,
        "-m",
        "crispseg",
        "evaluate",
        *options(scene),
        "--out",
        str(scene / "out"),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    records = scene / "out/images.jsonl"
    for _ in range(3000):
        if records.exists() and records.read_bytes().count(b"\n") > 20:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = records.read_bytes().count(b"\n") - 1
    assert 20 <= kept < 400
    result = invoke(*options(scene), "--out", scene / "out", "--resume")
    assert result.exit_code == 0, result.output
    assert json.loads((scene / "out/scores.json").read_text())["images"] == 400


def test_only_the_scores_that_are_named_are_shown(scene: Path):
    every, iou = invoke(*options(scene)), invoke(*options(scene), "--scores", "iou", "--out", scene / "out")
    assert "F 1 px" in every.output
    assert "IoU" in iou.output
    assert "F 1 px" not in iou.output
    assert "pixels right" not in iou.output
    assert "boundary" not in (scene / "out/scores.json").read_text()
    resumed = invoke(*options(scene), "--out", scene / "out", "--resume")
    assert "scores was ['iou'], and is all now" in error_line(resumed)
    wrong = invoke(*options(scene), "--scores", "iou,boundry_f")
    assert "did you mean 'boundary_f'" in error_line(wrong)
    assert invoke(*options(scene), "--scores", "pixel_accuracy").exit_code == 0
