"""How many pixels a data set has of each class."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crispseg.data.fingerprint import fingerprint, found_once
from crispseg.data.records import FileSource, SampleSource
from crispseg.labels import LabelSpace
from crispseg.parsing import TextError, parse_json, read_text
from crispseg.threads import Workers

__all__ = ["class_pixels"]

_FORMAT = 1  # of the file; goes into the fingerprint


def class_pixels(
    source: SampleSource,
    label_space: LabelSpace,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[int]:
    """Count the labels of all samples, whole and unvaried.

    Counts of files are kept under a fingerprint of these, as the class index is, and found again when one changes.

    Args:
        source: of the samples.
        label_space: the classes of their labels.
        folder: for the file; see `crispseg.data.class_uniform.class_index`.
        progress: called with (samples done, samples in all) while they are counted.

    Returns:
        Pixels of each class, in the table's order; ignored ones are none's.

    Raises:
        ConfigError: if a folder is named that cannot be written to.
        DataError: if label files are missing or broken.
    """

    def count() -> list[int]:
        return _count(source, label_space.num_classes, progress)

    if not isinstance(source, FileSource):
        return count()
    files = ((record.name, record.labels) for record in source.records)
    name = f"class-pixels-{fingerprint(files, _FORMAT, label_space.to_dict())}.json"
    return found_once(name, folder, "the pixels by class", find=count, read=_read, write=_write)


def _count(source: SampleSource, num_classes: int, progress: Callable[[int, int], object] | None) -> list[int]:
    def look_at(index: int) -> npt.NDArray[np.int64]:
        labels = source.labels(index) if isinstance(source, FileSource) else source.sample(index).labels
        return np.bincount(labels.ravel(), minlength=256)[:num_classes]

    threads, total = min(os.cpu_count() or 1, 8), len(source.names)
    pixels = np.zeros(num_classes, dtype=np.int64)
    with Workers(threads) as workers:
        for done, found in enumerate(workers.ahead(look_at, range(total), room=lambda _: 4 * threads), start=1):
            pixels += found
            if progress is not None:
                progress(done, total)
    return [int(count) for count in pixels]


def _read(path: Path) -> list[int] | None:
    try:
        counts = parse_json(read_text(path))
    except (OSError, TextError):
        return None
    return counts if isinstance(counts, list) and all(type(count) is int for count in counts) else None


def _write(path: Path, counts: list[int]) -> None:
    path.write_text(json.dumps(counts), encoding="utf-8")
