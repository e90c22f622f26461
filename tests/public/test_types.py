"""Label tables: what they accept, and what they say when they do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispseg.errors import ConfigError
from crispseg.labels import LabelSpace


def table(**changes):
    values = {"name": "t", "classes": [{"name": "sky", "ids": [3]}, {"name": "pole", "ids": [4, 9]}], "ignore_ids": [7]}
    return values | changes


def test_lookup_maps_raw_ids():
    lookup = LabelSpace.from_dict(table()).lookup
    assert lookup[[3, 4, 9, 7, 255, 0, 65535]].tolist() == [0, 1, 1, 255, 255, -1, -1]


def test_names_alone_are_enough():
    space = LabelSpace.from_dict({"classes": ["a", "b", "c"]})
    assert space.lookup[:4].tolist() == [0, 1, 2, -1]
    assert len({tuple(colour) for colour in space.palette[:3].tolist()}) == 3


@given(st.lists(st.sets(st.integers(0, 300), min_size=1, max_size=4), min_size=2, max_size=20))
def test_a_table_survives_plain_values(id_sets):
    used: set[int] = set()
    classes = []
    for index, ids in enumerate(id_sets):
        free = sorted(ids - used - {255})
        used |= set(free)
        classes.append({"name": f"c{index}", "colour": [index, 0, 255], "ids": free})
    space = LabelSpace.from_dict({"name": "t", "classes": classes})
    again = LabelSpace.from_dict(space.to_dict())
    assert again == space
    np.testing.assert_array_equal(again.lookup, space.lookup)


def test_categories_instances_and_ignored_classes_survive_plain_values():
    values = {
        "name": "t",
        "classes": [
            {"name": "car", "colour": [0, 0, 142], "ids": [4, 9], "category": "vehicle", "has_instances": True},
            {"name": "sky", "colour": [70, 130, 180], "ids": [3]},
            {"name": "bus", "colour": [0, 60, 100], "ids": [5], "category": "vehicle"},
        ],
        "ignore_ids": [7, 8],
        "ignored_classes": [{"name": "caravan", "colour": [0, 0, 90], "ids": [7], "category": "vehicle"}],
    }
    space = LabelSpace.from_dict(values)
    assert space.to_dict() == values
    assert LabelSpace.from_dict(space.to_dict()) == space
    assert space.categories == ("vehicle",)
    assert [entry.has_instances for entry in space.classes] == [True, False, False]
    assert (space.num_classes, space.lookup[7]) == (3, 255)


def test_plain_values_of_a_plain_table_hold_no_new_keys():
    """Cards that other versions have written, and read, stay as they are."""
    values = LabelSpace.from_dict(table()).to_dict()
    assert set(values) == {"name", "classes", "ignore_ids"}
    assert all(set(entry) == {"name", "colour", "ids"} for entry in values["classes"])
    assert LabelSpace.from_dict(values).categories == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (table(classes=["only"]), "1 classes found, 2 to 255 expected"),
        (table(classes=["a", "a"]), "class names occur twice: a"),
        (table(classes=[{"name": "a", "ids": [1]}, {"name": "b", "ids": [1]}]), "id 1 belongs to 'a' and to 'b'"),
        (table(ignore_ids=[3]), "id 3 belongs to 'ignore_ids' and to 'sky'"),
        (table(classes=[{"name": "a", "colour": [1, 2]}, "b"]), "three values in 0–255"),
        (table(classes=[{"nam": "a"}, "b"]), "class 0: "),
        (table(clases=[]), "unknown key 'clases'; did you mean 'classes'"),
        ({"name": "x"}, "'classes' must be a list"),
        (["a", "b"], "list found where a mapping"),
        (table(classes=[{"name": "a", "ids": [70000]}, "b"]), "not in 0–65535"),
        (table(classes=[{"name": "a", "category": 3}, "b"]), "category of 'a' is 3, a name expected"),
        (table(classes=[{"name": "a", "has_instances": "no"}, "b"]), "has_instances of 'a' is 'no', true or false"),
        (table(ignored_classes=[{"name": "bus", "ids": [8]}]), "id 8 of the ignored class 'bus' is not in ignore_ids"),
        (table(ignored_classes=[{"name": "bus", "ids": [3]}]), "id 3 of the ignored class 'bus' belongs to 'sky' too"),
        (
            table(ignored_classes=[{"name": n, "ids": [7]} for n in "ab"]),
            "id 7 of the ignored class 'b' belongs to 'a'",
        ),
        (table(ignored_classes=[{"name": "sky", "ids": [7]}]), "class names occur twice: sky"),
        (table(ignored_classes=["bus"]), "'ignored_classes' must be a list of classes, each with a name and ids"),
    ],
)
def test_errors_say_what_is_wrong(values, message):
    with pytest.raises(ConfigError, match=message):
        LabelSpace.from_dict(values, source="labels.yaml")
