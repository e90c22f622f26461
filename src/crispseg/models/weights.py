"""A saved model is a folder: safetensors weights, and a card that says what they are.

``card.json`` holds the architecture (the values that build it again), the label table, mean and deviation, the recipe
it was trained with, the plugins that it needs, the scores it reached, where the weights come from, licence and notes,
and the versions that wrote it.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import json
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from crispseg.backbones import check_state, load_state, read_state
from crispseg.backbones.more_bands import with_more_inputs
from crispseg.config import MASK_BANDS, ModelConfig, Recipe
from crispseg.errors import ConfigError, WeightsError
from crispseg.io import atomic_folder
from crispseg.labels import LabelSpace
from crispseg.models.build import build_model
from crispseg.models.cards import CARD_NAME, FORMAT_VERSION, WEIGHTS_NAME, find_folder, on_one_line, read_card
from crispseg.models.plugins import needed_plugins, require_plugins
from crispseg.models.segmenter import Segmenter
from crispseg.models.upgrade import upgraded

__all__ = ["load_model", "load_weights", "save_model", "saved_config"]

_log = logging.getLogger(__name__)


def save_model(
    model: Segmenter,
    folder: str | Path,
    *,
    recipe: Recipe | None = None,
    metrics: Mapping[str, Any] | None = None,
    licence: str = "MIT",
    notes: str = "",
    source: Mapping[str, str] | None = None,
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
        source: where the weights come from, in words by keyword, if they were not trained here.
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
        "model": model.config.without_sources().model_dump(mode="json"),
        "plugins": needed_plugins(model.config),
        "label_space": model.label_space.to_dict(),
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
        "recipe": None if recipe is None else recipe.model_dump(mode="json"),
        "metrics": _plain(metrics or {}),
        "licence": licence,
        "notes": notes,
        "source": dict(source or {}),
        "stored_bits": 16 if half else 32,
        "crispseg_version": _own_version(),
        "torch_version": str(torch.__version__),
    }
    state = _apart({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()})
    if half:
        state = {key: _halved(value) for key, value in state.items()}
    with atomic_folder(folder) as temporary:
        text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / CARD_NAME).write_text(text + "\n", encoding="utf-8")
        try:
            save_file(state, temporary / WEIGHTS_NAME)
        except SafetensorError as error:  # its own for what the disk refuses
            raise OSError(errno.EIO, str(error), str(folder)) from error
        shutil.copymode(temporary / CARD_NAME, temporary / WEIGHTS_NAME)  # safetensors lets nobody else read it


def load_model(
    path_or_hub_id: str | Path, device: str | torch.device = "cpu", *, label_space: LabelSpace | None = None
) -> Segmenter:
    """Build a saved model again, for its own classes or, to fine-tune it, for others.

    Args:
        path_or_hub_id: a model folder, the folder of a training run (which has the model in ``model/``), or the id
            of a model on the Hugging Face Hub: ``"user/name"``, or ``"user/name@revision"`` for one of its tags,
            branches or commits. What exists on disk goes first.
        device: where the model is put.
        label_space: other classes than the model's own. Layers whose shape depends on the number of classes then start
            fresh, and the log says which.

    Returns:
        The model, in evaluation mode.

    Raises:
        WeightsError: if there is no such model, its files are broken, weights and card do not fit together, where the
            message lists what differs, or it needs a plugin that is not loaded: see `crispseg.load_plugin`.
    """
    folder = find_folder(path_or_hub_id)
    config, own_space = _architecture(folder)
    file = folder / WEIGHTS_NAME
    state = read_state(file)
    other_classes = label_space is not None
    # A card can name a network of any size. Without values it costs nothing, and shows whether the weights are its own.
    hollow = _built(folder, config, label_space or own_space, hollow=True)
    _fitting(hollow, state, file, other_classes=other_classes)
    model = _built(folder, config, label_space or own_space)
    _fill(model, state, file, path_or_hub_id, other_classes=other_classes)
    return model.to(device).eval()


def saved_config(path_or_hub_id: str | Path) -> ModelConfig:
    """The architecture of a saved model: what builds a network that its weights fit.

    Args:
        path_or_hub_id: see `load_model`.

    Raises:
        WeightsError: if there is no such model, or its card is broken.
    """
    folder = find_folder(path_or_hub_id)
    config, label_space = _architecture(folder)
    file = folder / WEIGHTS_NAME
    values = sum(entry.numel() for entry in _built(folder, config, label_space, hollow=True).state_dict().values())
    held = file.stat().st_size if file.is_file() else 0
    if values > held:
        raise WeightsError(
            f"{folder / CARD_NAME}: describes a network of {values} values, but {file.name} has {held} bytes; "
            "they are not of one model: fetch or save it again"
        )
    return config


def load_weights(
    model: Segmenter, path: str | Path, *, other_classes: bool = False, partial: bool = False
) -> list[str]:
    """Fill a model with weights from a file: all of them or none, unless told otherwise.

    Args:
        model: whose parameters and buffers are replaced.
        path: a model folder, the id of a model on the Hugging Face Hub, or a file with the model's state: safetensors,
            or written by ``torch.save``; or a checkpoint of a training run.
        other_classes: whether the file's model may have had another number of classes. What depends on it stays as it
            is in `model`, and the log says what that is.
        partial: whether the file may be of another architecture, as in two-stage training: what has the same name and
            shape is taken, the rest stays as it is, and the log says what that is. The backbone must fit whole; if
            `model` sees a mask beside the image and the file's does not, it takes nothing of the mask at first.

    Returns:
        The layers that were left as they are, by name; none unless `other_classes` or `partial` is set.

    Raises:
        WeightsError: if the file is missing or broken, or keys or shapes differ; the message lists which.
    """
    is_file = Path(path).is_file()
    file = Path(path) if is_file else find_folder(path) / WEIGHTS_NAME
    if not is_file:
        _name_other_meanings(model, file.parent)
    state = _of_run(read_state(file), file) if is_file else read_state(file)
    return _fill(model, state, file, path, other_classes=other_classes, partial=partial)


def _of_run(state: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The model's tensors, where a file is a training run's checkpoint; it has them under ``model.``."""
    if not all(key.startswith("model.") for key in state):
        return state
    _log.info("%s: a checkpoint of a training run; its model is taken", file)
    return {key.removeprefix("model."): value for key, value in state.items()}


def _name_other_meanings(model: Segmenter, folder: Path) -> None:
    """Warn where a model's weights were those of a network that its names no longer mean, and shapes do not tell."""
    card = read_card(folder)
    try:
        saved = ModelConfig.model_validate(card["model"])
    except (KeyError, ValidationError):
        return  # of a newer version, or broken; weights that do not fit are refused by their shapes
    for option, value in upgraded(saved, card["format_version"]).head_options.items():
        if saved.head == model.config.head and option not in {**saved.head_options, **model.config.head_options}:
            _log.warning(
                "%s: was saved when head %r meant %s=%s, and goes on with today's default; set "
                "model.head_options.%s=%s to keep what it computed",
                folder,
                saved.head,
                option,
                json.dumps(value),
                option,
                json.dumps(value),
            )


def _fill(
    model: Segmenter,
    state: dict[str, Tensor],
    file: Path,
    named: str | Path,
    *,
    other_classes: bool = False,
    partial: bool = False,
) -> list[str]:
    """`load_weights` from tensors that are read already."""
    state, fresh, reason = _fitting(model, state, file, other_classes=other_classes, partial=partial)
    load_state(model, state, file)
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in fresh))
    if layers:
        _log.info("%s: %s; these layers start fresh: %s", named, reason, ", ".join(layers))
    return layers


def _fitting(
    model: Segmenter, state: dict[str, Tensor], file: Path, *, other_classes: bool = False, partial: bool = False
) -> tuple[dict[str, Tensor], list[str], str]:
    """What to load into a model, which may be hollow; the keys that stay as they are, and why.

    Raises:
        WeightsError: if the tensors do not fit.
    """
    own = model.state_dict()
    if partial and model.config.sees_mask:
        state = _seeing_mask(own, state)
    fresh = _of_other_classes(model, state) if other_classes else []
    reason = f"made for {state[fresh[0]].shape[0]} classes, not {model.num_classes}" if fresh else ""
    if partial:
        reason = "of another architecture"
        fresh = [key for key in own if not key.startswith("backbone.") and not _fits(key, own, state)]
        state = {key: value for key, value in state.items() if key in own or key.startswith("backbone.")}
    state = {**state, **{key: own[key] for key in fresh}}
    check_state(own, state, file)
    return state, fresh, reason


def _seeing_mask(own: Mapping[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a network of images for one that sees a mask, too: the first convolution takes nothing of it yet."""
    adapted = dict(state)
    for key, value in state.items():
        wanted = own[key].shape if key in own else value.shape
        more = wanted[1] - value.shape[1] if len(wanted) == value.ndim == 4 else 0
        if more != MASK_BANDS or key.startswith("head."):
            continue
        if key in ("mean", "std"):
            adapted[key] = torch.cat([value, own[key][:, -more:].to(value)], dim=1)
        elif (value.shape[0], *value.shape[2:]) == (wanted[0], *wanted[2:]):
            adapted[key] = with_more_inputs(value, more)
    return adapted


def _architecture(folder: Path) -> tuple[ModelConfig, LabelSpace]:
    card = read_card(folder)
    try:
        config = upgraded(ModelConfig.model_validate(card["model"]), card["format_version"]).without_sources()
        label_space = LabelSpace.from_dict(card["label_space"], source=str(folder / CARD_NAME))
    except KeyError as error:
        raise WeightsError(f"{folder / CARD_NAME}: has no {error}, or null there; save the model again") from error
    except (ValidationError, ConfigError) as error:
        raise _unbuildable(folder, error) from error
    require_plugins(card, folder / CARD_NAME)
    return config, label_space


def _unbuildable(folder: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{folder / CARD_NAME}: describes no model that this version can build ({on_one_line(error)}); crispseg "
        f"{read_card(folder)['crispseg_version'] or '?'} wrote it, this is {_own_version()}"
    )


def _built(folder: Path, config: ModelConfig, label_space: LabelSpace, *, hollow: bool = False) -> Segmenter:
    """The network of a card; a hollow one has shapes and no values."""
    try:
        with torch.device("meta") if hollow else contextlib.nullcontext():
            return build_model(config, label_space)
    except ConfigError as error:
        raise _unbuildable(folder, error) from error
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if not hollow:  # what can be built hollow can be built, so this is ours
            raise
        raise _unbuildable(folder, error) from error


def _fits(key: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    return key in state and state[key].shape == own[key].shape


def _of_other_classes(model: Segmenter, state: Mapping[str, Tensor]) -> list[str]:
    """Keys whose first dimension is the number of classes in `model`, and another, the same for all, in the file."""
    own = model.state_dict()
    differing = [key for key, value in own.items() if key in state and state[key].shape != value.shape]
    counts = {state[key].shape[:1] for key in differing}
    explained = len(counts) == 1 and all(
        own[key].shape[:1] == (model.num_classes,) and own[key].shape[1:] == state[key].shape[1:] for key in differing
    )
    return differing if explained else []


def _apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory, which safetensors refuses; the others are not copied."""
    seen: set[int] = set()
    apart = {}
    for key, value in state.items():
        place = value.untyped_storage().data_ptr()
        apart[key] = value.clone() if place in seen else value
        seen.add(place)
    return apart


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
