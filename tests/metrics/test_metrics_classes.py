"""The torchmetrics classes: sums over batches and processes give the functions' values."""

import numpy as np
import pytest
import torch

from crispseg.errors import ConfigError, DataError
from crispseg.labels import label_space
from crispseg.metrics import (
    BoundaryCounts,
    BoundaryFScore,
    BoundaryIoU,
    CityscapesEvaluation,
    DistanceIoU,
    SegmentationScores,
    TrimapIoU,
    boundary_f_from_counts,
    boundary_f_score,
    boundary_iou,
    boundary_iou_counts,
    boundary_match_counts,
    boundary_precision_recall,
    category_iou,
    cityscapes_counts,
    cityscapes_scores,
    class_accuracy,
    confusion_counts,
    distance_counts,
    distance_iou,
    frequency_weighted_iou,
    iou_from_counts,
    trimap_counts,
    trimap_iou,
)


def made_up_set(images=5, num_classes=4, size=(12, 16), seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, num_classes - 1, (images, size[0] // 4, size[1] // 4), generator=generator)
    labels = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
    prediction = labels.roll(1, dims=2)
    labels[:, :1] = 255
    labels[0, 4:] = num_classes - 1  # a class of one image only
    return prediction, labels


def test_scores_of_batches_are_the_scores_of_the_whole():
    prediction, labels = made_up_set()
    scores = SegmentationScores(num_classes=5)
    scores.update(prediction[:2], labels[:2])
    scores.update(prediction[2:], labels[2:])
    result = scores.compute()
    wanted = iou_from_counts(confusion_counts(prediction, labels, 5))
    np.testing.assert_array_equal(result["iou"], wanted)
    assert torch.isnan(result["iou"][4])
    assert result["mean_iou"] == pytest.approx(np.nanmean(wanted))
    counts = confusion_counts(prediction, labels, 5)
    np.testing.assert_array_equal(result["class_accuracy"], class_accuracy(counts))
    assert result["mean_class_accuracy"] == pytest.approx(np.nanmean(class_accuracy(counts)))
    assert result["frequency_weighted_iou"] == frequency_weighted_iou(counts)
    assert "category_iou" not in result
    known = labels != 255
    assert result["pixel_accuracy"] == pytest.approx((prediction == labels)[known].double().mean().item())


def test_categories_need_a_table():
    rng = np.random.default_rng(0)
    prediction, labels = torch.from_numpy(rng.integers(0, 19, (2, 3, 8, 9)))
    space = label_space("cityscapes")
    scores = SegmentationScores(19, label_space=space)
    scores.update(prediction, labels)
    wanted = list(category_iou(confusion_counts(prediction, labels, 19), space).values())
    assert scores.compute()["category_iou"].tolist() == wanted
    assert scores.compute()["mean_category_iou"] == pytest.approx(np.mean(wanted))


@pytest.mark.parametrize("absent", ["skip", "one"])
def test_boundary_f_is_the_mean_over_the_images_that_show_the_class(absent):
    prediction, labels = made_up_set()
    scores = BoundaryFScore(num_classes=5, radii_px=(1, 2), absent=absent)
    scores.update(prediction[:3], labels[:3])
    scores.update(prediction[3:], labels[3:])
    result = scores.compute()
    single = [boundary_f_score(p, t, 5, (1, 2), absent=absent) for p, t in zip(prediction, labels, strict=True)]
    for radius in range(2):
        for k in range(5):
            known = [s[radius, k] for s in single if not np.isnan(s[radius, k])]
            found = result["boundary_f_per_class"][radius, k].item()
            assert np.isnan(found) if not known else found == pytest.approx(np.mean(known), abs=1e-11)
    assert result["boundary_f"].tolist() == pytest.approx(
        np.nanmean(result["boundary_f_per_class"].numpy(), axis=1).tolist()
    )


def sums(count, prediction, labels):
    return sum(count(p, t) for p, t in zip(prediction, labels, strict=True))


AVERAGED = {
    "trimap_iou": (
        lambda **kw: TrimapIoU(5, (1, 3), **kw),
        lambda p, t, absent: trimap_iou(p, t, 5, (1, 3), absent=absent),
        lambda ps, ts, absent: [
            iou_from_counts(sums(lambda p, t, r=radius: trimap_counts(p, t, 5, r), ps, ts), absent) for radius in (1, 3)
        ],
    ),
    "distance_iou": (
        lambda **kw: DistanceIoU(5, (0, 1, 9), margin_px=1, **kw),
        lambda p, t, absent: distance_iou(p, t, 5, (0, 1, 9), absent=absent, margin_px=1),
        lambda ps, ts, absent: [
            iou_from_counts(counts, absent)
            for counts in sums(lambda p, t: distance_counts(p, t, 5, (0, 1, 9), margin_px=1), ps, ts)
        ],
    ),
    "boundary_iou": (
        lambda **kw: BoundaryIoU(5, (1, 3), **kw),
        lambda p, t, absent: boundary_iou(p, t, 5, (1, 3), absent=absent),
        lambda ps, ts, absent: [
            np.where(both[1] > 0, both[0] / both[1].clip(1), np.nan if absent == "skip" else 1)
            for both in (sums(lambda p, t, r=radius: boundary_iou_counts(p, t, 5, r), ps, ts) for radius in (1, 3))
        ],
    ),
    "boundary_f": (
        lambda **kw: BoundaryFScore(5, (1, 3), **kw),
        lambda p, t, absent: boundary_f_score(p, t, 5, (1, 3), absent=absent),
        lambda ps, ts, absent: boundary_f_from_counts(
            BoundaryCounts(
                *(sums(lambda p, t, i=index: boundary_match_counts(p, t, 5, (1, 3))[i], ps, ts) for index in range(4))
            ),
            absent,
        ),
    ),
}


@pytest.mark.parametrize("absent", ["skip", "one"])
@pytest.mark.parametrize("name", AVERAGED)
def test_average_over_images_and_over_the_set(name, absent):
    make, of_image, of_set = AVERAGED[name]
    prediction, labels = made_up_set()
    for average in ("image", "set"):
        scores = make(average=average, absent=absent)
        for part in (slice(0, 2), slice(2, 3), slice(3, 5)):
            scores.update(prediction[part], labels[part])
        result = scores.compute()
        if average == "set":
            wanted = np.array(of_set(prediction, labels, absent))
        else:
            single = np.ma.masked_invalid([of_image(p, t, absent) for p, t in zip(prediction, labels, strict=True)])
            wanted = single.mean(axis=0).filled(np.nan)
        np.testing.assert_allclose(result[f"{name}_per_class"], wanted, atol=1e-11)
        np.testing.assert_allclose(result[name], np.ma.masked_invalid(wanted).mean(axis=1).filled(np.nan), atol=1e-11)
    assert np.isnan(wanted).any() == (absent == "skip")


def test_precision_and_recall_are_averaged_where_they_exist():
    prediction, labels = made_up_set()
    scores = BoundaryFScore(5, (1, 3))
    scores.update(prediction, labels)
    result = scores.compute()
    pairs = zip(prediction, labels, strict=True)
    single = np.ma.masked_invalid([boundary_precision_recall(p, t, 5, (1, 3)) for p, t in pairs])
    for index, name in enumerate(("precision", "recall")):
        wanted = single.mean(axis=0).filled(np.nan)[index]
        np.testing.assert_allclose(result[f"boundary_{name}_per_class"], wanted, atol=1e-11)


def test_boundary_iou_takes_each_images_own_distance():
    """2 % of 12×16 rounds to less than 1 px, of 120×160 to 4."""
    prediction, labels = made_up_set()
    large = [maps.repeat_interleave(10, 1).repeat_interleave(10, 2) for maps in (prediction, labels)]
    scores = BoundaryIoU(5)
    scores.update(prediction, labels)
    scores.update(*large)
    counts = sums(lambda p, t: boundary_iou_counts(p, t, 5, 1), prediction, labels)
    counts = counts + sums(lambda p, t: boundary_iou_counts(p, t, 5, 4), *large)
    np.testing.assert_array_equal(scores.compute()["boundary_iou_per_class"][0, :4], counts[0, :4] / counts[1, :4])


def made_up_raw_ids(images=4):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 34, (images, 10, 12))
    prediction = np.where(rng.random(labels.shape) < 0.5, labels, rng.integers(0, 34, labels.shape))
    instances = np.where(labels >= 24, 1000 * labels + rng.integers(0, 3, labels.shape), labels)
    return [torch.from_numpy(ids) for ids in (prediction, labels, instances)]


def test_official_evaluation_is_the_functions():
    maps = made_up_raw_ids()
    evaluation = CityscapesEvaluation()
    evaluation.update(*(ids[:3] for ids in maps))
    evaluation.update(*(ids[3:] for ids in maps))
    one, *others = (cityscapes_counts(*image) for image in zip(*maps, strict=True))
    wanted = cityscapes_scores(sum(others, one))
    found = evaluation.compute()
    space = label_space("cityscapes")
    for name, order in (
        *(("class_iou", space.class_names), ("class_iiou", space.class_names)),
        *(("category_iou", space.categories), ("category_iiou", space.categories)),
    ):
        values = getattr(wanted, name)
        np.testing.assert_allclose(found[name], [values[key] for key in order], atol=1e-10)
        assert found[f"mean_{name}"].item() == pytest.approx(getattr(wanted, f"mean_{name}"), abs=1e-10)
    evaluation.update(*(ids[:1] for ids in maps[:2]))
    assert evaluation.compute()["class_iiou"].isnan().all()
    assert not evaluation.compute()["class_iou"].isnan().any()
    with pytest.raises(DataError, match=r"instances has the shape \(4, 9, 12\)"):
        evaluation.update(maps[0], maps[1], maps[2][:, 1:])


@pytest.mark.parametrize(
    "make",
    [
        lambda: SegmentationScores(4),
        lambda: BoundaryFScore(4, (1, 2)),
        lambda: BoundaryFScore(4, (1, 2), average="set"),
        lambda: BoundaryIoU(4, (1, 2)),
        lambda: TrimapIoU(4, (1, 2), average="image"),
        lambda: DistanceIoU(4, (0, 2), margin_px=1),
        lambda: CityscapesEvaluation(),
    ],
)
def test_states_are_sums_so_that_processes_add_up(make):
    """What torchmetrics does when it synchronises: gather each state, reduce it by its own rule."""
    whole, one, other = make(), make(), make()
    maps = made_up_raw_ids() if isinstance(whole, CityscapesEvaluation) else made_up_set()
    whole.update(*maps)
    one.update(*(ids[:2] for ids in maps))
    other.update(*(ids[2:] for ids in maps))
    for name, reduce in one._reductions.items():
        assert getattr(one, name).dtype == torch.int64  # which adds up to the same in any order
        setattr(one, name, reduce(torch.stack([getattr(one, name), getattr(other, name)])))
    for name, value in whole.compute().items():
        torch.testing.assert_close(one.compute()[name], value, equal_nan=True, rtol=0, atol=0)


def test_reset_forgets():
    prediction, labels = made_up_set()
    scores = SegmentationScores(4)
    scores.update(prediction, labels)
    scores.reset()
    scores.update(labels.where(labels != 255, 0), labels)
    assert scores.compute()["mean_iou"] == 1


@pytest.mark.parametrize(
    "make",
    [
        *(lambda: BoundaryFScore(2, (1,)), lambda: BoundaryIoU(2), lambda: TrimapIoU(2, (1,))),
        *(lambda: DistanceIoU(2, (0,)), lambda: CityscapesEvaluation()),
    ],
)
def test_single_maps_without_batch_are_refused(make):
    labels = torch.zeros(4, 4, dtype=torch.long)
    with pytest.raises(DataError, match=r"\(N, H, W\)"):
        make().update(labels, labels)


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match="average is 'pixel'; 'image' or 'set' expected"):
        BoundaryIoU(2, average="pixel")
    with pytest.raises(ConfigError, match="no radius or crop factor given"):
        TrimapIoU(2, ())
