"""A lock for what only one process may do at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["InUse", "hold_lock", "is_alive"]


class InUse(Exception):
    """Another process holds a lock; the message says which, where and since when."""


@contextlib.contextmanager
def hold_lock(path: str | os.PathLike[str], *, wait: bool) -> Iterator[None]:
    """Hold a lock, which ends with the process however that ends.

    The lock is the system's, on a file that names host, process and time and is removed at the end. The file of a
    process that was killed is taken over. On a file system without locks the file's word counts: a process of this
    host that has ended holds nothing, and one of another host is believed. Windows has no such lock: all may enter.

    Args:
        path: of the file; missing parent folders are made.
        wait: for the other process to end, rather than to raise.

    Raises:
        InUse: if another process holds it and `wait` is false.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / ".lock"
        >>> with hold_lock(path, wait=False):
        ...     sorted(json.loads(path.read_text()))
        ['host', 'process', 'since']
        >>> path.exists()
        False
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(target, wait)
    owner = os.getpid()
    _held.add(descriptor)
    try:
        word = {"host": socket.gethostname(), "process": owner, "since": int(time.time())}
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(word).encode())
        yield
    finally:
        if os.getpid() == owner:  # and not a child that was forked meanwhile
            with contextlib.suppress(OSError):
                target.unlink()  # before it is let go: who waits for it sees that it is gone, and makes another
            _held.discard(descriptor)
            os.close(descriptor)


def is_alive(process: int) -> bool:
    """Whether a process of this host has not ended."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # a file says any number
        return False
    except OSError:  # somebody else's
        return True
    return True


_held: set[int] = set()


def _release_in_child() -> None:
    """A forked child shares the lock, and would keep it when its parent is killed."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


def _locked(path: Path, wait: bool) -> int:
    """A descriptor of the file that holds the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _lock(descriptor, path, wait):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever held the lock has removed its file meanwhile


def _lock(descriptor: int, path: Path, wait: bool) -> bool:
    """Whether the lock is held now, on the file that `path` still names."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise InUse(_holder(path) or "another process") from None
    except OSError:  # a network file system without locks
        if not wait and (holder := _holder(path)) is not None:
            raise InUse(f"{holder}; if it has ended, remove {path}") from None
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str | None:
    """Who holds a lock, by its file; None if nobody does."""
    from crispseg.parsing import parse_json  # here alone: it brings YAML, for which --help should not wait

    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        host, process = str(found["host"]), int(found["process"])
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(found["since"])))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    if host == socket.gethostname() and not is_alive(process):
        return None
    return f"process {process} on {host} since {since}"
