"""The Hugging Face Hub: ids, fetching a model's files, and what went wrong in words."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub.utils import (  # type: ignore[attr-defined] # huggingface_hub.errors has them only from 0.25 on
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from crispseg.errors import WeightsError

__all__ = ["LOG_IN", "cause_and_status", "fetch_files", "in_short", "is_hub_id"]

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@([\w./+-]+))?", re.ASCII)


def is_hub_id(text: str) -> bool:
    """Whether a text has the form of a Hub id.

    Args:
        text: anything.

    Returns:
        True for ``user/name`` and ``user/name@revision``.

    Example:
        >>> [is_hub_id(text) for text in ("someone/streets", "someone/streets@v1.0", "streets", "./runs/streets")]
        [True, True, False, False]
    """
    return _HUB_ID.fullmatch(text) is not None


def fetch_files(hub_id: str, names: Sequence[str]) -> Path:
    """Fetch files of a model into the Hub's cache; where the Hub cannot be reached, what the cache has must do.

    Args:
        hub_id: ``user/name``, or ``user/name@revision`` for a tag, a branch or a commit.
        names: of the files; all are fetched at the same commit.

    Returns:
        The folder that holds them; nobody should write there.

    Raises:
        WeightsError: if there is no such model or revision, it may not be seen, it has not all the files, or the Hub
            cannot be reached and the cache has it not.
    """
    repository, _, revision = hub_id.partition("@")
    try:
        folder = huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=[*names])
    except Exception as error:  # network, proxy, missing repository and cache each raise their own
        raise WeightsError(f"{hub_id}: no such folder here, and {_why_not_fetched(repository, error)}") from error
    if missing := [name for name in names if not (Path(folder) / name).is_file()]:
        raise WeightsError(
            f"{hub_id}: has no {' and no '.join(missing)} on the Hugging Face Hub, or only a part of it is in the "
            "cache; name a crispseg model, or connect to the network"
        )
    return Path(folder)


def cause_and_status(error: Exception) -> tuple[Exception, int | None]:
    """What stands behind the Hub library's word that the cache has nothing either; and the HTTP status, if any.

    Args:
        error: raised by huggingface_hub.
    """
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error, getattr(getattr(error, "response", None), "status_code", None)


def in_short(error: Exception, status: int | None) -> str:
    """One line of at most 200 characters.

    Args:
        error: raised by huggingface_hub.
        status: of the HTTP answer, if there was one.
    """
    said = getattr(error, "server_message", None) or error
    text = f"HTTP status {status}: {said}" if status else str(said)
    return textwrap.shorten(text, 200, placeholder=" …") or type(error).__name__


def _why_not_fetched(repository: str, error: Exception) -> str:
    error, status = cause_and_status(error)
    if isinstance(error, RevisionNotFoundError):
        return "the Hugging Face Hub has this model, but not this revision of it; name a tag, a branch or a commit"
    if isinstance(error, GatedRepoError):
        return (
            "the Hugging Face Hub gives this model only to those whom its owner lets have it; ask on the page of "
            f"{repository}, then {LOG_IN}"
        )
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403, 404):
        return (
            "the Hugging Face Hub has no model of this name that you may see; check the name, or, if it is private or "
            f"your token has run out, {LOG_IN}"
        )
    advice = "try again later" if status else "check the name, or connect to the network"
    return f"the Hugging Face Hub did not give a model of this name ({in_short(error, status)}); {advice}"
