"""Files and folders that appear whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import re
import secrets
import shutil
import socket
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from crispseg.errors import DataError
from crispseg.io.locks import is_alive
from crispseg.wording import os_error_in_words

__all__ = ["atomic_folder", "atomic_write", "files_below", "is_hidden", "remove_leftovers"]


def files_below(folder: str | os.PathLike[str]) -> list[Path]:
    """All files in a folder and its sub-folders, sorted; links to folders are not followed.

    What begins with a dot is left out, as by ls, and so is ``__MACOSX``: copies that systems and notebooks keep for
    themselves (``._photo.jpg``, ``.ipynb_checkpoints``).

    Args:
        folder: that exists.

    Raises:
        DataError: if a folder cannot be read, whose files would be missing without a word.
    """

    def refuse(error: OSError) -> None:
        raise DataError(os_error_in_words(error)) from error

    found = []
    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not is_hidden(name)]
        found += [Path(where, name) for name in names if not is_hidden(name)]
    return sorted(path for path in found if path.is_file())


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is nobody's data."""
    return name.startswith(".") or name == "__MACOSX"


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, lasting: bool = True) -> Iterator[Path]:
    """Write a file under another name beside it and put it in place once it is whole and on the disk.

    Args:
        path: of the file to be; missing parent folders are made, an existing file is replaced.
        lasting: whether to wait until the disk holds it. False for the many small files that can be made again: waiting
            takes longer than making them, and nothing but a loss of power can then leave one of them broken.

    Yields:
        The temporary path to write to; it has the same suffix, which many writers go by.

    Raises:
        IsADirectoryError: if `path` is a folder.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "notes" / "scores.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("0.61")
        >>> target.read_text(), [entry.name for entry in target.parent.iterdir()]
        ('0.61', ['scores.txt'])
    """
    target = Path(path)
    if target.is_dir():  # said before the work, and '.' and '/' have no name to put another beside
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _name_beside(target)
    try:
        yield temporary
        if lasting:
            _flush(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    if lasting:
        _flush_folder(target.parent)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a folder under another name and put it in place once it is whole.

    A folder that exists already is replaced, but what it holds beside the new entries stays: a user who names a folder
    of their own by mistake loses nothing but entries of the same names. At every moment one of the two is there whole;
    file by file, where the system cannot exchange two names in one step or the process works in the folder.

    Args:
        path: of the folder to be; missing parent folders are made.

    Yields:
        The temporary folder to write into.

    Raises:
        NotADirectoryError: if `path` is a file.
        PermissionError: if it is the root of all folders, which nothing can stand beside.
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(f"{target} is a file; name a folder that does not exist yet, or an existing one")
    if target.name in ("", ".."):  # "." and its like: their names are those that their own folders give them
        target = target.resolve()
        if not target.name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, of=target)
    temporary = _name_beside(target)
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


def remove_leftovers(
    folder: str | os.PathLike[str], *, of: Path | None = None, everyones: bool = False, below: bool = False
) -> None:
    """Remove what processes that were killed while they wrote have left beside their files.

    Args:
        folder: that they wrote into; may be missing.
        of: only those of this file or folder to be.
        everyones: whatever process it was, because a lock keeps others out. False: only what processes of this host
            that have ended have left, and what is older than a day.
        below: in sub-folders as well.
    """
    pattern = ".*.new-*" if of is None else f".{glob.escape(of.stem)}.new-*{glob.escape(of.suffix)}"
    for entry in list(Path(folder).rglob(pattern) if below else Path(folder).glob(pattern)):
        named = _BESIDE.search(entry.name)
        if not (everyones or (named and _is_abandoned(entry, named["host"], int(named["process"])))):
            continue
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                entry.unlink()


def _is_abandoned(entry: Path, host: str, process: int) -> bool:
    if host == _this_host() and not is_alive(process):
        return True
    try:
        return time.time() - entry.lstat().st_mtime > _ONE_DAY
    except OSError:
        return False


def _put_folder_in_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.replace(temporary, target)
        return
    if not _is_stood_in(target):
        _keep_others(target, temporary)
        if _exchange(temporary, target):
            return  # `temporary` names the old folder now, and is removed
    for entry in sorted(temporary.rglob("*")):
        if not entry.is_dir():
            place = target / entry.relative_to(temporary)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(entry, place)


def _is_stood_in(folder: Path) -> bool:
    """Whether this process, and so most likely a user's shell, works in the folder or below it.

    An exchange would leave them in the old one, which is removed.
    """
    try:
        return Path.cwd().is_relative_to(folder.resolve())
    except OSError:  # the working folder is gone
        return False


def _keep_others(old: Path, new: Path) -> None:
    """Give the new folder what only the old one has, as hard links where there are any."""
    for entry in old.iterdir():
        place = new / entry.name
        if place.exists():
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, place, symlinks=True, copy_function=_link_or_copy)
        else:
            _link_or_copy(entry, place)


def _link_or_copy(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one step, so that there is no moment without either; False if impossible."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    done = renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    if done != 0 and (number := ctypes.get_errno()) not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        raise OSError(number, os.strerror(number), str(second))
    return bool(done == 0)


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # fcntl.h and stdio.h of Linux
_ONE_DAY = 86400  # seconds
_BESIDE = re.compile(r"\.new-(?P<host>[0-9a-f]{4})-(?P<process>\d+)-[0-9a-f]{4}(\.[^.]*)?$")


def _name_beside(target: Path) -> Path:
    """A name in the same folder, hence on the same file system, that nobody else takes, and that tells who has."""
    owner = f"{_this_host()}-{os.getpid()}-{secrets.token_hex(2)}"
    return target.with_name(f".{target.stem}.new-{owner}{target.suffix}")


def _this_host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()) & 0xFFFF:04x}"


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
