"""Scores of a data set as torchmetrics classes: sums over images, added up across processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from crispseg.errors import DataError
from crispseg.metrics.functional import Absent, boundary_f_score, confusion_counts, iou_from_counts, pixel_accuracy
from crispseg.types import IGNORE_INDEX

__all__ = ["BoundaryFScore", "SegmentationScores"]


class SegmentationScores(Metric):
    """IoU and pixel accuracy from the confusion counts of the whole set.

    Args:
        num_classes: K.
        ignore_index: the label of pixels that are not counted.
        options: of `torchmetrics.Metric`.

    `compute` returns ``mean_iou`` (), over the classes that occur; ``iou`` (K,), NaN for those that do not; and
    ``pixel_accuracy`` (), float64 on the CPU.

    Example:
        >>> scores = SegmentationScores(num_classes=2)
        >>> scores.update(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 1]]]))
        >>> scores.compute()["iou"].tolist()
        [0.5, 0.5]
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    counts: Tensor

    def __init__(self, num_classes: int, ignore_index: int = IGNORE_INDEX, **options: Any) -> None:
        super().__init__(**options)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.add_state("counts", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Args:
            prediction: (N, H, W) or (H, W) integers in [0, K).
            labels: of the same shape, in [0, K) or `ignore_index`.

        Raises:
            DataError: if shapes differ or a value lies outside.
        """
        counts = confusion_counts(prediction, labels, self.num_classes, self.ignore_index)
        self.counts += torch.from_numpy(counts).to(self.counts.device)

    def compute(self) -> dict[str, Tensor]:
        """Scores of everything that was counted."""
        iou = torch.from_numpy(iou_from_counts(self.counts))
        return {
            "mean_iou": iou.nanmean(),
            "iou": iou,
            "pixel_accuracy": torch.tensor(pixel_accuracy(self.counts), dtype=torch.float64),
        }


class BoundaryFScore(Metric):
    """Boundary F as the papers average it: per class over the images, then over the classes.

    Args:
        num_classes: K.
        radii_px: R radii in pixels.
        ignore_index: the label of pixels that are left out.
        absent: ``"skip"`` leaves an image out of the mean of a class that it does not show; ``"one"`` counts it as 1,
            as the papers' code does.
        options: of `torchmetrics.Metric`.

    `compute` returns ``boundary_f`` (R,), the mean over the classes; and ``boundary_f_per_class`` (R, K), NaN for a
    class that no image shows; float64 on the CPU.

    Example:
        >>> scores = BoundaryFScore(num_classes=3, radii_px=(1, 2))
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> scores.update(torch.tensor([[[0, 0, 0, 1]]]), labels)
        >>> scores.compute()["boundary_f_per_class"].tolist()
        [[1.0, 1.0, nan], [1.0, 1.0, nan]]
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(
        self,
        num_classes: int,
        radii_px: Sequence[float],
        ignore_index: int = IGNORE_INDEX,
        absent: Absent = "skip",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_classes = num_classes
        self.radii_px = tuple(radii_px)
        self.ignore_index = ignore_index
        self.absent = absent
        shape = (len(self.radii_px), num_classes)
        # float32, which every accelerator has: sums of up to some thousand values in [0, 1]
        self.add_state("total", torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, labels: Tensor) -> None:
        """Score the images of a batch.

        Args:
            prediction: (N, H, W) integers in [0, K).
            labels: (N, H, W) in [0, K) or `ignore_index`.

        Raises:
            DataError: if shapes differ, there is no batch dimension, or a value lies outside.
        """
        if prediction.shape != labels.shape or labels.ndim != 3:
            raise DataError(
                f"prediction has the shape {tuple(prediction.shape)} and labels {tuple(labels.shape)}; "
                "(N, H, W) of both expected"
            )
        for predicted, true in zip(prediction.cpu(), labels.cpu(), strict=True):
            scores = torch.from_numpy(
                boundary_f_score(predicted, true, self.num_classes, self.radii_px, self.ignore_index, self.absent)
            )
            self.total += scores.nan_to_num(0.0).to(self.total)
            self.images += (~scores.isnan()).to(self.images)

    def compute(self) -> dict[str, Tensor]:
        """Scores of every image so far."""
        per_class = self.total.cpu().double() / self.images.cpu()  # 0 / 0 is the NaN that is wanted
        return {"boundary_f": per_class.nanmean(dim=1), "boundary_f_per_class": per_class}
