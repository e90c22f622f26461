"""A run's folder: who may begin in it, and from where a run in it goes on."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from crispseg.config import Recipe, TrainConfig
from crispseg.errors import ConfigError, WeightsError
from crispseg.io.files import remove_leftovers
from crispseg.io.locks import InUse, hold_lock
from crispseg.recipes import differing_keys, read_saved_recipe
from crispseg.train.checkpoint_files import is_whole, read_checkpoint
from crispseg.train.complete import completed

__all__ = ["claimed_folder", "how_to_go_on", "require_room", "what_stands"]

_RUN_ENTRIES = ("recipe.yaml", "checkpoints", "log.jsonl", "report.html", "tensorboard", "model")
_MAY_CHANGE = re.compile(
    r"name|description|data\.(root|workers|cache|index_cache|check)|train\.(devices|nodes|accelerator|picture_count|save_every_steps|logger|patience|max_hours)"
    r"|loss\.inverse_form_network|evaluate\..*|paper.*"
)


@contextlib.contextmanager
def claimed_folder(folder: Path, recipe: Recipe, *, resume: bool, from_previous: bool) -> Iterator[Path | None]:
    """Keep other runs out of a run's folder, and say where to go on.

    Args:
        folder: of the run; made if need be, and removed again if nothing comes into it.
        recipe: of the run, `completed`.
        resume: whether a run that is there goes on.
        from_previous: from the checkpoint before the last one.

    Yields:
        The checkpoint to go on from; None for the beginning.

    Raises:
        ConfigError: if another process is at it, if there is a run and it shall not be resumed, or another recipe's.
        WeightsError: if the checkpoint is missing or broken.
    """
    if from_previous and not resume:
        raise ConfigError("from_previous is for going on with a run; set resume as well (--resume --previous)")
    last = folder / "checkpoints" / ("previous.ckpt" if from_previous else "last.ckpt")
    if not _is_first_process():
        # Started by the first process, which has looked, and has begun to write.
        yield last if resume and last.exists() else None
        return
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: a file found where the run's folder was expected; name another")
    _refuse_other_runs(folder, resume)
    with contextlib.ExitStack() as stack:
        if not folder.exists():
            stack.callback(_remove_if_empty, folder)
        try:
            stack.enter_context(hold_lock(folder / ".lock", wait=False))
        except InUse as holder:
            raise ConfigError(
                f"{folder}: another run is at work in it ({holder}); wait until it has ended, stop it, or name another "
                "folder. Nothing was changed"
            ) from None
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written to ({error.strerror}); name another folder") from error
        _refuse_other_runs(folder, resume)  # one may have come and gone since
        for place in (folder, last.parent):
            remove_leftovers(place, everyones=True)
        yield _checkpoint_of(folder, last, recipe) if resume else None


def what_stands(folder: Path) -> str:
    """What a run that is stopped now has left, and how to go on."""
    last = folder / "checkpoints" / "last.ckpt"
    standing = f"{last} is what was saved last" if last.exists() else "nothing was saved yet"
    return f"{standing}; {how_to_go_on(folder)}"


def how_to_go_on(folder: Path) -> str:
    """The advice to end a message with."""
    return f"go on with resume=True (crispseg fit … --out {folder} --resume)"


def require_room(folder: Path, model: nn.Module, values: TrainConfig) -> None:
    """Look whether the disk has room for what the run is going to write: three checkpoints and a model.

    Raises:
        ConfigError: if it has not.
    """
    if not _is_first_process():
        return  # the first one writes, and may not have made the folder yet
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    moments = {"sgd": 1, "adamw": 2}[values.optimizer]
    checkpoint = weights * (1 + moments + (values.ema_decay is not None))
    places = [folder / "checkpoints" / f"{name}.ckpt" for name in ("last", "previous", "best")]
    needed = weights + checkpoint * (1 + sum(not place.exists() for place in places))  # one is written beside another
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"{folder}: {free / 2**20:.0f} MiB are free, and the run's checkpoints and model need about "
            f"{needed / 2**20:.0f} MiB; make room, or name another folder"
        )


def _is_first_process() -> bool:
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def _refuse_other_runs(folder: Path, resume: bool) -> None:
    found = [name for name in _RUN_ENTRIES if (folder / name).exists()]
    if found and not resume:
        raise ConfigError(
            f"{folder}: holds a run already ({', '.join(found)}); go on with it by --resume (resume=True), or name "
            "another folder. Nothing was changed"
        )
    if found and "recipe.yaml" not in found:  # which every run writes before anything else
        raise ConfigError(
            f"{folder}: recipe.yaml is missing, but {', '.join(found)} found; restore it, or name another folder"
        )


def _remove_if_empty(folder: Path) -> None:
    """A run that was refused before its beginning leaves no folder."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _checkpoint_of(folder: Path, last: Path, recipe: Recipe) -> Path | None:
    """The checkpoint to go on from; None where there is no run, or none that has saved anything."""
    saved, previous = folder / "recipe.yaml", last.with_name("previous.ckpt")
    if last == previous and not previous.exists():
        raise WeightsError(f"{previous}: no such checkpoint; go on from the last one with --resume alone")
    if not saved.exists():
        return None
    changed = [
        f"{key} was {before!r} and is now {after!r}"
        for key, (before, after) in differing_keys(completed(read_saved_recipe(saved)), recipe).items()
        if not _MAY_CHANGE.fullmatch(key)
    ]
    if changed:
        raise ConfigError(
            f"{folder}: the recipe differs from the run's: {'; '.join(changed)}; resume with {saved}, or, to train "
            f"its model longer or otherwise, begin another run: crispseg fit … --model {folder} --out another folder"
        )
    if not last.exists():
        if previous.exists():
            raise WeightsError(f"{last}: missing, but {previous.name} is there; go on from it with --resume --previous")
        return None  # stopped before the first checkpoint
    if not is_whole(last):
        advice = "remove it to begin the run anew, or restore it from a copy"
        if last != previous and previous.exists() and is_whole(previous):
            advice = f"{previous.name}, the one before it, is whole: go on from it with --resume --previous"
        raise WeightsError(f"{last}: not a whole checkpoint, its end or a checksum is wrong; {advice}")
    read_checkpoint(last)  # refuses what is whole, but no checkpoint of a run
    return last
