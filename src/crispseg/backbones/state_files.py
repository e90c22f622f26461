"""Weights from files into modules: every key is used, named as ignorable, or an error."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from crispseg.backbones.pickles import check_pickle
from crispseg.errors import CrispsegError, WeightsError

__all__ = ["check_state", "load_state", "read_content", "read_state"]

_CONTAINERS = ("state_dict", "model")
_SHOWN_DIFFERENCES = 3
_NO_CHECKPOINT = "cannot be read as weights; it is no checkpoint, or a broken one: fetch it again"


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a file of named tensors.

    Args:
        path: a safetensors file, or a file of ``torch.save`` that holds a state dict or a dict with one under
            ``"state_dict"`` or ``"model"``. No code in it is run.

    Returns:
        Name → tensor on the CPU, without the ``module.`` prefix of parallel wrappers.

    Raises:
        WeightsError: if the file is missing, broken or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder, not a file" if path.is_dir() else "no such file"
        raise WeightsError(f"{path}: {found}; give the path of a .safetensors, .pth, .pt or .pth.tar file")
    content = read_content(path)
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}: {type(content).__name__} found where a dict of named tensors was expected")
    strange = [key for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strange:
        raise WeightsError(
            f"{path}: {len(strange)} entries are not named tensors, for instance {strange[0]!r:.100}; a state dict, "
            f"alone or under {' or '.join(map(repr, _CONTAINERS))}, was expected"
        )
    if odd := [
        key for key, value in content.items() if value.layout != torch.strided or value.is_quantized or value.is_meta
    ]:
        raise WeightsError(f"{path}: {odd[0]!r:.100} is sparse, quantized or empty; plain tensors expected")
    prefix = "module." if all(key.startswith("module.") for key in content) else ""
    return {key.removeprefix(prefix): value for key, value in content.items()}


def read_content(path: Path) -> Any:
    """What a file of safetensors or ``torch.save`` holds, of whatever kind; nothing in it is run.

    Raises:
        WeightsError: if it is neither, broken, or would run code.
    """
    try:
        if _is_safetensors(path):
            return load_file(path)
        check_pickle(path)
        with torch.serialization.safe_globals(_NUMPY_SCALARS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of unusual pickle protocols, which are then refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None and not _is_pickle(path):
            raise WeightsError(f"{path}: {_NO_CHECKPOINT}") from error
        raise WeightsError(
            f"{path}: refused, because reading it would run code ({wanted[1] if wanted else 'a plain pickle'}) that "
            "nobody has checked; ask its author for the state dict alone, as torch.save or safetensors write it"
        ) from error
    except (CrispsegError, MemoryError):
        raise
    # On broken files torch's reader and ours raise whatever their steps happen to raise.
    except Exception as error:
        if isinstance(error, EOFError | LookupError | UnicodeError | AssertionError):  # says nothing to a user
            raise WeightsError(f"{path}: {_NO_CHECKPOINT}") from error
        reason = str(error).splitlines()[0].split(". ")[0][:200] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: cannot be read as weights ({reason}); it is broken: fetch it again") from error


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _is_safetensors(path: Path) -> bool:
    """By its name, or by its beginning: the header's length, then the header, which is JSON."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


# Checkpoints keep scores beside the weights, which NumPy pickles as scalars: plain numbers, built by these.
_NUMPY_SCALARS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "bool")),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: str | Path,
    ignorable: Callable[[str], bool] = lambda key: False,
) -> None:
    """Copy named tensors into a module; all of the module's or none.

    Batch counters (``num_batches_tracked``) may be absent, as old checkpoints have none. Floating-point tensors of
    another precision are converted, and whole numbers of another size; nothing else is.

    Args:
        module: whose parameters and persistent buffers are filled.
        state: name → tensor, in the module's names.
        source: where the tensors come from, for the error.
        ignorable: says of a key that the module does not have whether it may be left out.

    Raises:
        WeightsError: if a key is missing, unknown or of another shape or kind; the message lists which. The module is
            unchanged then.
    """
    own = module.state_dict()
    check_state(own, state, source, ignorable)
    module.load_state_dict({key: state[key] for key in own if key in state}, strict=False)


def check_state(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    source: str | Path,
    ignorable: Callable[[str], bool] = lambda key: False,
) -> None:
    """See that named tensors fit a module, which may be a hollow one on ``meta``; see `load_state`.

    Args:
        own: the module's own state.
        state: see `load_state`.
        source: see `load_state`.
        ignorable: see `load_state`.

    Raises:
        WeightsError: see `load_state`.
    """
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own and not ignorable(key)]
    shapes = [
        f"{key}: {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the model"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    kinds = [
        f"{key}: {state[key].dtype} in the file, {own[key].dtype} in the model".replace("torch.", "")
        for key in own
        if key in state and _kind(state[key]) != _kind(own[key])
    ]
    differences = [
        *shapes,
        *kinds,
        *(f"{key}: not in the file" for key in missing),
        *(f"{key}: unknown" for key in unknown),
    ]
    if differences:
        more = len(differences) - _SHOWN_DIFFERENCES
        shown = "; ".join(line[:200] for line in differences[:_SHOWN_DIFFERENCES])
        raise WeightsError(
            f"{source}: does not fit the model: {len(missing)} missing, {len(unknown)} unknown, {len(shapes)} of "
            f"another shape, {len(kinds)} of another kind; give the file of this very architecture: {shown}"
            + (f"; and {more} more" if more > 0 else "")
        )


def _kind(values: Tensor) -> str:
    """What may be converted into each other."""
    return "complex" if values.is_complex() else "float" if values.is_floating_point() else "whole numbers"
