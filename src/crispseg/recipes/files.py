"""Finding and reading recipe files: the packaged ones by name, others by path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from crispseg.errors import ConfigError
from crispseg.wording import nearest_name

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
    raise ConfigError(f"recipe {str(name_or_path)!r}: {found}, and no packaged recipe; {nearest_name(name, packaged)}")


def read_values(file: RecipeFile) -> dict[str, Any]:
    """Read a recipe's YAML as it stands.

    Raises:
        ConfigError: if it is not text, not YAML, not a mapping, or has a key twice.
    """
    try:
        values = _load_yaml(file.source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file.label}: cannot be read as text ({error}); a YAML file was expected") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file.label}: {_one_line(error)}") from error
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
        return _load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{label}: {text!r} is not a YAML value: {_one_line(error)}") from error


def _packaged() -> dict[str, Traversable]:
    return dict(_walk(resources.files("crispseg.recipes"), ""))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name.removesuffix(".yaml"), entry


def _packaged_name(asked: str) -> str:
    return asked.replace("\\", "/").removeprefix("./").removeprefix("recipes/").removesuffix(".yaml")


class _StrictLoader(yaml.SafeLoader):
    """YAML without two surprises: a key that occurs twice is an error, and ``1e-3`` is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As in the base class, after looking for keys that occur twice."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"key {key.value!r} occurs twice, in lines {seen[key.value]} and {line}; keep one"
                    raise yaml.constructor.ConstructorError(None, None, problem, None)
                seen[key.value] = line
        return super().construct_mapping(node, deep=deep)


# PyYAML follows YAML 1.1, where a number with an exponent needs a point and the exponent a sign.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_StrictLoader)  # the loader is a SafeLoader


def _one_line(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
    return " ".join(f"{problem}{where}".split())
