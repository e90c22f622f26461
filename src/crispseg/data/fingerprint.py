"""What is found out about a data set once: kept in a file whose name is a fingerprint of the data's state."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from crispseg.errors import ConfigError, DataError
from crispseg.io.files import atomic_write
from crispseg.io.locks import hold_lock

__all__ = ["fingerprint", "found_once"]

T = TypeVar("T")

_LOGGER = logging.getLogger(__name__)


def fingerprint(files: Iterable[tuple[str, Path]], *values: object) -> str:
    """Names, sizes and modification times of files, and whatever else a result depends on, as 32 hexadecimal digits.

    Folders do not count: a copy that keeps the times is the same data.

    Args:
        files: each with a name of its own, such as its sample's; the order counts.
        values: anything whose `repr` says what it is.

    Raises:
        DataError: if a file is missing.

    Example:
        >>> fingerprint([], 1) == fingerprint([], 1), fingerprint([], 1) == fingerprint([], 2)
        (True, False)
    """
    digest = hashlib.sha256(repr(values).encode())
    for name, path in files:
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}; a file of the data set was expected") from None
        entry = f"{name}\0{path.name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(entry.encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def found_once(
    file_name: str,
    folder: str | os.PathLike[str] | None,
    what: str,
    *,
    find: Callable[[], T],
    read: Callable[[Path], T | None],
    write: Callable[[Path, T], object],
) -> T:
    """A result from its file if there is one, else found and kept.

    Of several processes on the same folder one finds it and the others wait. What `find` raises is raised and not kept.

    Args:
        file_name: with a fingerprint in it.
        folder: for the file; None means ``crispseg`` in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``).
        what: is kept there, for messages.
        find: the result; takes its time.
        read: the result from the file; None if there is none that can be used.
        write: the result into a file.

    Raises:
        ConfigError: if a folder is named that cannot be written to. Where the user's cache folder cannot, a warning is
            logged, and the next run finds the result again.
    """
    found: T | None = None
    try:
        path = (Path(folder).expanduser() if folder is not None else _user_cache_folder()) / file_name
        if (kept := read(path)) is not None:
            return kept
        with hold_lock(path.with_name(f".{path.stem}.lock"), wait=True):
            if (kept := read(path)) is not None:  # by another process, meanwhile
                return kept
            found = find()
            with atomic_write(path) as temporary:
                write(temporary, found)
    except OSError as error:
        if folder is not None:
            raise ConfigError(
                f"data.index_cache {folder}: {what} cannot be kept there ({error.strerror}); name a folder that can be "
                "written to"
            ) from error
        _LOGGER.warning("%s: %s could not be kept (%s); set data.index_cache", file_name, what, error.strerror)
    return found if found is not None else find()


def _user_cache_folder() -> Path:
    """By the XDG Base Directory Specification, which has relative paths ignored."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (named if named.is_absolute() else Path.home() / ".cache") / "crispseg"
    except RuntimeError:  # a container's user that nobody knows
        raise OSError(errno.ENOENT, "the user has no home folder") from None
