"""What is wrong with a data set, all of it at once: `data_check` reads every pixel, `require_sound` the headers.

Both say the same of the same fault, and training says it before its first step.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from crispseg.config import DataConfig
from crispseg.data.layouts import LAYOUTS, split_parts
from crispseg.data.records import FileSource, SampleSource, SizesDifferError, UnknownIdsError
from crispseg.data.report import (
    BROKEN,
    KINDS,
    LAYOUT,
    SHARED,
    SIZES,
    UNKNOWN_IDS,
    DataReport,
    Finding,
    Problem,
    Tally,
    problems_in_words,
)
from crispseg.errors import ConfigError, DataError, nearest_name
from crispseg.types import LabelSpace

__all__ = ["data_check", "require_sound"]

logger = logging.getLogger(__name__)


def data_check(
    config: DataConfig,
    splits: Sequence[str] | None = None,
    *,
    progress: Callable[[int, int], object] | None = None,
    threads: int | None = None,
) -> DataReport:
    """Read every image and label file of a data set, count what is in them, and list all that is wrong.

    Memory does not grow with the data set but for a few hundred bytes an image.

    Args:
        config: a recipe's ``data`` section.
        splits: which; None: those for training and validation.
        progress: called with (samples done, samples in all) after each, in the calling thread.
        threads: that read files; None: one per core, eight at most.

    Raises:
        ConfigError: if there is no such layout or label table.

    Example:
        >>> config = DataConfig(layout="toy_streets", toy_size_hw=(32, 48), toy_train_images=2, toy_val_images=1)
        >>> report = data_check(config)
        >>> report.sound, [(split.split, split.images, split.median_hw) for split in report.splits]
        (True, [('train', 2, (32, 48)), ('val', 1, (32, 48))])
    """
    opened = _open(config, _parts(splits or (config.train_split, config.val_split)))
    problems = list(opened.problems)
    first_seen: dict[bytes, tuple[str, str]] = {}  # digest of the pixels → split and sample
    reports = []
    total, done = sum(len(source.names) for source in opened.sources.values()), 0
    for split, source in opened.sources.items():
        tally = Tally(split, len(opened.class_names))
        for index, finding in enumerate(_inspect_all(source, True, threads)):
            tally.add(finding)
            sample = _sample_name(source, index)
            if finding.digest is not None:
                earlier_split, earlier = first_seen.setdefault(finding.digest, (split, sample))
                if earlier_split != split:
                    problems.append(_shared(split, sample, earlier_split, earlier))
            done += 1
            if progress is not None:
                progress(done, total)
        problems += tally.problems()
        reports.append(tally.report())
    table = opened.label_space
    return DataReport(
        config.layout,
        config.root,
        None if table is None else table.name,
        opened.class_names,
        tuple(reports),
        tuple(sorted(problems, key=lambda problem: KINDS.index(problem.kind))),
    )


def require_sound(config: DataConfig, *, threads: int | None = None) -> None:
    """Refuse a data set that training would stumble over, before the first step, in the words of `data_check`.

    It pairs the files, reads their headers and compares sizes, and looks for images that training and validation share
    under one name. What only the pixels show (files broken at their end, unknown ids, shared images under other names)
    is left to `data_check`. A split that the section itself names on both sides (``train+val`` and ``val``) may be
    shared; a warning is logged.

    Args:
        config: a recipe's ``data`` section.
        threads: that read headers; None: one per core, eight at most.

    Raises:
        ConfigError: if there is no such layout or label table.
        DataError: if something is wrong; the one message lists everything by kind.
    """
    if both := sorted({*split_parts(config.train_split)} & {*split_parts(config.val_split)}):
        logger.warning(
            "the split %s is trained on and validated on (data.train_split %s, data.val_split %s): "
            "its scores do not say how well the model does on new images",
            " and ".join(both),
            config.train_split,
            config.val_split,
        )
    opened = _open(config, _parts((config.train_split, config.val_split)))
    problems = list(opened.problems)
    for split, source in opened.sources.items():
        problems += [
            Problem(finding.kind, split, finding.detail)
            for finding in _inspect_all(source, False, threads)
            if finding.kind
        ]
    problems += _shared_by_name(opened.sources)
    if problems:
        where = f"{config.root} (layout {config.layout}): " if len(problems) > 1 else ""
        raise DataError(where + problems_in_words(problems))


@dataclass(frozen=True)
class _Opened:
    """The sources of the splits that could be opened, and what is wrong with the others."""

    sources: dict[str, SampleSource]
    label_space: LabelSpace | None
    problems: list[Problem]

    @property
    def class_names(self) -> tuple[str, ...]:
        return () if self.label_space is None else self.label_space.class_names


def _parts(splits: Sequence[str]) -> list[str]:
    """The splits that the names join, each once."""
    return list(dict.fromkeys(part for split in splits for part in split_parts(split)))


def _open(config: DataConfig, splits: Sequence[str]) -> _Opened:
    if config.layout not in LAYOUTS:
        raise ConfigError(f"data.layout: unknown layout {config.layout!r}; {nearest_name(config.layout, LAYOUTS)}")
    sources: dict[str, SampleSource] = {}
    label_space: LabelSpace | None = None
    problems: dict[str, Problem] = {}  # by detail: a missing root is one problem, not one a split
    for split in splits:
        try:
            sources[split], label_space = LAYOUTS[config.layout](config, split)
        except DataError as error:
            problems.setdefault(str(error), Problem(LAYOUT, split, str(error)))
    return _Opened(sources, label_space, list(problems.values()))


def _inspect_all(source: SampleSource, decode: bool, threads: int | None) -> Iterator[Finding]:
    """The findings in order, by threads that are never more than a few samples ahead of the reader."""
    count = threads or min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(count, thread_name_prefix="data-check") as pool:
        pending = deque[Future[Finding]]()
        for index in range(len(source.names)):
            pending.append(pool.submit(_inspect, source, index, decode))
            if len(pending) > 4 * count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _inspect(source: SampleSource, index: int, decode: bool) -> Finding:
    try:
        size_hw = source.check_headers(index) if isinstance(source, FileSource) else source.size_hw(index)
        if not decode:
            return Finding(size_hw)
        image, labels, _ = source.sample(index)
    except SizesDifferError as error:
        return Finding(None, SIZES, str(error))
    except UnknownIdsError as error:
        return Finding(size_hw, UNKNOWN_IDS, str(error), error.counts)
    except DataError as error:
        return Finding(None, BROKEN, str(error))
    digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, key=repr(image.shape).encode()).digest()
    return Finding(size_hw, id_pixels=np.bincount(labels.ravel(), minlength=256), digest=digest)


def _shared_by_name(sources: dict[str, SampleSource]) -> list[Problem]:
    """Images of one name in two splits, if they are one image: many data sets count from 0 in every split."""
    problems = []
    for (earlier_split, earlier), (split, later) in combinations(sources.items(), 2):
        if not isinstance(earlier, FileSource) or not isinstance(later, FileSource):
            continue
        by_name = {record.name: record.image for record in earlier.records}
        for record in later.records:
            other = by_name.get(record.name)
            if other is not None and _same_file(str(other), str(record.image)):
                problems.append(_shared(split, str(record.image), earlier_split, str(other)))
    return problems


def _same_file(first: str, second: str) -> bool:
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False  # reported as unreadable already


def _shared(split: str, sample: str, earlier_split: str, earlier: str) -> Problem:
    detail = (
        f"{sample} ({split}) and {earlier} ({earlier_split}) are one image; take it out of one of the splits: "
        "scores on images that were trained on say nothing"
    )
    return Problem(SHARED, split, detail)


def _sample_name(source: SampleSource, index: int) -> str:
    return str(source.records[index].image) if isinstance(source, FileSource) else source.names[index]
