"""What is wrong with a data set, all of it at once: `data_check` reports it, `require_sound` refuses to train on it.

Both look at the same and say the same of the same fault. A sound data set is looked at once, and then only again when
its files, its label table or its splits have changed.
"""

from __future__ import annotations

import filecmp
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from crispseg.config import DataConfig
from crispseg.data.band_values import measured_bands
from crispseg.data.fingerprint import fingerprint, found_once
from crispseg.data.inspection import inspect_all
from crispseg.data.layouts import open_layout, split_parts
from crispseg.data.plausible import (
    RawPixels,
    look_at_heads,
    look_at_values,
    odd_values,
    sampled_values,
    some_masks,
    turned_pairs,
)
from crispseg.data.problems import Problem, problems_in_words
from crispseg.data.records import FileSource, SampleSource
from crispseg.data.report import (
    BROKEN,
    KINDS,
    LAYOUT,
    SHARED,
    DataReport,
    SplitReport,
    Tally,
)
from crispseg.errors import DataError
from crispseg.io.bands import AS_SHOWN
from crispseg.labels import LabelSpace
from crispseg.plausibility import Oddity
from crispseg.plausibility.images import Seen, odd_crop, odd_images, odd_orientation
from crispseg.plausibility.likeness import Small, odd_likeness
from crispseg.wording import some

__all__ = ["data_check", "require_sound"]

Progress = Callable[[int, int], object]

logger = logging.getLogger(__name__)

_FORMAT = 3  # of what is looked at; goes into the fingerprint


def data_check(
    config: DataConfig,
    splits: Sequence[str] | None = None,
    *,
    progress: Progress | None = None,
    threads: int | None = None,
) -> DataReport:
    """Read every image and label file of a data set, count what is in them, and list all that is wrong.

    Memory does not grow with the data set but for two kilobytes an image.

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
    found = _look_at(opened, config, True, threads, progress)
    table = opened.label_space
    name = None if table is None else table.name
    bands: tuple[tuple[float, ...], ...] = ((), ())
    if config.bands is not None and not found.problems:
        bands = measured_bands(next(iter(opened.sources.values())))
    return DataReport(
        config.layout, config.root, name, opened.class_names, found.reports, found.problems, found.warnings, *bands
    )


def require_sound(config: DataConfig, *, threads: int | None = None, progress: Progress | None = None) -> None:
    """Refuse a data set that training would stumble over, before the first step, in the words of `data_check`.

    What is looked at is ``data.check``'s choice:

    - ``full``: everything, every pixel. A sound result is remembered in ``data.index_cache`` under a fingerprint of the
      names, sizes and modification times of all files, the label table and the splits, and nothing is read again until
      one of them changes. Of several processes on the same folder one looks and the others wait.
    - ``headers``: the pairs of files, their headers and sizes, and images that training and validation share under one
      name; each time. Files that are broken within, unknown ids and shared images under other names are not noticed.
    - ``none``: nothing.

    Samples that do not come from files are taken as they are. A split that the section itself names on both sides
    (``train+val`` and ``val``) may be shared; a warning is logged.

    Args:
        config: a recipe's ``data`` section.
        threads: that read files; None: one per core, eight at most.
        progress: called with (samples done, samples in all) while samples are looked at, in the calling thread.

    Raises:
        ConfigError: if there is no such layout or label table, or ``data.index_cache`` cannot be written to.
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
    if config.check == "none":
        return
    opened = _open(config, _parts((config.train_split, config.val_split)))
    files = _files(opened.sources)
    decode = config.check == "full" and bool(files)

    def look() -> str:
        if decode:
            logger.info("checking %d files once; data.check=headers skips it", len(files))
        _, problems, warnings = _look_at(opened, config, decode, threads, progress)
        if problems:
            if len(problems) == 1:
                raise DataError(problems[0].detail)
            raise DataError(f"{config.root} (layout {config.layout}): {problems_in_words(problems)}")
        sound = f"nothing was wrong with {len(files)} files of {config.root}, layout {config.layout}"
        return "\n".join([sound, *(f"{_WARNING}{warning.detail}" for warning in warnings)]) + "\n"

    if not decode:
        _repeat_warnings(look())
        return
    table = opened.label_space and opened.label_space.to_dict()
    ways = (config.bands, config.stored_range, config.exif, config.crop_hw, config.scale_range)
    name = f"data-check-{fingerprint(files, _FORMAT, ways, config.layout, table, _how(opened.sources))}.txt"
    _repeat_warnings(
        found_once(name, config.index_cache, "the result of the data check", find=look, read=_read, write=_write)
    )


_WARNING = "warning: "


def _repeat_warnings(text: str) -> None:
    """Every run says them, also those that find the result of an earlier one."""
    for line in text.splitlines():
        if line.startswith(_WARNING):
            logger.warning("%s", line.removeprefix(_WARNING))


def _read(path: Path) -> str | None:
    """That there is a file says all; its text is for people."""
    return path.read_text(encoding="utf-8") if path.exists() else None


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


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
    sources: dict[str, SampleSource] = {}
    label_space: LabelSpace | None = None
    problems: dict[str, Problem] = {}  # by detail: a missing root is one problem, not one a split
    for split in splits:
        try:
            sources[split], found = open_layout(config, split)
            if label_space is not None and found.class_names != label_space.class_names:
                detail = (
                    f"{config.root}: the split {split!r} has the classes {some(found.class_names, 9)}, another before "
                    f"it {some(label_space.class_names, 9)}; say all of them by data.labels"
                )
                problems.setdefault(detail, Problem(LAYOUT, split, detail))
            label_space = label_space or found
        except DataError as error:
            problems.setdefault(str(error), Problem(LAYOUT, split, str(error)))
    return _Opened(sources, label_space, list(problems.values()))


def _files(sources: dict[str, SampleSource]) -> list[tuple[str, Path]]:
    """All files, each with the name of its split and sample."""
    return [
        (f"{split}/{record.name}", path)
        for split, source in sources.items()
        if isinstance(source, FileSource)
        for record in source.records
        for path in (record.image, record.labels)
    ]


def _how(sources: dict[str, SampleSource]) -> list[str]:
    """How label files are read, where that is a choice."""
    return sorted({source.how for source in sources.values() if isinstance(source, FileSource)})


class _Found(NamedTuple):
    """What every split holds, all that is wrong, the kinds that hide others first, and what looks odd."""

    reports: tuple[SplitReport, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def _look_at(
    opened: _Opened, config: DataConfig, decode: bool, threads: int | None, progress: Progress | None
) -> _Found:
    problems = list(opened.problems)
    raw_pixels: dict[str, Counter[int]] = {}
    small: dict[str, dict[int, Small]] = {}
    first_seen: dict[bytes, tuple[str, str]] = {}  # digest of the pixels → split and sample
    reports = []
    total, done = sum(len(source.names) for source in opened.sources.values()), 0
    for split, source in opened.sources.items():
        tally = Tally(split, len(opened.class_names))
        for index, finding in enumerate(inspect_all(source, decode, threads)):
            tally.add(finding)
            if finding.digest is not None:
                sample = _sample_name(source, index)
                earlier_split, earlier = first_seen.setdefault(finding.digest, (split, sample))
                if earlier_split != split:
                    problems.append(_shared(split, sample, earlier_split, earlier))
                elif finding.small is not None:
                    small.setdefault(split, {})[index] = finding.small
            done += 1
            if progress is not None:
                progress(done, total)
        problems += tally.problems()
        reports.append(tally.report())
        raw_pixels[split] = tally.raw_pixels
    if not decode:
        problems += _shared_by_name(opened.sources)
    wrong = {problem.kind for problem in problems}
    odd = _odd_labels(opened, raw_pixels if decode else None, wrong)
    odd += _odd_images(opened, config, small, reports)
    problems += [Problem(found.kind, "", found.detail) for found in odd if found.refuses]
    warnings = tuple(Problem(found.kind, "", found.detail) for found in odd if not found.refuses)
    return _Found(tuple(reports), tuple(sorted(problems, key=lambda problem: KINDS.index(problem.kind))), warnings)


def _odd_images(
    opened: _Opened, config: DataConfig, small: Mapping[str, Mapping[int, Small]], reports: Sequence[SplitReport]
) -> list[Oddity]:
    """What the image files say: the heads of all, the values of a few, and what splits have in common."""
    seen, orientations = Seen(), {}
    found: list[Oddity] = []
    of_files = {split: source for split, source in opened.sources.items() if isinstance(source, FileSource)}
    for source in of_files.values():
        paths = [record.image for record in source.records]
        look_at_heads(seen, paths, source.max_pixels)
        orientations.update(turned_pairs(seen, source.records, source.max_pixels))
        look_at_values(seen, paths, source.max_pixels)
    reading = next((source.reading for source in of_files.values()), AS_SHOWN)
    found += [*odd_images(seen, reading), *odd_orientation(orientations, config.exif)]
    named = [
        (split, [source.names[index] for index in small.get(split, {})], [*small.get(split, {}).values()])
        for split, source in of_files.items()
    ]
    for later in named[1:]:
        found += odd_likeness(named[0], later)
    if of_files and reports:
        found += odd_crop(reports[0].median_hw, config.crop_hw, config.scale_range[0])
    return found


def _odd_labels(opened: _Opened, raw_pixels: RawPixels | None, wrong: set[str]) -> list[Oddity]:
    """What the values of the label files say: of all, or of some; nothing where some could not be read."""
    if opened.label_space is None or BROKEN in wrong:
        return []
    found = sampled_values(opened.sources) if raw_pixels is None else raw_pixels
    return odd_values(found, opened.label_space, some_masks(opened.sources))


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
