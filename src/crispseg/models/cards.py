"""The card of a saved model, and the folder that it lies in; `crispseg.models.weights` says what stands in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crispseg.config import Recipe
from crispseg.errors import ConfigError, WeightsError
from crispseg.models.hub import fetch_files, is_hub_id
from crispseg.parsing import TextError, parse_json, read_text
from crispseg.wording import some

__all__ = [
    "CARD_NAME",
    "FORMAT_VERSION",
    "WEIGHTS_NAME",
    "find_folder",
    "on_one_line",
    "read_card",
    "saved_card",
    "saved_recipe",
]

CARD_NAME = "card.json"
WEIGHTS_NAME = "weights.safetensors"
FORMAT_VERSION = 2

_log = logging.getLogger(__name__)


def find_folder(path_or_hub_id: str | Path) -> Path:
    """The folder that holds a saved model's card and weights.

    Args:
        path_or_hub_id: see `load_model`; a `Path` is never taken for a Hub id.

    Raises:
        WeightsError: if there is no such model.
    """
    path = Path(path_or_hub_id)
    if path.is_file() and path.name in (WEIGHTS_NAME, CARD_NAME):
        path = path.parent
    if path.is_file() and path.suffix == ".ckpt":
        raise WeightsError(
            f"{path}: a checkpoint of a training run, which goes on from it by --resume; its model is the folder "
            f"{path.parent.parent / 'model'}: name that"
        )
    if path.is_file():
        raise WeightsError(
            f"{path}: a file, but a model is a folder with {CARD_NAME} and {WEIGHTS_NAME}; name the folder"
        )
    if path.is_dir():
        for folder in (path, path / "model"):
            if (folder / CARD_NAME).is_file():
                return folder
        raise WeightsError(
            f"{path}: holds neither {CARD_NAME} nor model/{CARD_NAME}; name a model folder, or a run that has finished "
            "an epoch"
        )
    if isinstance(path_or_hub_id, Path) or not is_hub_id(path_or_hub_id):
        raise WeightsError(f"{path_or_hub_id}: no such folder; name a model folder, or a Hub model as user/name")
    return fetch_files(path_or_hub_id, (CARD_NAME, WEIGHTS_NAME))


def read_card(folder: str | Path) -> dict[str, Any]:
    """Read what a model folder says of itself.

    Args:
        folder: a model folder.

    Returns:
        Plain values; see the module's text for what they are.

    Raises:
        WeightsError: if the card is missing, broken, or of a newer format.
    """
    path = Path(folder) / CARD_NAME
    try:
        card = parse_json(read_text(path))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); a model folder holds this file") from error
    except TextError as error:
        raise WeightsError(f"{path}: {error}; fetch or save the model again") from error
    if not isinstance(card, dict):
        raise WeightsError(f"{path}: {type(card).__name__} found where an object was expected; save the model again")
    found = card.get("format_version")
    if type(found) is not int or not 1 <= found <= FORMAT_VERSION:
        raise WeightsError(
            f"{path}: format_version is {found!r:.100}, 1 to {FORMAT_VERSION} expected; upgrade, for a newer crispseg "
            "may have written it"
        )
    for key, kind in _OPTIONAL.items():
        value = card.get(key)
        if value is None:
            card[key] = {} if key in ("metrics", "source") else None
        elif not isinstance(value, kind):
            raise WeightsError(f"{path}: {key} is {value!r:.100}, which is no {kind.__name__}; save the model again")
    return card


# What a card may leave out, or have as null.
_OPTIONAL: dict[str, type] = {
    "recipe": dict,
    "metrics": dict,
    "source": dict,
    "licence": str,
    "notes": str,
    "crispseg_version": str,
    "torch_version": str,
}


def saved_card(path_or_hub_id: str | Path) -> dict[str, Any]:
    """What a saved model says of itself; see `read_card`.

    Args:
        path_or_hub_id: see `load_model`.

    Raises:
        WeightsError: if there is no such model, or its card is broken.
    """
    return read_card(find_folder(path_or_hub_id))


def saved_recipe(path_or_hub_id: str | Path) -> Recipe | None:
    """The recipe that a saved model was trained with, as far as this version knows its keys; the log names the others.

    Args:
        path_or_hub_id: see `load_model`.

    Returns:
        None if the card has none.

    Raises:
        WeightsError: if there is no such model, its card is broken, or a value of the recipe does not fit.
    """
    folder = find_folder(path_or_hub_id)
    values = read_card(folder)["recipe"]
    while values is not None:
        try:
            return Recipe.model_validate(values)
        except (ValidationError, ConfigError) as error:
            newer = _unknown_key(error)
            if newer is None:
                raise WeightsError(
                    f"{folder / CARD_NAME}: its recipe does not fit ({on_one_line(error)}); name another (--data)"
                ) from error
            _log.warning("%s: its recipe has %s, which this version does not know; left out", folder, ".".join(newer))
            values = _without(values, newer)
    return None


def on_one_line(error: Exception) -> str:
    """What was found to be wrong, key by key."""
    if isinstance(error, ValidationError):
        found = [(".".join(map(str, entry["loc"])), entry["msg"]) for entry in error.errors(include_url=False)]
        return some([f"{key}: {message}" for key, message in found], 3)
    return " ".join(str(error).split())[:500]


def _unknown_key(error: Exception) -> tuple[str, ...] | None:
    """The first key that only a newer version knows, if that is what a recipe is refused for."""
    entries = error.errors(include_url=False) if isinstance(error, ValidationError) else []
    return next((tuple(map(str, entry["loc"])) for entry in entries if entry["type"] == "extra_forbidden"), None)


def _without(values: Mapping[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
    first, *rest = key
    if not rest:
        return {name: value for name, value in values.items() if name != first}
    return {**values, first: _without(values[first], tuple(rest))}
