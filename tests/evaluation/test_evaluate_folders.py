"""Label images of any tool: scores against plain NumPy, encodings, void predictions, and all that can be wrong."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from label_folders import RAW, SPACE, random_pair, write_folders
from PIL import Image
from scipy import ndimage

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation import evaluate_folders, read_labels
from crispseg.io import write_png
from crispseg.labels import LabelSpace

GOLDEN = Path(__file__).parents[3] / "shared/golden/cityscapes_mini"
NAMES = ("sky", "road", "pole", "ghost")


def boundary(mask: np.ndarray) -> np.ndarray:
    """The papers' boundary map, pixel by pixel as the text says it."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            right = x + 1 < width and mask[y, x] != mask[y, x + 1]
            below = y + 1 < height and mask[y, x] != mask[y + 1, x]
            across = x + 1 < width and y + 1 < height and mask[y, x] != mask[y + 1, x + 1]
            found[y, x] = right or below or across
    return found


def matched(ours: np.ndarray, theirs: np.ndarray, radius: float) -> int:
    return int((ours & (ndimage.distance_transform_edt(~theirs) <= radius)).sum()) if theirs.any() else 0


def test_every_score_is_that_of_plain_numpy(tmp_path: Path):
    scores = evaluate_folders(*write_folders(tmp_path, 5), SPACE, (0, 2))
    pairs = [random_pair(index) for index in range(5)]
    predicted = np.concatenate([p[t != 255] for p, t in pairs])
    true = np.concatenate([t[t != 255] for p, t in pairs])
    assert (predicted == 255).any()
    assert scores.pixel_accuracy == pytest.approx((predicted == true).mean())
    weighted = 0.0
    for k, name in enumerate(NAMES[:3]):
        both, either = ((predicted == k) & (true == k)).sum(), ((predicted == k) | (true == k)).sum()
        assert scores.iou[name] == pytest.approx(both / either)
        assert scores.class_accuracy[name] == pytest.approx(both / (true == k).sum())
        weighted += both / either * (true == k).mean()
    assert scores.frequency_weighted_iou == pytest.approx(weighted)
    near = np.isin(predicted, (1, 2)), np.isin(true, (1, 2))
    assert scores.category_iou["near"] == pytest.approx((near[0] & near[1]).sum() / (near[0] | near[1]).sum())
    assert scores.category_iou["far"] == pytest.approx(scores.iou["sky"])
    assert math.isnan(scores.iou["ghost"])

    for k, name in enumerate(NAMES[:3]):
        for radius in (0, 2):
            counts = []
            for p, t in pairs:
                ours, theirs = boundary((p == k) & (t != 255)), boundary(t == k)
                counts.append((ours.sum(), matched(ours, theirs, radius), theirs.sum(), matched(theirs, ours, radius)))
            counts = np.array(counts, dtype=float)

            def rates(c):
                precision, recall = c[1] / c[0], c[3] / c[2]
                return precision, recall, 2 * precision * recall / (precision + recall)

            assert (counts[:, [0, 2]] > 0).all()
            of_images = np.mean([rates(c) for c in counts], axis=0)
            of_set = rates(counts.sum(axis=0))
            for kind, values in (("", of_images), ("_set", of_set)):
                for rate, value in zip(("precision", "recall", "f"), values, strict=True):
                    assert getattr(scores, f"boundary_{rate}{kind}")[radius][name] == pytest.approx(value)

    band = [
        ndimage.distance_transform_edt(~np.any([boundary(t == k) for k in range(3)], axis=0)) <= 2 for _, t in pairs
    ]
    banded = [
        np.concatenate([m[b & (t != 255)] for (p, t), b, m in zip(pairs, band, maps, strict=True)])
        for maps in zip(*[(p, t) for p, t in pairs], strict=True)
    ]
    for k, name in enumerate(NAMES[:3]):
        both, either = [f(banded[0] == k, banded[1] == k).sum() for f in (np.logical_and, np.logical_or)]
        assert scores.trimap_iou[2][name] == pytest.approx(both / either)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden values are not here")
def test_cityscapes_files_score_as_the_official_evaluation_says():
    scores = evaluate_folders(GOLDEN / "pred", GOLDEN / "gt", "cityscapes", (3,))
    official = json.loads((GOLDEN / "official_scores.json").read_text())
    assert scores.images == 3
    assert scores.mean_iou == pytest.approx(official["averageScoreClasses"], abs=1e-9)
    for name, value in scores.iou.items():
        assert value == pytest.approx(official["classScores"][name], abs=1e-9, nan_ok=True)
    for name, value in scores.category_iou.items():
        assert value == pytest.approx(official["categoryScores"][name], abs=1e-9, nan_ok=True)


def test_scores_do_not_depend_on_the_encoding(tmp_path: Path):
    masks, labels = write_folders(tmp_path)
    raw = evaluate_folders(masks, labels, SPACE)
    for index in range(6):
        for name, ids in zip(("masks", "labels"), random_pair(index), strict=True):
            write_png(tmp_path / "trained" / name / f"image_{index}.png", ids)
            colours = SPACE.palette.copy()
            colours[255] = (255, 255, 255) if index % 2 else (0, 0, 0)  # both are void
            write_png(tmp_path / "drawn" / name / f"image_{index}.png", colours[ids])
            palette = np.zeros((256, 3), np.uint8)
            palette[RAW] = colours
            write_png(tmp_path / "palette" / name / f"image_{index}.png", RAW[ids], palette)
    for folder, encoding in (("trained", "train-ids"), ("drawn", "colours"), ("palette", "colours")):
        asked = tmp_path / folder
        assert evaluate_folders(asked / "masks", asked / "labels", SPACE, encoding=encoding).to_json() == raw.to_json()
    mixed = evaluate_folders(
        tmp_path / "trained/masks", tmp_path / "labels", SPACE, encoding="train-ids", label_encoding="raw-ids"
    )
    assert mixed.to_json() == raw.to_json()


def test_nothing_said_is_missed_and_no_other_classs_mistake(tmp_path: Path):
    write_png(tmp_path / "labels/a.png", RAW[np.array([[0, 0, 1, 1, 255]], np.uint8)])
    write_png(tmp_path / "masks/a.png", RAW[np.array([[0, 255, 1, 1, 255]], np.uint8)])
    scores = evaluate_folders(tmp_path / "masks", tmp_path / "labels", SPACE, (1,))
    assert (scores.iou["sky"], scores.iou["road"]) == (0.5, 1.0)
    assert scores.pixel_accuracy == 0.75


def test_the_number_of_workers_changes_nothing(tmp_path: Path):
    folders = write_folders(tmp_path, 9)
    one, three = (evaluate_folders(*folders, SPACE, workers=workers) for workers in (1, 3))
    assert one.to_json() == three.to_json()


def test_radii_larger_than_the_image_match_anything(tmp_path: Path):
    scores = evaluate_folders(*write_folders(tmp_path, 2), SPACE, (0, 1000))
    assert scores.boundary_f[1000]["sky"] == 1.0
    assert scores.boundary_f[0]["sky"] < 1.0


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path):
    masks, labels = write_folders(tmp_path, 9)
    (masks / "image_1.png").unlink()
    (labels / "image_2.png").unlink()
    write_png(masks / "image_3.png", np.full((3, 5), 1, np.uint8))
    write_png(masks / "image_4.png", np.full_like(RAW[random_pair(4)[0]], 77))
    (labels / "image_5.png").write_bytes((labels / "image_5.png").read_bytes()[:60])
    Image.open(masks / "image_6.png").save(masks / "image_6.tif")
    write_png(masks / "image_7.png", np.eye(3, dtype=np.uint8)[random_pair(7)[0] % 3])
    with pytest.raises(DataError) as caught:
        evaluate_folders(masks, labels, SPACE)
    message = str(caught.value)
    assert "\n" not in message
    height, width = random_pair(3)[0].shape
    for part in (
        "7 images cannot be scored",
        f"1 × no prediction: {labels / 'image_1.png'}",
        f"1 × no label file: {masks / 'image_2.png'}",
        f"{masks / 'image_3.png'} is 3×5, {labels / 'image_3.png'} is {height}×{width}",
        "3 × file that cannot be read as raw-ids (see --encoding)",
        f"{masks / 'image_4.png'}: ids outside the label table 'four': 77",
        f"{labels / 'image_5.png'}: broken or truncated",
        f"{masks / 'image_6.png'} and {masks / 'image_6.tif'}",
        f"{masks / 'image_7.png'}: colours (RGB) found",
        "--skip-bad",
    ):
        assert part in message

    kept = evaluate_folders(masks, labels, SPACE, skip_bad=True, out=tmp_path / "out")
    assert (kept.images, kept.skipped) == (2, 7)
    assert len((tmp_path / "out/problems.txt").read_text().splitlines()) == 7
    assert json.loads((tmp_path / "out/scores.json").read_text())["skipped"] == 7
    rest = tmp_path / "rest"
    for index in (0, 8):
        for name, ids in zip(("masks", "labels"), random_pair(index), strict=True):
            write_png(rest / name / f"image_{index}.png", RAW[ids])
    expected = evaluate_folders(rest / "masks", rest / "labels", SPACE)
    assert kept.to_dict() == expected.to_dict() | {"skipped": 7}


def test_many_problems_of_a_kind_are_counted(tmp_path: Path):
    masks, labels = write_folders(tmp_path, 12)
    for index in range(1, 12):
        (masks / f"image_{index}.png").unlink()
    with pytest.raises(DataError, match=r"11 × no prediction: .*; and 3 more"):
        evaluate_folders(masks, labels, SPACE)


def test_unknown_colours_and_train_ids_are_named(tmp_path: Path):
    path = tmp_path / "a.png"
    write_png(path, np.array([[[1, 2, 3], [0, 0, 255], [1, 2, 3]]], np.uint8))
    with pytest.raises(DataError, match=r"a.png: colours of none of the classes .*four.: \(1, 2, 3\) \(2 px\);"):
        read_labels(path, SPACE, "colours")
    write_png(path, np.array([[0, 9, 255]], np.uint8))
    with pytest.raises(DataError, match=r"a.png: 9 \(1 px\) found, train ids 0 to 3"):
        read_labels(path, SPACE, "train-ids")


def test_a_jpeg_is_refused(tmp_path: Path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.jpg")
    for encoding in ("raw-ids", "train-ids", "colours"):
        with pytest.raises(DataError, match="JPEG changes"):
            read_labels(tmp_path / "a.jpg", SPACE, encoding)


def test_colours_that_do_not_tell_classes_apart_are_refused(tmp_path: Path):
    same = [{"name": name, "colour": [1, 2, 3], "ids": [index]} for index, name in enumerate("ab")]
    twins = LabelSpace.from_dict({"name": "twins", "classes": same})
    with pytest.raises(ConfigError, match=r"'twins': several classes have the colour \(1, 2, 3\)"):
        evaluate_folders(*write_folders(tmp_path), twins, encoding="colours")


def test_missing_and_empty_folders_are_named_together(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"nowhere: nothing found .*; .*empty: no label images found"):
        evaluate_folders(tmp_path / "nowhere", tmp_path / "empty", SPACE)


def test_arguments_that_do_not_fit_are_named(tmp_path: Path):
    folders = write_folders(tmp_path, 1)
    with pytest.raises(ConfigError, match="did you mean 'raw-ids'"):
        evaluate_folders(*folders, SPACE, encoding="raw-id")
    with pytest.raises(ConfigError, match="radii_px"):
        evaluate_folders(*folders, SPACE, (-1,))
    with pytest.raises(ConfigError, match="--out"):
        evaluate_folders(*folders, SPACE, resume=True)
    with pytest.raises(ConfigError, match="workers is 0"):
        evaluate_folders(*folders, SPACE, workers=0)


def test_a_table_without_room_for_void_refuses_void_predictions(tmp_path: Path):
    full = LabelSpace.from_dict({"name": "full", "classes": [f"c{index}" for index in range(255)]})
    write_png(tmp_path / "labels/a.png", np.array([[0, 254]], np.uint8))
    write_png(tmp_path / "masks/a.png", np.array([[0, 254]], np.uint8))
    assert evaluate_folders(tmp_path / "masks", tmp_path / "labels", full, (1,)).mean_iou == 1.0
    write_png(tmp_path / "masks/a.png", np.array([[0, 255]], np.uint8))
    with pytest.raises(DataError, match="leaves no id"):
        evaluate_folders(tmp_path / "masks", tmp_path / "labels", full, (1,))
