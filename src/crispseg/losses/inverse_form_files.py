"""Files of InverseForm's network: tensors, and how it was trained."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from crispseg.errors import WeightsError
from crispseg.io import atomic_write
from crispseg.losses.inverse_form import InverseTransformation

__all__ = ["load_inverse_form", "save_inverse_form"]

_FORMAT = "crispseg inverse form 1"
_HOW = "crispseg data inverse-form writes one"


def save_inverse_form(
    network: InverseTransformation, path: str | os.PathLike[str], settings: Mapping[str, Any] | None = None
) -> None:
    """Write a network as one safetensors file.

    Args:
        network: that was trained.
        path: of the file; an existing one is replaced.
        settings: how it was trained and what it measured: plain values, which stand as JSON in the file's metadata.
    """
    metadata = {"format": _FORMAT, "settings": json.dumps(dict(settings or {}), ensure_ascii=False, allow_nan=False)}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(state, temporary, metadata)
        except SafetensorError as error:  # its own for what the disk refuses
            raise OSError(errno.EIO, str(error), str(path)) from error
        temporary.chmod(mode)  # safetensors lets nobody else read it


def load_inverse_form(path: str | os.PathLike[str]) -> InverseTransformation:
    """Read a network that `save_inverse_form` wrote.

    Returns:
        The network, in evaluation mode on the CPU; its parameters want no gradient.

    Raises:
        WeightsError: if there is no such file, or it is broken, of another kind or of another shape.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder, not a file" if path.is_dir() else "no such file"
        raise WeightsError(f"{path}: {found}; the network of the InverseForm loss expected, {_HOW}")
    network = InverseTransformation()
    own = network.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                found = repr(metadata.get("format"))[:100]
                raise WeightsError(f"{path}: format {found} where {_FORMAT!r} was expected; {_HOW}")
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            _require_shapes(path, shapes, {name: tuple(tensor.shape) for name, tensor in own.items()})
            state = {name: file.get_tensor(name) for name in own}
    except (OSError, SafetensorError, UnicodeError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise WeightsError(f"{path}: cannot be read as safetensors ({reason}); {_HOW}") from error
    for name, tensor in state.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: {name} holds no finite numbers in floating point; write it anew, {_HOW}")
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _require_shapes(path: Path, found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> None:
    if found == expected:
        return
    differing = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    name = differing[0]
    raise WeightsError(
        f"{path}: {len(differing)} tensors are not those of this version's network, for instance {name:.100}: "
        f"{found.get(name, 'missing')} in the file, {expected.get(name, 'unknown')} in the network; {_HOW}"
    )
