"""Scores that are chosen by name: the same values as among all, nothing else counted, and never mixed in silence."""

import json
import math
from dataclasses import fields
from pathlib import Path

import pytest
from label_folders import SPACE, RandomImages, evaluate_folders, write_folders

from crispseg.errors import ConfigError
from crispseg.evaluation import compare, evaluate, records
from crispseg.evaluation.journal import RecordFile
from crispseg.metrics.table import DEFINITIONS, SCORES

IMAGES = 4
FOLLOWING = [name for name in SCORES if DEFINITIONS[name].by not in ("category", "crop") and name != "iiou"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_folders(tmp_path_factory.mktemp("folders"), IMAGES)


@pytest.fixture(scope="module")
def every(folders: tuple[Path, Path]):
    return evaluate_folders(*folders, SPACE)


@pytest.mark.parametrize("name", FOLLOWING)
def test_a_chosen_score_is_that_of_all_and_stands_alone(name: str, folders, every, tmp_path: Path):
    out = tmp_path / "out"
    scores = evaluate_folders(*folders, SPACE, out=out, scores=[name])
    for entry in fields(scores):
        value = getattr(scores, entry.name)
        if entry.name in (name, "images") or (name == "boundary_f" and entry.name == "boundary_f_absent_one"):
            assert repr(value) == repr(getattr(every, entry.name))
        elif entry.name in DEFINITIONS:
            assert value == {} or math.isnan(value), entry.name
    written = json.loads((out / "scores.json").read_text())
    of_it = {name, f"mean_{name}"} | ({"boundary_f_absent_one", "mean_boundary_f_absent_one"} & written.keys())
    assert set(written) - {"images", "skipped", "averaging"} == of_it & written.keys()
    assert (out / "report.html").stat().st_size
    assert RecordFile(out).settings.scores == (name,)
    for title in set(every.detail_tables()) - set(scores.detail_tables()):
        assert title not in (out / "scores.md").read_text()
    rows = scores.table_rows()
    assert bool(rows) == (DEFINITIONS[name].by is not None)
    if rows:
        assert all(DEFINITIONS[name].heading in heading for heading in rows[0][1:])


def test_only_what_is_needed_is_counted(folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for function in ("boundary_match_counts", "boundary_iou_counts", "trimap_counts_by_radius", "distance_counts"):
        monkeypatch.delattr(records, function)
    scores = evaluate_folders(*folders, SPACE, out=tmp_path / "out", scores=("pixel_accuracy", "iou"))
    assert scores.chosen == ("iou", "pixel_accuracy")
    (first, *_) = list(RecordFile(tmp_path / "out"))
    assert first.boundary is None
    assert first.trimap is None


def test_a_model_is_scored_by_name_too():
    images = RandomImages(IMAGES)
    scores = evaluate(images, images, (1,), scores=("boundary_f",), absent="one")
    assert scores.table_rows()[0] == ["class", "F (absent 1) 1 px"]
    with pytest.raises(ConfigError, match="iiou, which needs instance files"):
        evaluate(images, images, (1,), scores=("iiou",))


def stop(done: int, total: int) -> None:
    if done == 2:
        raise KeyboardInterrupt


def test_a_stopped_run_goes_on_with_the_same_scores_only(folders, tmp_path: Path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    with pytest.raises(KeyboardInterrupt):
        evaluate_folders(*folders, SPACE, out=out, workers=1, progress=stop, scores=("iou",))
    with pytest.raises(ConfigError, match=r"scores was \['iou'\], and is all now; go on as it began"):
        evaluate_folders(*folders, SPACE, out=out, resume=True)
    resumed = evaluate_folders(*folders, SPACE, out=out, resume=True, scores=("iou",))
    assert resumed == evaluate_folders(*folders, SPACE, out=whole, scores=("iou",))
    for name in ("images.jsonl", "scores.json", "scores.md", "report.html"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_record_without_what_its_run_counts_is_refused(folders, tmp_path: Path):
    evaluate_folders(*folders, SPACE, out=tmp_path, scores=("iou",))
    path = tmp_path / "images.jsonl"
    path.write_text(path.read_text().replace('"scores": ["iou"]', '"scores": ["iou", "trimap_iou"]'))
    with pytest.raises(Exception, match="trimap has the shape None"):
        list(RecordFile(tmp_path))


def test_an_older_record_has_all_scores(folders, tmp_path: Path, every):
    evaluate_folders(*folders, SPACE, out=tmp_path)
    assert "scores" not in json.loads((tmp_path / "images.jsonl").read_text().splitlines()[0])
    assert evaluate_folders(*folders, SPACE, out=tmp_path, resume=True) == every


def test_runs_of_other_scores_are_compared_on_those_that_are_named(folders, tmp_path: Path):
    masks, labels = folders
    for name, scores in (("all", None), ("iou", ("iou",)), ("trimap", ("trimap_iou",))):
        evaluate_folders(masks, labels, SPACE, out=tmp_path / name, scores=scores)
    evaluate_folders(labels, labels, SPACE, (4,), out=tmp_path / "other", scores=("iou",))
    runs = [tmp_path / "all", tmp_path / "iou"]
    with pytest.raises(ConfigError, match=r"iou, but .* has all scores; say which to compare, for instance"):
        compare(runs, 10)
    with pytest.raises(ConfigError, match="boundary_f is to be compared, but the run has iou only"):
        compare(runs, 10, scores=("boundary_f",))
    with pytest.raises(ConfigError, match="trimap_iou, which is not compared"):
        compare(runs, 10, scores=("trimap_iou",))
    with pytest.raises(ConfigError, match="not all runs have it for the same crops"):
        compare([tmp_path / "all", tmp_path / "all/../all"], 10, scores=("distance_iou",))
    with pytest.raises(ConfigError, match="none of the scores that are compared"):
        compare([tmp_path / "trimap", tmp_path / "all/../trimap"], 10)
    compared = compare(runs, 10, scores=("iou",))
    assert {entry.score for entry in compared.differences} == {"IoU"}
    assert all(entry.difference == 0 or math.isnan(entry.difference) for entry in compared.differences)
    assert list(compared.to_dict()["averaging"]) == ["IoU"]
    assert "boundary" not in compared.note()
    assert compare([tmp_path / "iou", tmp_path / "other"], 10).differences  # radii do not matter to IoU


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"scores": ()}, "scores is empty"),
        ({"scores": ("iou", "iou")}, "none twice"),
        ({"scores": ("bounary_f",)}, "did you mean 'boundary_f'"),
        ({"scores": ("boundary_f_absent_one",)}, "ask for boundary_f"),
        ({"scores": ("distance_iou",)}, "needs crop_factors_px"),
        ({"scores": ("iou",), "crop_factors_px": (0,)}, "of use with the score distance_iou only"),
        ({"scores": ("iou",), "instances": True}, "for the scores iiou and category_iiou only"),
        ({"scores": ("iiou",), "instances": False}, "leave one of the two out"),
    ],
)
def test_scores_that_do_not_fit_are_named(options: dict, named: str, folders):
    with pytest.raises(ConfigError, match=named):
        evaluate_folders(*folders, SPACE, **options)


def test_categories_need_a_table_that_has_them(folders):
    with pytest.raises(ConfigError, match="'camvid' has no categories"):
        evaluate_folders(*folders, "camvid", scores=("category_iou",))
    assert evaluate_folders(*folders, SPACE, scores=("category_iou",)).category_rows()[0] == ["category", "IoU"]
