"""The one list of scores and the counts that they follow from: in any order, weighted, and by both rules of absence."""

import math
from dataclasses import fields

import numpy as np
import pytest

from crispseg.labels import LabelSpace
from crispseg.metrics import boundary_f_score, boundary_match_counts, boundary_precision_recall, confusion_counts
from crispseg.metrics.counts import SetCounts, boundary_rates, image_sums, mean_of_images, overlaps
from crispseg.metrics.table import DEFINITIONS, TABLES, SetScores

SPACE = LabelSpace.from_dict({"name": "four", "classes": ["sky", "road", "pole", "ghost"]})
RADII = (1, 2)


def maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and its labels; every second image lacks a class, and one class is nowhere."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 2 + seed % 2, (3, 4)), np.ones((4, 4), int))
    return np.roll(labels, 1, axis=1), labels


def counts_of(seed: int) -> SetCounts:
    prediction, labels = maps(seed)
    confusion = np.pad(confusion_counts(prediction, labels, 4), ((0, 0), (0, 1)))
    found = boundary_match_counts(prediction, labels, 4, RADII)
    boundary = np.stack((found.predicted, found.true))
    matched = np.stack((found.matched_predicted, found.matched_true))
    precision, recall, f_score = map(image_sums, boundary_rates(boundary, matched))
    return SetCounts(
        images=np.int64(1),
        confusion=confusion,
        overlap=overlaps(confusion),
        boundary=boundary,
        matched=matched,
        precision_images=precision,
        recall_images=recall,
        f_images=f_score,
    )


def total(seeds) -> SetCounts:
    first, *others = map(counts_of, seeds)
    for other in others:
        first = first + other
    return first


@pytest.mark.parametrize("absent", ["skip", "one"])
def test_both_rules_of_absent_classes_follow_from_the_same_counts(absent):
    scores = SetScores.from_counts(total(range(6)), SPACE, RADII, absent=absent)
    single = {
        "boundary_f": [boundary_f_score(*maps(seed), 4, RADII, absent=absent) for seed in range(6)],
        "boundary_precision": [boundary_precision_recall(*maps(seed), 4, RADII, absent=absent)[0] for seed in range(6)],
        "boundary_recall": [boundary_precision_recall(*maps(seed), 4, RADII, absent=absent)[1] for seed in range(6)],
    }
    for name, of_images in single.items():
        wanted = np.ma.masked_invalid(of_images).mean(axis=0).filled(np.nan)
        found = [list(by_class.values()) for by_class in getattr(scores, name).values()]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11)
    nowhere = math.nan if absent == "skip" else 1.0
    assert scores.boundary_f[1]["ghost"] == pytest.approx(nowhere, nan_ok=True)
    assert scores.iou["ghost"] == pytest.approx(nowhere, nan_ok=True)
    assert scores.boundary_f_set[2]["ghost"] == pytest.approx(nowhere, nan_ok=True)


def test_sums_are_the_same_in_any_order_to_the_last_bit():
    one, other = (SetScores.from_counts(total(seeds), SPACE, RADII) for seeds in (range(9), reversed(range(9))))
    for name in DEFINITIONS:
        assert repr(getattr(one, name)) == repr(getattr(other, name)), name


def test_weights_are_how_often_an_image_counts():
    stack = SetCounts.stack([counts_of(seed) for seed in range(4)])
    twice = stack.weighted(np.array([[1.0, 1, 1, 1], [2, 0, 1, 0]]))
    for row, seeds in enumerate(([0, 1, 2, 3], [0, 0, 2])):
        wanted = total(seeds).arrays()
        for name, array in twice.arrays().items():
            np.testing.assert_array_equal(array[row], wanted[name], err_msg=name)
    for name in ("iou", "boundary_f", "boundary_recall_set"):  # which comparisons take over resamples
        of_both = DEFINITIONS[name].of(twice, SPACE, "skip")
        np.testing.assert_array_equal(of_both[1], DEFINITIONS[name].of(total([0, 0, 2]), SPACE, "skip"))


def test_only_what_is_asked_for_is_kept_and_scored():
    counts = total([0, 1]).only(["overlap"])
    assert set(counts.arrays()) == {"images", "overlap"}
    existing = [name for name, definition in DEFINITIONS.items() if definition.exists(counts, SPACE)]
    assert existing == ["iou"]


def test_a_mean_of_no_images_does_not_exist():
    assert np.isnan(mean_of_images(np.zeros((2, 1, 1), int), np.int64(0), "one")).all()


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_score_says_what_it_is(name: str):
    definition = DEFINITIONS[name]
    assert set(definition.needs) <= {entry.name for entry in fields(SetCounts)}
    assert definition.averaging
    assert definition.table == "" or definition.table in TABLES
    assert f"        {name}: " in (SetScores.__doc__ or "")
