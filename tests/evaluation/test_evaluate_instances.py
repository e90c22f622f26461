"""Instance-weighted IoU of files: against the functions on the maps written, which equal the official code."""

import math
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from label_folders import evaluate_folders

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation.journal import RecordFile
from crispseg.io import write_png
from crispseg.labels import LabelSpace, label_space
from crispseg.metrics import cityscapes_counts, cityscapes_scores

SPACE = label_space("cityscapes")
FILES = ("images.jsonl", "scores.json", "scores.md", "report.html")


def made_up(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prediction, labels and instances of raw ids, ignored ones and void too, with objects, groups and mistakes."""
    rng = np.random.default_rng(seed)
    blocks = rng.choice([0, 7, 11, 21, 24, 25, 26, 28, 29, 33], (4, 6))
    numbered = (blocks >= 24) & (rng.random(blocks.shape) < 0.8)
    objects = np.where(numbered, 1000 * blocks + rng.integers(0, 3, blocks.shape), blocks)
    labels, instances = (np.kron(a, np.ones((5, 4), int)) for a in (blocks, objects))
    prediction = np.roll(labels, 1, axis=1)
    wrong = rng.random(labels.shape) < 0.1
    prediction[wrong] = rng.choice([7, 24, 26, 29, 30, 255], wrong.sum())
    return prediction, labels, instances


def write_cityscapes(folder: Path, images: int = 5) -> tuple[Path, Path]:
    for index in range(images):
        prediction, labels, instances = made_up(index)
        stem = f"town_{index:06d}_000019"
        write_png(folder / f"masks/{stem}_leftImg8bit.png", prediction.astype(np.uint8))
        write_png(folder / f"gtFine/town/{stem}_gtFine_labelIds.png", labels.astype(np.uint8))
        write_png(folder / f"gtFine/town/{stem}_gtFine_instanceIds.png", instances.astype(np.uint16))
    return folder / "masks", folder / "gtFine"


def expected(images: int = 5):
    return cityscapes_scores(reduce(add, (cityscapes_counts(*made_up(index)) for index in range(images))))


def assert_official(scores, official):
    for ours, theirs, names in (
        (scores.iou, official.class_iou, SPACE.class_names),
        (scores.iiou, official.class_iiou, SPACE.class_names),
        (scores.category_iou, official.category_iou, SPACE.categories),
        (scores.category_iiou, official.category_iiou, SPACE.categories),
    ):
        assert tuple(ours) == names
        for name in names:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-9, rel=0, nan_ok=True), name


def test_files_with_instances_score_by_the_official_rules(tmp_path: Path):
    scores = evaluate_folders(*write_cityscapes(tmp_path), "cityscapes", (1,), out=tmp_path / "out")
    official = expected()
    assert_official(scores, official)
    assert 0 < official.class_iiou["car"] < 1
    assert abs(official.class_iiou["car"] - official.class_iou["car"]) > 1e-3
    assert scores.to_dict()["mean_category_iiou"] == pytest.approx(official.mean_category_iiou, abs=1e-9)
    assert scores.table_rows()[0] == ["class", "IoU", "iIoU", "F 1 px"]
    assert f"iIoU {100 * official.mean_class_iiou:.1f}, category iIoU" in scores.summary()
    assert f"| human | {100 * official.category_iou['human']:.1f} |" in (tmp_path / "out/scores.md").read_text()
    html = (tmp_path / "out/report.html").read_text()
    assert "<dt>iIoU</dt>" in html
    assert '<th scope="col" colspan="2">iIoU</th>' in html


def test_maps_that_hold_train_ids_score_alike(tmp_path: Path):
    """But for predicted caravans and trailers, which train ids cannot say."""
    masks, labels = write_cityscapes(tmp_path)
    trained = np.where(SPACE.lookup[:256] < 0, 255, SPACE.lookup[:256]).astype(np.uint8)
    counts = []
    for index, path in enumerate(sorted(masks.iterdir())):
        prediction, truth, instances = made_up(index)
        write_png(path, trained[prediction])
        counts.append(cityscapes_counts(np.where(trained[prediction] == 255, 255, prediction), truth, instances))
    scores = evaluate_folders(masks, labels, "cityscapes", (1,), encoding="train-ids", label_encoding="raw-ids")
    assert_official(scores, cityscapes_scores(reduce(add, counts)))
    for path in labels.rglob("*_labelIds.png"):
        ids = made_up(int(path.name.split("_")[1]))[1]
        write_png(path.with_name(path.name.replace("labelIds", "labelTrainIds")), trained[ids])
    assert evaluate_folders(masks, labels, "cityscapes", (1,), encoding="train-ids") == scores


def test_kittis_files_are_found_and_renumbered(tmp_path: Path):
    for index in range(5):
        prediction, labels, instances = made_up(index)
        of_kitti = np.where(instances > 1000, labels * 256 + instances % 1000 + 1, labels * 256)
        write_png(tmp_path / f"masks/{index:06d}_10.png", prediction.astype(np.uint8))
        write_png(tmp_path / f"training/semantic/{index:06d}_10.png", labels.astype(np.uint8))
        write_png(tmp_path / f"training/instance/{index:06d}_10.png", of_kitti.astype(np.uint16))
    scores = evaluate_folders(tmp_path / "masks", tmp_path / "training/semantic", "cityscapes", (1,))
    assert_official(scores, expected())


def test_instances_can_be_demanded_and_left_out(tmp_path: Path):
    masks, labels = write_cityscapes(tmp_path)
    whole = evaluate_folders(masks, labels, "cityscapes", (1,))
    assert whole == evaluate_folders(masks, labels, "cityscapes", (1,), instances=True)
    assert evaluate_folders(masks, labels, "cityscapes", (1,), instances=False).iiou == {}
    missing = sorted(labels.rglob("*_instanceIds.png"))[2]
    missing.unlink()
    for wanted in (None, True):  # scores of some of the images only are not what was asked for
        with pytest.raises(DataError, match=r"1 image cannot .*no instance file .*town_000002_000019_gtFine_labelIds"):
            evaluate_folders(masks, labels, "cityscapes", (1,), instances=wanted)
    partly = evaluate_folders(masks, labels, "cityscapes", (1,), skip_bad=True)
    assert (partly.images, partly.skipped) == (4, 1)
    for path in labels.rglob("*_instanceIds.png"):
        path.unlink()
    assert evaluate_folders(masks, labels, "cityscapes", (1,)).iiou == {}
    with pytest.raises(DataError, match="5 images cannot be scored: 5 × no instance file"):
        evaluate_folders(masks, labels, "cityscapes", (1,), instances=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"has_instances": False}, "has no class with 'has_instances: true'"),
        ({"category": None}, "has no categories"),
        ({"name": "{}s"}, "average size is not known"),
    ],
)
def test_a_table_that_does_not_do_is_refused_if_instances_are_demanded(change: dict, named: str, tmp_path: Path):
    masks, labels = write_cityscapes(tmp_path, 1)
    values = SPACE.to_dict() | {"name": "mine"}
    for entry in values["classes"]:
        entry |= {key: entry["name"] + "s" if key == "name" else value for key, value in change.items()}
    values["classes"] = [{k: v for k, v in entry.items() if v is not None} for entry in values["classes"]]
    space = LabelSpace.from_dict(values)
    with pytest.raises(ConfigError, match=named):
        evaluate_folders(masks, labels, space, (1,), instances=True)
    assert evaluate_folders(masks, labels, space, (1,)).iiou == {}


def test_bad_instance_files_are_named(tmp_path: Path):
    masks, labels = write_cityscapes(tmp_path)
    first, second, third = sorted(labels.rglob("*_instanceIds.png"))[:3]
    first.write_bytes(b"nothing")
    write_png(second, np.zeros((3, 4), np.uint16))
    write_png(third, np.full((20, 24), 61_000, np.uint16))
    with pytest.raises(DataError) as caught:
        evaluate_folders(masks, labels, "cityscapes", (1,), workers=1)
    parts = (
        "3 images cannot be scored: 2 × instance file that cannot be read",
        f"{first}: not an image",
        f"{second} is 3×4",
        f"{third}: instances of the ids 61 found, which the label table 'cityscapes' does not know",
    )
    for part in parts:  # all of it at once
        assert part in str(caught.value)


def stop(done: int, total: int) -> None:
    if done == 2:
        raise KeyboardInterrupt


def test_a_stopped_run_goes_on_and_sees_changed_instances(tmp_path: Path):
    (masks, labels), out = write_cityscapes(tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate_folders(masks, labels, "cityscapes", (1,), out=out, workers=1, progress=stop)
    assert len(list(RecordFile(out))) == 2
    with pytest.raises(ConfigError, match="instances was True, and is None now"):
        evaluate_folders(masks, labels, "cityscapes", (1,), out=out, resume=True, instances=False)
    path = sorted(labels.rglob("*_instanceIds.png"))[0]
    write_png(path, np.where(made_up(0)[2] == 26000, 26001, made_up(0)[2]).astype(np.uint16))
    calls: list[tuple[int, int]] = []
    resumed = evaluate_folders(
        masks, labels, "cityscapes", (1,), out=out, resume=True, progress=lambda *done: calls.append(done)
    )
    assert len(calls) == 4  # one of the two, and the three that were missing
    assert resumed == evaluate_folders(masks, labels, "cityscapes", (1,), out=tmp_path / "whole")
    for name in FILES[1:]:  # the order of the records differs
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_records_hold_whole_numbers(tmp_path: Path):
    evaluate_folders(*write_cityscapes(tmp_path, 2), "cityscapes", (1,), out=tmp_path / "out")
    for index, record in enumerate(RecordFile(tmp_path / "out")):
        assert record.raw_confusion[:, 2].sum() == made_up(index)[1].size  # void and ignored ids as well
        counts = cityscapes_counts(*made_up(index))
        np.testing.assert_allclose(record.instances[:, 3] / 2**24, counts.instance_total[record.instances[:, 0]])
        assert len(record.instances) == (counts.instance_total > 0).sum()


def test_an_image_without_objects_changes_no_iiou(tmp_path: Path):
    masks, labels = write_cityscapes(tmp_path)
    before = evaluate_folders(masks, labels, "cityscapes", (1,))
    road = np.full((6, 6), 7, np.uint8)
    write_png(masks / "town_000009_000019_leftImg8bit.png", road)
    write_png(labels / "town/town_000009_000019_gtFine_labelIds.png", road)
    write_png(labels / "town/town_000009_000019_gtFine_instanceIds.png", road.astype(np.uint16))
    after = evaluate_folders(masks, labels, "cityscapes", (1,))
    assert after.images == 6
    for name, value in before.iiou.items():
        assert after.iiou[name] == pytest.approx(value, nan_ok=True)
        assert math.isnan(value) == (name not in ("person", "rider", "car", "bus", "bicycle"))
