"""The official evaluation of Cityscapes: against its golden file, and against the package on sets of many cases."""

import json
import math
import sys
import types
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crispseg.errors import ConfigError, DataError
from crispseg.labels import LabelSpace, label_space
from crispseg.metrics import (
    CityscapesCounts,
    category_iou,
    cityscapes_counts,
    cityscapes_scores,
    confusion_counts,
    iou_from_counts,
    kitti_instance_ids,
)

MINI = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "cityscapes_mini"
SPACE = label_space("cityscapes")
THINGS = (24, 25, 26, 27, 28, 29, 30, 31, 32, 33)


@pytest.fixture
def official(monkeypatch):
    """The package's evaluation module; what it needs of long-gone NumPy is put back for the time of a test."""
    pytest.importorskip("cityscapesscripts", reason="the package cityscapesscripts is not installed")
    if "pyquaternion" not in sys.modules:  # which only its 3D boxes use
        try:
            import pyquaternion  # noqa: F401
        except ImportError:
            monkeypatch.setitem(sys.modules, "pyquaternion", types.SimpleNamespace(Quaternion=None))
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as module

    monkeypatch.setattr(np, "in1d", lambda a, b, **kw: np.isin(np.ravel(a), b, **kw), raising=False)
    monkeypatch.setattr(module.args, "quiet", True)
    monkeypatch.setattr(module.args, "JSONOutput", False)
    return module


def official_scores(module, folder, images):
    """What the package says of (prediction, labels, instances) images, through files, as it wants them."""
    names = []
    for index, (prediction, labels, instances) in enumerate(images):
        stem = f"{folder}/town_{index:06d}_000019"
        Image.fromarray(prediction.astype(np.uint8)).save(f"{stem}_pred_labelIds.png")
        Image.fromarray(labels.astype(np.uint8)).save(f"{stem}_gtFine_labelIds.png")
        Image.fromarray(instances.astype(np.uint16)).save(f"{stem}_gtFine_instanceIds.png")
        names.append((f"{stem}_pred_labelIds.png", f"{stem}_gtFine_labelIds.png"))
    return module.evaluateImgLists(*map(list, zip(*names, strict=True)), module.args)


def assert_equal(ours, theirs):
    for found, wanted in (
        (ours.class_iou, theirs["classScores"]),
        (ours.class_iiou, theirs["classInstScores"]),
        (ours.category_iou, theirs["categoryScores"]),
        (ours.category_iiou, theirs["categoryInstScores"]),
    ):
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, abs=1e-9, rel=0, nan_ok=True), name
    for found, name in (
        (ours.mean_class_iou, "averageScoreClasses"),
        (ours.mean_class_iiou, "averageScoreInstClasses"),
        (ours.mean_category_iou, "averageScoreCategories"),
        (ours.mean_category_iiou, "averageScoreInstCategories"),
    ):
        assert found == pytest.approx(theirs[name], abs=1e-9, rel=0, nan_ok=True), name


def our_scores(images):
    return cityscapes_scores(reduce(add, (cityscapes_counts(*image) for image in images)))


def made_up_image(rng, size_hw, wrong):
    """Blocks of every id, objects with and without numbers, and predictions that err into every id."""
    blocks = rng.choice(34, (8, 10), p=weights(rng))
    numbers = np.where(np.isin(blocks, THINGS) & (rng.random(blocks.shape) < 0.8), rng.integers(0, 4, blocks.shape), -1)
    instances = np.where(numbers < 0, blocks, 1000 * blocks + numbers)
    cells = tuple(-(-side // cell) for side, cell in zip(size_hw, blocks.shape, strict=True))
    labels, instances = (np.kron(a, np.ones(cells, int))[: size_hw[0], : size_hw[1]] for a in (blocks, instances))
    confused = np.where(rng.random(size_hw) < 0.5, np.roll(labels, 3, axis=1), rng.integers(0, 34, size_hw))
    return np.where(rng.random(size_hw) < wrong, confused, labels), labels, instances


def weights(rng):
    """Some ids absent, traffic common."""
    raw = rng.random(34) * (rng.random(34) < 0.6)
    raw[list(THINGS)] *= 2
    raw[26] += 0.1
    return raw / raw.sum()


def test_mini_set_is_the_official_one():
    if not MINI.exists():
        pytest.skip(f"no {MINI.name} beside the project")
    images = []
    for path in sorted((MINI / "gt").glob("*_labelIds.png")):
        prediction = MINI / "pred" / path.name.replace("gtFine", "pred")
        instances = path.with_name(path.name.replace("labelIds", "instanceIds"))
        images.append(tuple(np.array(Image.open(file)) for file in (prediction, path, instances)))
    assert len(images) == 3
    assert_equal(our_scores(images), json.loads((MINI / "official_scores.json").read_text()))


@pytest.mark.parametrize("seed", range(8))
def test_made_up_sets_are_the_packages(official, tmp_path, seed):
    rng = np.random.default_rng(seed)
    sizes = [(40, 50), (33, 47), (9, 11), (1, 1)]
    images = [made_up_image(rng, size, rng.choice([0, 0.1, 0.6, 1])) for size in sizes[: 1 + seed % 4]]
    assert_equal(our_scores(images), official_scores(official, tmp_path, images))


@pytest.mark.parametrize(
    ("prediction", "labels", "instances"),
    [
        ([29, 30, 26, 27], [26, 26, 26, 26], [26001, 26001, 26001, 26001]),  # ignored vehicles on a car
        ([26, 26, 26, 29], [29, 30, 9, 0], [29001, 30, 9, 0]),  # vehicles on ignored ids
        ([29, 29, 26, 23], [23, 7, 7, 23], [23, 7, 7, 23]),  # ignored and other vehicles where there are none
        ([26, 0, 24, 26], [26, 26, 24, 24], [26, 26, 24, 24]),  # groups only
        ([24, 24, 25, 24], [24, 25, 24, 24], [24000, 25000, 24001, 24]),  # instance number 0, and a group
        ([9, 10, 14, 4], [7, 8, 11, 17], [7, 8, 11, 17]),  # ignored ids of the own category
        ([7, 7, 7, 7], [0, 1, 2, 3], [0, 1, 1001, 3001]),  # nothing to score
        ([26, 26, 26, 24], [7, 7, 23, 24], [26000, 26000, 23, 24001]),  # instance file and label file disagree
    ],
)
def test_single_cases_are_the_packages(official, tmp_path, prediction, labels, instances):
    image = tuple(np.array([row]) for row in (prediction, labels, instances))
    assert_equal(our_scores([image]), official_scores(official, tmp_path, [image]))


def test_table_is_the_packages(official):
    from cityscapesscripts.helpers.labels import labels

    ours = {
        (entry.name, raw, entry.colour, entry.category, entry.has_instances, train_id)
        for entries, ignored in ((SPACE.classes, False), (SPACE.ignored_classes, True))
        for position, entry in enumerate(entries)
        for raw in entry.ids
        for train_id in [255 if ignored else position]
    }
    theirs = {(e.name, e.id, e.color, e.category, e.hasInstances, e.trainId) for e in labels if e.id >= 0}
    assert ours == theirs
    assert {entry.id for entry in labels if entry.ignoreInEval and entry.id >= 0} == set(SPACE.ignore_ids)


def test_counts_of_images_add_up_in_any_grouping():
    rng = np.random.default_rng(5)
    images = [made_up_image(rng, (20, 30), 0.3) for _ in range(3)]
    one, two, three = (cityscapes_counts(*image) for image in images)
    for left, right in (((one + two) + three, one + (two + three)), (one + two, two + one)):
        np.testing.assert_array_equal(left.confusion, right.confusion)
        np.testing.assert_allclose(left.instance_total, right.instance_total, rtol=1e-14)
        np.testing.assert_allclose(left.instance_right, right.instance_right, rtol=1e-14)


def test_with_training_classes_alone_it_is_the_iou_of_train_ids():
    """Where nothing is predicted as an ignored id, raw ids and train ids must say the same."""
    rng = np.random.default_rng(6)
    raw = np.array([entry.ids[0] for entry in SPACE.classes])
    labels = rng.integers(0, 34, (30, 40))
    prediction = raw[rng.integers(0, 19, (30, 40))]
    scores = our_scores([(prediction, labels)])
    counts = confusion_counts(SPACE.lookup[prediction], SPACE.lookup[labels], 19)
    assert [scores.class_iou[name] for name in SPACE.class_names] == pytest.approx(iou_from_counts(counts).tolist())
    by_category = category_iou(counts, SPACE)
    assert {name: scores.category_iou[name] for name in by_category} == pytest.approx(by_category)
    assert all(math.isnan(value) for value in (*scores.class_iiou.values(), *scores.category_iiou.values()))
    assert math.isnan(scores.mean_class_iiou)


def test_without_instances_of_all_images_there_is_no_iiou():
    image = made_up_image(np.random.default_rng(8), (20, 30), 0.3)
    scores = our_scores([image, image[:2]])
    assert not math.isnan(scores.mean_class_iou)
    assert math.isnan(scores.class_iiou["car"])
    assert list(scores.class_iou)[:19] == list(SPACE.class_names)
    assert list(scores.category_iou)[:7] == list(SPACE.categories)


def test_a_category_with_a_class_without_instances_has_no_iiou():
    classes = [
        {"name": "car", "ids": [1], "category": "vehicle", "has_instances": True},
        {"name": "tram", "ids": [2], "category": "vehicle"},
        {"name": "person", "ids": [3], "category": "human", "has_instances": True},
    ]
    space = LabelSpace.from_dict({"classes": classes})
    labels = np.array([[1, 2, 3, 3]])
    scores = cityscapes_scores(cityscapes_counts(labels, labels, labels * 1000 + 1, space), space)
    assert (scores.class_iiou["car"], scores.category_iiou["human"], scores.category_iou["vehicle"]) == (1, 1, 1)
    assert math.isnan(scores.category_iiou["vehicle"])


def test_no_class_is_wrong_in_predictions_and_ignored_in_the_truth():
    labels = np.array([[7, 7, 255, 255]])
    scores = our_scores([(np.array([[7, 255, 7, 8]]), labels)])
    assert scores.class_iou["road"] == 0.5
    assert math.isnan(scores.class_iou["sidewalk"])


def test_tensors_give_the_same():
    image = made_up_image(np.random.default_rng(7), (20, 30), 0.3)
    found, wanted = (cityscapes_counts(*maps) for maps in (map(torch.from_numpy, image), image))
    np.testing.assert_array_equal(found.confusion, wanted.confusion)
    np.testing.assert_array_equal(found.instance_right, wanted.instance_right)


def test_kitti_instances():
    kitti = np.array([[26 * 256 + 1, 26 * 256, 11 * 256 + 2, 7 * 256]], dtype=np.uint16)
    ids = kitti_instance_ids(kitti)
    assert ids.tolist() == [[26001, 26, 11002, 7]]
    labels = kitti // 256
    counts = cityscapes_counts(labels, labels, ids)
    assert counts.instance_total.nonzero()[0].tolist() == [13]  # the car; numbered buildings add nothing


def test_wrong_maps_are_named():
    labels = np.full((2, 3), 7)
    with pytest.raises(DataError, match=r"prediction holds ids .*'cityscapes' does not know: 34, 200"):
        cityscapes_counts(np.array([[34, 200, 7]] * 2), labels)
    with pytest.raises(DataError, match=r"labels holds ids .*: -1"):
        cityscapes_counts(labels, -np.ones_like(labels))
    with pytest.raises(DataError, match=r"instances holds ids .*: 65"):
        cityscapes_counts(labels, labels, np.full((2, 3), 65535))
    with pytest.raises(DataError, match=r"prediction is int64 of the shape \(2, 2\)"):
        cityscapes_counts(labels[:, :2], labels)
    with pytest.raises(DataError, match="labels is float64"):
        cityscapes_counts(labels, labels.astype(float))
    with pytest.raises(ConfigError, match="'camvid' has no categories"):
        cityscapes_scores(CityscapesCounts(np.zeros((256, 256), int), *np.zeros((3, 11))), label_space("camvid"))
    with pytest.raises(DataError, match=r"\(256, 256\) and \(19,\) expected"):
        cityscapes_scores(CityscapesCounts(np.zeros((19, 19), np.int64), *np.zeros((3, 19))))


def test_an_instance_class_without_average_size_is_named():
    classes = [{"name": "boat", "ids": [1], "category": "vehicle", "has_instances": True}, {"name": "sea", "ids": [2]}]
    labels = np.array([[1, 2]])
    with pytest.raises(ConfigError, match="class 'boat' has instances, but their average size is not known"):
        cityscapes_counts(labels, labels, labels * 1000, LabelSpace.from_dict({"classes": classes}))
