"""Validation images that are drawn from those for training, one by one or in groups that stay together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from crispseg.config import DataConfig
from crispseg.data.records import FileSource, Sample, SampleSource
from crispseg.errors import ConfigError, DataError
from crispseg.labels import LabelSpace
from crispseg.wording import some

__all__ = ["check_drawing", "draw", "drawn_split"]

Open = Callable[[str], tuple[SampleSource, LabelSpace]]


def check_drawing(config: DataConfig) -> None:
    """Refuse options that would be ignored.

    Raises:
        ConfigError: if a group is said but nothing is drawn, or the group is no pattern.
    """
    if config.val is None:
        if config.group_by is not None:
            raise ConfigError("data.group_by keeps images together that are drawn; say how many by data.val, as in 0.2")
        return
    if config.val_split in config.train_split.split("+"):
        raise ConfigError(
            f"data.val {config.val:g} is drawn from data.train_split {config.train_split!r}, so data.val_split "
            f"{config.val_split!r} must be another name"
        )
    if config.group_by is not None:
        try:
            re.compile(config.group_by)
        except re.error as error:
            raise ConfigError(f"data.group_by {config.group_by!r} is no regular expression ({error})") from error


def drawn_split(config: DataConfig, part: str, open_split: Open) -> tuple[SampleSource, LabelSpace] | None:
    """The samples of one split where validation images are drawn; None if it is neither of the two.

    Args:
        config: with `val`.
        part: the split, which joins no others.
        open_split: opens a split as it lies there.
    """
    train_parts = config.train_split.split("+")
    if part in train_parts:
        source, table = open_split(part)
        taken = set(draw(source.names, config))
        return _chosen(source, [index for index in range(len(source.names)) if index not in taken]), table
    if part != config.val_split:
        return None
    sources = []
    for name in train_parts:
        source, table = open_split(name)
        sources.append(_chosen(source, draw(source.names, config)))
    return joined(sources), table


def draw(names: Sequence[str], config: DataConfig) -> list[int]:
    """Which samples are for validation.

    What is drawn depends on the seed and the names alone: a sample that is added changes nothing for most others.

    Args:
        names: of the samples.
        config: with `val`, the share; `group_by`, whose first bracket, or all that it matches, names a sample's group;
            and `split_seed`.

    Returns:
        Their places, ascending: as many as come nearest to the share, but at least one sample or group, and never all.

    Raises:
        DataError: if the names tell no groups, or there is only one.

    Example:
        >>> names = [f"drive{index // 4}_{index}" for index in range(12)]
        >>> draw(names, DataConfig(val=0.3, group_by="drive[0-9]+"))
        [4, 5, 6, 7]
    """
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(_group(name, config.group_by), []).append(index)
    if len(groups) < 2:
        what = "image" if config.group_by is None else f"group by data.group_by {config.group_by!r}"
        raise DataError(f"data.val {config.val}: {len(groups)} {what} found, 2 or more expected to draw from")
    order = sorted(groups, key=lambda group: hashlib.blake2b(f"{config.split_seed}/{group}".encode()).digest())
    wanted = (config.val or 0) * len(names)
    taken: list[int] = []
    for group in order[:-1]:
        members = groups[group]
        if taken and abs(len(taken) + len(members) - wanted) >= abs(len(taken) - wanted):
            continue
        taken += members
    return sorted(taken)


def joined(sources: Sequence[SampleSource]) -> SampleSource:
    """Several sources as one, in order."""
    if len(sources) == 1:
        return sources[0]
    first = sources[0]
    if isinstance(first, FileSource) and all(isinstance(source, FileSource) for source in sources):
        records = [record for source in sources if isinstance(source, FileSource) for record in source.records]
        return first.with_records(records)
    return _Joined(sources)


class _Joined:
    """Samples of several sources."""

    def __init__(self, sources: Sequence[SampleSource]) -> None:
        self._places = [(source, index) for source in sources for index in range(len(source.names))]
        self.names = [name for source in sources for name in source.names]

    def size_hw(self, index: int) -> tuple[int, int]:
        source, place = self._places[index]
        return source.size_hw(place)

    def sample(self, index: int) -> Sample:
        source, place = self._places[index]
        return source.sample(place)


def _chosen(source: SampleSource, indices: Sequence[int]) -> SampleSource:
    if isinstance(source, FileSource):
        return source.with_records([source.records[index] for index in indices])
    some_of = _Joined([source])
    some_of._places = [some_of._places[index] for index in indices]
    some_of.names = [some_of.names[index] for index in indices]
    return some_of


def _group(name: str, pattern: str | None) -> str:
    if pattern is None:
        return name
    found = re.search(pattern, name)
    if found is None:
        raise DataError(f"data.group_by {pattern!r} matches nothing in {some([repr(name)])}, an image's name")
    return found[1] if found.re.groups and found[1] is not None else found[0]
