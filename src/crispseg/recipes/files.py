"""Finding and reading recipe files: the packaged ones by name, others by path."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any

from crispseg.errors import ConfigError
from crispseg.parsing import MAX_YAML_BYTES, TextError, parse_yaml, read_text

__all__ = ["RecipeFile", "find_recipe_file", "list_recipes", "parse_value", "read_values"]


@dataclass(frozen=True)
class RecipeFile:
    """Where a recipe's text is.

    Attributes:
        label: what to call it in messages.
        source: the text.
        path: of a file on disk; None for a packaged one.
        packaged_name: for instance ``"camvid/gff"``; None for a file on disk.
    """

    label: str
    source: Traversable
    path: Path | None = None
    packaged_name: str | None = None

    @property
    def run_name(self) -> str:
        """What a recipe without a ``name`` is called: ``camvid-gff``, or the file's stem."""
        return self.path.stem if self.path else str(self.packaged_name).replace("/", "-")


def list_recipes() -> list[str]:
    """Names of the packaged recipes, such as ``"camvid/gff"``."""
    return sorted(_packaged())


def find_recipe_file(name_or_path: str | Path, beside: RecipeFile | None = None) -> RecipeFile:
    """Find a recipe.

    Args:
        name_or_path: a path; or a packaged recipe's name, with or without ``recipes/`` before and ``.yaml`` after it.
            A file on disk goes before a packaged recipe of the same name.
        beside: the recipe that names this one as its base: relative paths and names are looked for beside it first.

    Raises:
        ConfigError: if there is no such file and no such name.
    """
    asked = Path(name_or_path)
    candidates = [asked] if beside is None or beside.path is None else [beside.path.parent / asked, asked]
    if beside is None or beside.path is not None:  # a packaged recipe builds on packaged recipes only
        for path in candidates:
            if path.is_file():
                return RecipeFile(str(path), path, path=path)
    packaged = _packaged()
    name = _packaged_name(str(name_or_path))
    if beside is not None and beside.packaged_name is not None:
        sibling = str(PurePosixPath(beside.packaged_name).parent / name)
        name = sibling if sibling in packaged else name
    if name in packaged:
        return RecipeFile(f"recipe {name!r}", packaged[name], packaged_name=name)
    found = "a folder, not a file" if asked.is_dir() else "no such file"
    close = difflib.get_close_matches(name, sorted(packaged), n=1, cutoff=0.5)
    meant = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(
        f"recipe {str(name_or_path)!r}: {found}, and no packaged recipe; {meant}crispseg recipes lists them"
    )


def read_values(file: RecipeFile) -> dict[str, Any]:
    """Read a recipe's YAML as it stands.

    Raises:
        ConfigError: if it is not text, not YAML, not a mapping, or has a key twice.
    """
    return _read(file) if file.path else deepcopy(_read_once(file))


@cache
def _read_once(file: RecipeFile) -> dict[str, Any]:
    """A packaged recipe's: many build on the same few, and YAML is slow."""
    return _read(file)


def _read(file: RecipeFile) -> dict[str, Any]:
    try:
        text = read_text(file.path, MAX_YAML_BYTES) if file.path else file.source.read_text(encoding="utf-8")
        values = parse_yaml(text)
    except OSError as error:
        raise ConfigError(f"{file.label}: cannot be read ({error.strerror}); a YAML file was expected") from error
    except TextError as error:
        raise ConfigError(f"{file.label}: {error}; a recipe in YAML was expected") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{file.label}: {type(values).__name__} found, a mapping of sections (model, data, …) expected"
        )
    return values


def parse_value(text: str, label: str) -> Any:
    """One value of a command line, as YAML reads it.

    Raises:
        ConfigError: if it is not YAML.

    Example:
        >>> parse_value("[0.5, 1e-3]", "--set"), parse_value("null", "--set"), parse_value("a", "--set")
        ([0.5, 0.001], None, 'a')
    """
    try:
        return parse_yaml(text)
    except TextError as error:
        raise ConfigError(f"{label}: {text[:100]!r} is not a YAML value: {error}") from error


@cache
def _packaged() -> dict[str, Traversable]:
    """The packaged recipes: they do not change while a process runs."""
    return dict(_walk(resources.files("crispseg.recipes"), ""))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml"), entry


def _packaged_name(asked: str) -> str:
    return asked.replace("\\", "/").removeprefix("./").removeprefix("recipes/").removesuffix(".yaml")
