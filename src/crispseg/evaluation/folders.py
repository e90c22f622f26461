"""Pairs of label images, predicted and true, as a set to be scored."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from crispseg.data.records import train_ids
from crispseg.errors import ConfigError, DataError
from crispseg.evaluation.engine import Example, Outcome
from crispseg.evaluation.instances import RawIds, count_instances, raw_ids, read_instance_ids
from crispseg.evaluation.pairing import Encoding, FilePair
from crispseg.evaluation.problems import Problem
from crispseg.evaluation.records import ImageRecord, Labels, Settings, score_image
from crispseg.io import read_image, read_label_ids
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.wording import nearest_name, some

__all__ = ["FolderSet", "check_encodings", "read_labels"]


class FolderSet:
    """Pairs of files, which are read and scored in the workers.

    Args:
        pairs: of files; with instance files if the settings ask for instances.
        settings: classes, radii, crops and instances.
        encoding: of the predictions.
        label_encoding: of the labels.

    Attributes:
        names: of the images, in order.
    """

    def __init__(
        self, pairs: Sequence[FilePair], settings: Settings, encoding: Encoding, label_encoding: Encoding
    ) -> None:
        self.settings = settings
        self.encoding, self.label_encoding = encoding, label_encoding
        self.names: Sequence[str] = [pair.name for pair in pairs]
        self._pairs = {pair.name: pair for pair in pairs}

    def is_current(self, record: ImageRecord) -> bool:
        """Whether a record is of files that are here, and did not change since."""
        pair = self._pairs.get(record.name)
        return pair is not None and _stamp(pair) == record.stamp

    def prepare(self, index: int, only_check: bool) -> Callable[[], Outcome]:
        """The work on an image, all of it for a worker."""
        pair = self._pairs[self.names[index]]

        def work() -> Outcome:
            stamp = _stamp(pair)
            maps, problems = self._read(pair)
            if maps is None:
                return problems
            if only_check:
                return None
            record = score_image(maps.prediction, maps.labels, self.settings, pair.name, stamp)
            if maps.raw is None:
                return record
            raw_confusion, instances = count_instances(*maps.raw, self.settings.label_space)
            return replace(record, raw_confusion=raw_confusion, instances=instances)

        return work

    def example(self, name: str) -> Example:
        """The maps of an image, for a picture of them."""
        maps, _ = self._read(self._pairs[name])
        if maps is None:
            raise DataError(f"{name}: its files changed while they were scored; evaluate again")
        return Example(None, maps.prediction, maps.labels)

    def _read(self, pair: FilePair) -> tuple[_Maps | None, list[Problem]]:
        """The maps of an image, or what is wrong with them."""
        space, problems = self.settings.label_space, []
        read: list[tuple[Labels, RawIds | None]] = []
        for path, encoding in ((pair.prediction, self.encoding), (pair.labels, self.label_encoding)):
            try:
                read.append(_read_ids(path, space, encoding))
            except (DataError, OSError) as error:
                problems.append(
                    Problem(pair.name, f"file that cannot be read as {encoding} (see --encoding)", str(error))
                )
        instances = None
        if pair.instances is not None:
            try:
                instances = read_instance_ids(pair.instances, space)
            except (DataError, OSError) as error:
                problems.append(Problem(pair.name, "instance file that cannot be read", str(error)))
        if problems:
            return None, problems
        (prediction, raw_prediction), (labels, raw_labels) = read
        sizes = {pair.prediction: prediction.shape, pair.labels: labels.shape}
        if pair.instances is not None and instances is not None:
            sizes[pair.instances] = instances.shape
        if len(set(sizes.values())) > 1:
            detail = ", ".join(f"{path} is {height}×{width}" for path, (height, width) in sizes.items())
            return None, [Problem(pair.name, "pair that differs in size (height×width)", detail)]
        if instances is None:
            return _Maps(prediction, labels, None), []
        raw = (
            raw_ids(prediction, space) if raw_prediction is None else raw_prediction,
            raw_ids(labels, space) if raw_labels is None else raw_labels,
            instances,
        )
        return _Maps(prediction, labels, raw), []


class _Maps(NamedTuple):
    """What is scored of an image: train ids, and, where there are instances, raw ids of all three files."""

    prediction: Labels
    labels: Labels
    raw: tuple[RawIds, RawIds, RawIds] | None


def check_encodings(label_space: LabelSpace, *encodings: Encoding) -> None:
    """Check that files can be read so.

    Raises:
        ConfigError: if an encoding is unknown or does not fit the label table.
    """
    for asked in encodings:
        if asked not in get_args(Encoding):
            raise ConfigError(f"unknown encoding {asked!r}; {nearest_name(asked, get_args(Encoding))}")
        if asked == "colours":
            _colour_table(label_space)  # says what is wrong with it


def read_labels(path: str | os.PathLike[str], label_space: LabelSpace, encoding: Encoding = "raw-ids") -> Labels:
    """Read a label image of any encoding as train ids.

    Args:
        path: of a lossless image file.
        label_space: the classes.
        encoding: ``"raw-ids"``, the ids of the label table, as data sets and `Prediction.save` write them;
            ``"train-ids"``, 0 to K − 1 and 255; or ``"colours"`` of the table's classes and of its ignored ones, black
            being ignored as well unless a class is black.

    Returns:
        (H, W) uint8 train ids, 255 = ignore.

    Raises:
        DataError: if the file is missing or broken, or holds a value or colour that the table does not know.
    """
    return _read_ids(path, label_space, encoding)[0]


def _read_ids(
    path: str | os.PathLike[str], label_space: LabelSpace, encoding: Encoding
) -> tuple[Labels, RawIds | None]:
    """Train ids, and the raw ids where the file holds such."""
    if encoding == "raw-ids":
        raw = read_label_ids(path)
        return train_ids(raw, label_space, os.fspath(path)), raw
    if encoding == "train-ids":
        ids = read_label_ids(path)
        wrong = (ids >= label_space.num_classes) & (ids != IGNORE_INDEX)
        if wrong.any():
            raise DataError(
                f"{os.fspath(path)}: {_listed(ids[wrong])} found, train ids 0 to {label_space.num_classes - 1} of the "
                f"label table {label_space.name!r} or {IGNORE_INDEX} expected"
            )
        return ids.astype(np.uint8), None
    if Path(path).suffix.lower() in (".jpg", ".jpeg"):
        raise DataError(f"{os.fspath(path)}: JPEG changes colours; save labels as PNG")
    red, green, blue = np.moveaxis(read_image(path).astype(np.int32), 2, 0)
    codes = red << 16 | green << 8 | blue
    found: Labels = _colour_table(label_space)[codes]
    unknown = found == _UNKNOWN
    if unknown.any():
        values = _listed(codes[unknown], lambda code: f"({code >> 16}, {code >> 8 & 255}, {code & 255})")
        raise DataError(f"{os.fspath(path)}: colours {values} found that the label table {label_space.name!r} lacks")
    return found, None


_UNKNOWN = 254  # no train id: tables of 255 classes are not read from colours


@lru_cache(maxsize=2)  # 16 MB each
def _colour_table(label_space: LabelSpace) -> Labels:
    """(2²⁴,) from a colour, as one number, to its train id."""
    if label_space.num_classes > _UNKNOWN:
        raise ConfigError(f"label table {label_space.name!r}: colours tell at most {_UNKNOWN} classes apart")
    colours = [entry.colour for entry in label_space.classes]
    if twice := sorted({str(colour) for colour in colours if colours.count(colour) > 1}):
        raise ConfigError(
            f"label table {label_space.name!r}: several classes have the colour {', '.join(twice)}, so colours do not "
            "tell them apart; give them others, or score raw ids"
        )
    table = np.full(1 << 24, _UNKNOWN, dtype=np.uint8)
    for red, green, blue in [(0, 0, 0), *(entry.colour for entry in label_space.ignored_classes)]:
        table[red << 16 | green << 8 | blue] = IGNORE_INDEX
    for train_id, (red, green, blue) in enumerate(colours):  # after the ignored ones, of which some share a colour
        table[red << 16 | green << 8 | blue] = train_id
    return table


def _listed(values: npt.NDArray[Any], in_words: Callable[[int], str] = str, at_most: int = 5) -> str:
    """Values with their pixel counts."""
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts)
    return some(order, at_most, lambda i: f"{in_words(int(found[i]))} ({counts[i]} px)")


def _stamp(pair: FilePair) -> tuple[int, ...]:
    """Sizes and times of the files; other numbers mean that one changed."""
    states = [path.stat() for path in (pair.prediction, pair.labels, pair.instances) if path is not None]
    return tuple(value for state in states for value in (state.st_size, state.st_mtime_ns))
