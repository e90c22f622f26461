"""The choice of average that torchmetrics classes over images have: of the images' scores, or over the set.

``average="image"`` scores every image and takes the mean over the images that show a class; ``average="set"`` adds the
counts of all images up and scores the sum. They differ: in a mean of images a small one weighs as much as a large one.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric

from crispseg.errors import ConfigError, DataError
from crispseg.metrics.functional import Absent

__all__ = ["Average", "AveragedScores"]

Average = Literal["image", "set"]
"""Whether images are scored one by one and averaged, or counted together and scored once."""


class AveragedScores(Metric):
    """A score that follows from counts which add up over images; subclasses say which."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    counts: Tensor
    total: Tensor
    images: Tensor

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        average: Average,
        absent: Absent,
        counts_shape: tuple[int, ...],
        scores_shape: tuple[int, ...],
        options: dict[str, Any],
    ) -> None:
        super().__init__(**options)
        if average not in ("image", "set"):
            raise ConfigError(f"average is {average!r}; 'image' or 'set' expected")
        if 0 in counts_shape:
            raise ConfigError("no radius or crop factor given; at least one expected")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.average = average
        self.absent: Absent = absent
        shapes = {"total": scores_shape, "images": scores_shape} if average == "image" else {"counts": counts_shape}
        for name, shape in shapes.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def _count(self, prediction: Tensor, labels: Tensor) -> npt.NDArray[np.int64]:
        """Counts of one image, of `counts_shape`."""

    @abstractmethod
    def _score(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Scores (…, K) of one image or of a set."""

    def update(self, prediction: Tensor, labels: Tensor) -> None:
        """Count the images of a batch.

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
            counts = self._count(predicted, true)
            if self.average == "set":
                self.counts += torch.from_numpy(counts).to(self.counts)
                continue
            scores = torch.from_numpy(self._score(counts))
            self.total += (scores.nan_to_num(0.0) * _PARTS_OF_ONE).round().to(self.total)
            self.images += (~scores.isnan()).to(self.images)

    def _scores(self) -> Tensor:
        """Scores (…, K) of every image so far, float64 on the CPU; NaN for a class that none shows."""
        if self.average == "set":
            return torch.from_numpy(self._score(self.counts.cpu().numpy()))
        return self.total.cpu().double() / _PARTS_OF_ONE / self.images.cpu()  # 0 / 0 is the NaN that is wanted


_PARTS_OF_ONE = 2**40
"""Scores are summed in parts of one: to twelve digits, for millions of images."""
