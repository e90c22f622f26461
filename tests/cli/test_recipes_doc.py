"""docs/recipes.md names every key of a recipe with its default, and no other."""

import json
import re
from pathlib import Path

from crispseg.config import Recipe

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


def documented() -> dict[str, object]:
    every_key = DOC.read_text(encoding="utf-8").partition("## Every key")[2]
    rows = ROW.findall(every_key)
    assert len(rows) == len({key for key, _, _ in rows}), "a key is documented twice"
    return {key: json.loads(default) for key, default, _ in rows}


def test_every_key_is_documented_with_its_default():
    assert documented() == defaults()
