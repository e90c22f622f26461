"""Records added up, and the scores that follow from the sums."""

from __future__ import annotations

import heapq

import numpy as np

from crispseg.evaluation.records import ImageRecord, Settings
from crispseg.evaluation.scores import Scores
from crispseg.metrics.counts import Counts, SetCounts
from crispseg.metrics.table import DEFINITIONS

__all__ = ["Totals"]

_WORST = 6


class Totals:
    """The sums of any number of records: as large for a million images as for one.

    Args:
        settings: of the records.

    Attributes:
        images: how many records were added.

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
        self._counts: SetCounts | None = None
        self._worst: list[tuple[float, int, str]] = []  # a heap, the best of the worst first

    @property
    def counts(self) -> SetCounts:
        """Of all images; there must be one."""
        assert self._counts is not None
        return self._counts

    @property
    def confusion(self) -> Counts:
        """(K, K + 1) pixels, row = truth, column = prediction, the last one for none."""
        return self.counts.arrays()["confusion"]

    def add(self, record: ImageRecord) -> None:
        """Add an image."""
        counts = record.counts(self.settings.label_space.num_classes)
        self._counts = counts if self._counts is None else self._counts + counts
        self._keep_if_among_the_worst(record.name, counts)
        self.images += 1

    def worst(self) -> list[tuple[str, float]]:
        """Names of the images with the lowest mean IoU over their own classes, and that IoU; the worst first."""
        return [(name, -negated) for negated, _, name in sorted(self._worst, reverse=True)]

    def scores(self, skipped: int = 0) -> Scores:
        """The scores of everything that was added; `skipped` images are only reported."""
        settings = self.settings
        return Scores.from_counts(
            self.counts,
            settings.label_space,
            settings.radii_px,
            settings.crop_factors_px,
            skipped=skipped,
            chosen=settings.scores,
        )

    def _keep_if_among_the_worst(self, name: str, counts: SetCounts) -> None:
        iou = DEFINITIONS["iou"].of(counts, self.settings.label_space, "skip")
        if np.isnan(iou).all():
            return
        # The second entry settles ties in favour of the earlier image, whatever the names.
        entry = (-float(np.nanmean(iou)), -self.images, name)
        heapq.heappush(self._worst, entry)
        if len(self._worst) > _WORST:
            heapq.heappop(self._worst)
