"""Confusion counts of label maps."""

from __future__ import annotations

import torch
from torch import Tensor

from crispseg.types import IGNORE_INDEX

__all__ = ["confusion_counts"]


def confusion_counts(prediction: Tensor, labels: Tensor, num_classes: int, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Count pixels by true and predicted class; counts of parts add up to the count of the whole.

    Args:
        prediction: train ids of any shape; ignored where the label is void.
        labels: train ids of the same shape.
        num_classes: K.
        ignore_index: the label that is not counted.

    Returns:
        (K, K) int64 on the labels' device: row = truth, column = prediction.

    Raises:
        ValueError: if the shapes differ, or a counted pixel has a label or prediction outside 0 … K − 1.

    Example:
        >>> confusion_counts(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 255]), num_classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    if prediction.shape != labels.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and labels {tuple(labels.shape)} differ in shape")
    counted = labels != ignore_index
    truth, guess = labels[counted].long(), prediction[counted].long()
    for name, values in (("labels", truth), ("prediction", guess)):
        lowest, highest = (int(bound) for bound in values.aminmax()) if values.numel() else (0, 0)
        if lowest < 0 or highest >= num_classes:
            raise ValueError(f"{name} has values from {lowest} to {highest}; 0 to {num_classes - 1} expected")
    return torch.bincount(truth * num_classes + guess, minlength=num_classes**2).view(num_classes, num_classes)
