"""docs/recipes.md names every key of a recipe with its default, and no other."""

import json
import re
from pathlib import Path

from crispseg.config import Recipe
from crispseg.registry import LAYOUTS, LOSSES

DOC = Path(__file__).parents[2] / "docs" / "recipes.md"
ROW = re.compile(r"^\| `([\w.]+)` \| `(.*?)` \| (.+) \|$", re.MULTILINE)


def defaults() -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in Recipe().model_dump(mode="json").items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": inner_value for inner, inner_value in value.items()}
        else:
            flat[key] = value
    return flat


def options() -> dict[str, dict[str, object]]:
    """Of each part that a section chooses: key → default."""
    return {
        f"{parts.kind} `{name}`": {
            f"{section}.{key}": value for key, value in parts.completed(name, {}, section).items()
        }
        for section, parts in (("data", LAYOUTS), ("loss", LOSSES))
        for name in parts
        if parts.options(name)
    }


def rows(text: str) -> dict[str, object]:
    found = ROW.findall(text)
    assert len(found) == len({key for key, _, _ in found}), "a key is documented twice"
    return {key: json.loads(default) for key, default, _ in found}


def test_every_key_is_documented_with_its_default():
    every_key = DOC.read_text(encoding="utf-8").partition("## Every key")[2]
    own, *of_parts = re.split(r"^#### Options of the ", every_key, flags=re.MULTILINE)
    documented, of_parts_documented = rows(own), {}
    for text in of_parts:
        mine, mark, rest = text.partition("\n### ")
        documented |= rows(mark + rest)
        of_parts_documented[mine.partition("\n")[0]] = rows(mine)
    assert documented == defaults()
    assert of_parts_documented == json.loads(json.dumps(options()))
