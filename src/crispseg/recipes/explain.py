"""What is wrong with a recipe, in words: unknown keys and values that do not fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from crispseg.config import DataConfig, LossConfig, Recipe
from crispseg.plugins import load_installed_plugins
from crispseg.registry import LAYOUTS, LOSSES, Registry, mentions
from crispseg.wording import expected_in_words

__all__ = ["explain_validation", "misplaced_booleans", "unknown_keys"]


def unknown_keys(values: Mapping[Any, Any], label: str) -> list[str]:
    """One sentence per key that no section knows, each with the nearest known key's dotted path."""
    return [
        f"{label}: unknown key {'.'.join((*prefix, str(key)))!r}; {_nearest(prefix, str(key), known)}"
        for prefix, key, known in _unknown(values, Recipe, ())
    ]


def misplaced_booleans(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first ``true`` or ``false`` where a number is expected (pydantic would read 1 or 0), with a sentence."""
    for key, field, value in _leaves(values, Recipe, ()):
        entries = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(entry, bool) for entry in entries) and not mentions(field.annotation, bool):
            return key, f"{key} is {value!r}, which is no number, text or list of them"
    return None


def explain_validation(error: ValidationError) -> list[tuple[str, str]]:
    """Key and sentence per value that does not fit."""
    expected: dict[str, list[str]] = {}
    found: dict[str, Any] = {}
    for entry in error.errors(include_url=False):
        key = _key_of(entry["loc"])
        found.setdefault(key, entry["input"])
        message = entry["msg"]
        if entry["type"] == "value_error":  # from a validator of ours, which says it all
            expected.setdefault(key, []).append("\0" + message.removeprefix("Value error, "))
        else:
            expected.setdefault(key, []).append(expected_in_words(message))
    return [(key, _sentence(key, found[key], options)) for key, options in expected.items()]


def _sentence(key: str, found: Any, options: list[str]) -> str:
    own = [option[1:] for option in options if option.startswith("\0")]
    if own:
        return f"{key}: " + "; ".join(own) if key else "; ".join(own)
    return f"{key} is {found!r:.200}, {' or '.join(dict.fromkeys(options))} expected"


def _key_of(location: tuple[int | str, ...]) -> str:
    """Dotted path of the field; pydantic adds positions in lists, which stay, and names of union members, which go."""
    model: Any = Recipe
    names: list[str] = []
    suffix = ""
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            names.append(str(part))
            model = model.model_fields[str(part)].annotation
        elif isinstance(part, int):
            suffix += f"[{part}]"
    return ".".join(names) + suffix


def _section(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


_PARTS_OF_SECTION: dict[type[BaseModel], Registry[Any]] = {DataConfig: LAYOUTS, LossConfig: LOSSES}


def _known(section: type[BaseModel]) -> list[str]:
    """The keys of a section: its own, and the options of every part that may be chosen there."""
    parts = _PARTS_OF_SECTION.get(section)
    return [*section.model_fields, *([] if parts is None else parts.all_options())]


def _unknown(
    values: Mapping[Any, Any], model: type[BaseModel], prefix: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any, list[str]]]:
    known = _known(model)
    for key, value in values.items():
        if key not in known and model in _PARTS_OF_SECTION:
            load_installed_plugins()  # whose parts may have such an option
            known = _known(model)
        if key not in known:
            yield prefix, key, known
        elif key in model.model_fields and isinstance(value, Mapping):
            section = _section(model.model_fields[key])
            if section is not None:
                yield from _unknown(value, section, (*prefix, key))


def _leaves(
    values: Mapping[str, Any], model: type[BaseModel], prefix: tuple[str, ...]
) -> Iterator[tuple[str, FieldInfo, Any]]:
    for key, value in values.items():
        field = model.model_fields.get(key)
        if field is None:
            continue  # an option of a part, whose signature knows what it may be
        section = _section(field)
        if section is None:
            yield ".".join((*prefix, key)), field, value
        elif isinstance(value, Mapping):
            yield from _leaves(value, section, (*prefix, key))


def _nearest(prefix: tuple[str, ...], key: str, known: list[str]) -> str:
    """The known key that was probably meant: in its own section, else of that or a like name in another."""
    here = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if here:
        return f"did you mean {'.'.join((*prefix, here[0]))!r}?"
    everywhere = {path.rpartition(".")[2]: path for path in reversed(_all_keys(Recipe, ()))}
    elsewhere = difflib.get_close_matches(key, everywhere, n=1, cutoff=0.75)
    if elsewhere:
        return f"did you mean {everywhere[elsewhere[0]]!r}?"
    return f"known{' in ' + '.'.join(prefix) if prefix else ''}: {', '.join(sorted(known))}"


def _all_keys(model: type[BaseModel], prefix: tuple[str, ...]) -> list[str]:
    keys: list[str] = []
    for name in _known(model):
        field = model.model_fields.get(name)
        section = None if field is None else _section(field)
        keys += [".".join((*prefix, name))] if section is None else _all_keys(section, (*prefix, name))
    return keys
