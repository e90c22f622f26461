"""Scores of a set against the functions on its images, and the values that come out."""

import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation import Scores, evaluate, scoring
from crispseg.inference import Prediction
from crispseg.labels import LabelSpace
from crispseg.metrics import boundary_f_score, confusion_counts, iou_from_counts, pixel_accuracy

SPACE = LabelSpace.from_dict({"name": "four", "classes": ["sky", "road", "pole", "ghost"]})
RADII = (1, 2.5)


class MadeUpSet:
    """Images whose red value is the label, of different sizes; the last class is nowhere."""

    label_space = SPACE

    def __init__(self, images=13):
        rng = np.random.default_rng(0)
        self.labels = []
        for _ in range(images):
            coarse = rng.integers(0, 3, (rng.integers(2, 5), rng.integers(2, 5)))
            labels = np.kron(coarse, np.ones((5, 5), int)).astype(np.uint8)
            labels[0, :3] = 255
            self.labels.append(labels)
        if images > 3:
            self.labels[3][:] = 0  # an image without boundaries

    def __len__(self):
        return len(self.labels)

    def sample(self, index):
        return np.repeat(self.labels[index][..., None], 3, axis=2), self.labels[index], f"image_{index}"


class Shifted:
    """Predicts the labels one pixel to the right."""

    label_space = SPACE

    def __call__(self, image):
        labels = np.roll(np.where(image[..., 0] == 255, 0, image[..., 0]), 1, axis=1)
        return Prediction(labels, np.ones(labels.shape, np.float32), image, SPACE)


def test_scores_are_those_of_the_functions_averaged_as_named():
    dataset, predictor = MadeUpSet(), Shifted()
    scores = evaluate(predictor, dataset, RADII)
    counts = np.zeros((4, 4), int)
    boundary = []
    for index in range(len(dataset)):
        image, labels, _ = dataset.sample(index)
        counts += confusion_counts(predictor(image).labels, labels, 4)
        boundary.append(boundary_f_score(predictor(image).labels, labels, 4, RADII))
    iou = iou_from_counts(counts)
    assert list(scores.iou) == ["sky", "road", "pole", "ghost"]
    np.testing.assert_array_equal(list(scores.iou.values()), iou)
    assert scores.mean_iou == pytest.approx(np.nanmean(iou))
    assert scores.pixel_accuracy == pixel_accuracy(counts)
    assert scores.images == 13
    for r, radius in enumerate(RADII):
        for k, name in enumerate(("sky", "road", "pole")):
            known = [f[r, k] for f in boundary if not np.isnan(f[r, k])]
            assert 0 < len(known) < 13  # some image does not show it, or has no border of it
            assert scores.boundary_f[radius][name] == pytest.approx(np.mean(known))
        assert math.isnan(scores.boundary_f[radius]["ghost"])
        classes = [scores.boundary_f[radius][name] for name in ("sky", "road", "pole")]
        assert scores.mean_boundary_f[radius] == pytest.approx(np.mean(classes))
    assert math.isnan(scores.iou["ghost"])


def test_the_papers_boundary_f_counts_absent_classes_as_one_and_stands_beside_the_other():
    dataset, predictor = MadeUpSet(), Shifted()
    scores = evaluate(predictor, dataset, RADII, absent="one")
    f = []
    for index in range(len(dataset)):
        image, labels, _ = dataset.sample(index)
        f.append(boundary_f_score(predictor(image).labels, labels, 4, RADII, absent="one"))
    expected = np.mean(f, axis=0)  # each class of each image has a score
    found = np.array([list(of_class.values()) for of_class in scores.boundary_f_absent_one.values()])
    np.testing.assert_allclose(found, expected, atol=1e-11)
    assert scores.boundary_f_absent_one[1]["ghost"] == 1
    assert math.isnan(scores.boundary_f[1]["ghost"])
    assert scores.mean_shown_boundary_f[1] == pytest.approx(expected[0].mean())
    assert scores.mean_shown_boundary_f[1] > scores.mean_boundary_f[1]

    # Both come from the same counts, and both stand in the file; the tables show the one that was asked for.
    skipping = evaluate(predictor, dataset, RADII)
    assert skipping == replace(scores, absent="skip")
    assert skipping.to_dict() == scores.to_dict()
    assert {"mean_boundary_f", "boundary_f", "mean_boundary_f_absent_one", "boundary_f_absent_one"} <= set(
        scores.to_dict()
    )
    shown, other = (dict(zip(*one.table_rows()[:2], strict=True)) for one in (scores, skipping))
    assert shown["F (absent 1) 1 px"] == f"{100 * scores.mean_shown_boundary_f[1]:.1f}"
    assert other["F 1 px"] == f"{100 * scores.mean_boundary_f[1]:.1f}"
    assert "absent classes counting 1" in scores.to_markdown()
    assert "Boundary F: mean over images, absent classes skipped" in skipping.to_markdown()
    assert "mean_boundary_f_absent_one" in scores.summary_dict()
    with pytest.raises(ConfigError, match="absent is 'zero'; skip or one expected"):
        evaluate(predictor, dataset, RADII, absent="zero")


def test_mean_iou_is_not_the_mean_over_images():
    dataset = MadeUpSet()
    per_image = []
    for index in range(len(dataset)):
        image, labels, _ = dataset.sample(index)
        per_image.append(np.nanmean(iou_from_counts(confusion_counts(Shifted()(image).labels, labels, 4))))
    assert abs(evaluate(Shifted(), dataset, (1,)).mean_iou - np.mean(per_image)) > 0.01


def test_progress_counts_every_image_in_the_calling_thread():
    calls = []
    evaluate(Shifted(), MadeUpSet(), (1,), lambda done, total: calls.append((done, total, threading.current_thread())))
    assert calls == [(done, 13, threading.current_thread()) for done in range(1, 14)]


def test_no_more_images_wait_than_keep_the_threads_busy(monkeypatch):
    """The network must not run ahead of the scoring without bound."""
    monkeypatch.setattr(scoring.os, "cpu_count", lambda: 1)
    state = {"predicted": 0, "done": 0, "ahead": 0}

    class Watched(Shifted):
        def __call__(self, image):
            state["predicted"] += 1
            state["ahead"] = max(state["ahead"], state["predicted"] - state["done"])
            return super().__call__(image)

    evaluate(Watched(), MadeUpSet(30), (1,), lambda done, _: state.update(done=done))
    assert state["done"] == 30
    assert state["ahead"] <= 4


def test_label_tables_that_differ_are_named():
    class Other(Shifted):
        label_space = LabelSpace.from_dict({"name": "other", "classes": ["sky", "road", "tree"]})

    with pytest.raises(ConfigError, match=r"only the data set has pole, ghost; only the model has tree") as caught:
        evaluate(Other(), MadeUpSet(), (1,))
    assert "'other': sky, road, tree" in str(caught.value)

    class Turned(Shifted):
        label_space = LabelSpace.from_dict({"name": "turned", "classes": ["road", "sky", "pole", "ghost"]})

    with pytest.raises(ConfigError, match="the order differs"):
        evaluate(Turned(), MadeUpSet(), (1,))


def test_bad_sets_are_named():
    with pytest.raises(DataError, match="no images"):
        evaluate(Shifted(), MadeUpSet(0), (1,))
    sizes = MadeUpSet()
    sample = sizes.sample
    sizes.sample = lambda index: (sample(index)[0][:4], *sample(index)[1:])
    with pytest.raises(DataError, match=r"image_0: the image has 4×\d+ pixels and its labels \d+×"):
        evaluate(Shifted(), sizes, (1,))
    outside = MadeUpSet()
    outside.sample = lambda index: (sample(index)[0], np.where(index == 5, 9, sample(index)[1]), f"image_{index}")
    with pytest.raises(DataError, match=r"image_5: labels holds 9 "):
        evaluate(Shifted(), outside, (1,))
    for radii in ((), (1, 1)):
        with pytest.raises(ConfigError, match="radii_px"):
            evaluate(Shifted(), MadeUpSet(), radii)


def test_an_error_of_the_predictor_is_not_swallowed():
    class Broken(Shifted):
        def __call__(self, image):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(Broken(), MadeUpSet(), (1,))


def test_values_for_files_are_plain_and_without_nan():
    scores = evaluate(Shifted(), MadeUpSet(), RADII)
    values = json.loads(scores.to_json())
    assert values == json.loads(json.dumps(scores.to_dict()))
    assert values["iou"]["ghost"] is None
    assert list(values["boundary_f"]) == ["1", "2.5"]
    assert values["mean_boundary_f"]["2.5"] == scores.mean_boundary_f[2.5]
    assert values["averaging"]["boundary_f"] == "mean over images, absent classes skipped"
    assert "over the whole set" in values["averaging"]["iou"]
    scored = set(values) - {"images", "skipped", "averaging"}
    assert scored == set(values["averaging"])  # each says how it is averaged
    assert "category_iou" not in scored  # the table has no categories
    assert values["mean_trimap_iou"]["2.5"] == np.nanmean(list(scores.trimap_iou[2.5].values()))


def test_table_has_a_row_per_class_below_the_mean():
    nan = float("nan")
    scores = Scores({"a|b": 0.5, "c": nan}, 0.75, {1: {"a|b": 0.25, "c": nan}, 3: {"a|b": 1.0, "c": nan}}, images=2)
    assert scores.table_rows() == [
        ["class", "IoU", "F 1 px", "F 3 px"],
        ["mean", "50.0", "25.0", "100.0"],
        ["a|b", "50.0", "25.0", "100.0"],
        ["c", "–", "–", "–"],
    ]
    lines = scores.to_markdown().splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    assert lines[3] == r"| a\|b | 50.0 | 25.0 | 100.0 |"
    assert "2 images, 75.0 % of the pixels right" in lines[-1]


def test_a_set_where_nothing_is_labelled_has_no_scores():
    dataset = MadeUpSet(2)
    dataset.sample = lambda index: (np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8), "void")
    scores = evaluate(Shifted(), dataset, (1,))
    assert math.isnan(scores.mean_iou)
    assert math.isnan(scores.pixel_accuracy)
    assert scores.to_dict()["mean_boundary_f"] == {"1": None}


def test_details_stand_in_markdown_and_summary():
    scores = evaluate(Shifted(), MadeUpSet(), RADII)
    markdown = scores.to_markdown()
    for title in ("trimap IoU", "boundaries, mean over images", "boundaries, counted over the whole set"):
        assert title in markdown
    row = next(line for line in markdown.splitlines() if line.startswith("| road |") and line.count("|") == 8)
    shares = [scores.boundary_precision[1], scores.boundary_recall[1], scores.boundary_f[1]]
    assert row.split(" | ")[1:4] == [f"{100 * by_class['road']:.1f}" for by_class in shares]
    assert f"class accuracy {100 * np.nanmean(list(scores.class_accuracy.values())):.1f}" in scores.summary()
    assert "skipped" not in scores.summary()


def test_scores_are_equal_if_their_values_are_and_nan_is_equal_to_nan():
    one, two = (evaluate(Shifted(), MadeUpSet(), RADII) for _ in range(2))
    assert math.isnan(one.iou["ghost"])
    assert one == two
    assert one.iou is not two.iou
    assert one != replace(two, pixel_accuracy=two.pixel_accuracy + 1e-12)
    assert one != replace(two, iou={**two.iou, "ghost": 0.0})
    assert one != replace(two, iou={**two.iou, "sky": float("nan")})
    assert one != replace(two, boundary_f={1: two.boundary_f[1]})
    assert one != replace(two, boundary_f={**two.boundary_f, 1: two.boundary_f[2.5]})
    assert one != replace(two, skipped=1)
    assert one != one.to_dict()


def test_the_summary_holds_the_main_scores_only():
    scores = evaluate(Shifted(), MadeUpSet(), RADII, crop_factors_px=(0,))
    names = ["images", "mean_iou", "pixel_accuracy", "mean_boundary_f", "iou", "boundary_f"]
    summary, values = scores.summary_dict(), scores.to_dict()
    assert list(summary) == [*names, "averaging"]
    assert all(summary[name] == values[name] for name in names)
    assert summary["averaging"] == {name: values["averaging"][name] for name in names[1:]}
