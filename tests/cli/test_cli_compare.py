"""``crispseg compare`` through the real command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from crispseg.cli import app
from crispseg.evaluation import evaluate_folders
from crispseg.io import read_image, write_png
from crispseg.labels import LabelSpace
from crispseg.pages.browse import BrowsePage
from crispseg.pictures import plot_iou_at_distance

SPACE = LabelSpace.from_dict({"name": "two", "classes": ["ground", "sky"]})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs ``plain``, one pixel off, ``right``, and ``fewer``, without the last image."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    for index in range(6):
        labels = (np.arange(12)[:, None] < rng.integers(3, 9)) * np.ones((1, 16), np.uint8)
        maps = {"labels": labels, "right": labels, "plain": np.roll(labels, 1, axis=0), "fewer": labels}
        for name, ids in maps.items():
            write_png(folder / f"masks/{name}/{index}.png", ids.astype(np.uint8))
    (folder / "masks/fewer/5.png").unlink()
    for name in ("plain", "right", "fewer"):
        skip = name == "fewer"
        masks = folder / "masks"
        crops = {} if name == "fewer" else {"crop_factors_px": (0, 1, 2), "crop_margin_px": 1}
        evaluate_folders(masks / name, masks / "labels", SPACE, (0, 2), out=folder / name, skip_bad=skip, **crops)
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_papers_boundary_f_can_be_compared(runs: Path, tmp_path: Path):
    result = invoke(runs / "plain", runs / "right", "--resamples", 50, "--absent", "one", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "absent classes counting 1" in " ".join(result.stdout.split())
    assert "counting 1" in json.loads((tmp_path / "compare.json").read_text())["averaging"]["boundary F"]


def test_differences_are_printed_and_written(runs: Path, tmp_path: Path):
    result = invoke(runs / "plain", runs / "right", "--resamples", 200, "--seed", 4, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "compare.json").read_text())
    assert (values["images"], values["resamples"], values["seed"]) == (6, 200, 4)
    mean = values["differences"][0]
    assert mean["value"] == 1
    assert mean["excludes_zero"]
    assert mean["first"] == pytest.approx(json.loads((runs / "plain/scores.json").read_text())["mean_iou"])
    assert f"+{100 * mean['difference']:.2f}" in result.stdout
    assert "paired bootstrap over images" in " ".join(result.stdout.split())
    assert "| IoU | mean |" in (tmp_path / "compare.md").read_text()


def test_runs_are_shown_beside_each_other_once_each_has_its_pictures(runs: Path, tmp_path: Path):
    asked = (runs / "plain", runs / "right", "--resamples", 20, "--browse")
    result = invoke(*asked)
    assert result.exit_code == 2
    assert "--out" in result.stderr
    result = invoke(*asked, "--out", tmp_path / "compared")
    assert result.exit_code == 2
    assert "plain: no pictures" in result.stderr
    assert "--resume --browse" in result.stderr
    assert not (tmp_path / "compared").exists()
    for name in ("plain", "right"):
        page, masks = BrowsePage(tmp_path / name), runs / "masks"
        folders = (masks / name, masks / "labels")
        evaluate_folders(*folders, SPACE, (0, 2), out=page.folder, watch=page.draw, report=page.write)
    result = invoke(tmp_path / "plain", tmp_path / "right", *asked[2:], "--out", tmp_path / "compared")
    assert result.exit_code == 0, result.output
    assert "browse.html" in result.stdout
    assert (tmp_path / "compared/browse.html").is_file()


def test_images_are_drawn_in_groups(runs: Path):
    for group_by, groups in (("2", 3), ("[0-3]|$", 5)):
        result = invoke(runs / "plain", runs / "right", "--group-by", group_by)
        assert result.exit_code == 0, result.output
        assert f"paired bootstrap over {groups} groups of images" in " ".join(result.stdout.split())
    assert invoke(runs / "plain", runs / "right", "--group-by", "(").exit_code == 2


def test_other_images_need_common(runs: Path):
    result = invoke(runs / "right", runs / "fewer")
    assert result.exit_code == 2
    assert "--common" in result.stderr
    result = invoke(runs / "right", runs / "fewer", "--common")
    assert result.exit_code == 0, result.output
    assert "5 images (1 others left out)" in " ".join(result.stdout.split())


def test_one_run_is_not_enough(runs: Path):
    result = invoke(runs / "plain")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1


def test_iou_at_distance_is_plotted(runs: Path, tmp_path: Path):
    result = invoke(runs / "plain", runs / "right", "--resamples", 20, "--plot", tmp_path / "distance.png")
    assert result.exit_code == 0, result.output
    assert "distance.png" in result.stdout
    assert "IoU crop 2" in result.stdout
    numbers = {}
    for name in ("plain", "right"):
        by_factor = json.loads((runs / name / "scores.json").read_text())["mean_distance_iou"]
        numbers[str(runs / name)] = {int(factor): share for factor, share in by_factor.items()}
    np.testing.assert_array_equal(read_image(tmp_path / "distance.png"), plot_iou_at_distance(numbers))


def test_boundary_f_is_plotted_for_screen_and_print(runs: Path, tmp_path: Path):
    for kind in ("png", "pdf", "svg"):
        result = invoke(runs / "plain", runs / "right", "--resamples", 20, "--plot-f", tmp_path / f"f.{kind}")
        assert result.exit_code == 0, result.output
    scores = [json.loads((runs / name / "scores.json").read_text())["boundary_f"] for name in ("plain", "right")]
    assert read_image(tmp_path / "f.png").shape == (420, 640, 3)
    assert all(scores)
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")
    assert b"<svg" in (tmp_path / "f.svg").read_bytes()


def test_what_cannot_be_plotted_is_named(runs: Path, tmp_path: Path):
    result = invoke(runs / "right", runs / "fewer", "--common", "--plot", tmp_path / "distance.png")
    assert result.exit_code == 2
    assert "--crop-factors" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "ends in .png, .pdf, .svg" in invoke(runs / "plain", runs / "right", "--plot", tmp_path / "x.jpg").stderr
    for name in ("a", "b"):
        masks = runs / "masks"
        evaluate_folders(masks / "right", masks / "labels", SPACE, (1,), crop_factors_px=(400,), out=tmp_path / name)
    result = invoke(tmp_path / "a", tmp_path / "b", "--plot", tmp_path / "distance.png")
    assert "no room for any of the crops" in result.stderr
    assert not (tmp_path / "distance.png").exists()
