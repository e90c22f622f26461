"""One sample after the other looked at: what its two files hold, and all that is wrong with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from crispseg.data.records import (
    FileSource,
    SampleSource,
    SizesDifferError,
    UnknownIdsError,
    pixels_by_value,
    train_ids,
)
from crispseg.data.report import BROKEN, SIZES, UNKNOWN_IDS, Fault, Finding
from crispseg.errors import DataError
from crispseg.io.bands import as_picture
from crispseg.plausibility.likeness import small_version
from crispseg.threads import Workers

__all__ = ["inspect_all"]


def inspect_all(source: SampleSource, decode: bool, threads: int | None) -> Iterator[Finding]:
    """The findings in order, by threads that are never more than a few samples ahead of the reader.

    Args:
        source: of the samples.
        decode: whether pixels are read, rather than heads alone.
        threads: that read files; None: one per core, eight at most.
    """
    count = threads or min(os.cpu_count() or 1, 8)
    with Workers(count) as workers:
        yield from workers.ahead(
            lambda index: _inspect(source, index, decode), range(len(source.names)), room=lambda _: 4 * count
        )


def _inspect(source: SampleSource, index: int, decode: bool) -> Finding:
    try:
        size_hw = source.check_headers(index) if isinstance(source, FileSource) else source.size_hw(index)
        if not decode:
            return Finding(size_hw)
        if isinstance(source, FileSource):
            image, raw = source.raw_sample(index)
            raw_pixels = pixels_by_value(raw)
            id_pixels = _by_train_id(raw_pixels, raw, source, index)
        else:
            image, labels, _ = source.sample(index)
            raw_pixels, id_pixels = {}, np.bincount(labels.ravel(), minlength=256)
    except DataError as error:
        return _refused(source, index, decode, error)
    digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, key=repr(image.shape).encode()).digest()
    small = small_version(as_picture(image))
    return Finding(size_hw, id_pixels=id_pixels, digest=digest, raw_pixels=raw_pixels, small=small)


def _by_train_id(
    raw_pixels: Mapping[int, int], raw: npt.NDArray[np.uint16], source: FileSource, index: int
) -> npt.NDArray[np.int64]:
    """Pixels by train id, (256,), from those by raw id, of which there are few."""
    translated = source.label_space.lookup[[*raw_pixels]]
    if raw_pixels and translated.min() < 0:
        train_ids(raw, source.label_space, str(source.records[index].labels))  # says which
    id_pixels = np.zeros(256, dtype=np.int64)
    np.add.at(id_pixels, translated, [*raw_pixels.values()])
    return id_pixels


def _refused(source: SampleSource, index: int, decode: bool, first: DataError) -> Finding:
    """All that is wrong with a sample: reading both files stops at the first fault, so each is read alone as well."""
    errors = [first]
    if isinstance(source, FileSource):
        alone = (
            _error(lambda: source.image_size_hw(index), lambda: source.image(index) if decode else None),
            _error(lambda: source.labels_size_hw(index), lambda: source.labels(index) if decode else None),
        )
        of_pair = [first] if isinstance(first, SizesDifferError) else []
        errors = [*of_pair, *filter(None, alone)] or errors
    size_hw = source.size_hw(index) if all(isinstance(error, UnknownIdsError) for error in errors) else None
    of_ids = next((error for error in errors if isinstance(error, UnknownIdsError)), None)
    unknown, raw_pixels = ({}, {}) if of_ids is None else (of_ids.counts, of_ids.raw_pixels)
    faults = tuple(Fault(_kind(error), str(error)) for error in errors)
    return Finding(size_hw, faults, unknown, raw_pixels=raw_pixels)


def _error(*steps: Callable[[], object]) -> DataError | None:
    """The first that is raised."""
    try:
        for step in steps:
            step()
    except DataError as error:
        return error
    return None


def _kind(error: DataError) -> str:
    if isinstance(error, SizesDifferError):
        return SIZES
    return UNKNOWN_IDS if isinstance(error, UnknownIdsError) else BROKEN
