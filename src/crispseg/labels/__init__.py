"""Label tables: one YAML file per data set, with class names, colours and raw ids."""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from crispseg.errors import ConfigError
from crispseg.labels.space import IGNORE_INDEX, LabelClass, LabelSpace
from crispseg.parsing import MAX_YAML_BYTES, TextError, parse_yaml, read_text
from crispseg.wording import nearest_name

__all__ = ["IGNORE_INDEX", "LabelClass", "LabelSpace", "label_space", "label_space_names"]

_LOGGER = logging.getLogger(__name__)


def label_space(name_or_path: str | os.PathLike[str]) -> LabelSpace:
    """Load a label table.

    Args:
        name_or_path: a packaged table's name, or the path of a YAML file with ``classes`` (each ``name`` and optionally
            ``colour``, ``ids``, ``category`` and ``has_instances``) and optionally ``name``, ``ignore_ids`` and
            ``ignored_classes``; see `LabelSpace.from_dict`. A file's only class stands against a background with id 0,
            which is added in front and said in the log; the class has id 1 unless the file says otherwise.

    Raises:
        ConfigError: if there is no such table or file, or it does not fit; see `LabelSpace.from_dict`.

    Example:
        >>> label_space("camvid").class_names[:3]
        ('sky', 'building', 'pole')
    """
    asked = os.fspath(name_or_path)
    path = Path(asked)
    if asked in label_space_names():
        return _packaged(asked)
    if path.is_file():
        try:
            text = read_text(path, MAX_YAML_BYTES)
        except OSError as error:
            raise ConfigError(f"{asked}: cannot be read ({error.strerror}); a label table was expected") from error
        except TextError as error:
            raise ConfigError(f"{asked}: {error}; a label table in YAML was expected") from error
        return _parse(text, asked, path.stem)
    if path.suffix in (".yaml", ".yml") or path.parent != Path("."):
        raise ConfigError(
            f"{asked}: no such file; a label table in YAML or one of these names was expected: {_listed()}"
        )
    raise ConfigError(f"unknown label table {asked!r}; {nearest_name(asked, label_space_names())}")


def label_space_names() -> list[str]:
    """The packaged tables."""
    return sorted(entry.name[:-5] for entry in resources.files(__name__).iterdir() if entry.name.endswith(".yaml"))


@cache
def _packaged(name: str) -> LabelSpace:
    """Parsed once: tables are frozen, and YAML is slow."""
    return _parse((resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8"), f"label table {name!r}")


def _listed() -> str:
    return ", ".join(label_space_names())


def _parse(text: str, source: str, default_name: str = "custom") -> LabelSpace:
    try:
        values = parse_yaml(text)
    except TextError as error:
        raise ConfigError(f"{source}: {error}; a label table in YAML was expected") from error
    if isinstance(values, dict):
        values = _with_background({"name": default_name, **values}, source)
    return LabelSpace.from_dict(values, source)


def _with_background(values: dict[Any, Any], source: str) -> dict[Any, Any]:
    """A table whose only class stands against all the rest, which gets a name, an id, and is black, as in most masks.

    Raises:
        ConfigError: if the only class has the id 0, so that it is not known what the rest is.
    """
    classes = values.get("classes")
    if not isinstance(classes, list) or len(classes) != 1:
        return values
    only = dict(classes[0]) if isinstance(classes[0], dict) else {"name": classes[0]}
    name, ids = only.get("name"), only.setdefault("ids", [1])
    if not isinstance(name, str):
        return values  # said by whoever reads the class
    is_background = name.lower() == _BACKGROUND
    if is_background or (isinstance(ids, list) and 0 in ids):
        raise ConfigError(
            f"{source}: {name!r} is its only class and {'a background' if is_background else 'has id 0'}; name both "
            "classes with their ids, as in 'classes: [background, {name: crack, ids: [1]}]'"
        )
    background = {"name": _BACKGROUND, "ids": [0], "colour": [0, 0, 0]}
    _say_once(f"{source}: one class, so {name!r} (ids {ids}) stands against a background (id 0), which was added")
    return {**values, "classes": [background, only]}


_BACKGROUND = "background"


@cache
def _say_once(message: str) -> None:
    """Commands read a table several times, for every split."""
    _LOGGER.info(message)
