"""Label tables: one YAML file per data set, with class names, colours and raw ids."""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from pathlib import Path

from crispseg.errors import ConfigError
from crispseg.labels.space import IGNORE_INDEX, LabelClass, LabelSpace
from crispseg.parsing import MAX_YAML_BYTES, TextError, parse_yaml, read_text
from crispseg.wording import nearest_name

__all__ = ["IGNORE_INDEX", "LabelClass", "LabelSpace", "label_space", "label_space_names"]


def label_space(name_or_path: str | os.PathLike[str]) -> LabelSpace:
    """Load a label table.

    Args:
        name_or_path: a packaged table's name, or the path of a YAML file with ``classes`` (each ``name`` and optionally
            ``colour``, ``ids``, ``category`` and ``has_instances``) and optionally ``name``, ``ignore_ids`` and
            ``ignored_classes``; see `LabelSpace.from_dict`.

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
        values = {"name": default_name, **values}
    return LabelSpace.from_dict(values, source)
