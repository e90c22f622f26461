"""From a recipe's file, its bases and the command line's overrides to a validated `Recipe`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from crispseg.config import Recipe
from crispseg.errors import ConfigError
from crispseg.io import atomic_write
from crispseg.recipes.explain import explain_validation, misplaced_booleans, unknown_keys
from crispseg.recipes.files import RecipeFile, find_recipe_file, parse_value, read_values
from crispseg.registry import LAYOUTS

__all__ = ["as_recipe", "load_recipe", "override", "read_saved_recipe", "save_recipe"]


@dataclass(frozen=True)
class _Layer:
    """Values from one place: a file, or one override."""

    label: str
    values: dict[str, Any]


def load_recipe(path_or_name: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe.

    A file may begin with ``base: other``, a path beside it or a packaged name: it then changes that recipe's values,
    section by section, and inherits everything but its ``name`` and ``description``.

    ``data.root`` and ``loss.inverse_form_network`` of a file are looked for beside it, then in the working directory.

    Args:
        path_or_name: a YAML file's path, or a packaged recipe's name such as ``"camvid/gff"``.
        overrides: changes like ``"train.lr=0.005"``, with values in YAML; later ones win.

    Raises:
        ConfigError: if the file is missing or not YAML, a key is unknown or occurs twice, a value does not fit, or
            bases go in a circle. The message names the file, the key, what was found and what was expected.

    Example:
        >>> load_recipe("toy/gff", ["data.crop_hw=[64, 96]"]).data.crop_hw
        (64, 96)
    """
    file = find_recipe_file(Path(path_or_name))
    name = _Layer(file.label, {"name": file.run_name})
    return _recipe_of([name, *_file_layers(file, ()), *(_override_layer(text) for text in overrides)])


def as_recipe(given: Recipe | Mapping[str, Any] | str | os.PathLike[str]) -> Recipe:
    """A recipe from whatever says one.

    Args:
        given: a recipe; values by section, as a file has them, ``base`` too; or what `load_recipe` takes.

    Raises:
        ConfigError: see `load_recipe`.

    Example:
        >>> as_recipe({"base": "toy/gff", "train": {"epochs": 3}}).train.epochs
        3
    """
    if isinstance(given, Recipe):
        return given
    if not isinstance(given, Mapping):
        return load_recipe(given)
    values, layers = dict(given), list[_Layer]()
    if (base := values.pop("base", None)) is not None:
        layers = [_without_own_texts(layer) for layer in _file_layers(find_recipe_file(base), ())]
    return _recipe_of([_Layer("recipe", {}), *layers, _Layer("recipe", values)])


def override(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """A recipe with some values changed, as ``--set`` changes them and with the same checks.

    Args:
        recipe: stays as it is.
        overrides: changes like ``"train.lr=0.005"``, with values in YAML; later ones win.

    Raises:
        ConfigError: if a key is unknown or a value does not fit.

    Example:
        >>> override(Recipe(), ["train.lr=0.5"]).train.lr
        0.5
    """
    own = _Layer(f"recipe {recipe.name!r}", recipe.model_dump(mode="json"))
    return _recipe_of([own, *(_override_layer(text) for text in overrides)])


def save_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write every value of a recipe, defaults too, so that it means the same under later defaults.

    The file appears whole or not at all.

    Args:
        recipe: to be written.
        path: of the YAML file; an existing one is replaced.
    """
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_saved_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read what `save_recipe` wrote: its places are meant as they stand there, not as seen from the file.

    Args:
        path: of the YAML file.

    Raises:
        ConfigError: see `load_recipe`.
    """
    file = RecipeFile(os.fspath(path), Path(path), path=Path(path))
    return _recipe_of([_Layer(file.label, {"name": file.run_name}), *_file_layers(file, (), as_written=True)])


def _recipe_of(layers: Sequence[_Layer]) -> Recipe:
    """The layers' values, later ones over earlier ones, checked; an error names the layer that it comes from."""
    for layer in layers:
        if named := _layout(layer.values):  # first, as nothing else knows the options of a missing plugin's layout
            LAYOUTS.require(named, f"{layer.label}: data.layout")
    if unknown := [line for layer in layers for line in unknown_keys(layer.values, layer.label)]:
        raise ConfigError("; ".join(unknown))
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(_at_layout_of(layer, merged), layer.values)
    if wrong := misplaced_booleans(merged):
        key, message = wrong
        raise ConfigError(f"{_origin(key, layers)}: {message}")
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        lines = [f"{_origin(key, layers)}: {message}" for key, message in explain_validation(error)]
        raise ConfigError("; ".join(lines)) from error


def _at_layout_of(layer: _Layer, below: dict[str, Any]) -> dict[str, Any]:
    """The values below without the options of their layout, where the layer names another layout."""
    named = _layout(layer.values)
    if named is None or not LAYOUTS.knows(named) or named == _layout(below) or "data" not in below:
        return below
    return {**below, "data": LAYOUTS.without_options_of_others(named, below["data"])}


def _layout(values: Mapping[str, Any]) -> str | None:
    section = values.get("data")
    named = section.get("layout") if isinstance(section, Mapping) else None
    return named if isinstance(named, str) else None


def _file_layers(file: RecipeFile, below: tuple[str, ...], *, as_written: bool = False) -> list[_Layer]:
    """The base's layers, then the file's own, whose places are seen from it unless they are taken as written."""
    if file.label in below:
        raise ConfigError(f"{below[0]}: bases go in a circle: {' → '.join((*below, file.label))}; remove one 'base'")
    try:
        values = read_values(file)
    except ConfigError as error:
        if not below:
            raise
        raise ConfigError(f"{below[-1]}: base: {error}") from error
    base = values.pop("base", None)
    values = {key: {} if value is None and key in _SECTIONS else value for key, value in values.items()}
    if file.path is not None and not as_written:
        values = _with_places_beside(file.path, values)
    if base is None:
        return [_Layer(file.label, values)]
    if not isinstance(base, str):
        raise ConfigError(f"{file.label}: base is {base!r}, the name or path of one recipe expected")
    try:
        base_file = find_recipe_file(base, beside=file)
    except ConfigError as error:
        raise ConfigError(f"{file.label}: base: {error}") from error
    layers = _file_layers(base_file, (*below, file.label))
    return [*map(_without_own_texts, layers), _Layer(file.label, values)]


def _without_own_texts(layer: _Layer) -> _Layer:
    """What a recipe inherits of its base."""
    return _Layer(layer.label, {k: v for k, v in layer.values.items() if k not in ("name", "description", "paper")})


def _with_places_beside(recipe: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The places of `_PLACES`, ``data.labels`` where it is a file, as seen from the recipe's folder.

    What is not there but in the working directory, as recipes before 0.2 meant it, is taken from there and said.
    """
    found = dict(values)
    for section, key in _PLACES:
        said = found[section].get(key) if isinstance(found.get(section), dict) else None
        if not isinstance(said, str) or os.path.isabs(os.path.expanduser(said)) or recipe.parent == Path("."):
            continue
        beside = recipe.parent / said
        if key == "labels" and not beside.is_file():
            continue  # a packaged table's name
        if beside.exists():
            found[section] = {**found[section], key: os.path.normpath(beside)}
        elif Path(said).exists() and recipe.parent.resolve() != Path.cwd():
            _LOGGER.info("%s: %s.%s %s is not beside it, taken from the working directory", recipe, section, key, said)
    return found


_PLACES = (("data", "root"), ("data", "labels"), ("loss", "inverse_form_network"))


_LOGGER = logging.getLogger(__name__)

_SECTIONS = ("model", "data", "loss", "train", "evaluate")


def _override_layer(text: str) -> _Layer:
    key, equals, value = text.partition("=")
    label = f"override {text!r}"
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"{label}: a change like 'train.lr=0.005' expected")
    values: Any = parse_value(value, label)
    for part in reversed(parts):
        values = {part: values}
    return _Layer(label, values)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, mapping by mapping; any other value is replaced whole."""
    merged = deepcopy(dict(below))
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = deepcopy(value)
    return merged


def _origin(key: str, layers: Sequence[_Layer]) -> str:
    """The last place that says something about a key: that value is the one that counts."""
    parts = key.partition("[")[0].split(".")
    for layer in reversed(layers):
        values: Any = layer.values
        for part in parts:
            if not isinstance(values, Mapping) or part not in values:
                break
            values = values[part]
        else:
            return layer.label
    return layers[0].label
