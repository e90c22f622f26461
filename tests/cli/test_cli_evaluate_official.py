"""``crispseg evaluate`` with instances and with crops, through the real command line."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from crispseg.cli import app
from crispseg.io import write_png
from crispseg.metrics import cityscapes_counts, cityscapes_scores

MINI = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "cityscapes_mini"
NAMES = {
    "iou": "classScores",
    "iiou": "classInstScores",
    "category_iou": "categoryScores",
    "category_iiou": "categoryInstScores",
}
MEANS = {
    "mean_iou": "averageScoreClasses",
    "mean_iiou": "averageScoreInstClasses",
    "mean_category_iou": "averageScoreCategories",
    "mean_category_iiou": "averageScoreInstCategories",
}


def invoke(predictions: Path, labels: Path, *arguments: object) -> Result:
    folders = ["--predictions", predictions, "--labels", labels, "--label-space", "cityscapes", "--radii", 1]
    return CliRunner().invoke(app, ["evaluate", *map(str, [*folders, *arguments])], env={"COLUMNS": "200"})


def assert_scores(values: dict, official: dict) -> None:
    for ours, theirs in NAMES.items():
        assert {name for name, value in official[theirs].items() if not math.isnan(value)} <= set(values[ours])
        for name, value in values[ours].items():
            assert (math.nan if value is None else value) == pytest.approx(
                official[theirs][name], abs=1e-9, rel=0, nan_ok=True
            ), (ours, name)
    for ours, theirs in MEANS.items():
        assert values[ours] == pytest.approx(official[theirs], abs=1e-9, rel=0)


def test_the_mini_set_scores_as_the_official_evaluation_prints(tmp_path: Path):
    if not MINI.is_dir():
        pytest.skip("shared/golden/cityscapes_mini is not beside the project")
    result = invoke(MINI / "pred", MINI / "gt", "--instances", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    official = json.loads((MINI / "official_scores.json").read_text())
    assert_scores(json.loads((tmp_path / "scores.json").read_text()), official)
    assert "iIoU" in result.stdout
    assert "vehicle" in result.stdout
    assert f"{100 * official['averageScoreInstCategories']:.1f}" in result.stdout


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path, tuple[np.ndarray, ...]]:
    """One image as files, and its maps: two cars and a person, half of it wrong."""
    labels = np.kron([[7, 26, 26], [24, 23, 26]], np.ones((8, 12), int))
    instances = np.kron([[7, 26000, 26000], [24001, 23, 26001]], np.ones((8, 12), int))
    prediction = np.roll(labels, 3, axis=1)
    prediction[:2, :20] = 29
    stem = "town_000000_000019"
    write_png(tmp_path / f"masks/{stem}.png", prediction.astype(np.uint8))
    write_png(tmp_path / f"gt/{stem}_gtFine_labelIds.png", labels.astype(np.uint8))
    write_png(tmp_path / f"gt/{stem}_gtFine_instanceIds.png", instances.astype(np.uint16))
    return tmp_path / "masks", tmp_path / "gt", (prediction, labels, instances)


def test_files_with_instances_score_by_the_official_rules(written, tmp_path: Path):
    masks, labels, maps = written
    assert invoke(masks, labels, "--out", tmp_path / "out").exit_code == 0
    scores = cityscapes_scores(cityscapes_counts(*maps))
    official = dict(zip(NAMES.values(), (scores.class_iou, scores.class_iiou), strict=False))
    official |= {"categoryScores": scores.category_iou, "categoryInstScores": scores.category_iiou}
    official |= {"averageScoreClasses": scores.mean_class_iou, "averageScoreInstClasses": scores.mean_class_iiou}
    official |= {"averageScoreCategories": scores.mean_category_iou}
    official |= {"averageScoreInstCategories": scores.mean_category_iiou}
    assert_scores(json.loads((tmp_path / "out/scores.json").read_text()), official)


def test_instances_are_demanded_or_left_out(written):
    masks, labels, _ = written
    assert "iIoU" not in invoke(masks, labels, "--no-instances").stdout
    next(labels.glob("*_instanceIds.png")).unlink()
    result = invoke(masks, labels, "--instances")
    assert result.exit_code == 2
    assert "no instance file beside the labels" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "iIoU" not in invoke(masks, labels).stdout


def test_iou_at_distance_is_printed_by_crop_factor(written, tmp_path: Path):
    masks, labels, _ = written
    result = invoke(masks, labels, "--crop-factors", "0,1,2", "--crop-margin", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "out/scores.json").read_text())
    row = [line for line in result.stdout.splitlines() if "mean" in line and line.count("│") >= 5][-1]
    assert [cell.strip() for cell in row.split("│")[2:5]] == [
        f"{100 * values['mean_distance_iou'][factor]:.1f}" for factor in ("0", "1", "2")
    ]
    assert values["mean_distance_iou"]["0"] == values["mean_iou"]
    assert "crop 2" in result.stdout
    assert "crops by" not in result.stderr


def test_crops_that_hold_nothing_are_said(written):
    masks, labels, _ = written
    result = invoke(masks, labels, "--crop-factors", "0,1,2")
    assert result.exit_code == 0, result.output
    assert "crops by 1, 2 px with a margin of 100 px hold no labelled pixel of any image" in result.stderr
    assert "--crop-margin" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--crop-factors", "1,a"], "--crop-factors 1,a: whole pixels"),
        (["--crop-factors", "-1"], "--crop-factors -1"),
        (["--crop-factors", "1,1"], "crop_factors_px is (1, 1)"),
        (["--crop-factors", "0," + "9" * 5000], "--crop-factors 0,999"),
        (["--crop-margin", "3"], "--crop-margin 3: of use with --crop-factors only"),
    ],
)
def test_crops_that_do_not_fit_are_named(arguments: list[str], named: str, written):
    result = invoke(*written[:2], *arguments)
    assert result.exit_code == 2
    assert named in result.stderr


def test_instances_belong_to_folders():
    result = CliRunner().invoke(app, ["evaluate", "runs/x/model", "--no-instances"])
    assert result.exit_code == 2
    assert "--instances: of use with --predictions only" in result.stderr
