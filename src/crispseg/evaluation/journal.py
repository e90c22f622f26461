"""``images.jsonl``: the records of a run, one line each, written as they come.

The first line says what the records depend on, and the last one that the run is whole. A run that was stopped has no
last line, and maybe half a record; it goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation.records import ImageRecord, Settings
from crispseg.io import atomic_write
from crispseg.parsing import TextError, parse_json

__all__ = ["RECORDS_NAME", "Journal", "RecordFile"]

RECORDS_NAME = "images.jsonl"
_FORMAT = "crispseg evaluation 1"


class Journal:
    """Appends records to ``FOLDER/images.jsonl``; a context manager.

    Args:
        folder: of the run; made if need be.
        settings: what the records depend on.
        resume: whether to go on with what the folder holds. Without it a whole run is replaced, and one that was
            stopped is refused, for it may have taken hours.

    Raises:
        ConfigError: if the folder holds a run that was stopped, or, to go on with, one of other settings.
        DataError: if ``images.jsonl`` is something else.
    """

    def __init__(self, folder: Path, settings: Settings, *, resume: bool = False) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder}: a file found where the folder of a run was expected; name another (--out)")
        self.path = folder / RECORDS_NAME
        self._settings = settings
        self._old = RecordFile(folder) if self.path.is_file() else None
        if self._old is not None and resume:
            _check_same(self._old.settings, settings, self.path)
        elif self._old is not None and not self._old.is_whole() and any(True for _ in self._old):
            raise ConfigError(
                f"{self.path}: a run that was stopped is here; go on with it by --resume, or remove the file, or name "
                "another folder"
            )
        self._resume = resume

    def take_over(self, is_current: Callable[[ImageRecord], bool]) -> Iterator[ImageRecord]:
        """Start the file, with the old records that still hold; call it once, and use it up.

        Args:
            is_current: whether a record is of an image that is still there, unchanged.

        Yields:
            The records that are kept.
        """
        with atomic_write(self.path) as temporary, temporary.open("w", encoding="utf-8") as file:
            head = {"format": _FORMAT, **self._settings.to_dict()}
            file.write(json.dumps(head, ensure_ascii=False) + "\n")
            for record in self._old if self._old is not None and self._resume else ():
                if is_current(record):
                    file.write(record.to_line() + "\n")
                    yield record

    def __enter__(self) -> Journal:
        self._file = self.path.open("a", encoding="utf-8")
        return self

    def append(self, record: ImageRecord) -> None:
        """Write a record; from then on it survives the end of the program."""
        self._file.write(record.to_line() + "\n")
        self._file.flush()

    def finish(self, images: int, skipped: int) -> None:
        """Say that the run is whole."""
        self._file.write(json.dumps({"whole": True, "images": images, "skipped": skipped}) + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


class RecordFile:
    """Reads the records of a run, one at a time; iterating again begins anew.

    Args:
        folder: of the run.

    Attributes:
        settings: what the records depend on.

    Raises:
        DataError: if the folder holds no ``images.jsonl``, or it is something else.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / RECORDS_NAME
        try:
            with self.path.open("rb") as file:
                head = _parse(file.readline())
        except FileNotFoundError:
            raise DataError(
                f"{folder}: no {RECORDS_NAME} found; the folder of `crispseg evaluate … --out FOLDER` expected"
            ) from None
        if head is None or head.get("format") != _FORMAT:
            raise DataError(
                f"{self.path}: its first line is not that of a {_FORMAT!r}; remove the file or name another folder"
            )
        try:
            self.settings = Settings.from_dict(head)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{self.path}: its first line holds no settings ({error!r:.300}); remove the file and evaluate again"
            ) from error

    def __iter__(self) -> Iterator[ImageRecord]:
        """The records in the order of the file; half a last line is left out.

        Raises:
            DataError: if a line that is not the last is broken.
        """
        return (record for _, record in self.with_offsets())

    def with_offsets(self) -> Iterator[tuple[int, ImageRecord]]:
        """The same, each with where its line begins, for `read_at`."""
        for number, (offset, line) in enumerate(self._lines(), start=1):
            values = _parse(line)
            if values is None:
                if line.endswith(b"\n"):
                    raise DataError(f"{self.path}, line {number}: broken; remove the line, and evaluate with --resume")
                return
            if number == 1 or "whole" in values:
                continue
            yield offset, self._record(values, f"line {number}")

    def read_at(self, offset: int) -> ImageRecord:
        """The record whose line begins there."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return self._record(_parse(file.readline()) or {}, f"byte {offset}")

    def is_whole(self) -> bool:
        """Whether the run came to its end."""
        last = b""
        for _, line in self._lines():
            last = line
        return "whole" in (_parse(last) or {})

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        with self.path.open("rb") as file:
            offset = 0
            for line in file:
                yield offset, line
                offset += len(line)

    def _record(self, values: dict[str, Any], where: str) -> ImageRecord:
        try:
            record = ImageRecord.from_values(values)
            record.check(self.settings)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(
                f"{self.path}, {where}: no record of an image ({error!r:.300}); remove the line, and evaluate with "
                "--resume"
            ) from error
        return record


def _parse(line: bytes) -> dict[str, Any] | None:
    """The values of a line; None for a broken one."""
    try:
        values = parse_json(line)
    except TextError:
        return None
    return values if isinstance(values, dict) else None


def _check_same(old: Settings, new: Settings, path: Path) -> None:
    """Refuse to mix records that do not add up, and say in what they differ."""
    differences = []
    there, asked = (json.loads(json.dumps(settings.to_dict())) for settings in (old, new))
    for source in (there, asked):
        source |= {f"source {key}": value for key, value in source.pop("source").items()}
    for key in sorted({*there, *asked}):
        if there.get(key) != asked.get(key):
            shown = (settings.label_space.name if key == "label_space" else None for settings in (old, new))
            missing = "all" if key == "scores" else None
            was, now = (name or values.get(key, missing) for name, values in zip(shown, (there, asked), strict=True))
            differences.append(f"{key} was {was}, and is {now} now")
    if differences:
        raise ConfigError(
            f"{path}: a run with other settings is here: {'; '.join(differences)}; go on as it began, or name another "
            "folder"
        )
