"""Comparisons: the bootstrap against drawing images one by one, and runs that do not belong together."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_folders import RAW, SPACE, random_pair, write_folders

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation import bootstrap, compare, evaluate_folders
from crispseg.io import write_png
from crispseg.labels import LabelSpace
from crispseg.metrics import boundary_f_score

IMAGES = 12
RADII = (1, 2)


def better(index: int) -> np.ndarray:
    """A prediction with half of the errors of the other."""
    prediction, labels = random_pair(index)
    mend = np.random.default_rng((5, index)).random(labels.shape) < 0.5
    return np.where(mend & (labels != 255), labels, prediction)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs ``plain`` and ``better``, and ``few`` of the first images of the latter."""
    folder = tmp_path_factory.mktemp("runs")
    masks, labels = write_folders(folder, IMAGES)
    evaluate_folders(masks, labels, SPACE, RADII, out=folder / "plain")
    for index in range(IMAGES):
        write_png(folder / f"better_masks/image_{index}.png", RAW[better(index)])
    evaluate_folders(folder / "better_masks", labels, SPACE, RADII, out=folder / "better")
    for index in range(IMAGES - 2):
        for name, ids in zip(("few_masks", "few_labels"), (better(index), random_pair(index)[1]), strict=True):
            write_png(folder / name / f"image_{index}.png", RAW[ids])
    evaluate_folders(folder / "few_masks", folder / "few_labels", SPACE, RADII, out=folder / "few")
    return folder


def plain_scores(predictions: list[np.ndarray], labels: list[np.ndarray]) -> np.ndarray:
    """IoU and boundary F by radius (3, 1 + 4) of a list of images, the plain way."""
    rows = []
    counted = [true != 255 for true in labels]
    ours = np.concatenate([p[c] for p, c in zip(predictions, counted, strict=True)])
    true = np.concatenate([t[c] for t, c in zip(labels, counted, strict=True)])
    rows.append([((ours == k) & (true == k)).sum() / max(((ours == k) | (true == k)).sum(), 1) for k in range(3)])
    filled = [np.where(p == 255, 4, p) for p in predictions]
    f = np.array([boundary_f_score(p, t, 5, RADII) for p, t in zip(filled, labels, strict=True)])[:, :, :3]
    rows += list(np.nanmean(f, axis=0))
    return np.array([[np.mean(row), *row] for row in rows])


@pytest.mark.slow
def test_intervals_are_those_of_drawing_images_one_by_one(runs: Path):
    result = compare([runs / "plain", runs / "better"], resamples=2000, seed=3)
    labels = [random_pair(index)[1] for index in range(IMAGES)]
    plain, good = ([p(index) for index in range(IMAGES)] for p in (lambda i: random_pair(i)[0], better))
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        at = rng.integers(0, IMAGES, IMAGES)
        a, b = (plain_scores([maps[i] for i in at], [labels[i] for i in at]) for maps in (plain, good))
        drawn.append(b - a)
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    first, value = plain_scores(plain, labels), plain_scores(good, labels)
    entries = iter(result.differences)
    ratios = []
    for row, radius in enumerate((None, *RADII)):
        for column, name in enumerate((None, "sky", "road", "pole")):
            entry = next(entries)
            assert (entry.radius_px, entry.class_name) == (radius, name)
            assert entry.first == pytest.approx(first[row, column])
            assert entry.value == pytest.approx(value[row, column])
            width = high[row, column] - low[row, column]
            assert entry.low == pytest.approx(low[row, column], abs=0.2 * width)
            assert entry.high == pytest.approx(high[row, column], abs=0.2 * width)
            ratios.append((entry.high - entry.low) / width)
        ghost = next(entries)
        assert np.isnan([ghost.value, ghost.low]).all()
        assert not ghost.excludes_zero
    assert np.mean(ratios) == pytest.approx(1, abs=0.08)  # intervals of 90 % would be 0.84 as wide
    assert result.differences[0].excludes_zero
    assert result.images == IMAGES


def test_the_papers_boundary_f_can_be_compared(runs: Path):
    found = compare([runs / "plain", runs / "better"], resamples=50, absent="one")
    scores = {
        name: json.loads((runs / name / "scores.json").read_text(encoding="utf-8")) for name in ("plain", "better")
    }
    means = {entry.radius_px: entry for entry in found.differences if entry.radius_px and entry.class_name is None}
    for radius, entry in means.items():
        assert entry.first == pytest.approx(scores["plain"]["mean_boundary_f_absent_one"][str(radius)])
        assert entry.value == pytest.approx(scores["better"]["mean_boundary_f_absent_one"][str(radius)])
    assert set(means) == set(RADII)
    assert "absent classes counting 1" in found.note()
    assert "absent classes skipped" in compare([runs / "plain", runs / "better"], resamples=50).note()
    with pytest.raises(ConfigError, match="absent is 'zero'; skip or one expected"):
        compare([runs / "plain", runs / "better"], absent="zero")


def test_a_run_does_not_differ_from_itself(runs: Path, tmp_path: Path):
    (tmp_path / "again").mkdir()
    (tmp_path / "again/images.jsonl").write_bytes((runs / "plain/images.jsonl").read_bytes())
    for entry in compare([runs / "plain", tmp_path / "again"]).differences:
        if entry.class_name != "ghost":
            assert (entry.low, entry.difference, entry.high) == (0, 0, 0)
        assert not entry.excludes_zero


def test_turned_around_the_differences_change_sign(runs: Path):
    ours = compare([runs / "plain", runs / "better"])
    theirs = compare([runs / "better", runs / "plain"])
    for a, b in zip(ours.differences, theirs.differences, strict=True):
        if a.class_name != "ghost":
            assert (a.low, a.difference, a.high) == pytest.approx((-b.high, -b.difference, -b.low))


def test_several_runs_stand_against_the_first(runs: Path):
    result = compare([runs / "plain", runs / "better", runs / "few"], common=True)
    assert (result.images, result.left_out) == (IMAGES - 2, 2)
    assert {entry.run for entry in result.differences} == {str(runs / "better"), str(runs / "few")}
    halves = np.array_split(np.array(result.differences, dtype=object), 2)
    for a, b in zip(*halves, strict=True):  # on the same images they are the same
        assert (a.value, a.low) == pytest.approx((b.value, b.low), nan_ok=True)
    assert result.to_markdown().count("| score | class |") == 2


def test_the_seed_decides(runs: Path):
    one, same, other = (compare([runs / "plain", runs / "better"], 100, seed).to_json() for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_values_for_files_are_plain(runs: Path):
    result = compare([runs / "plain", runs / "better"], resamples=50)
    values = json.loads(result.to_json())
    assert values["images"] == IMAGES
    first, ghost = values["differences"][0], values["differences"][4]
    assert first["score"] == "IoU"
    assert first["class"] is None
    assert first["difference"] == pytest.approx(first["value"] - first["first"])
    assert (ghost["class"], ghost["low"]) == ("ghost", None)
    _, *rows = result.table_rows(str(runs / "better"))
    assert len(rows) == 3 * 5
    assert rows[0][-1] == "*"
    assert rows[4][3:] == ["–", "–", "–", ""]
    assert "1 of 20" in result.to_markdown()


@settings(max_examples=20)
@given(images=st.integers(1, 300), seed=st.integers(0, 9))
def test_every_resample_draws_as_many_images_as_there_are(images: int, seed: int):
    weights = np.concatenate(list(bootstrap.image_weights(images, 30, seed)), axis=1)
    assert weights.shape == (31, images)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == images).all()
    assert weights.min() >= 0


def test_images_are_drawn_evenly_and_across_blocks():
    """Means 1, variances 1 − 1/n and covariances −1/n, as for draws with replacement."""
    images = 2 * bootstrap.BLOCK + 30
    weights = np.concatenate(list(bootstrap.image_weights(images, 20_000, 0)), axis=1)[1:]
    assert np.abs(weights.mean(axis=0) - 1).max() < 0.04
    halves = weights[:, :64].sum(axis=1), weights[:, 64:].sum(axis=1)
    share = 64 / images
    assert np.var(halves[0]) == pytest.approx(images * share * (1 - share), rel=0.05)
    assert np.cov(halves)[0, 1] == pytest.approx(-images * share * (1 - share), rel=0.05)
    assert weights.var(axis=0).mean() == pytest.approx(1 - 1 / images, rel=0.02)


def test_groups_are_blocks_of_neighbours_or_what_a_pattern_finds():
    names = ["0001TP_1", "0001TP_2", "0006R0_1", "0016E5_1", "0016E5_2"]
    assert bootstrap.group_numbers(names, 2).tolist() == [0, 0, 1, 1, 2]
    assert bootstrap.group_numbers(names, "^[^_]+").tolist() == [0, 0, 1, 2, 2]
    assert bootstrap.group_numbers(names, "_.").tolist() == [0, 1, 0, 0, 1]
    for group_by, complaint in [
        (0, "blocks of one"),
        (5, r"all 5 images into one group \('0'\)"),
        ("^00", "into one group"),
        ("TP", "finds nothing in the name '0006R0_1'"),
        ("(", "no regular expression"),
    ]:
        with pytest.raises(ConfigError, match=complaint):
            bootstrap.group_numbers(names, group_by)


def test_images_of_a_group_are_drawn_together():
    groups = np.arange(150) // 7
    weights = np.concatenate(list(bootstrap.group_weights(groups, 50, 0)), axis=1)
    assert weights.shape == (51, 150)
    assert (weights[0] == 1).all()
    first = np.unique(groups, return_index=True)[1]
    assert (weights == weights[:, first[groups]]).all()
    assert (weights[:, first].sum(axis=1) == 22).all()


def test_intervals_over_groups_cover_what_images_of_groups_scatter():
    """Forty drives of eight frames, most of whose scatter is the drive's: 95 % hold over drives, not over frames."""
    drives, frames, trials = 40, 8, 300
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(drives), frames)
    values = rng.normal(0, 1, (trials, drives, 1)) + rng.normal(0, 0.5, (trials, drives, frames))
    values = values.reshape(trials, -1)
    covered = []
    for draws in (bootstrap.group_weights(groups, 400, 1), bootstrap.image_weights(len(groups), 400, 1)):
        weights = np.concatenate(list(draws), axis=1)[1:]
        means = values @ weights.T / weights.sum(axis=1)
        low, high = np.percentile(means, (2.5, 97.5), axis=1)
        covered.append(((low < 0) & (high > 0)).mean())
    assert 0.9 < covered[0] < 0.98
    assert covered[1] < 0.7


def test_groups_widen_the_interval_and_are_said(runs: Path):
    single, grouped = (compare([runs / "plain", runs / "better"], 500, group_by=group_by) for group_by in (None, 4))
    assert (single.groups, grouped.groups) == (None, 3)
    assert "over images (" in single.note()
    assert "over 3 groups of images (500 resamples, seed 0); with so few groups it is too narrow" in grouped.note()
    assert grouped.to_dict()["groups"] == 3
    assert grouped.differences[0].value == single.differences[0].value
    alone = compare([runs / "plain", runs / "better"], 500, group_by="^.*$")
    assert alone.groups == IMAGES
    assert alone.differences[0].low == pytest.approx(single.differences[0].low, rel=0.1)


def test_other_images_are_named(runs: Path):
    with pytest.raises(DataError, match=r"few.images\.jsonl lacks 2: image_10, image_11; --common .* the 10 "):
        compare([runs / "plain", runs / "few"])


def other_run(runs: Path, tmp_path: Path, change) -> list[Path]:
    (tmp_path / "run").mkdir()
    lines = (runs / "better/images.jsonl").read_text().splitlines()
    lines = change(lines)
    (tmp_path / "run/images.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return [runs / "plain", tmp_path / "run"]


def test_other_labels_are_named(runs: Path, tmp_path: Path):
    def relabel(lines):
        record = json.loads(lines[5])
        record["confusion"][0][2] += 1
        return [*lines[:5], json.dumps(record), *lines[6:]]

    with pytest.raises(DataError, match="counted other labels") as caught:
        compare(other_run(runs, tmp_path, relabel))
    assert json.loads((runs / "better/images.jsonl").read_text().splitlines()[5])["name"] in str(caught.value)


def test_a_stopped_run_is_refused(runs: Path, tmp_path: Path):
    with pytest.raises(DataError, match="--resume"):
        compare(other_run(runs, tmp_path, lambda lines: lines[:-1]))


def test_an_image_that_occurs_twice_is_refused(runs: Path, tmp_path: Path):
    with pytest.raises(DataError, match="occurs twice"):
        compare(other_run(runs, tmp_path, lambda lines: [lines[0], lines[1], *lines[1:]]))


@pytest.mark.parametrize(("key", "named"), [("radii_px", "radii"), ("label_space", "classes")])
def test_other_settings_are_refused(key: str, named: str, runs: Path, tmp_path: Path):
    space = LabelSpace.from_dict({"name": "x", "classes": ["a", "b", "c", "d"]}).to_dict()

    def change(lines):
        return [json.dumps(json.loads(lines[0]) | {key: {"radii_px": [3, 4], "label_space": space}[key]}), *lines[1:]]

    with pytest.raises(ConfigError, match=named):
        compare(other_run(runs, tmp_path, change))


def test_too_few_of_anything_is_refused(runs: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="2 runs"):
        compare([runs / "plain"])
    with pytest.raises(ConfigError, match="named twice"):
        compare([runs / "plain", runs / "plain"])
    with pytest.raises(DataError, match=r"no images\.jsonl"):
        compare([runs / "plain", tmp_path])
    for name in ("a", "b"):
        masks, labels = write_folders(tmp_path / name, 1)
        evaluate_folders(masks, labels, SPACE, out=tmp_path / name)
    with pytest.raises(DataError, match="all runs scored: 1"):
        compare([tmp_path / "a", tmp_path / "b"])
