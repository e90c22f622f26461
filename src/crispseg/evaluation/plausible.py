"""Do scores speak of what was meant? A look at some of the images that are scored, beside the scoring."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from crispseg.data.encodings import Encoding, read_labels
from crispseg.data.pairing import FilePair
from crispseg.data.plausible import evenly, odd_values
from crispseg.data.records import pixels_by_value
from crispseg.errors import DataError
from crispseg.evaluation.engine import Example, Watch
from crispseg.evaluation.records import ImageRecord, Settings
from crispseg.io import MAX_PIXELS, read_label_ids
from crispseg.labels import LabelSpace
from crispseg.metrics.counts import Counts
from crispseg.plausibility import Oddity
from crispseg.plausibility.label_files import what_files_hold
from crispseg.plausibility.label_values import are_train_ids
from crispseg.plausibility.placement import Placement, odd_placements, placement
from crispseg.plausibility.readings import odd_label_readings, odd_readings

__all__ = ["PlacementWatch", "empty_crops", "say", "what_else", "why_refused"]

_LOGGER = logging.getLogger(__name__)

_WATCHED = 8  # images whose placement is measured
_READ_AGAIN = 8  # files that are read otherwise, where the scores are poor
_POOR = 0.5  # share of right pixels


class PlacementWatch:
    """Measures how a few images' predictions lie to their labels, in the threads that score them.

    Args:
        names: of all images.
        also: is shown every image as well.
    """

    def __init__(self, names: Sequence[str], also: Watch | None = None) -> None:
        self._chosen = {names[index] for index in evenly(len(names), _WATCHED)}
        self._also = also
        self._found: list[Placement] = []

    def __call__(self, record: ImageRecord, example: Example) -> None:
        """Look at an image."""
        if record.name in self._chosen:
            self._found.append(placement(example.prediction, example.labels))
        if self._also is not None:
            self._also(record, example)

    def oddities(self) -> list[Oddity]:
        """What most of them say."""
        return odd_placements(self._found)


def what_else(
    pairs: Sequence[FilePair], confusion: Counts, space: LabelSpace, encodings: Sequence[Encoding]
) -> list[Oddity]:
    """What files of masks probably mean, where the scores are poor or a class never occurs; files are read only then.

    Args:
        pairs: of files.
        confusion: (K, K + 1) pixels of all images, row = truth.
        space: the label table.
        encodings: of predictions and labels.
    """
    whole, right = int(confusion.sum()), int(np.trace(confusion[:, : space.num_classes]))
    chosen = [pairs[index] for index in evenly(len(pairs), _READ_AGAIN)]
    found: list[Oddity] = []
    if encodings[1] == "raw-ids" and not confusion.sum(axis=1).all():
        values = _values(pair.labels for pair in chosen)
        if encodings[0] != "colours" and are_train_ids(values, space):
            return odd_label_readings(_by_value(chosen, space, "train-ids"), space)
        found += odd_values({"labels": values}, space, dict.fromkeys((pair.labels for pair in chosen), MAX_PIXELS))
    if right < _POOR * whole and encodings[0] != "colours":
        found += odd_readings(_by_value(chosen, space, encodings[1]), space, *encodings)
    return found


def empty_crops(distance: Counts | None, settings: Settings) -> list[Oddity]:
    """Crop factors that leave nothing of any image: GSCNN's are for 1024 rows, and so is the margin.

    Args:
        distance: (2, F, K) intersections and unions of all images; None: not scored.
        settings: of the scores.
    """
    if distance is None:
        return []
    unions = distance[1].sum(axis=1)
    empty = [str(factor) for factor, union in zip(settings.crop_factors_px, unions, strict=True) if not union]
    if not empty:
        return []
    detail = (
        f"crops by {', '.join(empty)} px with a margin of {settings.crop_margin_px} px hold no labelled pixel of any "
        "image; GSCNN's factors and its margin of 100 px are for images of 1024 rows: scale both to the rows of these "
        "(--crop-factors, --crop-margin)"
    )
    return [Oddity("crops that hold nothing", detail)]


def why_refused(pairs: Sequence[FilePair], space: LabelSpace, encodings: Sequence[Encoding]) -> str:
    """What files that cannot be read as was asked probably hold; empty where nothing is known."""
    chosen = [pairs[index] for index in evenly(len(pairs), _READ_AGAIN)]
    said = []
    for what, encoding, paths, option in (
        ("predictions", encodings[0], [pair.prediction for pair in chosen], f" --label-encoding {encodings[1]}"),
        ("labels", encodings[1], [pair.labels for pair in chosen], ""),
    ):
        cure = what_files_hold(paths, space, encoding)
        if cure is not None and what == "labels":
            cure = cure.replace("give --encoding ", f"give --encoding {encodings[0]} --label-encoding ")
        elif cure is not None and "give --encoding " in cure:
            cure += option
        if cure is not None:
            said.append(f"{what}: {cure}")
    return "; ".join(said)


def say(found: Sequence[Oddity]) -> None:
    """In the log, a line each."""
    for odd in found:
        _LOGGER.warning(odd.detail)


def _values(paths: Iterable[Path]) -> dict[int, int]:
    total: Counter[int] = Counter()
    for path in paths:
        with suppress(DataError):
            total.update(pixels_by_value(read_label_ids(path)))
    return dict(total)


def _by_value(pairs: Sequence[FilePair], space: LabelSpace, label_encoding: Encoding) -> Counts:
    """(256, K) pixels by stored value of the prediction and true class."""
    count = space.num_classes
    table = np.zeros((256, count), dtype=np.int64)
    for pair in pairs:
        with suppress(DataError):
            values, labels = read_label_ids(pair.prediction), read_labels(pair.labels, space, label_encoding)
            if values.shape != labels.shape:
                continue
            counted = (labels < count) & (values < 256)
            both = values[counted].astype(np.int64) * count + labels[counted]
            table += np.bincount(both, minlength=256 * count).reshape(256, count)
    return table
