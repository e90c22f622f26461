"""Files and folders that appear whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_folder", "atomic_write"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under another name beside it and put it in place once it is whole and on the disk.

    Args:
        path: of the file to be; missing parent folders are made, an existing file is replaced.

    Yields:
        The temporary path to write to; it has the same suffix, which many writers go by.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "notes" / "scores.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("0.61")
        >>> target.read_text(), [entry.name for entry in target.parent.iterdir()]
        ('0.61', ['scores.txt'])
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _name_beside(target, "new")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(target.parent)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a folder under another name and put it in place once it is whole.

    A folder that exists already is replaced, but what it holds beside the new entries stays: a user who names a folder
    of their own by mistake loses nothing but entries of the same names.

    Args:
        path: of the folder to be; missing parent folders are made.

    Yields:
        The temporary folder to write into.

    Raises:
        NotADirectoryError: if `path` is a file.
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(f"{target} is a file; name a folder that does not exist yet, or an existing one")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _name_beside(target, "new")
    temporary.mkdir()
    try:
        yield temporary
        for entry in temporary.rglob("*"):
            if entry.is_file():
                _flush(entry)
        _put_folder_in_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _flush_folder(target.parent)


def _put_folder_in_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.replace(temporary, target)
        return
    # A folder that is not empty cannot be replaced in one step. Between the two renames the old folder stands beside.
    old = _name_beside(target, "old")
    os.replace(target, old)
    try:
        os.replace(temporary, target)
    except OSError:
        os.replace(old, target)
        raise
    for entry in old.iterdir():
        if not (target / entry.name).exists():
            os.replace(entry, target / entry.name)
    shutil.rmtree(old)


def _name_beside(target: Path, mark: str) -> Path:
    """A name in the same folder, hence on the same file system, that nobody else takes."""
    return target.with_name(f".{target.stem}.{mark}-{secrets.token_hex(4)}{target.suffix}")


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """Make the rename itself last, where the system lets folders be opened (Windows does not)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
