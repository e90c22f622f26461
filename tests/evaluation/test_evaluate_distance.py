"""IoU at distance of a set, from the records to the page: against crops that are cut here by hand."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from label_folders import SPACE, RandomImages, evaluate_folders, random_pair, write_folders

from crispseg.errors import ConfigError
from crispseg.evaluation import compare, evaluate
from crispseg.evaluation.journal import RecordFile

IMAGES, FACTORS, MARGIN = 6, (0, 1, 2, 50), 2
CROPS = {"crop_factors_px": FACTORS, "crop_margin_px": MARGIN}


def cropped(array: np.ndarray, factor: int) -> np.ndarray:
    """GSCNN, section 4: the margin off all sides but the top, then the factor, twice as much at the sides."""
    if factor == 0:
        return array
    height, width = array.shape
    left_over = array[:, MARGIN : width - MARGIN][: height - MARGIN]
    height, width = left_over.shape
    if height <= 2 * factor or width <= 4 * factor:
        return left_over[:0, :0]
    return left_over[factor : height - factor, 2 * factor : width - 2 * factor]


def expected_iou(factor: int, silent: float = 0.02) -> np.ndarray:
    """IoU of the four classes over all images, pixel by pixel."""
    pairs = [random_pair(index, silent=silent) for index in range(IMAGES)]
    prediction, labels = (
        np.concatenate([cropped(array, factor).ravel() for array in arrays]) for arrays in zip(*pairs, strict=True)
    )
    prediction, labels = prediction[labels != 255], labels[labels != 255]
    both = np.array([((prediction == k) & (labels == k)).sum() for k in range(4)])
    either = np.array([((prediction == k) | (labels == k)).sum() for k in range(4)])
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def test_iou_in_each_crop_is_that_of_the_pixels_there(tmp_path: Path):
    scores = evaluate_folders(*write_folders(tmp_path, IMAGES), SPACE, **CROPS)
    for factor in FACTORS:
        np.testing.assert_allclose(list(scores.distance_iou[factor].values()), expected_iou(factor), rtol=1e-12)
    assert scores.distance_iou[0] == pytest.approx(scores.iou, nan_ok=True)
    assert scores.mean_distance_iou[2] == pytest.approx(np.nanmean(expected_iou(2)))
    assert len({round(scores.mean_distance_iou[factor], 6) for factor in (0, 1, 2)}) == 3
    assert np.isnan(scores.mean_distance_iou[50])  # no image has room for it


def test_a_model_is_scored_at_distance_too():
    images = RandomImages(IMAGES)
    scores = evaluate(images, images, (1,), crop_factors_px=(2,), crop_margin_px=MARGIN)
    np.testing.assert_allclose(list(scores.distance_iou[2].values()), expected_iou(2, silent=0), rtol=1e-12)


def test_it_is_off_by_default_and_leaves_no_trace(tmp_path: Path):
    scores = evaluate_folders(*write_folders(tmp_path, 2), SPACE, out=tmp_path / "out")
    assert scores.distance_iou == {}
    for name in ("scores.json", "scores.md", "report.html", "images.jsonl"):
        assert not re.search("distance|crop", (tmp_path / "out" / name).read_text()), name


def test_it_stands_in_all_files(tmp_path: Path):
    scores = evaluate_folders(*write_folders(tmp_path, IMAGES), SPACE, out=tmp_path / "out", **CROPS)
    values = json.loads((tmp_path / "out/scores.json").read_text())
    assert list(values["mean_distance_iou"]) == list(values["distance_iou"]) == ["0", "1", "2", "50"]
    assert values["mean_distance_iou"]["50"] is None
    assert values["distance_iou"]["2"]["pole"] == scores.distance_iou[2]["pole"]
    assert "crop" in values["averaging"]["distance_iou"]
    rows = [line for line in (tmp_path / "out/scores.md").read_text().splitlines() if line.startswith("| pole |")]
    assert rows[-1].split(" | ")[1:4] == [f"{100 * scores.distance_iou[factor]['pole']:.1f}" for factor in (0, 1, 2)]
    html = (tmp_path / "out/report.html").read_text()
    assert html.startswith("<!doctype html>")
    chart = html[html.index("<h2>IoU at distance</h2>") :]
    points = [tuple(map(float, point.split(","))) for point in re.search('points="([^"]*)"', chart)[1].split()]
    assert len(points) == 3  # the empty crop has none
    shares = [scores.mean_distance_iou[factor] for factor in (0, 1, 2)]
    np.testing.assert_allclose([y for _, y in points], [216 - 202 * share for share in shares], atol=0.1)


def test_where_no_crop_has_room_there_is_no_curve(tmp_path: Path):
    paths = write_folders(tmp_path, 2)
    scores = evaluate_folders(*paths, SPACE, crop_factors_px=(100, 200), out=tmp_path / "out")
    assert all(np.isnan(share) for share in scores.mean_distance_iou.values())
    assert "<h2>IoU at distance" not in (tmp_path / "out/report.html").read_text()


def stop(done: int, total: int) -> None:
    if done == 3:
        raise KeyboardInterrupt


def test_a_stopped_run_goes_on_with_the_same_crops_only(tmp_path: Path):
    paths, out = write_folders(tmp_path, IMAGES), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate_folders(*paths, SPACE, out=out, workers=1, progress=stop, **CROPS)
    assert RecordFile(out).settings.crop_factors_px == FACTORS
    with pytest.raises(ConfigError, match=r"crop_factors_px was \[0, 1, 2, 50\], and is None now"):
        evaluate_folders(*paths, SPACE, out=out, resume=True)
    with pytest.raises(ConfigError, match="crop_margin_px was 2, and is 3 now"):
        evaluate_folders(*paths, SPACE, out=out, resume=True, crop_factors_px=FACTORS, crop_margin_px=3)
    resumed = evaluate_folders(*paths, SPACE, out=out, resume=True, **CROPS)
    assert resumed == evaluate_folders(*paths, SPACE, out=tmp_path / "whole", **CROPS)
    for name in ("images.jsonl", "scores.json", "scores.md", "report.html"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("crops", "named"),
    [
        ({"crop_factors_px": (1, 1)}, r"crop_factors_px is \(1, 1\)"),
        ({"crop_factors_px": (-1,)}, "crop_factors_px"),
        ({"crop_factors_px": (0.5,)}, "whole numbers"),
        ({"crop_factors_px": (1,), "crop_margin_px": -1}, "crop_margin_px is -1"),
    ],
)
def test_crops_that_do_not_fit_are_named(crops: dict, named: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=named):
        evaluate_folders(*write_folders(tmp_path, 1), SPACE, **crops)


def test_runs_are_compared_at_distance_if_they_have_the_same_crops(tmp_path: Path):
    masks, labels = write_folders(tmp_path, IMAGES)
    ours = evaluate_folders(masks, labels, SPACE, (1,), out=tmp_path / "ours", **CROPS)
    right = evaluate_folders(labels, labels, SPACE, (1,), out=tmp_path / "right", **CROPS)
    evaluate_folders(labels, labels, SPACE, (1,), out=tmp_path / "other", crop_factors_px=FACTORS)
    compared = compare([tmp_path / "ours", tmp_path / "right"], 50)
    by_run = compared.mean_iou_at_distance()
    assert list(by_run) == [str(tmp_path / "ours"), str(tmp_path / "right")]
    for found, scores in zip(by_run.values(), (ours, right), strict=True):
        assert found == pytest.approx(scores.mean_distance_iou, nan_ok=True)
    (pole,) = [entry for entry in compared.differences if (entry.crop_factor_px, entry.class_name) == (1, "pole")]
    assert (pole.score, pole.radius_px) == ("IoU at distance", None)
    assert pole.first == pytest.approx(ours.distance_iou[1]["pole"])
    assert pole.low <= pole.difference <= pole.high
    assert "| IoU crop 1 | pole |" in compared.to_markdown()
    boundary = [entry.value for entry in compared.differences if entry.radius_px == 1 and entry.class_name is None]
    assert boundary == [pytest.approx(right.mean_boundary_f[1])]
    assert compare([tmp_path / "ours", tmp_path / "other"], 5).mean_iou_at_distance() == {}
