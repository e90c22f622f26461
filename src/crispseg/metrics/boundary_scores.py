"""Boundary F, Boundary IoU, trimap IoU and IoU at distance of a data set, as torchmetrics classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from crispseg.labels import IGNORE_INDEX
from crispseg.metrics.averaged import Average, AveragedScores
from crispseg.metrics.counts import Array, overlaps
from crispseg.metrics.functional import (
    Absent,
    boundary_iou_counts,
    boundary_iou_radius,
    boundary_match_counts,
    distance_counts,
    trimap_counts_by_radius,
)

__all__ = ["BoundaryFScore", "BoundaryIoU", "DistanceIoU", "TrimapIoU"]


class BoundaryFScore(AveragedScores):
    """Boundary F with precision and recall; as the papers average it by default, per class over the images.

    Args:
        num_classes: K.
        radii_px: R radii in pixels.
        ignore_index: the label of pixels that are left out.
        absent: ``"skip"`` leaves an image out of the mean of a class that it does not show; ``"one"`` counts it as 1,
            as the papers' code does.
        average: ``"image"`` for the mean of the images' scores, as in the papers; ``"set"`` for the score of the
            boundary pixels of all images together.
        options: of `torchmetrics.Metric`.

    `compute` returns ``boundary_f`` (R,), the mean over the classes; and ``boundary_f_per_class``,
    ``boundary_precision_per_class`` and ``boundary_recall_per_class`` (R, K), NaN for a class that no image shows; all
    are float64 on the CPU.

    Example:
        >>> import torch
        >>> scores = BoundaryFScore(num_classes=3, radii_px=(1, 2))
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> scores.update(torch.tensor([[[0, 0, 0, 1]]]), labels)
        >>> scores.compute()["boundary_f_per_class"].tolist()
        [[1.0, 1.0, nan], [1.0, 1.0, nan]]
    """

    def __init__(
        self,
        num_classes: int,
        radii_px: Sequence[float],
        ignore_index: int = IGNORE_INDEX,
        absent: Absent = "skip",
        average: Average = "image",
        **options: Any,
    ) -> None:
        rows = len(radii_px)
        scores = ("boundary_f_set", "boundary_precision_set", "boundary_recall_set")
        shapes = {"boundary": (2, num_classes), "matched": (2, rows, num_classes)}
        super().__init__(num_classes, ignore_index, average, absent, scores, rows, shapes, options)
        self.radii_px = tuple(radii_px)

    def _count(self, prediction: Tensor, labels: Tensor) -> dict[str, Array]:
        counts = boundary_match_counts(prediction, labels, self.num_classes, self.radii_px, self.ignore_index)
        return {
            "boundary": np.stack((counts.predicted, counts.true)),
            "matched": np.stack((counts.matched_predicted, counts.matched_true)),
        }

    def compute(self) -> dict[str, Tensor]:
        """Scores of every image so far."""
        f_score, precision, recall = self._scores()
        return {
            "boundary_f": f_score.nanmean(dim=1),
            "boundary_f_per_class": f_score,
            "boundary_precision_per_class": precision,
            "boundary_recall_per_class": recall,
        }


class BoundaryIoU(AveragedScores):
    """Boundary IoU (Cheng et al., CVPR 2021), over the whole set by default; see `boundary_iou`.

    Args:
        num_classes: K.
        radii_px: R distances in pixels; None for one, 2 % of each image's diagonal.
        ignore_index: the label of pixels that are left out.
        absent: see `boundary_iou`; applied to each image for ``average="image"``, else to the set.
        average: ``"set"`` or ``"image"``.
        options: of `torchmetrics.Metric`.

    `compute` returns ``boundary_iou`` (R,), the mean over the classes; and ``boundary_iou_per_class`` (R, K), NaN for a
    class that no image shows; float64 on the CPU.

    Example:
        >>> import torch
        >>> scores = BoundaryIoU(num_classes=2, radii_px=(1,))
        >>> scores.update(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]))
        >>> scores.compute()["boundary_iou_per_class"].round(decimals=2).tolist()
        [[0.5, 0.67]]
    """

    def __init__(
        self,
        num_classes: int,
        radii_px: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
        absent: Absent = "skip",
        average: Average = "set",
        **options: Any,
    ) -> None:
        rows = 1 if radii_px is None else len(radii_px)
        shapes = {"boundary_iou": (rows, 2, num_classes)}
        super().__init__(num_classes, ignore_index, average, absent, ("boundary_iou",), rows, shapes, options)
        self.radii_px = None if radii_px is None else tuple(radii_px)

    def _count(self, prediction: Tensor, labels: Tensor) -> dict[str, Array]:
        size_hw = (labels.shape[0], labels.shape[1])
        radii = (boundary_iou_radius(size_hw),) if self.radii_px is None else self.radii_px
        counts = [
            boundary_iou_counts(prediction, labels, self.num_classes, radius, self.ignore_index) for radius in radii
        ]
        return {"boundary_iou": np.stack(counts)}

    def compute(self) -> dict[str, Tensor]:
        """Scores of every image so far."""
        return _mean_and_classes("boundary_iou", self._scores())


class TrimapIoU(AveragedScores):
    """IoU in bands around the true boundaries, over the whole set by default; see `trimap_iou`.

    Args:
        num_classes: K.
        radii_px: R radii in pixels.
        ignore_index: the label of pixels that are left out.
        absent: see `trimap_iou`; applied to each image for ``average="image"``, else to the set.
        average: ``"set"`` or ``"image"``.
        options: of `torchmetrics.Metric`.

    `compute` returns ``trimap_iou`` (R,), the mean over the classes; and ``trimap_iou_per_class`` (R, K), NaN for a
    class that no image shows; float64 on the CPU.

    Example:
        >>> import torch
        >>> scores = TrimapIoU(num_classes=2, radii_px=(1, 9))
        >>> scores.update(torch.tensor([[[0, 0, 1, 1, 1]]]), torch.tensor([[[0, 0, 0, 1, 1]]]))
        >>> scores.compute()["trimap_iou_per_class"].round(decimals=2).tolist()
        [[0.5, 0.5], [0.67, 0.67]]
    """

    def __init__(
        self,
        num_classes: int,
        radii_px: Sequence[float],
        ignore_index: int = IGNORE_INDEX,
        absent: Absent = "skip",
        average: Average = "set",
        **options: Any,
    ) -> None:
        rows = len(radii_px)
        shapes = {"trimap": (2, rows, num_classes)}
        super().__init__(num_classes, ignore_index, average, absent, ("trimap_iou",), rows, shapes, options)
        self.radii_px = tuple(radii_px)

    def _count(self, prediction: Tensor, labels: Tensor) -> dict[str, Array]:
        counts = trimap_counts_by_radius(prediction, labels, self.num_classes, self.radii_px, self.ignore_index)
        return {"trimap": overlaps(counts)}

    def compute(self) -> dict[str, Tensor]:
        """Scores of every image so far."""
        return _mean_and_classes("trimap_iou", self._scores())


class DistanceIoU(AveragedScores):
    """IoU in crops around the vanishing point (GSCNN, fig. 5), over the whole set by default; see `distance_iou`.

    Args:
        num_classes: K.
        crop_factors_px: F crop factors; see `distance_crop`.
        ignore_index: the label of pixels that are left out.
        absent: see `distance_iou`; applied to each image for ``average="image"``, else to the set.
        average: ``"set"``, as in the paper, or ``"image"``.
        margin_px: see `distance_crop`.
        options: of `torchmetrics.Metric`.

    `compute` returns ``distance_iou`` (F,), the mean over the classes; and ``distance_iou_per_class`` (F, K), NaN for a
    class that no image shows; float64 on the CPU.

    Example:
        >>> import torch
        >>> scores = DistanceIoU(num_classes=2, crop_factors_px=(0, 1), margin_px=1)
        >>> labels = torch.zeros(1, 6, 8, dtype=torch.long)
        >>> scores.update(labels, labels)
        >>> scores.compute()["distance_iou"].tolist()
        [1.0, 1.0]
    """

    def __init__(
        self,
        num_classes: int,
        crop_factors_px: Sequence[int],
        ignore_index: int = IGNORE_INDEX,
        absent: Absent = "skip",
        average: Average = "set",
        *,
        margin_px: int = 100,
        **options: Any,
    ) -> None:
        rows = len(crop_factors_px)
        shapes = {"distance": (2, rows, num_classes)}
        super().__init__(num_classes, ignore_index, average, absent, ("distance_iou",), rows, shapes, options)
        self.crop_factors_px = tuple(crop_factors_px)
        self.margin_px = margin_px

    def _count(self, prediction: Tensor, labels: Tensor) -> dict[str, Array]:
        counts = distance_counts(
            prediction, labels, self.num_classes, self.crop_factors_px, self.ignore_index, margin_px=self.margin_px
        )
        return {"distance": overlaps(counts)}

    def compute(self) -> dict[str, Tensor]:
        """Scores of every image so far."""
        return _mean_and_classes("distance_iou", self._scores())


def _mean_and_classes(name: str, scores: Tensor) -> dict[str, Tensor]:
    (per_class,) = scores
    return {name: per_class.nanmean(dim=1), f"{name}_per_class": per_class}
