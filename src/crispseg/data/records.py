"""Samples and where they come from: files on disk, or anything else that can be asked by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from crispseg.data.label_files import PNG_FORMAT, LabelFormat
from crispseg.errors import DataError
from crispseg.io import MAX_PIXELS
from crispseg.io.bands import AS_SHOWN, Pixels, pixels_size_hw, read_pixels
from crispseg.io.facts import image_facts
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.wording import some

__all__ = [
    "FileSource",
    "Record",
    "Sample",
    "SampleSource",
    "SizesDifferError",
    "UnknownIdsError",
    "pixels_by_value",
    "train_ids",
]


class Sample(NamedTuple):
    """One image and its labels, before tensors.

    Attributes:
        image: (H, W, 3) uint8 RGB; or (H, W, C) uint8 or uint16 of the bands that were asked for, 65535 being 1.
        labels: (H, W) uint8 train ids, 255 = ignore.
        name: without folder and suffix.
    """

    image: Pixels
    labels: npt.NDArray[np.uint8]
    name: str


class SampleSource(Protocol):
    """What a layout hands to `SegmentationDataset`: as many samples as names, each the same at every call."""

    @property
    def names(self) -> Sequence[str]:
        """One per sample, in order."""
        ...

    def size_hw(self, index: int) -> tuple[int, int]:
        """Height and width of a sample, without reading all of it."""
        ...

    def sample(self, index: int) -> Sample:
        """Read or make a sample."""
        ...


@dataclass(frozen=True)
class Record:
    """The two files of a sample."""

    name: str
    image: Path
    labels: Path


class SizesDifferError(DataError):
    """An image and its labels have different sizes."""


class UnknownIdsError(DataError):
    """Labels hold ids that their table does not know.

    Args:
        message: for the user.
        counts: pixels by id; lost when a loader's worker hands the error over, which keeps messages only.
        raw_pixels: the same of all ids in the file.
    """

    def __init__(
        self, message: str, counts: Mapping[int, int] | None = None, raw_pixels: Mapping[int, int] | None = None
    ) -> None:
        super().__init__(message)
        self.counts = dict(counts or {})
        self.raw_pixels = dict(raw_pixels or {})


class FileSource:
    """Samples from pairs of files, their raw ids translated by a label table.

    Args:
        records: one per sample.
        label_space: the table of the label files.
        label_format: how they are read.
        max_pixels: of one image; see `crispseg.io.read_image`.

    Attributes:
        how: what else the labels depend on, for fingerprints.
    """

    def __init__(
        self,
        records: Sequence[Record],
        label_space: LabelSpace,
        label_format: LabelFormat = PNG_FORMAT,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.records = tuple(records)
        self.label_space = label_space
        self.label_format = label_format
        self.max_pixels = max_pixels
        self.reading = AS_SHOWN
        self.names = [record.name for record in self.records]
        self.how = label_format.how

    def size_hw(self, index: int) -> tuple[int, int]:
        """From the image's header."""
        return self.image_size_hw(index)

    def sample(self, index: int) -> Sample:
        """Read both files.

        Raises:
            DataError: if one is broken, their sizes differ, or the labels hold ids outside the table.
        """
        image, raw = self.raw_sample(index)
        record = self.records[index]
        return Sample(image, train_ids(raw, self.label_space, str(record.labels)), record.name)

    def raw_sample(self, index: int) -> tuple[Pixels, npt.NDArray[np.uint16]]:
        """Image and raw ids, before the table is asked.

        Raises:
            DataError: if a file is broken, or their sizes differ.
        """
        record = self.records[index]
        image = self.image(index)
        raw = self._read(record)
        _check_sizes(record, (image.shape[0], image.shape[1]), (raw.shape[0], raw.shape[1]), self.max_pixels)
        return image, raw

    def image(self, index: int) -> Pixels:
        """(H, W, C) of the image file alone."""
        return read_pixels(self.records[index].image, self.reading, self.max_pixels)

    def image_size_hw(self, index: int) -> tuple[int, int]:
        """Height and width of the image, from the head of its file."""
        return pixels_size_hw(self.records[index].image, self.reading, self.max_pixels)

    def raw_labels(self, index: int) -> npt.NDArray[np.uint16]:
        """(H, W) raw ids of the label file alone."""
        return self._read(self.records[index])

    def labels(self, index: int) -> npt.NDArray[np.uint8]:
        """Read the label file alone.

        Returns:
            (H, W) uint8 train ids, 255 = ignore.

        Raises:
            DataError: if it is broken or holds ids outside the table.
        """
        record = self.records[index]
        return train_ids(self._read(record), self.label_space, str(record.labels))

    def labels_size_hw(self, index: int) -> tuple[int, int]:
        """Height and width of the labels, from the head of their file.

        Raises:
            DataError: if it is missing or broken.
        """
        return self.label_format.size_hw(self.records[index].labels, self.max_pixels)

    def with_records(self, records: Sequence[Record]) -> FileSource:
        """Other samples that are read in the same way."""
        others = copy(self)
        others.records = tuple(records)
        others.names = [record.name for record in records]
        return others

    def check_headers(self, index: int) -> tuple[int, int]:
        """Read the headers of both files, and say of what `sample` would refuse as much as they show.

        Returns:
            The sample's height and width.

        Raises:
            DataError: if one is missing or no image, or their sizes differ.
        """
        record = self.records[index]
        size_hw = self.image_size_hw(index)
        _check_sizes(record, size_hw, self.labels_size_hw(index), self.max_pixels)
        return size_hw

    def _read(self, record: Record) -> npt.NDArray[np.uint16]:
        """(H, W) raw ids, as the format gives them."""
        return self.label_format.read(record.labels, self.max_pixels)


def train_ids(raw: npt.NDArray[np.uint16], label_space: LabelSpace, source: str = "labels") -> npt.NDArray[np.uint8]:
    """Translate raw ids to train ids.

    Args:
        raw: (H, W) uint16.
        label_space: the table to translate by.
        source: what to call the labels in errors, for instance the file's path.

    Returns:
        (H, W) uint8 train ids, 255 = ignore.

    Raises:
        UnknownIdsError: if ids are not in the table; it lists them with their pixel counts.
    """
    translated = label_space.lookup[raw]
    if translated.size and translated.min() < 0:
        found = pixels_by_value(raw)
        unknown = {value: count for value, count in found.items() if label_space.lookup[value] < 0}
        listed = some(unknown.items(), 8, lambda entry: f"{entry[0]} ({entry[1]} px)")
        known = {*label_space.ignore_ids, *(raw_id for entry in label_space.classes for raw_id in entry.ids)}
        raise UnknownIdsError(
            f"{source}: ids outside the label table {label_space.name!r}: {listed}; it knows "
            f"{_ranges(sorted(known - {IGNORE_INDEX}))} and {IGNORE_INDEX}; add them to the table, to a class "
            "or to ignore_ids, or repair the file",
            unknown,
            found,
        )
    return translated.astype(np.uint8)


def pixels_by_value(raw: npt.NDArray[np.uint16]) -> dict[int, int]:
    """How many pixels hold each value that occurs.

    Example:
        >>> pixels_by_value(np.array([[7, 0], [7, 7]], dtype=np.uint16))
        {0: 1, 7: 3}
    """
    counts = np.bincount(raw.ravel())
    values = np.flatnonzero(counts)
    return dict(zip(values.tolist(), counts[values].tolist(), strict=True))


def _check_sizes(record: Record, image_hw: tuple[int, int], labels_hw: tuple[int, int], max_pixels: int) -> None:
    if image_hw != labels_hw:
        cure = _by_turning(record, image_hw, labels_hw, max_pixels)
        raise SizesDifferError(
            f"{record.labels}: labels are {labels_hw[0]}×{labels_hw[1]} (height×width), their image {record.image} "
            f"is {image_hw[0]}×{image_hw[1]}; both must have one size{cure}"
        )


def _by_turning(record: Record, image_hw: tuple[int, int], labels_hw: tuple[int, int], max_pixels: int) -> str:
    """What to do where the image's orientation (EXIF) is all that the sizes differ by."""
    if image_hw != labels_hw[::-1]:
        return ""
    orientation = image_facts(record.image, max_pixels).orientation
    if orientation not in (5, 6, 7, 8):
        return ""
    return (
        f": EXIF orientation {orientation} of the image turns it, and the mask fits it the other way; say "
        "data.exif=ignore if masks fit the pixels as stored, or data.exif=apply if they fit what viewers show"
    )


def _ranges(values: Sequence[int]) -> str:
    """``0-10, 12``, rather than twelve numbers."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
