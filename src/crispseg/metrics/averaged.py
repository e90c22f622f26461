"""The choice of average that torchmetrics classes over images have: of the images' scores, or over the set.

``average="image"`` scores every image and takes the mean over the images that show a class; ``average="set"`` adds the
counts of all images up and scores the sum. They differ: in a mean of images a small one weighs as much as a large one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from crispseg.errors import ConfigError, DataError
from crispseg.metrics.counts import Array, SetCounts, image_sums, mean_of_images
from crispseg.metrics.functional import Absent
from crispseg.metrics.functional.arrays import absent_score
from crispseg.metrics.table import DEFINITIONS

__all__ = ["Average", "AveragedScores"]

Average = Literal["image", "set"]
"""Whether images are scored one by one and averaged, or counted together and scored once."""


class AveragedScores(Metric):
    """Scores that follow from counts which add up over images; subclasses say which.

    Args:
        scores: S names of `crispseg.metrics.table`, of a set, which has R rows of each: one a radius or crop.
        shapes: of the counts that they need.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    images: Tensor
    sums: Tensor

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        average: Average,
        absent: Absent,
        scores: tuple[str, ...],
        rows: int,
        shapes: Mapping[str, tuple[int, ...]],
        options: dict[str, Any],
    ) -> None:
        super().__init__(**options)
        if average not in ("image", "set"):
            raise ConfigError(f"average is {average!r}; 'image' or 'set' expected")
        absent_score(absent)
        if rows == 0:
            raise ConfigError("no radius or crop factor given; at least one expected")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.average = average
        self.absent: Absent = absent
        self.scores = scores
        self._counted = tuple(shapes)
        states = {"sums": (2, len(scores), rows, num_classes)} if average == "image" else shapes
        for name, shape in {"images": (), **states}.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def _count(self, prediction: Tensor, labels: Tensor) -> dict[str, Array]:
        """Counts of one image, by their names in `SetCounts`."""

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
            if self.average == "image":
                counts = {"sums": image_sums(self._score(SetCounts(images=np.int64(1), **counts), "skip"))}
            for name, array in {"images": np.int64(1), **counts}.items():
                state: Tensor = getattr(self, name)
                state += torch.as_tensor(array).to(state)

    def _scores(self) -> Tensor:
        """Scores (S, R, K) of every image so far, float64 on the CPU; NaN for a class that none shows."""
        images = self.images.cpu().numpy()
        if self.average == "image":
            sums = np.moveaxis(self.sums.cpu().numpy(), 1, 0)
            return torch.from_numpy(mean_of_images(sums, images, self.absent))
        counted = {name: getattr(self, name).cpu().numpy() for name in self._counted}
        return torch.from_numpy(self._score(SetCounts(images=images, **counted), self.absent))

    def _score(self, counts: SetCounts, absent: Absent) -> Array:
        """Scores (S, R, K) of one image or of a set."""
        return np.stack([DEFINITIONS[name].of(counts, None, absent) for name in self.scores])
