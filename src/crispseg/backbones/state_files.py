"""Weights from files into modules: every key is used, named as ignorable, or an error."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from crispseg.errors import WeightsError

__all__ = ["load_state", "read_state"]

_CONTAINERS = ("state_dict", "model")
_SHOWN_DIFFERENCES = 10


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
        raise WeightsError(f"{path}: no such file; give the path of a .safetensors, .pth, .pt or .pth.tar file")
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path}: cannot be read as weights ({reason}); it is broken, or holds more than tensors: fetch it again, "
            "or save its state dict alone"
        ) from error
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}: {type(content).__name__} found where a dict of named tensors was expected")
    strange = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise WeightsError(
            f"{path}: {len(strange)} entries are not tensors, for instance {strange[0]!r}; a state dict, alone or "
            f"under {' or '.join(map(repr, _CONTAINERS))}, was expected"
        )
    if all(key.startswith("module.") for key in content):
        return {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: str | Path,
    ignorable: Callable[[str], bool] = lambda key: False,
) -> None:
    """Copy named tensors into a module; all of the module's or none.

    Batch counters (``num_batches_tracked``) may be absent, as old checkpoints have none. Floating-point tensors of
    another precision are converted.

    Args:
        module: whose parameters and persistent buffers are filled.
        state: name → tensor, in the module's names.
        source: where the tensors come from, for the error.
        ignorable: says of a key that the module does not have whether it may be left out.

    Raises:
        WeightsError: if a key is missing, unknown or of another shape; the message lists which. The module is
            unchanged then.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own and not ignorable(key)]
    shapes = [
        f"{key}: {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the model"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    differences = [*shapes, *(f"{key}: not in the file" for key in missing), *(f"{key}: unknown" for key in unknown)]
    if differences:
        shown = "".join(f"\n  {line}" for line in differences[:_SHOWN_DIFFERENCES])
        more = len(differences) - _SHOWN_DIFFERENCES
        raise WeightsError(
            f"{source}: does not fit the model: {len(missing)} missing, {len(unknown)} unknown, {len(shapes)} of "
            f"another shape; give the file of this very architecture:{shown}"
            + (f"\n  and {more} more" if more > 0 else "")
        )
    module.load_state_dict({key: state[key] for key in own if key in state}, strict=False)
