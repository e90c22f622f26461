"""Released checkpoints to models of this library, and back."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

from crispseg.backbones import read_state
from crispseg.errors import ConfigError, WeightsError
from crispseg.io import atomic_write
from crispseg.labels import LabelSpace, label_space
from crispseg.models import Segmenter, build_model, numbered_labels, save_model
from crispseg.published.keys import check_keys, check_tensors, recognise
from crispseg.published.networks import NETWORKS, PublishedNetwork
from crispseg.wording import nearest_name

__all__ = ["convert", "network_of", "released_state", "to_released"]

_CITYSCAPES_CLASSES = 19


def convert(
    path: str | Path,
    name: str | None = None,
    *,
    out: str | Path | None = None,
    labels: LabelSpace | None = None,
    half: bool = False,
) -> Segmenter:
    """Read a released checkpoint as a model of this library.

    The file may hold a state dict alone or under ``"state_dict"``, with or without the prefix ``module.``, in 16 or 32
    bits, or be a safetensors file. No code in it is run. Every key of it is used or known to be unused, and every
    parameter of the model is filled.

    Args:
        path: the checkpoint.
        name: which network it is, a key of `NETWORKS`; None: the file's keys tell.
        out: a folder to write the model to, with a card that names source, licence and pretraining; it must not exist.
        labels: the classes; None: Cityscapes' for 19 classes, else ``class_0`` and so on.
        half: store the folder's values with 16 bits.

    Returns:
        The model, in evaluation mode.

    Raises:
        ConfigError: if `name` is unknown.
        WeightsError: if `out` exists, the file is missing, broken or of another network, or `labels` has another number
            of classes. Nothing is written then.
    """
    if name is not None and name not in NETWORKS:
        raise ConfigError(f"unknown network {name!r}; {nearest_name(name, NETWORKS)}")
    _refuse_existing(out)
    path = Path(path)
    state = read_state(path)
    if name is None:
        network = recognise(state, path)
    else:
        network = NETWORKS[name]
        check_keys(network, state, path)
    model = _build(network, state, labels, path)
    if out is not None:
        source = network.source
        save_model(
            model, out, licence=source.licence, notes=source.licence_note, source=_provenance(network, path), half=half
        )
    return model


def network_of(model: Segmenter) -> PublishedNetwork:
    """The released network that a model is built as.

    Raises:
        WeightsError: if it is none.
    """
    built = model.config.without_sources()
    for network in NETWORKS.values():
        if network.config == built:
            return network
    raise WeightsError(
        f"head {built.head!r} on {built.context!r} and {built.backbone!r} is none of the released networks; only a "
        "converted model can be written as a released file"
    )


def to_released(model: Segmenter, path: str | Path) -> PublishedNetwork:
    """Write a checkpoint that the released code would load.

    Args:
        model: a converted model, fine-tuned or not, with any number of classes.
        path: of the file to be; it must not exist.

    Returns:
        Which network it is.

    Raises:
        WeightsError: if the model is none of the released networks, or the file exists.
    """
    network = network_of(model)
    _refuse_existing(path)
    with atomic_write(path) as temporary:
        torch.save({"state_dict": {f"module.{key}": value for key, value in released_state(model).items()}}, temporary)
    return network


def released_state(model: Segmenter) -> dict[str, Tensor]:
    """A converted model's state under the released names, on the CPU.

    Keys that the released network has and never uses are filled with zeros (variances with ones).

    Raises:
        WeightsError: if the model is none of the released networks.
    """
    network = network_of(model)
    own = model.state_dict()
    state = {released: own[ours].detach().cpu() for released, ours in network.table.items()}
    for key, shape in network.unused.items():
        filling = torch.ones if key.endswith("running_var") else torch.zeros
        state[key] = filling(shape, dtype=torch.int64 if key.endswith("num_batches_tracked") else torch.float32)
    return state


def _build(network: PublishedNetwork, state: dict[str, Tensor], labels: LabelSpace | None, path: Path) -> Segmenter:
    """Build without values and put the file's tensors in their places, so that no value exists twice."""
    space = _label_space(state[network.classifier], labels, path)
    with torch.device("meta"):
        model = build_model(network.config, space)
    own = model.state_dict()
    shapes = {released: tuple(own[ours].shape) for released, ours in network.table.items()}
    check_tensors(network, state, shapes | dict(network.unused), path)
    # What our models hold and no released file does.
    placed = {
        "mean": torch.tensor(model.backbone.mean).view(1, 3, 1, 1),
        "std": torch.tensor(model.backbone.std).view(1, 3, 1, 1),
    }
    for released, ours in network.table.items():
        # Popped: of a file with 16 bits, one tensor at a time is held in both precisions.
        found = state.pop(released, None)
        placed[ours] = torch.zeros((), dtype=torch.int64) if found is None else found.to(own[ours].dtype).contiguous()
    model.load_state_dict(placed, assign=True)
    return model.eval()


def _label_space(classifier: Tensor, labels: LabelSpace | None, path: Path) -> LabelSpace:
    num_classes = classifier.shape[0] if classifier.ndim else 0
    if num_classes < 2:
        raise WeightsError(f"{path}: its classifier has the shape {tuple(classifier.shape)}; two classes at least")
    if labels is None:
        return label_space("cityscapes") if num_classes == _CITYSCAPES_CLASSES else numbered_labels(num_classes)
    if labels.num_classes != num_classes:
        raise WeightsError(
            f"{path}: has {num_classes} classes, the label table {labels.name!r} {labels.num_classes}; name the table "
            "that the file was trained with"
        )
    return labels


def _refuse_existing(out: str | Path | None) -> None:
    if out is not None and os.path.lexists(out):
        raise WeightsError(f"{out}: exists already; name another, or remove it first")


def _provenance(network: PublishedNetwork, path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "network": network.name,
        "title": network.title,
        "file": path.name,
        "sha256": digest,
        "paper": network.source.paper,
        "url": network.source.url,
        "pretraining": network.source.pretraining,
        "reported": f"{network.reported}, Cityscapes, by the paper for such a network; not measured on this file",
    }
