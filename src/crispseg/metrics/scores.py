"""Scores of a data set as torchmetrics classes: sums over images, added up across processes.

Every sum is of integers, so that it is the same in any order, over any number of processes, and on every accelerator.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from crispseg.errors import DataError
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.labels import label_space as packaged_label_space
from crispseg.metrics.counts import SetCounts, overlaps
from crispseg.metrics.functional import (
    CityscapesCounts,
    cityscapes_counts,
    cityscapes_scores,
    confusion_counts,
)
from crispseg.metrics.table import DEFINITIONS

__all__ = ["CityscapesEvaluation", "SegmentationScores"]


class SegmentationScores(Metric):
    """IoU and accuracies from the confusion counts of the whole set.

    Args:
        num_classes: K.
        ignore_index: the label of pixels that are not counted.
        label_space: a table of K classes with categories, for the scores of its C categories.
        options: of `torchmetrics.Metric`.

    `compute` returns ``mean_iou`` (), over the classes that occur; ``iou`` (K,), NaN for those that do not;
    ``pixel_accuracy`` (); ``class_accuracy`` (K,) and ``mean_class_accuracy`` (); ``frequency_weighted_iou`` (); and
    with a label table ``category_iou`` (C,) and ``mean_category_iou`` (). All are float64 on the CPU.

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

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = IGNORE_INDEX,
        label_space: LabelSpace | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.label_space = label_space
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
        table = self.counts.cpu().numpy()
        counts = SetCounts(images=np.int64(0), confusion=np.pad(table, ((0, 0), (0, 1))), overlap=overlaps(table))
        names = ["iou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou"]
        scores: dict[str, Tensor] = {}
        for name in [*names, "category_iou"] if self.label_space is not None else names:
            shares = DEFINITIONS[name].of(counts, self.label_space, "skip")
            scores[name] = torch.as_tensor(shares, dtype=torch.float64)
            if DEFINITIONS[name].by is not None:
                scores[f"mean_{name}"] = scores[name].nanmean()
        return scores


class CityscapesEvaluation(Metric):
    """The official evaluation of Cityscapes and KITTI over raw ids; see `cityscapes_scores` for its rules.

    Args:
        label_space: the table of ids, with categories; None for Cityscapes'.
        options: of `torchmetrics.Metric`.

    `compute` returns ``class_iou`` and ``class_iiou`` (K,) in the table's order, ``category_iou`` and ``category_iiou``
    (C,) in the order of its `categories`, and the mean of each, for instance ``mean_class_iou`` (), over what is not
    NaN. All are float64 on the CPU. The instance-weighted ones are NaN unless every update had instances.

    Example:
        >>> evaluation = CityscapesEvaluation()
        >>> labels = torch.tensor([[[26, 26, 23]]])
        >>> evaluation.update(torch.tensor([[[26, 23, 23]]]), labels, torch.tensor([[[26000, 26000, 23]]]))
        >>> scores = evaluation.compute()
        >>> scores["mean_class_iou"].item(), scores["mean_class_iiou"].item()
        (0.5, 0.5)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Tensor
    weighted: Tensor
    images_without_instances: Tensor

    def __init__(self, label_space: LabelSpace | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.label_space = packaged_label_space("cityscapes") if label_space is None else label_space
        shapes = {
            "confusion": (256, 256),
            "weighted": (3, self.label_space.num_classes),
            "images_without_instances": (),
        }
        for name, shape in shapes.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction_ids: Tensor, label_ids: Tensor, instance_ids: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            prediction_ids: (N, H, W) raw ids.
            label_ids: (N, H, W) raw ids.
            instance_ids: (N, H, W) instance ids as in Cityscapes' files, or None where they are not known.

        Raises:
            DataError: if shapes differ, there is no batch dimension, or an id is not known.
        """
        for name, ids in (("prediction", prediction_ids), ("instances", instance_ids)):
            if ids is not None and (label_ids.ndim != 3 or ids.shape != label_ids.shape):
                raise DataError(
                    f"{name} has the shape {tuple(ids.shape)} and labels {tuple(label_ids.shape)}; "
                    "(N, H, W) of both expected"
                )
        for index, labels in enumerate(label_ids):
            instances = None if instance_ids is None else instance_ids[index]
            counts = cityscapes_counts(prediction_ids[index], labels, instances, self.label_space)
            self.confusion += torch.from_numpy(counts.confusion).to(self.confusion.device)
            if instances is None:
                self.images_without_instances += 1
                continue
            self.weighted += torch.from_numpy(counts.units).to(self.weighted)

    def compute(self) -> dict[str, Tensor]:
        """Scores of everything that was counted."""
        units = self.weighted.cpu().numpy() * (math.nan if self.images_without_instances else 1)
        counts = CityscapesCounts.from_units(self.confusion.cpu().numpy(), units)
        scores = cityscapes_scores(counts, self.label_space)
        values: dict[str, list[float]] = {
            "class_iou": [scores.class_iou[name] for name in self.label_space.class_names],
            "class_iiou": [scores.class_iiou[name] for name in self.label_space.class_names],
            "category_iou": [scores.category_iou[name] for name in self.label_space.categories],
            "category_iiou": [scores.category_iiou[name] for name in self.label_space.categories],
        }
        tensors = {name: torch.tensor(of_all, dtype=torch.float64) for name, of_all in values.items()}
        return tensors | {f"mean_{name}": of_all.nanmean() for name, of_all in tensors.items()}
