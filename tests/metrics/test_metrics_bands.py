"""Scores near boundaries and by distance, against plain definitions with scikit-image and SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from skimage.morphology import dilation, disk, erosion

from crispseg.errors import ConfigError, DataError
from crispseg.metrics import (
    boundary_iou,
    boundary_iou_counts,
    boundary_iou_from_counts,
    boundary_iou_radius,
    confusion_counts,
    distance_counts,
    distance_crop,
    distance_iou,
    iou_from_counts,
    trimap_counts,
    trimap_counts_by_radius,
    trimap_iou,
)
from crispseg.metrics.functional import arrays, bands


@st.composite
def maps(draw):
    """Small maps of blocks and noise, with void, of every aspect."""
    height, width = draw(st.integers(1, 16)), draw(st.integers(1, 16))
    num_classes = draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    block = draw(st.integers(1, 7))
    labels = np.kron(rng.integers(0, num_classes, (height, width)), np.ones((block, block), int))[:height, :width]
    prediction = np.where(rng.random((height, width)) < 0.1, rng.integers(0, num_classes, (height, width)), labels)
    labels = np.where(rng.random((height, width)) < draw(st.sampled_from([0, 0.1])), 255, labels)
    return np.roll(prediction, draw(st.integers(0, 2)), axis=1).astype(np.uint8), labels.astype(np.uint8), num_classes


def share(part, whole, absent):
    return np.divide(part, whole) if whole else {"skip": np.nan, "one": 1.0}[absent]


def near_own_contour(mask, radius):
    """As the authors describe it: the mask without its erosion, with nothing beyond the frame."""
    if radius == 0:
        return np.zeros_like(mask)
    padded = np.pad(mask, radius)
    inside = erosion(padded, np.ones((2 * radius + 1,) * 2, bool))[radius:-radius, radius:-radius]
    return mask & ~inside


def plain_boundary_iou(prediction, labels, num_classes, radius, absent):
    scores = []
    for k in range(num_classes):
        ours, theirs = (near_own_contour((ids == k) & (labels != 255), radius) for ids in (prediction, labels))
        scores.append(share((ours & theirs).sum(), (ours | theirs).sum(), absent))
    return scores


def true_boundary(labels, num_classes):
    """The union over the classes of the boundary maps of boundary F."""
    boundary = np.zeros(labels.shape, bool)
    for k in range(num_classes):
        mask = labels == k
        right, lower, diagonal = (np.pad(mask, ((0, 1), (0, 1)), "edge")[i:, j:] for i, j in ((0, 1), (1, 0), (1, 1)))
        boundary |= (mask != right[:-1]) | (mask != lower[:, :-1]) | (mask != diagonal)
    return boundary


def plain_trimap_iou(prediction, labels, num_classes, radius, absent):
    boundary = true_boundary(labels, num_classes)
    band = distance_transform_edt(~boundary) <= radius if boundary.any() else boundary
    band &= labels != 255
    scores = []
    for k in range(num_classes):
        ours, theirs = ((ids == k) & band for ids in (prediction, labels))
        scores.append(share((ours & theirs).sum(), (ours | theirs).sum(), absent))
    return scores


@settings(max_examples=60)
@given(pair=maps(), radii=st.lists(st.integers(0, 20), min_size=1, max_size=3), absent=st.sampled_from(["skip", "one"]))
def test_boundary_iou_is_the_authors(pair, radii, absent):
    found = boundary_iou(*pair, radii, absent=absent)
    np.testing.assert_allclose(found, [plain_boundary_iou(*pair, radius, absent) for radius in radii], atol=1e-12)


@settings(max_examples=60)
@given(
    pair=maps(),
    radii=st.lists(st.integers(0, 30) | st.floats(0, 30), min_size=1, max_size=3),
    absent=st.sampled_from(["skip", "one"]),
)
def test_trimap_iou_is_the_plain_one(pair, radii, absent):
    found = trimap_iou(*pair, radii, absent=absent)
    np.testing.assert_allclose(found, [plain_trimap_iou(*pair, radius, absent) for radius in radii], atol=1e-12)


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 9, 12])
def test_bands_are_disks_around_the_boundary(radius):
    """A dot in the middle: its boundary is a square of 2×2, and the band its dilation by a disk."""
    labels = np.zeros((31, 33), int)
    labels[15, 16] = 1
    boundary = np.zeros(labels.shape, np.uint8)
    boundary[14:16, 15:17] = 1
    assert trimap_counts(labels, labels, 2, radius).sum() == dilation(boundary, disk(radius)).sum()


def test_boundary_iou_of_large_maps_and_radii():
    """Where erosions overlap the frame and each other, with blocks of many classes."""
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 19, (6, 8)), np.ones((20, 25), int))
    prediction = np.roll(labels, (3, 5), (0, 1))
    labels[:4] = 255
    for radius in (1, 7, 12, 40, 59, 60, 200):
        np.testing.assert_allclose(
            boundary_iou(prediction, labels, 19, (radius,))[0],
            plain_boundary_iou(prediction, labels, 19, radius, "skip"),
            err_msg=str(radius),
        )


def test_the_frame_is_a_contour_and_the_middle_is_inside():
    flat = np.zeros((5, 7), int)
    for radius, inside in ((1, 3 * 5), (2, 1 * 3), (3, 0)):
        assert boundary_iou_counts(flat, flat, 2, radius)[:, 0].tolist() == [35 - inside] * 2


@given(pair=maps())
@settings(max_examples=25)
def test_far_enough_both_are_the_plain_iou(pair):
    prediction, labels, num_classes = pair
    plain = iou_from_counts(confusion_counts(prediction, labels, num_classes))
    np.testing.assert_array_equal(boundary_iou(prediction, labels, num_classes, (1e9,))[0], plain)
    if true_boundary(labels, num_classes).any():
        np.testing.assert_array_equal(trimap_iou(prediction, labels, num_classes, (1e300,))[0], plain)


@given(pair=maps())
@settings(max_examples=25)
def test_boundary_iou_is_symmetric_and_one_for_itself(pair):
    prediction, labels, num_classes = pair
    known = np.where(labels == 255, 0, labels)
    np.testing.assert_array_equal(
        boundary_iou(prediction, known, num_classes, (1, 3)), boundary_iou(known, prediction, num_classes, (1, 3))
    )
    assert (boundary_iou(known, known, num_classes, (1, 3), absent="one") == 1).all()


def test_counts_give_the_scores_of_one_image_and_of_a_set():
    rng = np.random.default_rng(4)
    labels = np.kron(rng.integers(0, 4, (2, 4, 5)), np.ones((1, 6, 6), int))
    prediction = np.roll(labels, 1, axis=2)
    labels[:, :2] = 255
    counts = np.array([boundary_iou_counts(p, t, 5, 2) for p, t in zip(prediction, labels, strict=True)])
    assert counts.shape == (2, 2, 5)
    for index in range(2):
        found = boundary_iou(prediction[index], labels[index], 5, (2,))[0]
        np.testing.assert_array_equal(boundary_iou_from_counts(counts[index]), found)
    together = counts.sum(axis=0)
    wanted = [together[0, k] / together[1, k] if together[1, k] else np.nan for k in range(5)]
    np.testing.assert_array_equal(boundary_iou_from_counts(together), wanted)
    assert boundary_iou_from_counts(together, "one")[4] == 1
    by_radius = trimap_counts_by_radius(prediction[0], labels[0], 5, (1, 3))
    for index, radius in enumerate((1, 3)):
        np.testing.assert_array_equal(by_radius[index], trimap_counts(prediction[0], labels[0], 5, radius))


def test_default_distance_is_two_per_cent_of_the_diagonal():
    rng = np.random.default_rng(5)
    labels = np.kron(rng.integers(0, 3, (10, 12)), np.ones((15, 15), int))
    prediction = np.roll(labels, 2, axis=0)
    radius = boundary_iou_radius(labels.shape)
    assert radius == 5  # 0.02 × 234.3
    np.testing.assert_array_equal(boundary_iou(prediction, labels, 3), boundary_iou(prediction, labels, 3, (radius,)))
    assert boundary_iou_radius((1024, 2048), 0.005) == 11


@pytest.mark.parametrize("shape", [(1, 1), (0, 5), (5, 0), (1, 7)])
def test_maps_without_inner_boundaries(shape):
    flat = np.zeros(shape, np.uint8)
    assert np.isnan(trimap_iou(flat, flat, 3, (0, 4))).all()
    assert (trimap_iou(flat, flat, 3, (0, 4), absent="one") == 1).all()
    frame = boundary_iou(flat, flat, 3, (1,))  # the frame is a contour of what reaches it
    assert np.isnan(frame[0, 1:]).all()
    assert frame[0, 0] == 1 or (np.isnan(frame[0, 0]) and flat.size == 0)
    assert np.isnan(boundary_iou(flat, flat, 3, (0,))).all()
    void = np.full(shape, 255)
    assert np.isnan(boundary_iou(flat, void, 3)).all()
    assert np.isnan(trimap_iou(flat, void, 3, (2,))).all()


@pytest.mark.parametrize(
    "score",
    [
        lambda p, t: boundary_iou(p, t, 3, (2,)),
        lambda p, t: trimap_iou(p, t, 3, (2,)),
        lambda p, t: distance_iou(p, t, 3, (0, 1), margin_px=2),
    ],
)
def test_void_predictions_change_nothing_and_tensors_are_welcome(score):
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (5, 7)), np.ones((4, 4), int))
    labels[rng.random(labels.shape) < 0.1] = 255
    prediction = rng.integers(0, 3, labels.shape)
    wanted = score(prediction, labels)
    np.testing.assert_array_equal(score(np.where(labels == 255, 200, prediction), labels), wanted)
    np.testing.assert_array_equal(score(torch.from_numpy(prediction), torch.from_numpy(labels)), wanted)


def test_crops_are_the_papers():
    """Section 4: 100 px off every side but the top; then c off top and bottom, 2·c off left and right."""
    for factor in (100, 200, 300, 400):
        rows, columns = distance_crop(factor, (1024, 2048))
        assert (rows.start, rows.stop) == (factor, 924 - factor)
        assert (columns.start, columns.stop) == (100 + 2 * factor, 1948 - 2 * factor)
        assert (rows.start + rows.stop, columns.start + columns.stop) == (924, 2048)  # one vanishing point
    assert distance_crop(0, (1024, 2048)) == (slice(0, 1024), slice(0, 2048))


def test_distance_counts_are_those_of_the_crops():
    rng = np.random.default_rng(1)
    labels, prediction = rng.integers(0, 4, (2, 30, 50))
    labels[rng.random(labels.shape) < 0.2] = 255
    counts = distance_counts(prediction, labels, 4, (0, 3, 9, 20), margin_px=5)
    np.testing.assert_array_equal(counts[0], confusion_counts(prediction, labels, 4))
    inner = (slice(3, 22), slice(11, 39))
    np.testing.assert_array_equal(counts[1], confusion_counts(prediction[inner], labels[inner], 4))
    assert counts[2].sum() > 0
    assert not counts[3].any()  # the image is too small for it
    scores = distance_iou(prediction, labels, 4, (0, 3, 9, 20), margin_px=5)
    np.testing.assert_array_equal(scores[1], iou_from_counts(counts[1]))
    assert np.isnan(scores[3]).all()
    dot = np.zeros((1, 1), int)
    assert distance_iou(dot, dot, 2, (0, 100)).tolist()[0][0] == 1


@given(maps(), st.lists(st.floats(0, 30), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_disks_and_distances_give_the_same_bands(case, radii):
    prediction, labels, num_classes = case
    by_disks = trimap_counts_by_radius(prediction, labels, num_classes, radii)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "_MOST_ROWS", 0)
        by_distances = trimap_counts_by_radius(prediction, labels, num_classes, radii)
    np.testing.assert_array_equal(by_disks, by_distances)


def test_pairs_are_counted_exactly_in_images_of_any_size(monkeypatch: pytest.MonkeyPatch):
    one, other = np.random.default_rng(0).integers(0, 256, (2, 30, 40), dtype=np.uint8)
    wanted = np.zeros((256, 256), int)
    np.add.at(wanted, (one.ravel(), other.ravel()), 1)
    for at_once in (arrays._EXACT, 500):
        monkeypatch.setattr(arrays, "_EXACT", at_once)
        np.testing.assert_array_equal(arrays.count_pairs(one[:, ::-1], other[:, ::-1]), wanted)


def test_wrong_options_of_bands_are_named():
    labels = np.zeros((4, 5), int)
    for score in (boundary_iou, trimap_iou):
        for radii in ((), (-1,), (float("inf"),)):
            with pytest.raises(ConfigError, match="radii_px"):
                score(labels, labels, 3, radii)
        with pytest.raises(ConfigError, match="'skip' or 'one'"):
            score(labels, labels, 3, (1,), absent="zero")
        with pytest.raises(DataError, match="one image"):
            score(labels[None], labels[None], 3, (1,))
        with pytest.raises(DataError, match="prediction holds 7"):
            score(labels + 7, labels, 3, (1,))
    with pytest.raises(ConfigError, match="crop factor -1"):
        distance_crop(-1, (4, 5))
    with pytest.raises(ConfigError, match="crop_factors_px is empty"):
        distance_iou(labels, labels, 3, ())
    with pytest.raises(ConfigError, match="'skip' or 'one'"):
        distance_iou(labels, labels, 3, (0,), absent="zero")
