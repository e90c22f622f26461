"""What label values say; what is customary must be silent."""

import numpy as np
import pytest

from crispseg.labels import LabelSpace, label_space
from crispseg.plausibility.label_values import LABEL_CLASSES, LABEL_VOID, meant_ids, odd_labels


def table(*classes: object, ignore_ids: tuple[int, ...] = ()) -> LabelSpace:
    return LabelSpace.from_dict({"name": "table", "classes": [*classes], "ignore_ids": [*ignore_ids]})


TWO, THREE = table("background", "road"), table("a", "b", "c")
TEN = table(*"abcdefghij")


def in_words(splits: dict[str, dict[int, int]], space: LabelSpace) -> str:
    return " | ".join(("refused: " if odd.refuses else "") + odd.detail for odd in odd_labels(splits, space))


@pytest.mark.parametrize(
    ("pixels", "space", "expected"),
    [
        ({0: 7, 255: 3}, TWO, ("refused: class 'road' never occurs", "255, which is ignored, is 30 %", "ids: [255]")),
        ({255: 3, 1: 9}, TWO, ("refused: class 'background' never occurs", "{name: background, ids: [255]}")),
        ({0: 5}, TWO, ("refused: every pixel that is not ignored is 'background'", "'road' never occurs")),
        ({0: 50, 1: 30, 255: 20}, THREE, ("class 'c' never occurs, and 255", "20 %", "ids: [255]")),
        ({0: 5, 3: 4, 6: 3, 9: 2}, TEN, ("multiples of 3 (0, 3, 6, 9)", "divide them by 3")),
        ({0: 90, 1: 3, 2: 4, 3: 3}, table("x", "y", "z", "w", ignore_ids=()), ()),
        ({9: 95, 0: 3, 1: 2}, table("x", "y", ignore_ids=(9,)), ("95 % of the pixels", "as 9, which ignore_ids has")),
        ({255: 95, 0: 3, 1: 2}, TWO, ("95 %", "as 255, which is always ignored")),
        ({7: 9, 11: 9, 3: 2, 0: 2, 1: 2, 18: 3}, label_space("cityscapes"), ("look like train ids (0 to 18)",)),
    ],
)  # fmt: skip
def test_one_split(pixels, space, expected):
    said = in_words({"train": pixels}, space)
    assert all(part in said for part in expected), said
    assert bool(said) == bool(expected)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("pixels", "space"),
    [
        ({0: 5, 255: 5}, table("no", {"name": "road", "ids": [255]})),  # the cure of the first case
        ({0: 5, 1: 3, 255: 90}, TEN),  # sparse labels: said once, as void only
        (dict.fromkeys((*range(11), 11), 10), label_space("camvid")),
        ({**dict.fromkeys(range(34), 10), 255: 1}, label_space("cityscapes")),
        ({7: 30, 11: 20, 21: 30, 23: 10, 26: 3, 1: 2, 4: 2}, label_space("cityscapes")),  # one quiet street
        ({**dict.fromkeys(range(151), 10)}, label_space("ade20k")),
        ({**dict.fromkeys(range(19), 10), 255: 20}, label_space("bdd100k")),
        ({0: 10, 1: 40}, label_space("isbi_membranes")),
        ({0: 80, 1: 10, 2: 10, 255: 4}, table("background", "cat", "dog")),  # borders, as in Pascal VOC
        ({0: 80, 2: 10, 4: 5, 8: 5, 1: 1}, TEN),
        ({0: 8, 10: 4, 20: 4, 30: 2}, table(*({"name": str(v), "ids": [v]} for v in (0, 10, 20, 30)))),
        ({}, TWO),
    ],
)
def test_what_is_customary_is_silent(pixels, space):
    said = [odd.detail for odd in odd_labels({"train": pixels}, space) if odd.kind != LABEL_VOID]
    assert not said
    assert meant_ids(pixels, space) is None


@pytest.mark.parametrize(
    ("values", "space", "expected"),
    [
        ((0, 127, 255), THREE, "write ids [0], [127], [255]"),
        ((0, 85, 170, 255), table(*"abcd"), "write ids [0], [85], [170], [255]"),
        ((0, 128), TWO, "write ids [0], [128]"),
        ((0, 257, 514), THREE, "write ids [0], [257], [514]"),
        ((0, 20, 40, 60, 80), THREE, "multiples of 20"),
        ((1, 2), TWO, "one higher than the table's: write ids [1], [2]"),
        ((0, 1, 2), TWO, "where 0 is unlabelled, write ids [1], [2] and ignore_ids [0]"),
        (range(200), TWO, "200 different values"),
        ((0, 1, 7), TWO, None),
        ((0, 1), TWO, None),
    ],
)
def test_ids_outside_of_the_table(values, space, expected):
    cure = meant_ids(dict.fromkeys(values, 5), space)
    assert (cure is None) == (expected is None), cure
    assert expected is None or expected in cure


def test_classes_of_one_split():
    space = table(*"abcd")
    found = odd_labels({"train": {0: 5, 1: 5, 2: 1}, "val": {0: 5, 3: 5}}, space)
    assert [odd.kind for odd in found] == [LABEL_CLASSES] * 2
    assert "'d': in val, never in train" in found[0].detail
    assert "'b', 'c': in train, never in val: val gives no score for them" in found[1].detail
    assert not odd_labels({"train": {0: 5, 1: 5}, "test": {255: 9}}, space)  # kept back


@pytest.mark.parametrize("seed", range(20))
def test_random_masks_of_all_classes_are_silent(seed):
    rng = np.random.default_rng(seed)
    counts = dict(enumerate(rng.integers(1, 1000, rng.integers(2, 30)).tolist()))
    assert not odd_labels({"train": counts, "val": counts}, table(*map(str, counts)))
