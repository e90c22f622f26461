"""YAML and JSON from strangers: what is read, and what is refused before it costs anything."""

from pathlib import Path

import pytest

from crispseg.errors import ConfigError
from crispseg.labels import LabelSpace, label_space
from crispseg.parsing import MAX_DEPTH, MAX_YAML_BYTES, TextError, parse_json, parse_yaml, read_text
from crispseg.recipes import load_recipe

HOSTILE = Path(__file__).resolve().parents[3] / "shared/cases/hostile"

# Each mapping merges the one before nine times.
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1e-3", {"a": 0.001}),
        ("a: 2026-11-21", {"a": "2026-11-21"}),  # no date: nothing here reads one
        ("base: &b {x: 1}\na: {<<: *b, y: 2}", {"base": {"x": 1}, "a": {"x": 1, "y": 2}}),
        ("a: &v [1, 2]\nb: *v", {"a": [1, 2], "b": [1, 2]}),
        ("", None),
    ],
)
def test_yaml_is_read_as_plain_values(text, value):
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 3000 + "]" * 3000, "deep"),
        ("- " * 3000 + "x", "deep"),
        ("a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60)), "deep"),
        ("a: &a [*a]", "inside of what it names"),
        (MERGE_BOMB, "unfold"),
        ("a: *b", "undefined alias"),
        ("a: " + "9" * 5000, "5000 long"),
        ("a: !!bool x", "none of its kind"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: !!binary eA==", "could not determine a constructor"),
        ("a: 1\na: 2", "occurs twice"),
        ('a: "\\ud800"', "half a character"),
        ("a: \x1b[31m", "0x1b"),
        ('a: "\\Uffffffff"', "none of its kind"),
        ("a: b\n---\nc: d", "another document"),
        ("x" * (MAX_YAML_BYTES + 1), "larger"),
    ],
)  # fmt: skip
def test_hostile_yaml_is_refused_in_one_line(text, message):
    with pytest.raises(TextError, match=message) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "deep"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "deep"),
        ('{"a": 1, "a": 2}', "occurs twice"),
        ('"\\ud800"', "half a character"),
        ("1e999", "no number"),
        ("[NaN]", "no number"),
        ("-Infinity", "no number"),
        ("9" * 5000, "is not JSON"),
        (b"\xff", "not UTF-8"),
        ('{"a":', "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_hostile_json_is_refused_in_one_line(text, message):
    with pytest.raises(TextError, match=message) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)


def test_a_file_is_read_no_further_than_its_kind_goes(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_bytes(b"x" * 101)
    with pytest.raises(TextError, match="larger"):
        read_text(path, 100)
    assert len(read_text(path, 101)) == 101


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs ../shared/cases/hostile")
def test_alias_bombs_are_refused_by_tables_and_recipes():
    with pytest.raises(ConfigError, match=r"labels_aliases\.yaml: its aliases unfold"):
        label_space(HOSTILE / "labels_aliases.yaml")
    with pytest.raises(ConfigError, match=r"recipe_aliases\.yaml: its aliases unfold"):
        load_recipe(HOSTILE / "recipe_aliases.yaml")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"classes": [{"name": "a", "ids": "12"}, "b"]}, "ids of 'a': '12' found"),
        ({"classes": [{"name": "a", "ids": [True]}, "b"]}, "ids of 'a'"),
        ({"classes": [{"name": "a", "ids": [1.0]}, "b"]}, "ids of 'a'"),
        ({"classes": [{"name": "a", "ids": 1}, "b"]}, "ids of 'a'"),
        ({"classes": [{"name": "a", "ids": None}, "b"]}, "ids of 'a'"),
        ({"classes": [{"name": "a", "colour": "123"}, "b"]}, "colour of 'a'"),
        ({"classes": [{"name": 1}, "b"]}, "the name of class 0 is 1"),
        ({"classes": [{"name": True}, "b"]}, "class 0 is true"),
        ({"classes": ["a", "b"], "name": 3}, "its name is 3"),
        ({"classes": ["a", "b"], "name": ""}, "its name is ''"),
        ({"classes": ["a", "b"], "ignore_ids": [70000]}, "70000 in ignore_ids"),
        ({"classes": ["a", "b"], "ignore_ids": [-1]}, "-1 in ignore_ids"),
        ({"classes": ["a", "b"], "ignore_ids": "7"}, "ignore_ids: '7' found"),
        ({"classes": ["a", "b"], "ignore_ids": None}, "ignore_ids: None found"),
        ({"classes": ["a\nb", "b"]}, "printable"),
        ({"classes": ["\x1b[31ma", "b"]}, "printable"),
        ({"classes": ["a\u202eb", "b"]}, "printable"),
        ({"classes": [" ", "b"]}, "printable"),
        ({"classes": ["x" * 101, "b"]}, "printable"),
        ({"classes": [{"name": "a", "category": "x\ty"}, "b"]}, "the category of 'a'"),
        ({"classes": ["a"] * 100_000}, "100000 classes"),
    ],
)
def test_a_loose_label_table_is_refused_by_name(table, message):
    with pytest.raises(ConfigError, match=message) as caught:
        LabelSpace.from_dict(table, "odd.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
