"""``segmented.jsonl``, ``refined.jsonl``: which images a folder has the results of, so that a run goes on from there.

The first line says by which model and how; each of the others that one image's files are in place. Every shard of a run
has a file of its own, and all of them are read, so that machines need nothing but the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from crispseg.errors import ConfigError, DataError
from crispseg.inference import Predictor
from crispseg.inference.fingerprint import fingerprint
from crispseg.io import atomic_write
from crispseg.io.locks import InUse, hold_lock
from crispseg.parsing import TextError, parse_json

__all__ = ["Record", "Stamp", "settings_of", "stamp_of"]

Stamp = tuple[int, int]
"""A file's size and the time of its last change, by which it is known again."""


class Written(Protocol):
    """A file or folder of an image's results; `crispseg.bulk.outputs.Output` is one."""

    @property
    def ending(self) -> str:
        """Of its name, after the image's."""

    @property
    def detail(self) -> str:
        """What else its content depends on."""


def stamp_of(*paths: Path) -> Stamp | None:
    """Of a file, or of several that belong together; None if one is missing."""
    try:
        states = [path.stat() for path in paths]
    except (OSError, ValueError):
        return None
    return sum(state.st_size for state in states), sum(state.st_mtime_ns for state in states)


def settings_of(predictor: Predictor) -> dict[str, Any]:
    """What an image's results depend on beside the image: plain values by the words in which users know them."""
    classes = json.dumps(predictor.label_space.to_dict(), sort_keys=True).encode()
    return {
        "model": fingerprint(predictor.model),
        "classes": hashlib.blake2b(classes, digest_size=8).hexdigest(),
        "scales": list(predictor.scales),
        "flip": predictor.flip,
        "window": None if predictor.window_hw is None else list(predictor.window_hw),
        "overlap": predictor.overlap,
        "precision": predictor.precision,
        # Named where there is one alone, so that folders of earlier versions stay known.
        **({"class_bias": predictor.class_bias} if predictor.class_bias else {}),
    }


class Record:
    """What is known of a folder; a context manager, which holds a lock and appends.

    Args:
        folder: of the results; made if need be.
        settings: what they depend on.
        shard: its number and how many there are; None: all in one.
        overwrite: forget what is known, and what other settings have left.
        done: what was done to the images, by which the file is named: ``"segmented"`` or ``"refined"``.

    Raises:
        ConfigError: if the folder has results of other settings, or another process writes the same shard.
        DataError: if a file of the record's name is something else.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        shard: tuple[int, int] | None = None,
        overwrite: bool = False,
        *,
        done: str = "segmented",
    ) -> None:
        name = done if shard is None else f"{done}-{shard[0]}-of-{shard[1]}"
        self._done, self._format = done, f"crispseg {_COMMANDS[done]} 1"
        self._folder, self._overwrite = folder, overwrite
        self._path, self._lock_path = folder / f"{name}.jsonl", folder / f".{name}.lock"
        self._head = json.dumps({"format": self._format, **settings}, ensure_ascii=False)
        self._settings = json.loads(self._head)  # as they are read again
        self._appending = threading.Lock()
        self._known: dict[tuple[str, Stamp], set[str]] = {}

    def __enter__(self) -> Record:
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self._lock_path, wait=False))
            except InUse as holder:
                raise ConfigError(
                    f"{self._folder}: another run is at work in it ({holder}); wait until it has ended, name another "
                    "folder, or give each its --shard"
                ) from None
            for path in sorted(self._folder.glob(f"{self._done}*.jsonl")):
                self._read(path)
            self._start()
            self._file = stack.enter_context(self._path.open("a", encoding="utf-8"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def holds(self, target: Path, stamp: Stamp | None, outputs: Sequence[Written]) -> bool:
        """Whether an image's files are in place, and the image is as it was then."""
        if stamp is None or not {_key(one) for one in outputs} <= self._known.get((target.as_posix(), stamp), set()):
            return False
        return all(os.path.exists(self._folder / f"{target}{one.ending}") for one in outputs)

    def add(self, target: Path, stamp: Stamp | None, outputs: Sequence[Written]) -> None:
        """Note that an image's files are in place; from several threads at once."""
        line = json.dumps({"image": target.as_posix(), "stamp": stamp, "files": [_key(one) for one in outputs]})
        with self._appending:
            self._file.write(line + "\n")
            self._file.flush()

    def _read(self, path: Path) -> None:
        with path.open("rb") as file:
            head = _parse(file.readline())
            if head.get("format") != self._format:
                raise DataError(
                    f"{path}: its first line is not that of a {self._format!r}; move the file away, or name "
                    "another folder"
                )
            if head != self._settings:
                if not self._overwrite:
                    raise ConfigError(
                        f"{self._folder}: has results of other options: {_changes(head, self._settings)}; name another "
                        "folder, or do all again by --overwrite"
                    )
                path.unlink()
                return
            if self._overwrite:
                return
            for line in file:
                values = _parse(line)  # none of a line that was being written when the process ended
                try:
                    target, (size, changed), files = values["image"], values["stamp"], values["files"]
                    self._known.setdefault((target, (size, changed)), set()).update(files)
                except (KeyError, TypeError, ValueError):
                    continue  # at worst an image is done again

    def _start(self) -> None:
        """The file with its first line, and with its last one ended."""
        if self._overwrite or not self._path.exists():
            with atomic_write(self._path) as temporary:
                temporary.write_text(self._head + "\n", encoding="utf-8")
            return
        with self._path.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.write(b"\n")


_COMMANDS = {"segmented": "segment", "refined": "refine"}


def _key(output: Written) -> str:
    return f"{output.ending} {output.detail}".strip()


def _parse(line: bytes) -> dict[str, Any]:
    try:
        values = parse_json(line)
    except TextError:
        return {}
    return values if isinstance(values, dict) else {}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return "; ".join(f"{key} was {old.get(key)!r:.60}, and is {new.get(key)!r:.60} now" for key in changed)
