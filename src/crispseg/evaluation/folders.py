"""Pairs of label images, predicted and true, as a set to be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from crispseg.data.encodings import Encoding, read_labels_and_ids
from crispseg.data.pairing import FilePair
from crispseg.data.problems import Problem
from crispseg.errors import DataError
from crispseg.evaluation.engine import Example, Outcome, Work
from crispseg.evaluation.instances import RawIds, count_instances, raw_ids, read_instance_ids
from crispseg.evaluation.records import ImageRecord, Labels, Settings, score_image
from crispseg.io import MAX_PIXELS

__all__ = ["FolderSet"]


class FolderSet:
    """Pairs of files, which are read and scored in the workers.

    Args:
        pairs: of files; with instance files if the settings ask for instances.
        settings: classes, radii, crops and instances.
        encoding: of the predictions.
        label_encoding: of the labels.
        max_pixels: of one image; see `crispseg.io.read_image`.

    Attributes:
        names: of the images, in order.
        unreadable: whether a file was found that cannot be read as was asked.
    """

    def __init__(
        self,
        pairs: Sequence[FilePair],
        settings: Settings,
        encoding: Encoding,
        label_encoding: Encoding,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.settings = settings
        self.encoding, self.label_encoding = encoding, label_encoding
        self.names: Sequence[str] = [pair.name for pair in pairs]
        self._max_pixels = max_pixels
        self._pairs = {pair.name: pair for pair in pairs}
        self.unreadable = False

    def is_current(self, record: ImageRecord) -> bool:
        """Whether a record is of files that are here, and did not change since."""
        pair = self._pairs.get(record.name)
        return pair is not None and _stamp(pair) == record.stamp

    def prepare(self, index: int, only_check: bool) -> Work:
        """The work on an image, all of it for a worker."""
        pair = self._pairs[self.names[index]]

        def work() -> tuple[Outcome, Example | None]:
            stamp = _stamp(pair)
            maps, problems = self._read(pair)
            if maps is None:
                return problems, None
            if only_check:
                return None, None
            example = Example(None, maps.prediction, maps.labels)
            record = score_image(maps.prediction, maps.labels, self.settings, pair.name, stamp)
            if maps.raw is None:
                return record, example
            raw_confusion, instances = count_instances(*maps.raw, self.settings.label_space)
            return replace(record, raw_confusion=raw_confusion, instances=instances), example

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
                read.append(read_labels_and_ids(path, space, encoding, self._max_pixels))
            except (DataError, OSError) as error:
                self.unreadable = True
                problems.append(
                    Problem(f"file that cannot be read as {encoding} (see --encoding)", pair.name, str(error))
                )
        instances = None
        if pair.instances is not None:
            try:
                instances = read_instance_ids(pair.instances, space, self._max_pixels)
            except (DataError, OSError) as error:
                problems.append(Problem("instance file that cannot be read", pair.name, str(error)))
        if problems:
            return None, problems
        (prediction, raw_prediction), (labels, raw_labels) = read
        sizes = {pair.prediction: prediction.shape, pair.labels: labels.shape}
        if pair.instances is not None and instances is not None:
            sizes[pair.instances] = instances.shape
        if len(set(sizes.values())) > 1:
            detail = ", ".join(f"{path} is {height}×{width}" for path, (height, width) in sizes.items())
            detail += _sizes_in_words(prediction.shape, labels.shape)
            return None, [Problem("pair that differs in size (height×width)", pair.name, detail)]
        if instances is None:
            return _Maps(prediction, labels, None), []
        raw = (
            raw_ids(prediction, space) if raw_prediction is None else raw_prediction,
            raw_ids(labels, space) if raw_labels is None else raw_labels,
            instances,
        )
        return _Maps(prediction, labels, raw), []


def _sizes_in_words(predicted: tuple[int, ...], true: tuple[int, ...]) -> str:
    """What probably happened to the prediction."""
    if predicted == true[::-1]:
        return "; height and width are exchanged: transposed, or turned"
    times = [ours / theirs for ours, theirs in zip(predicted, true, strict=True)]
    if abs(times[0] - times[1]) < 0.01:
        return f"; resized to {times[0]:.3g} of its size: resize predictions to the labels' size by nearest neighbour"
    return ""


class _Maps(NamedTuple):
    """What is scored of an image: train ids, and, where there are instances, raw ids of all three files."""

    prediction: Labels
    labels: Labels
    raw: tuple[RawIds, RawIds, RawIds] | None


def _stamp(pair: FilePair) -> tuple[int, ...]:
    """Sizes and times of the files; other numbers mean that one changed."""
    states = [path.stat() for path in (pair.prediction, pair.labels, pair.instances) if path is not None]
    return tuple(value for state in states for value in (state.st_size, state.st_mtime_ns))
