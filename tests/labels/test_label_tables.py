import numpy as np
import pytest

from crispseg.errors import ConfigError
from crispseg.labels import LabelSpace, label_space, label_space_names


@pytest.mark.parametrize("name", label_space_names())
def test_packaged_tables_are_whole(name):
    space = label_space(name)
    assert space.name == name
    colours = [entry.colour for entry in space.classes]
    assert len(set(colours)) == space.num_classes, "two classes look alike"
    assert (0, 0, 0) not in colours[name == "pascal_voc" :], "black is ignore, but VOC's background"
    assert LabelSpace.from_dict(space.to_dict()) == space


def test_camvid():
    space = label_space("camvid")
    assert space.class_names == (
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    )  # fmt: skip
    np.testing.assert_array_equal(space.lookup[:13], [*range(11), 255, -1])
    assert tuple(space.palette[8]) == (64, 0, 128)


def test_cityscapes():
    space = label_space("cityscapes")
    assert space.class_names == (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    )  # fmt: skip
    ids = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    wanted = [ids.index(raw) if raw in ids else 255 for raw in range(34)]
    np.testing.assert_array_equal(space.lookup[:36], [*wanted, -1, -1])
    assert space.lookup[255] == 255  # a licence plate, -1, as a byte
    assert space.categories == ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
    assert [entry.name for entry in space.classes if entry.has_instances] == list(space.class_names[11:])
    assert tuple(space.palette[13]) == (0, 0, 142)
    named = {raw: entry.name for entry in space.ignored_classes for raw in entry.ids}
    assert sorted(named) == sorted(space.ignore_ids)
    assert (named[0], named[29], named[30]) == ("unlabeled", "caravan", "trailer")


def test_toy_streets_table_agrees_with_the_painter():
    from crispseg.streets.canvas import Class

    assert label_space("toy_streets").class_names == tuple(entry.name.lower() for entry in Class)


def test_a_file(tmp_path):
    path = tmp_path / "cracks.yaml"
    path.write_text("classes: [background, {name: crack, colour: [255, 0, 0], ids: [1, 7]}]\nignore_ids: [9]\n")
    space = label_space(path)
    assert space.name == "cracks"
    assert space.class_names == ("background", "crack")
    np.testing.assert_array_equal(space.lookup[[0, 1, 7, 9, 2]], [0, 1, 1, 255, -1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("camvit", "did you mean 'camvid'"),
        ("qqqq", "known: .*camvid.*toy_streets"),
        ("nowhere/table.yaml", "nowhere/table.yaml: no such file"),
        ("table.yml", "table.yml: no such file"),
    ],
)
def test_unknown_tables(name, message):
    with pytest.raises(ConfigError, match=message):
        label_space(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [a", "is not YAML"),
        ("- a\n- b", "mapping was expected, as in 'classes:"),
        ("", "mapping was expected, as in 'classes:"),
        ("klasses: [a, b]", "unknown key 'klasses'; did you mean 'classes'"),
        ("classes: [{name: a, ids: [0]}]", "its only class and has id 0; name both"),
        ("classes: [background]", "its only class and a background; name both"),
        ("classes: [yes, no]", 'class 0 is true, a name expected: .*write it in quotes, as in "yes"'),
        ("classes: [a, {name: off}]", 'the name of class 1 is false, .*as in "no"'),
        ("classes: [0, 1]", 'class 0 is 0, a text expected; write it in quotes, as in "0"'),
        ("classes:\n- a\n-", "class 1 is empty"),
        ("classes: {0: a, 1: b}", "must be a list of classes.*a mapping found"),
        ("names: [a, b]", "'names' found where 'classes' was expected"),
        ("classes: [{name: a, color: [1, 2, 3]}, b]", "unknown key 'color'; it is spelled 'colour' here"),
        ("classes: [{name: a, id: 1}, b]", "'id'; it is spelled 'ids' here"),
        ("classes: [{name: a, ids: 1}, b]", r"1 found, .*; write \[1\]"),
        ("classes: [{name: a, nmae: c}, b]", "did you mean 'name'"),
        ("classes: [{ids: [1]}, b]", "it has no 'name'"),
        ('classes: [{name: a, colour: "#ff8000"}, b]', r"write \[255, 128, 0\]"),
        ("classes:\n- name: a\n  colour: #ff8000\n- b", "nothing found, for # begins a comment"),
        ("classes: [{name: a, colour: [1.0, 0.5, 0.0]}, b]", "three whole numbers in 0–255"),
        ("classes:\n\t- a", "line 2 has a tab where YAML takes spaces alone"),
        ("classes:\n- name: a\n\tids: [0]", "line 3 has a tab"),
        ("classes: [{name: a, ids: [x]}, b]", "a list of whole numbers"),
        ("classes: [{name: a, colour: [1, 2]}, b]", "three values"),
    ],
)
def test_broken_tables_are_named(tmp_path, text, message):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        label_space(path)
    assert "table" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "classes:\n- gr\u00fcn\n".encode("latin-1"),
            "line 2, byte 13 is 0xfc: Latin-1 by its looks.*save it as UTF-8",
        ),
        ("classes: [a, b]".encode("utf-16"), "it begins as UTF-16 does.*save it as UTF-8"),
    ],
)
def test_other_encodings_are_named(tmp_path, data, message):
    path = tmp_path / "table.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        label_space(path)


@pytest.mark.parametrize(
    ("text", "ids"), [("classes: [crack]", (1,)), ("classes: [{name: crack, ids: [255]}]", (255,))]
)
def test_one_class_stands_against_a_background_and_it_is_said(tmp_path, caplog, text, ids):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with caplog.at_level("INFO", logger="crispseg"):
        space = label_space(path)
    assert [(entry.name, entry.ids) for entry in space.classes] == [("background", (0,)), ("crack", ids)]
    assert "'crack'" in caplog.text
    assert "against a background (id 0)" in caplog.text
