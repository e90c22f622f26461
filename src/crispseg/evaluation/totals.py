"""Records added up, and the scores that follow from the sums."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.evaluation.instances import InstanceTotals
from crispseg.evaluation.records import Counts, ImageRecord, Settings, Shares, boundary_rates
from crispseg.evaluation.scores import Scores
from crispseg.labels import LabelClass
from crispseg.metrics import category_iou, class_accuracy, frequency_weighted_iou, iou_from_counts, pixel_accuracy

__all__ = ["Totals", "as_square"]

_WORST = 6


class Totals:
    """The sums of any number of records: as large for a million images as for one.

    Args:
        settings: of the records.

    Attributes:
        images: how many records were added.
        confusion: (K, K + 1) pixels, row = truth, column = prediction, the last one for none.

    Example:
        >>> from crispseg.evaluation.records import score_image
        >>> from crispseg.labels import LabelSpace
        >>> settings = Settings(LabelSpace.from_dict({"name": "two", "classes": ["sky", "road"]}), radii_px=(1,))
        >>> totals = Totals(settings)
        >>> labels = np.array([[0, 0, 1, 255]], dtype=np.uint8)
        >>> totals.add(score_image(np.array([[0, 1, 1, 1]], dtype=np.uint8), labels, settings, "a"))
        >>> totals.scores().iou
        {'sky': 0.5, 'road': 0.5}
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.images = 0
        num_classes, num_radii = settings.label_space.num_classes, len(settings.radii_px)
        self.confusion = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        self._boundary = np.zeros((2, num_classes), dtype=np.int64)
        self._matched = np.zeros((2, num_radii, num_classes), dtype=np.int64)
        self._boundary_iou = np.zeros((2, num_classes), dtype=np.int64)
        self._trimap = np.zeros((2, num_radii, num_classes), dtype=np.int64)
        self._distance = np.zeros((2, len(settings.crop_factors_px), num_classes), dtype=np.int64)
        self._instances = InstanceTotals(settings.label_space) if settings.instances else None
        self._rates = np.zeros((3, num_radii, num_classes))  # precision, recall, F of single images, added up
        self._images_rated = np.zeros((3, num_radii, num_classes), dtype=np.int64)
        self._worst: list[tuple[float, int, str]] = []  # a heap, the best of the worst first

    def add(self, record: ImageRecord) -> None:
        """Add an image."""
        at = record.classes
        table = record.confusion_table(len(self.confusion))
        self.confusion += table
        self._boundary[:, at] += record.boundary
        self._matched[:, :, at] += record.matched
        self._boundary_iou[:, at] += record.boundary_iou
        self._trimap[:, :, at] += record.trimap
        if record.distance is not None:
            self._distance[:, :, at] += record.distance
        if self._instances is not None:
            self._instances.add(record)
        rates = boundary_rates(record.boundary, record.matched)
        self._rates[:, :, at] += np.nan_to_num(rates)
        self._images_rated[:, :, at] += ~np.isnan(rates)
        self._keep_if_among_the_worst(record.name, table)
        self.images += 1

    def worst(self) -> list[tuple[str, float]]:
        """Names of the images with the lowest mean IoU over their own classes, and that IoU; the worst first."""
        return [(name, -negated) for negated, _, name in sorted(self._worst, reverse=True)]

    def scores(self, skipped: int = 0) -> Scores:
        """The scores of everything that was added; `skipped` images are only reported."""
        square, space = as_square(self.confusion), self.settings.label_space
        precision, recall, f_score = _ratio(self._rates, self._images_rated)
        set_precision, set_recall, set_f_score = boundary_rates(self._boundary, self._matched)
        radii_px, factors_px = self.settings.radii_px, self.settings.crop_factors_px
        official = None if self._instances is None else self._instances.scores()
        return Scores(
            iou=self._by_class(iou_from_counts(square)),
            pixel_accuracy=pixel_accuracy(square),
            boundary_f=self._by(radii_px, f_score),
            images=self.images,
            class_accuracy=self._by_class(class_accuracy(square)),
            frequency_weighted_iou=frequency_weighted_iou(square),
            category_iou=self._category_iou(),
            boundary_precision=self._by(radii_px, precision),
            boundary_recall=self._by(radii_px, recall),
            boundary_f_set=self._by(radii_px, set_f_score),
            boundary_precision_set=self._by(radii_px, set_precision),
            boundary_recall_set=self._by(radii_px, set_recall),
            boundary_iou=self._by_class(_ratio(*self._boundary_iou)),
            trimap_iou=self._by(radii_px, _ratio(*self._trimap)),
            distance_iou=self._by(factors_px, _ratio(*self._distance)),
            iiou={} if official is None else {name: official.class_iiou[name] for name in space.class_names},
            category_iiou={} if official is None else {name: official.category_iiou[name] for name in space.categories},
            skipped=skipped,
        )

    def _category_iou(self) -> dict[str, float]:
        """By category; empty where the table knows none."""
        space = self.settings.label_space
        if all(entry.category is None for entry in space.classes):
            return {}
        if not self.confusion[:, -1].any():
            return category_iou(self.confusion[:, :-1], space)
        nothing = LabelClass("(no class)", (0, 0, 0), ())  # of no category, so it is wrong in all of them
        return category_iou(as_square(self.confusion), replace(space, classes=(*space.classes, nothing)))

    def _by_class(self, values: Iterable[float]) -> dict[str, float]:
        names = self.settings.label_space.class_names
        return {name: float(value) for name, value in zip(names, values, strict=False)}

    def _by(self, keys: Sequence[float], values: Shares) -> dict[float, dict[str, float]]:
        return {key: self._by_class(row) for key, row in zip(keys, values, strict=True)}

    def _keep_if_among_the_worst(self, name: str, table: Counts) -> None:
        iou = iou_from_counts(as_square(table))[: len(table)]
        if np.isnan(iou).all():
            return
        # The second entry settles ties in favour of the earlier image, whatever the names.
        entry = (-float(np.nanmean(iou)), -self.images, name)
        heapq.heappush(self._worst, entry)
        if len(self._worst) > _WORST:
            heapq.heappop(self._worst)


def as_square(confusion: Counts) -> Counts:
    """A (K, K + 1) table as (K + 1, K + 1): "no class" as a class that is nowhere true."""
    return np.pad(confusion, ((0, 1), (0, 0)))


def _ratio(part: npt.NDArray[Any], whole: Counts) -> Shares:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
