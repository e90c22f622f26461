"""A run's folder: who may begin in it, and from where a run in it goes on."""

from __future__ import annotations

import re
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from crispseg.config import Recipe
from crispseg.errors import ConfigError, WeightsError
from crispseg.recipes import differing_keys, load_recipe
from crispseg.train.checkpoints import is_whole, remove_leftovers
from crispseg.train.complete import completed

__all__ = ["claim_folder"]

_RUN_ENTRIES = ("recipe.yaml", "checkpoints", "log.jsonl", "tensorboard", "model")
_MAY_CHANGE = re.compile(
    r"name|description|data\.(root|workers|cache|index_cache|check)|train\.(devices|nodes|accelerator|picture_count|save_every_steps)"
    r"|evaluate\..*|paper.*"
)


def claim_folder(folder: Path, recipe: Recipe, resume: bool, from_previous: bool) -> Path | None:
    """The checkpoint to go on from; None for the beginning. The recipe is `completed`."""
    if from_previous and not resume:
        raise ConfigError("from_previous is for going on with a run; set resume as well (--resume --previous)")
    last = folder / "checkpoints" / ("previous.ckpt" if from_previous else "last.ckpt")
    if getattr(rank_zero_only, "rank", 0) != 0:
        # Started by the first process, which has looked, and has begun to write.
        return last if resume and last.exists() else None
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: a file found where the run's folder was expected; name another")
    found = [name for name in _RUN_ENTRIES if (folder / name).exists()]
    if not resume:
        if found:
            raise ConfigError(
                f"{folder}: holds a run already ({', '.join(found)}); go on with it by --resume (resume=True), or name "
                "another folder. Nothing was changed"
            )
        return None
    saved = folder / "recipe.yaml"
    if not saved.is_file():
        raise ConfigError(
            f"{folder}: nothing to resume, recipe.yaml is missing; name a run's folder, or leave out --resume"
        )
    changed = [
        f"{key} was {before!r} and is now {after!r}"
        for key, (before, after) in differing_keys(completed(load_recipe(saved)), recipe).items()
        if not _MAY_CHANGE.fullmatch(key)
    ]
    if changed:
        raise ConfigError(
            f"{folder}: the recipe differs from the run's: {'; '.join(changed)}; resume with {saved}, or begin another "
            "run"
        )
    remove_leftovers(last.parent)
    previous = last.with_name("previous.ckpt")
    if not last.exists():
        if previous.exists():
            raise WeightsError(f"{last}: missing, but {previous.name} is there; go on from it with --resume --previous")
        return None  # stopped before the first checkpoint
    if not is_whole(last):
        advice = "remove it to begin the run anew, or restore it from a copy"
        if not from_previous and previous.exists() and is_whole(previous):
            advice = f"{previous.name}, the one before it, is whole: go on from it with --resume --previous"
        raise WeightsError(f"{last}: not a whole checkpoint, its end or a checksum is wrong; {advice}")
    return last
