"""What the check of a data set finds, and how it is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crispseg.data.problems import Problem
from crispseg.labels import IGNORE_INDEX
from crispseg.plausibility.label_values import LABEL_VALUES

__all__ = [
    "BROKEN",
    "KINDS",
    "LAYOUT",
    "NO_LABELS",
    "SHARED",
    "SIZES",
    "UNKNOWN_IDS",
    "DataReport",
    "Fault",
    "Finding",
    "SplitReport",
    "Tally",
]

LAYOUT = "files missing or without their pair"
BROKEN = "files that cannot be read"
SIZES = "labels of another size than their image"
UNKNOWN_IDS = "ids outside the label table"
SHARED = "images in two splits"
NO_LABELS = "splits without any label"
KINDS = (LAYOUT, BROKEN, SIZES, UNKNOWN_IDS, SHARED, NO_LABELS, LABEL_VALUES)
"""Every kind of problem, the ones that hide others first."""


@dataclass(frozen=True)
class SplitReport:
    """What one split holds; pixels and images are counted over the samples that can be read.

    Attributes:
        split: its name.
        images: samples found.
        readable: those without a problem of their own.
        sizes: how many different sizes they have.
        smallest_hw: height and width of the smallest, by area; None if nothing can be read.
        median_hw: of the median.
        largest_hw: of the largest.
        class_pixels: pixels of each class, in the table's order.
        class_images: samples that hold each class.
        ignored_pixels: pixels that no loss and no score speaks of.
        unknown_ids: pixels and samples by raw id that the table does not know.
    """

    split: str
    images: int = 0
    readable: int = 0
    sizes: int = 0
    smallest_hw: tuple[int, int] | None = None
    median_hw: tuple[int, int] | None = None
    largest_hw: tuple[int, int] | None = None
    class_pixels: tuple[int, ...] = ()
    class_images: tuple[int, ...] = ()
    ignored_pixels: int = 0
    unknown_ids: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class DataReport:
    """What `data_check` found.

    Attributes:
        layout: name of the layout.
        root: of the data, as the section has it.
        label_table: its name.
        class_names: in the order of train ids.
        splits: one report each.
        problems: everything that is wrong; empty for a sound data set.
        warnings: what is possible and yet looks as if something else was meant.
        band_mean: of each band of the first split's images, of 1, where ``data.bands`` names bands.
        band_std: their deviation.
    """

    layout: str
    root: str | None
    label_table: str | None
    class_names: tuple[str, ...]
    splits: tuple[SplitReport, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    band_mean: tuple[float, ...] = ()
    band_std: tuple[float, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with `sound`."""
        problems, warnings = (
            [{"kind": found.kind, "split": found.where, "detail": found.detail} for found in several]
            for several in (self.problems, self.warnings)
        )
        return {"sound": self.sound, **asdict(self), "problems": problems, "warnings": warnings}


class Fault(NamedTuple):
    """A problem of a sample; see `Problem`."""

    kind: str
    detail: str


@dataclass(frozen=True)
class Finding:
    """What one sample shows.

    Attributes:
        size_hw: None if it is not known or not certain.
        faults: all that is wrong with it.
        unknown_ids: pixels by raw id outside the table.
        id_pixels: (256,) pixels by train id; None if nothing was decoded.
        raw_pixels: pixels by raw id; empty for what does not come from files.
        small: the image as 32×32 px of grey.
        digest: of the image's pixels.
    """

    size_hw: tuple[int, int] | None = None
    faults: tuple[Fault, ...] = ()
    unknown_ids: dict[int, int] = field(default_factory=dict)
    id_pixels: npt.NDArray[np.int64] | None = None
    digest: bytes | None = None
    raw_pixels: dict[int, int] = field(default_factory=dict)
    small: npt.NDArray[np.uint8] | None = None


class Tally:
    """Adds up a split, finding by finding.

    Args:
        split: its name.
        num_classes: of the label table.
    """

    def __init__(self, split: str, num_classes: int) -> None:
        self.split = split
        self.num_classes = num_classes
        self.images = self.readable = 0
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.pixels = np.zeros(256, dtype=np.int64)
        self.occurrences = np.zeros(256, dtype=np.int64)
        self.unknown_pixels: Counter[int] = Counter()
        self.unknown_images: Counter[int] = Counter()
        self.raw_pixels: Counter[int] = Counter()
        self._found: list[Problem] = []

    def add(self, finding: Finding) -> None:
        """Count one sample."""
        self.images += 1
        if finding.size_hw is not None:
            self.sizes[finding.size_hw] += 1
        self._found += [Problem(fault.kind, self.split, fault.detail) for fault in finding.faults]
        self.unknown_pixels.update(finding.unknown_ids)
        self.unknown_images.update(finding.unknown_ids.keys())
        self.raw_pixels.update(finding.raw_pixels)
        if finding.id_pixels is not None:
            self.readable += 1
            self.pixels += finding.id_pixels
            self.occurrences += finding.id_pixels > 0

    def problems(self) -> list[Problem]:
        """What is wrong with its samples, and with all of them together."""
        if self.readable and not self.pixels[: self.num_classes].any():
            detail = (
                f"{self.split}: every pixel of its {self.readable} images is ignored, as in test sets whose labels are "
                "kept back; choose another split, or another label table (data.labels)"
            )
            return [*self._found, Problem(NO_LABELS, self.split, detail)]
        return self._found

    def report(self) -> SplitReport:
        """What was counted."""
        ordered = sorted(self.sizes.elements(), key=lambda size_hw: (size_hw[0] * size_hw[1], size_hw))
        smallest, median, largest = (
            (ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]) if ordered else (None, None, None)
        )
        return SplitReport(
            split=self.split,
            images=self.images,
            readable=self.readable,
            sizes=len(self.sizes),
            smallest_hw=smallest,
            median_hw=median,
            largest_hw=largest,
            class_pixels=tuple(self.pixels[: self.num_classes].tolist()),
            class_images=tuple(self.occurrences[: self.num_classes].tolist()),
            ignored_pixels=int(self.pixels[IGNORE_INDEX]),
            unknown_ids={
                raw: (self.unknown_pixels[raw], self.unknown_images[raw]) for raw in sorted(self.unknown_pixels)
            },
        )
