"""Match counts of boundaries, and precision, recall and F from them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from crispseg.errors import ConfigError
from crispseg.metrics import (
    BoundaryCounts,
    boundary_f_from_counts,
    boundary_f_score,
    boundary_match_counts,
    boundary_precision_recall,
    precision_recall_from_counts,
    radius_from_ratio,
)


def boundary(mask):
    right, lower, diagonal = (np.pad(mask, ((0, 1), (0, 1)), "edge")[i:, j:] for i, j in ((0, 1), (1, 0), (1, 1)))
    return (mask != right[:-1]) | (mask != lower[:, :-1]) | (mask != diagonal)


def matched(own, other, radius):
    return int((distance_transform_edt(~other)[own] <= radius).sum()) if other.any() else 0


def made_up_pair(seed, size=(24, 30), num_classes=5):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, num_classes - 1, (4, 5)), np.ones((6, 6), int))[: size[0], : size[1]]
    prediction = np.roll(labels, (1, -2), (0, 1))
    prediction[rng.random(size) < 0.03] = num_classes - 1  # a class that the truth does not show
    labels[rng.random(size) < 0.05] = 255
    return prediction, labels


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), threads=st.sampled_from([1, 2]))
def test_counts_are_those_of_distance_transforms(seed, threads):
    prediction, labels = made_up_pair(seed)
    radii = (2.5, 0, 4)
    counts = boundary_match_counts(prediction, labels, 6, radii, threads=threads)
    assert [of_all.dtype for of_all in counts] == [np.int64] * 4
    for k in range(6):
        ours, theirs = (boundary((ids == k) & (labels != 255)) for ids in (prediction, labels))
        assert counts.predicted[k] == ours.sum()
        assert counts.true[k] == theirs.sum()
        assert counts.matched_predicted[:, k].tolist() == [matched(ours, theirs, radius) for radius in radii]
        assert counts.matched_true[:, k].tolist() == [matched(theirs, ours, radius) for radius in radii]


def test_scores_of_one_image_follow_from_its_counts():
    prediction, labels = made_up_pair(1)
    counts = boundary_match_counts(prediction, labels, 6, (1, 3))
    for absent in ("skip", "one"):
        np.testing.assert_array_equal(
            boundary_f_from_counts(counts, absent), boundary_f_score(prediction, labels, 6, (1, 3), absent=absent)
        )
        precision, recall = boundary_precision_recall(prediction, labels, 6, (1, 3), absent=absent)
        np.testing.assert_array_equal(precision_recall_from_counts(counts, absent), (precision, recall))
    shown = (counts.predicted > 0) & (counts.true > 0)
    np.testing.assert_array_equal(
        precision_recall_from_counts(counts)[0][:, shown],
        (counts.matched_predicted / counts.predicted.clip(1))[:, shown],
    )


def test_what_is_empty_has_no_ratio():
    """Class 4 is predicted only, class 5 nowhere: F is 0 for the one; what cannot be divided is NaN, or 1."""
    prediction, labels = made_up_pair(2)
    precision, recall = boundary_precision_recall(prediction, labels, 6, (1,))
    assert precision[0, 4] == 0
    assert np.isnan(recall[0, 4])
    assert np.isnan([precision[0, 5], recall[0, 5]]).all()
    precision, recall = boundary_precision_recall(prediction, labels, 6, (1,), absent="one")
    assert (precision[0, 4], recall[0, 4], precision[0, 5], recall[0, 5]) == (0, 1, 1, 1)
    assert boundary_f_score(prediction, labels, 6, (1,))[0, 4] == 0
    assert boundary_f_score(prediction, labels, 6, (1,), absent="one")[0, 4:].tolist() == [0, 1]


def test_counts_of_a_set_weigh_images_by_their_boundaries():
    pairs = [made_up_pair(seed, size) for seed, size in ((3, (24, 30)), (4, (9, 12)))]
    counts = [boundary_match_counts(*pair, 6, (2,)) for pair in pairs]
    of_set = BoundaryCounts(*(sum(parts) for parts in zip(*counts, strict=True)))
    precision, recall = precision_recall_from_counts(of_set)
    k = 0
    assert precision[0, k] == sum(c.matched_predicted[0, k] for c in counts) / sum(c.predicted[k] for c in counts)
    wanted = 2 * precision[0, k] * recall[0, k] / (precision[0, k] + recall[0, k])
    assert boundary_f_from_counts(of_set)[0, k] == pytest.approx(wanted)
    assert wanted != pytest.approx(np.mean([boundary_f_from_counts(c)[0, k] for c in counts]))


def test_a_radius_beyond_the_image_takes_no_memory_and_matches_all():
    prediction, labels = made_up_pair(5)
    counts = boundary_match_counts(prediction, labels, 6, (1e300, 2, 38))  # the diagonal is 38.4
    np.testing.assert_array_equal(counts.matched_true[0], counts.matched_true[2])
    np.testing.assert_array_equal(counts.matched_predicted[0], counts.matched_predicted[2])
    np.testing.assert_array_equal(counts.matched_true[0, :4], counts.true[:4])
    assert (counts.predicted[4] > 0, counts.matched_predicted[0, 4]) == (True, 0)  # there is nothing to reach
    np.testing.assert_array_equal(counts.matched_true[1], boundary_match_counts(prediction, labels, 6, (2,))[3][0])
    far = boundary_match_counts(prediction, labels, 6, (1e300,))
    np.testing.assert_array_equal(far.matched_true[0], counts.matched_true[0])


@pytest.mark.parametrize("ratio", [0.00088, 0.001875, 0.00375, 0.005, 0.01])
@pytest.mark.parametrize("size_hw", [(1024, 2048), (360, 480), (713, 1021), (1, 1)])
def test_radius_from_ratio_rounds_up(ratio, size_hw):
    radius = radius_from_ratio(ratio, size_hw)
    assert radius - 1 < ratio * math.sqrt(size_hw[0] ** 2 + size_hw[1] ** 2) <= radius


def test_radius_from_ratio_of_whole_products_and_wrong_ones():
    assert radius_from_ratio(0.07, (60, 80)) == 7  # 0.07 · 100 is 7.000000000000001 in binary
    assert radius_from_ratio(0, (60, 80)) == 0
    for ratio in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="share of the image's diagonal"):
            radius_from_ratio(ratio, (60, 80))
