"""Files of checkpoints: written whole or not at all, read without running anything, checked before they are used."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from crispseg.backbones.state_files import read_content
from crispseg.errors import TrainingError, WeightsError
from crispseg.io import atomic_write
from crispseg.wording import some

__all__ = ["RESTORE", "AtomicCheckpointIO", "differences_of_kind", "is_whole", "read_checkpoint", "weights_of"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, and hold nothing but tensors and plain values.

    Lightning's own go through the system's temporary folder, from where a move to another file system is a copy.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write beside `path`, flush to the disk, put in place.

        Raises:
            TrainingError: if the disk does not take it; what stood at `path` stays whole.
        """
        try:
            with atomic_write(path) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:  # PyTorch's writer has no error of its own for a full disk
            raise TrainingError(_not_written(Path(path), error)) from error

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read what a run has saved; nothing in it is run.

        Raises:
            WeightsError: if it is something else.
        """
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a run's checkpoint, its tensors on the CPU.

    Raises:
        WeightsError: if it is something else, or lacks a part that a run goes on from.
    """
    try:
        content = read_content(path)
    except WeightsError as error:
        reason = str(error).removeprefix(f"{path}: ").splitlines()[0].partition(";")[0]
        raise WeightsError(f"{path}: no checkpoint of a run ({reason}); {RESTORE}") from error
    wrong = (
        [
            f"{key} is {type(content.get(key)).__name__}" if key in content else f"{key} is missing"
            for key, kind in _PARTS.items()
            if not isinstance(content.get(key), kind)
        ]
        if isinstance(content, dict)
        else [f"{type(content).__name__} found"]
    )
    if wrong:
        raise WeightsError(f"{path}: no checkpoint of a run ({some(wrong)}); {RESTORE}")
    checkpoint: dict[str, Any] = content
    return checkpoint


_PARTS: dict[str, type] = {
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "state_dict": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}


RESTORE = "restore it from a copy, or go on from previous.ckpt with --resume --previous"


def is_whole(path: Path) -> bool:
    """Whether a checkpoint can be read to its end with all checksums right."""
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch stores without compressing; a small file that says otherwise may unpack to any size.
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
            return stored and archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError):  # also: encrypted
        return False


def differences_of_kind(found: Any, expected: Any, path: str = "") -> list[str]:
    """Where a nest of plain values has other keys or kinds of values than the expected one.

    Example:
        >>> differences_of_kind({"a": 1, "b": {}}, {"a": 2.5, "b": {"c": 3}})
        ['b.c is missing']
    """
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return [f"{path} is {type(found).__name__}"]
        names = {key: f"{path}.{key}" if path else str(key) for key in (*expected, *found)}
        wrong = [f"{names[key]} is missing" for key in expected if key not in found]
        wrong += [f"{names[key]} is unknown" for key in found if key not in expected]
        both = [key for key in expected if key in found]
        return wrong + [line for key in both for line in differences_of_kind(found[key], expected[key], names[key])]
    if isinstance(expected, float) and not isinstance(found, bool) and isinstance(found, int | float):
        return []
    return [] if type(found) is type(expected) else [f"{path} is {type(found).__name__}"]


def weights_of(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The model's, of a task's."""
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return {key.removeprefix("model."): value for key, value in state.items() if key.startswith("model.")}


def _not_written(path: Path, error: Exception) -> str:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
    with contextlib.suppress(OSError):
        reason += f"; {shutil.disk_usage(path.parent).free / 2**20:.0f} MiB are free there"
    standing = "the checkpoint that stands there is whole" if path.exists() else "there is no checkpoint yet"
    return f"{path}: could not be written ({reason}); {standing}. Make room, then go on with --resume"
