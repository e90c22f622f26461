"""A saved model is a folder: safetensors weights, and a card that says what they are.

``card.json`` holds the architecture (the values that build it again), the label table, mean and deviation, the recipe
it was trained with, the scores it reached, licence and notes, and the versions that wrote it.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from crispseg.backbones import load_state, read_state
from crispseg.config import ModelConfig, Recipe
from crispseg.errors import ConfigError, WeightsError
from crispseg.io import atomic_folder
from crispseg.models.build import build_model
from crispseg.models.segmenter import Segmenter
from crispseg.types import LabelSpace

__all__ = ["load_model", "load_weights", "read_card", "save_model"]

CARD_NAME = "card.json"
WEIGHTS_NAME = "weights.safetensors"
FORMAT_VERSION = 1
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def save_model(
    model: Segmenter,
    folder: str | Path,
    *,
    recipe: Recipe | None = None,
    metrics: Mapping[str, Any] | None = None,
    licence: str = "MIT",
    notes: str = "",
    half: bool = False,
) -> None:
    """Write a model folder, whole or not at all.

    Args:
        model: what to save; it may sit on any device.
        folder: new, empty, or a model folder, whose weights and card are then replaced.
        recipe: how the model was trained.
        metrics: its scores, as plain numbers; NaN becomes null.
        licence: of the weights.
        notes: anything that a user of the weights should know.
        half: store floating-point values with 16 bits, in half the space; values beyond the range of 16 bits keep 32.

    Raises:
        WeightsError: if `folder` is a file, or holds something else than a model.

    Example:
        >>> import tempfile, crispseg
        >>> folder = Path(tempfile.mkdtemp()) / "model"
        >>> model = crispseg.create_model("fcn", backbone="test_resnet", num_classes=3, channels=16)
        >>> crispseg.save_model(model, folder, metrics={"mean_iou": 0.5})
        >>> sorted(entry.name for entry in folder.iterdir()), crispseg.load_model(folder).num_classes
        (['card.json', 'weights.safetensors'], 3)
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise WeightsError(f"{folder}: is a file, a folder was expected; name a new folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CARD_NAME).is_file():
        raise WeightsError(
            f"{folder}: holds files, but no {CARD_NAME}, so it is no model folder; name a new folder, so that "
            "nothing of yours is touched"
        )
    card = {
        "format_version": FORMAT_VERSION,
        "model": _without_sources(model.config).model_dump(mode="json"),
        "label_space": model.label_space.to_dict(),
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
        "recipe": None if recipe is None else recipe.model_dump(mode="json"),
        "metrics": _plain(metrics or {}),
        "licence": licence,
        "notes": notes,
        "stored_bits": 16 if half else 32,
        "crispseg_version": _own_version(),
        "torch_version": str(torch.__version__),
    }
    # Cloned, because safetensors refuses tensors that share memory.
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    if half:
        state = {key: _halved(value) for key, value in state.items()}
    with atomic_folder(folder) as temporary:
        save_file(state, temporary / WEIGHTS_NAME)
        text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / CARD_NAME).write_text(text + "\n", encoding="utf-8")


def load_model(path_or_hub_id: str | Path, device: str | torch.device = "cpu") -> Segmenter:
    """Build a saved model again.

    Args:
        path_or_hub_id: a model folder, the folder of a training run (which has the model in ``model/``), or the id
            ``"user/name"`` of a model on the Hugging Face Hub. What exists on disk goes first.
        device: where the model is put.

    Returns:
        The model, in evaluation mode.

    Raises:
        WeightsError: if there is no such model, its files are broken, or weights and card do not fit together; the
            message lists what differs.
    """
    folder = _find_folder(path_or_hub_id)
    card = read_card(folder)
    try:
        config = _without_sources(ModelConfig.model_validate(card["model"]))
        label_space = LabelSpace.from_dict(card["label_space"], source=str(folder / CARD_NAME))
        model = build_model(config, label_space)
    except KeyError as error:
        raise WeightsError(f"{folder / CARD_NAME}: has no {error}; save the model again") from error
    except (ValidationError, ConfigError) as error:
        raise WeightsError(
            f"{folder / CARD_NAME}: describes no model that this version can build ({error}); crispseg "
            f"{card.get('crispseg_version', '?')} wrote it, this is {_own_version()}"
        ) from error
    load_weights(model, folder)
    return model.to(device).eval()


def load_weights(model: Segmenter, path: str | Path) -> None:
    """Fill a model with weights from a file, all of them or none.

    Args:
        model: whose parameters and buffers are replaced.
        path: a model folder, or a file with the model's state: safetensors, or written by ``torch.save``.

    Raises:
        WeightsError: if the file is missing or broken, or keys or shapes differ; the message lists which.
    """
    path = Path(path)
    if path.is_dir():
        path = _find_folder(path) / WEIGHTS_NAME
    load_state(model, read_state(path), path)


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
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); a model folder holds this file") from error
    except ValueError as error:
        raise WeightsError(f"{path}: is not JSON ({error}); fetch or save the model again") from error
    if not isinstance(card, dict):
        raise WeightsError(f"{path}: {type(card).__name__} found where an object was expected; save the model again")
    found = card.get("format_version")
    if not isinstance(found, int) or not 1 <= found <= FORMAT_VERSION:
        raise WeightsError(
            f"{path}: format_version is {found}, 1 to {FORMAT_VERSION} expected; a newer crispseg may have written it: "
            "upgrade"
        )
    return card


def _find_folder(path_or_hub_id: str | Path) -> Path:
    path = Path(path_or_hub_id)
    if path.is_file() and path.name in (WEIGHTS_NAME, CARD_NAME):
        path = path.parent
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
    if isinstance(path_or_hub_id, Path) or not _HUB_ID.fullmatch(path_or_hub_id):
        raise WeightsError(f"{path_or_hub_id}: no such folder; name a model folder, or a Hub model as user/name")
    return _download(path_or_hub_id)


def _download(hub_id: str) -> Path:
    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=[CARD_NAME, WEIGHTS_NAME]))
    except Exception as error:  # network, proxy, missing repository and cache each raise their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{hub_id}: no such folder here, and the Hugging Face Hub did not give a model of this name ({reason}); "
            "check the name, or connect to the network"
        ) from error


def _without_sources(config: ModelConfig) -> ModelConfig:
    """The architecture alone: a saved model brings its weights and needs no others."""
    return config.model_copy(update={"pretrained": False, "backbone_weights": None})


def _halved(value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if torch.isfinite(half).all() else value


def _plain(value: Any) -> Any:
    """JSON's own types: keys become text, NaN and infinities null, NumPy's and torch's scalars numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _own_version() -> str:
    try:
        return importlib.metadata.version("crispseg")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (run without being installed)"
