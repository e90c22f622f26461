"""Each score against an independent computation: brute force over pixels, and the golden file of the papers' code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from crispseg.errors import ConfigError, DataError
from crispseg.labels import LabelSpace
from crispseg.metrics import (
    boundary_f_score,
    category_iou,
    class_accuracy,
    confusion_counts,
    frequency_weighted_iou,
    iou_from_counts,
    mean_iou,
    pixel_accuracy,
)

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "boundary_f_score.npz"


def brute_force_boundary(mask):
    height, width = mask.shape
    boundary = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            boundary[y, x] = any(mask[y, x] != mask[j, i] for j, i in neighbours if j < height and i < width)
    return boundary


def padded_boundary(mask):
    """The same without loops: beyond the frame everything repeats, so only inner neighbours differ."""
    right, lower, diagonal = (np.pad(mask, ((0, 1), (0, 1)), "edge")[i:, j:] for i, j in ((0, 1), (1, 0), (1, 1)))
    return (mask != right[:-1]) | (mask != lower[:, :-1]) | (mask != diagonal)


def brute_force_f(prediction, labels, num_classes, radii, absent):
    scores = np.zeros((len(radii), num_classes))
    void = labels == 255
    for k in range(num_classes):
        ours, theirs = (brute_force_boundary((ids == k) & ~void) for ids in (prediction, labels))
        for r, radius in enumerate(radii):
            if not ours.any() and not theirs.any():
                scores[r, k] = np.nan if absent == "skip" else 1
                continue
            if not ours.any() or not theirs.any():
                continue
            ys, xs = np.nonzero(ours), np.nonzero(theirs)
            squared = (ys[0][:, None] - xs[0]) ** 2 + (ys[1][:, None] - xs[1]) ** 2
            near = squared <= radius * radius
            precision, recall = near.any(axis=1).mean(), near.any(axis=0).mean()
            scores[r, k] = 0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)
    return scores


@st.composite
def label_pairs(draw):
    """Small maps of blocks and of noise, with void, of every aspect."""
    height, width = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    num_classes = draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    block = draw(st.integers(1, 5))
    labels = np.kron(rng.integers(0, num_classes, (height, width)), np.ones((block, block), int))[:height, :width]
    prediction = np.where(rng.random((height, width)) < 0.2, rng.integers(0, num_classes, (height, width)), labels)
    labels = np.where(rng.random((height, width)) < draw(st.sampled_from([0, 0.1])), 255, labels)
    return prediction.astype(np.uint8), labels.astype(np.uint8), num_classes


@settings(deadline=None, max_examples=60)
@given(
    pair=label_pairs(),
    radii=st.lists(st.integers(0, 13) | st.floats(0, 13), min_size=1, max_size=4),
    absent=st.sampled_from(["skip", "one"]),
    threads=st.sampled_from([1, 2]),
)
def test_boundary_f_is_the_brute_force_one(pair, radii, absent, threads):
    prediction, labels, num_classes = pair
    found = boundary_f_score(prediction, labels, num_classes, radii, absent=absent, threads=threads)
    np.testing.assert_allclose(found, brute_force_f(prediction, labels, num_classes, radii, absent), atol=1e-12)


@pytest.mark.parametrize("index", range(5))
def test_boundary_f_is_the_papers_codes(index):
    if not GOLDEN.exists():
        pytest.skip(f"no {GOLDEN.name} beside the project")
    with np.load(GOLDEN) as golden:
        prediction, labels, radii, wanted = (
            golden[f"{name}_{index}"] for name in ("prediction", "labels", "radius_px", "f_score")
        )
    found = boundary_f_score(prediction, labels, wanted.shape[1], radii.tolist(), absent="one")
    assert np.abs(found - wanted).max() < 1e-9


@pytest.mark.parametrize("num_classes", [8, 9, 16, 17, 33, 64, 65, 150, 255])
def test_boundary_f_of_any_number_of_classes(num_classes):
    """The words' width and the groups of classes change with K; distance transforms per class are the reference."""
    rng = np.random.default_rng(num_classes)
    labels = np.kron(rng.permutation(256)[:64].reshape(8, 8) % num_classes, np.ones((6, 6), int))
    prediction = np.roll(labels, 1, axis=1)
    labels[:3, :3] = 255
    found = boundary_f_score(prediction, labels, num_classes, (2.0,))[0]
    for k in range(num_classes):
        ours, theirs = (padded_boundary((ids == k) & (labels != 255)) for ids in (prediction, labels))
        if not ours.any() and not theirs.any():
            assert np.isnan(found[k])
            continue
        if not ours.any() or not theirs.any():
            assert found[k] == 0
            continue
        precision = (distance_transform_edt(~theirs)[ours] <= 2).mean()
        recall = (distance_transform_edt(~ours)[theirs] <= 2).mean()
        assert found[k] == pytest.approx(2 * precision * recall / max(precision + recall, 1e-9))


@pytest.mark.parametrize("radius", [1, 2, 3, 4, 5, 7, 9, 12, 12.5, 31])
def test_a_pixel_reaches_the_whole_disk_and_no_more(radius):
    """A dilation that leaves a gap in a row of its disk shows here: the dot in the corner is its own only boundary."""
    reach = int(radius)
    labels = np.zeros((reach + 3, reach + 3), dtype=np.uint8)
    labels[0, 0] = 1
    offsets = {(0, dx) for dx in range(reach + 2)} | {(dy, dx) for dx in (0, 1, 3) for dy in (reach, int(reach * 0.7))}
    for dy, dx in offsets - {(0, 0)}:
        dot = np.zeros_like(labels)
        dot[dy, dx] = 1
        square = [(y, x) for y in (dy - 1, dy) for x in (dx - 1, dx) if y >= 0 and x >= 0]  # its boundary
        near = sum(y * y + x * x <= radius * radius for y, x in square)
        precision, recall = near / len(square), float(near > 0)
        wanted = 2 * precision * recall / (precision + recall) if near else 0
        assert boundary_f_score(dot, labels, 2, (radius,))[0, 1] == pytest.approx(wanted), (dy, dx)


@given(pair=label_pairs())
@settings(deadline=None, max_examples=25)
def test_boundary_f_is_symmetric_grows_with_the_radius_and_is_one_for_itself(pair):
    prediction, labels, num_classes = pair
    known = np.where(labels == 255, 0, labels)
    radii = (1, 2, 4, 30)
    scores = boundary_f_score(prediction, known, num_classes, radii)
    np.testing.assert_array_equal(scores, boundary_f_score(known, prediction, num_classes, radii))
    assert (np.diff(scores, axis=0)[~np.isnan(scores[1:])] >= -1e-12).all()
    assert np.isin(np.nan_to_num(scores[-1], nan=1.0), (0, 1)).all()  # within 30 px: all matched, or one side empty
    itself = boundary_f_score(known, known, num_classes, radii)
    assert (np.nan_to_num(itself, nan=1.0) == 1).all()


def test_what_is_predicted_at_void_pixels_changes_nothing():
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((20, 30)) < 0.3, 255, rng.integers(0, 3, (20, 30)))
    prediction = rng.integers(0, 3, (20, 30))
    other = np.where(labels == 255, 200, prediction)  # not even a class
    np.testing.assert_array_equal(
        boundary_f_score(prediction, labels, 3, (1, 2)), boundary_f_score(other, labels, 3, (1, 2))
    )
    np.testing.assert_array_equal(confusion_counts(prediction, labels, 3), confusion_counts(other, labels, 3))


def test_tensors_other_types_and_another_void_give_the_same():
    rng = np.random.default_rng(1)
    labels, prediction = rng.integers(0, 4, (2, 16, 16)).astype(np.uint8)
    labels[:2] = 255
    wanted = boundary_f_score(prediction, labels, 4, (1,))
    signed = np.where(labels == 255, -1, labels.astype(np.int64))
    kept = signed.copy()
    np.testing.assert_array_equal(
        boundary_f_score(torch.from_numpy(prediction), torch.from_numpy(signed), 4, (1,), ignore_index=-1), wanted
    )
    np.testing.assert_array_equal(signed, kept)
    np.testing.assert_array_equal(
        confusion_counts(torch.from_numpy(prediction), torch.from_numpy(signed), 4, ignore_index=-1),
        confusion_counts(prediction, labels, 4),
    )


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1)])
def test_maps_without_boundaries(shape):
    empty = np.zeros(shape, dtype=np.uint8)
    assert np.isnan(boundary_f_score(empty, empty, 3, (1, 2))).all()
    assert (boundary_f_score(empty, empty, 3, (1, 2), absent="one") == 1).all()


@given(pair=label_pairs(), cut=st.integers(0, 14))
def test_counts_are_brute_force_and_add_up_over_any_split(pair, cut):
    prediction, labels, num_classes = pair
    counts = confusion_counts(prediction, labels, num_classes)
    wanted = np.zeros((num_classes, num_classes), int)
    for p, t in zip(prediction.flat, labels.flat, strict=True):
        if t != 255:
            wanted[t, p] += 1
    np.testing.assert_array_equal(counts, wanted)
    parts = confusion_counts(prediction[:cut], labels[:cut], num_classes) + confusion_counts(
        prediction[cut:], labels[cut:], num_classes
    )
    np.testing.assert_array_equal(parts, counts)


@given(pair=label_pairs())
def test_iou_is_intersection_over_union_of_masks(pair):
    prediction, labels, num_classes = pair
    known = labels != 255
    iou = iou_from_counts(confusion_counts(prediction, labels, num_classes))
    for k in range(num_classes):
        ours, theirs = (prediction == k) & known, (labels == k) & known
        union = (ours | theirs).sum()
        assert np.isnan(iou[k]) if union == 0 else iou[k] == pytest.approx((ours & theirs).sum() / union)


def test_absent_classes_are_left_out_or_one():
    counts = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert iou_from_counts(counts)[:2].tolist() == pytest.approx([0.75, 0.8])
    assert np.isnan(iou_from_counts(counts)[2])
    assert iou_from_counts(counts, absent="one")[2] == 1
    assert mean_iou(counts) == pytest.approx(0.775)
    assert mean_iou(counts, absent="one") == pytest.approx((0.75 + 0.8 + 1) / 3)
    assert pixel_accuracy(counts) == pytest.approx(7 / 8)


@given(pair=label_pairs())
def test_accuracies_and_weighted_iou_are_means_over_pixels(pair):
    prediction, labels, num_classes = pair
    known = labels != 255
    counts = confusion_counts(prediction, labels, num_classes)
    accuracy = class_accuracy(counts)
    weighted = 0.0
    for k in range(num_classes):
        theirs = (labels == k) & known
        if not theirs.any():
            assert np.isnan(accuracy[k])
            continue
        assert accuracy[k] == pytest.approx((prediction == k)[theirs].mean())
        ours = (prediction == k) & known
        weighted += theirs.sum() / known.sum() * (ours & theirs).sum() / (ours | theirs).sum()
    if known.any():
        assert frequency_weighted_iou(counts) == pytest.approx(weighted)


def in_categories(*names):
    classes = [{"name": f"c{i}", **({"category": name} if name else {})} for i, name in enumerate(names)]
    return LabelSpace.from_dict({"name": "t", "classes": classes})


@given(pair=label_pairs(), names=st.lists(st.sampled_from(["a", "b", None]), min_size=5, max_size=5))
def test_category_iou_is_the_iou_of_merged_masks(pair, names):
    prediction, labels, num_classes = pair
    names = names[:num_classes]
    if not any(names):
        return
    found = category_iou(confusion_counts(prediction, labels, num_classes), in_categories(*names))
    assert set(found) == set(names) - {None}
    known = labels != 255
    for name, iou in found.items():
        members = [k for k in range(num_classes) if names[k] == name]
        ours, theirs = (np.isin(ids, members) & known for ids in (prediction, labels))
        union = (ours | theirs).sum()
        assert np.isnan(iou) if union == 0 else iou == pytest.approx((ours & theirs).sum() / union)


def test_category_iou_wants_a_fitting_table():
    with pytest.raises(ConfigError, match="'t' has no categories"):
        category_iou(np.eye(2, dtype=int), in_categories(None, None))
    with pytest.raises(DataError, match="counts are of 3 classes, label table 't' has 2"):
        category_iou(np.eye(3, dtype=int), in_categories("a", "b"))


def test_nothing_counted_is_nan_without_a_warning(recwarn):
    nothing = np.zeros((3, 3), int)
    assert np.isnan(mean_iou(nothing))
    assert np.isnan(pixel_accuracy(nothing))
    assert np.isnan(frequency_weighted_iou(nothing))
    assert np.isnan(class_accuracy(nothing)).all()
    assert all(np.isnan(iou) for iou in category_iou(nothing, in_categories("a", "a", "b")).values())
    assert not recwarn.list


@pytest.mark.parametrize(
    "score", [lambda p, t: confusion_counts(p, t, 3), lambda p, t: boundary_f_score(p, t, 3, (1,))]
)
def test_wrong_maps_are_named(score):
    labels = np.zeros((4, 5), dtype=np.uint8)
    with pytest.raises(DataError, match=r"shape \(4, 4\) and labels \(4, 5\)"):
        score(labels[:, :4], labels)
    with pytest.raises(DataError, match=r"prediction holds float"):
        score(labels.astype(float), labels)
    wrong = labels.copy()
    wrong[0, :2] = 11
    with pytest.raises(DataError, match=r"labels holds 11 \(2 pixels\); 0 to 2 expected, or 255"):
        score(labels, wrong)
    with pytest.raises(DataError, match=r"prediction holds -1 \(1 pixels\)"):
        score(np.array([[0, -1]]), np.array([[0, 0]]))
    with pytest.raises(DataError, match="and 2 more"):
        score(np.arange(10)[None], np.zeros((1, 10), int))


def test_wrong_options_are_named():
    labels = np.zeros((4, 5), dtype=np.uint8)
    for radii in ((), (-1,), (float("nan"),)):
        with pytest.raises(ConfigError, match="radii_px"):
            boundary_f_score(labels, labels, 3, radii)
    with pytest.raises(ConfigError, match="'skip' or 'one'"):
        boundary_f_score(labels, labels, 3, (1,), absent="zero")
    with pytest.raises(ConfigError, match="num_classes is 256"):
        confusion_counts(labels, labels, 256)
    with pytest.raises(DataError, match="one image"):
        boundary_f_score(labels[None], labels[None], 3, (1,))
    with pytest.raises(DataError, match=r"\(K, K\) integers"):
        iou_from_counts(np.zeros((2, 3), int))
