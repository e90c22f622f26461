"""What one image scores and which kinds of errors it has, against counts from the two label maps themselves."""

import math

import numpy as np
import pytest
from label_folders import SPACE, random_pair

from crispseg.evaluation.per_image import NO_SCORE, WHOLE_IMAGE, image_columns, image_confusions, image_rows
from crispseg.evaluation.records import Settings, score_image
from crispseg.labels import LabelSpace

SETTINGS = Settings(SPACE, (1, 2))
TITLES = [column.title for column in image_columns(SETTINGS)]


def rows_of(prediction, labels, settings=SETTINGS, absent="skip") -> dict[int, dict[str, int]]:
    """By class, then by the title of the column."""
    rows = image_rows(score_image(prediction, labels, settings, "a"), settings, absent)
    titles = [column.title for column in image_columns(settings, absent)]
    return {row[0]: dict(zip(titles, row[1:], strict=True)) for row in rows.tolist()}


def near_an_outline(labels: np.ndarray, radius: float) -> np.ndarray:
    """By hand: within the radius of a pixel that differs from its right, lower or diagonal neighbour."""
    height, width = labels.shape
    outline = [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(
            labels[y, x] != labels[b, a]
            for b, a in ((y, x + 1), (y + 1, x), (y + 1, x + 1))
            if b < height and a < width
        )
    ]
    near = np.zeros(labels.shape, dtype=bool)
    for y, x in np.ndindex(labels.shape):
        near[y, x] = any(math.dist((y, x), place) <= radius for place in outline)
    return near


@pytest.mark.parametrize("seed", range(4))
def test_kinds_of_errors_are_those_that_the_maps_show(seed: int):
    prediction, labels = random_pair(seed, silent=0)
    judged, near = labels != 255, near_an_outline(labels, 2)
    wrong = judged & (prediction != labels)
    rows = rows_of(prediction, labels)
    assert rows[WHOLE_IMAGE]["all errors"] == wrong.sum() > 0
    assert rows[WHOLE_IMAGE]["errors at outlines"] == (wrong & near).sum()
    assert rows[WHOLE_IMAGE]["errors away from outlines"] == (wrong & ~near).sum()
    assert rows[WHOLE_IMAGE]["nothing predicted"] == 0
    assert sorted(rows) == [WHOLE_IMAGE, *sorted({*labels[judged].tolist(), *prediction[judged].tolist()})]
    for index in set(rows) - {WHOLE_IMAGE}:
        of_class = wrong & ((labels == index) | (prediction == index))
        assert rows[index]["all errors"] == of_class.sum()
        assert rows[index]["errors at outlines"] == (of_class & near).sum()
        assert rows[index]["errors away from outlines"] == (of_class & ~near).sum()


def test_overlooked_and_invented_classes_are_told_from_confusions():
    """6 sky, 3 road, 1 void. The road is taken for a pole; of the sky 2 pixels are, and of 1 nothing is said."""
    labels = np.array([[0, 0, 0, 0, 0, 0, 1, 1, 1, 255]], np.uint8)
    prediction = np.array([[0, 0, 0, 2, 2, 255, 2, 2, 2, 3]], np.uint8)
    rows = rows_of(prediction, labels)
    assert sorted(rows) == [WHOLE_IMAGE, 0, 1, 2]  # void is judged nowhere
    found = {index: [row[title] for title in TITLES[-3:]] for index, row in rows.items()}
    assert TITLES[-3:] == ["class overlooked", "class invented", "nothing predicted"]
    assert found == {WHOLE_IMAGE: [3, 5, 1], 0: [0, 0, 1], 1: [3, 0, 0], 2: [0, 5, 0]}
    assert rows[WHOLE_IMAGE]["all errors"] == 6
    confusions = image_confusions(score_image(prediction, labels, SETTINGS, "a"))
    assert confusions.tolist() == [[0, 2, 2], [0, SPACE.num_classes, 1], [1, 2, 3]]


def test_where_nothing_is_predicted_errors_are_still_shared_out_wholly():
    for seed in range(6):
        row = rows_of(*random_pair(seed, silent=0.3))[WHOLE_IMAGE]
        assert row["errors at outlines"] + row["errors away from outlines"] == row["all errors"]
        assert row["nothing predicted"] > 0


def test_scores_are_those_of_a_set_of_this_image_alone(tmp_path):
    from label_folders import RAW, evaluate_folders

    from crispseg.io import write_png

    prediction, labels = random_pair(3)
    write_png(tmp_path / "masks/a.png", RAW[prediction])
    write_png(tmp_path / "labels/a.png", RAW[labels])
    scores = evaluate_folders(tmp_path / "masks", tmp_path / "labels", SPACE, (1, 2))
    for absent, boundary_f in (("skip", scores.boundary_f), ("one", scores.boundary_f_absent_one)):
        rows = rows_of(prediction, labels, absent=absent)
        expected = {
            "IoU": (scores.iou, scores.mean_iou),
            "Boundary IoU": (scores.boundary_iou, np.nanmean(list(scores.boundary_iou.values()))),
            "pixels right": (scores.class_accuracy, scores.pixel_accuracy),
            "boundary F 2 px": (boundary_f[2], np.nanmean(list(boundary_f[2].values()))),
        }
        for title, (by_class, whole) in expected.items():
            assert rows[WHOLE_IMAGE][title] == round(10_000 * whole), title
            for index in set(rows) - {WHOLE_IMAGE}:
                share = by_class[SPACE.class_names[index]]
                assert rows[index][title] == (NO_SCORE if math.isnan(share) else round(10_000 * share)), title


def test_an_image_without_judged_pixels_has_no_scores_and_no_errors():
    rows = rows_of(np.zeros((3, 4), np.uint8), np.full((3, 4), 255, np.uint8))
    assert list(rows) == [WHOLE_IMAGE]
    assert set(rows[WHOLE_IMAGE].values()) == {NO_SCORE, 0}


def test_a_single_radius_is_the_one_that_outlines_go_by():
    two = LabelSpace.from_dict({"name": "two", "classes": ["a", "b"]})
    labels = np.zeros((1, 12), np.uint8)
    labels[:, 6:] = 1
    prediction = labels.copy()
    prediction[0, [0, 5]] = 1
    row = rows_of(prediction, labels, Settings(two, (3,)))[WHOLE_IMAGE]
    assert (row["errors at outlines"], row["errors away from outlines"]) == (1, 1)
