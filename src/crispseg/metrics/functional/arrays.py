"""Label maps from wherever they come, checked once and brought to one form."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from crispseg.errors import ConfigError, DataError
from crispseg.types import IGNORE_INDEX

__all__ = ["ArrayLike", "to_array", "to_label_pair"]

ArrayLike = npt.NDArray[Any] | Tensor
"""A NumPy array or a tensor on any device."""


def to_array(values: ArrayLike) -> npt.NDArray[Any]:
    """Bring a tensor of any device to NumPy; an array is handed back as it is."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def to_label_pair(
    prediction: ArrayLike, labels: ArrayLike, num_classes: int, ignore_index: int = IGNORE_INDEX
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Check a predicted and a true label map, and bring both to train ids of 8 bits with 255 = ignore.

    Args:
        prediction: integers in [0, num_classes), of any shape; what it says where `labels` is ignored does not matter.
        labels: of the same shape, integers in [0, num_classes) or `ignore_index`.
        num_classes: K, 1 to 255.
        ignore_index: the value in `labels` that no metric speaks of.

    Returns:
        Both as uint8, of the same shape, 255 at ignored pixels and nowhere else.

    Raises:
        DataError: if shapes differ, a map holds no integers, or a value lies outside.
        ConfigError: if `num_classes` is out of range.

    Example:
        >>> to_label_pair(np.array([[0, 1, 9]]), np.array([[1, 1, -1]]), num_classes=2, ignore_index=-1)
        (array([[  0,   1, 255]], dtype=uint8), array([[  1,   1, 255]], dtype=uint8))
    """
    if not 1 <= num_classes <= IGNORE_INDEX:
        raise ConfigError(f"num_classes is {num_classes}; 1 to {IGNORE_INDEX} expected")
    predicted, true = to_array(prediction), to_array(labels)
    if predicted.shape != true.shape:
        raise DataError(
            f"prediction has the shape {predicted.shape} and labels {true.shape}; "
            "one label per pixel in both expected (take the arg max of logits first)"
        )
    for name, values in (("prediction", predicted), ("labels", true)):
        if values.dtype.kind not in "iu":
            raise DataError(f"{name} holds {values.dtype}; integer class numbers expected")
    void = true == ignore_index
    ids = []
    for name, values in (("prediction", predicted), ("labels", true)):
        wrong = values >= num_classes
        if values.dtype.kind == "i":
            wrong |= values < 0
        wrong &= ~void
        if wrong.any():
            raise DataError(
                f"{name} holds {_listed(values[wrong])}; 0 to {num_classes - 1} expected"
                + ("" if name == "prediction" else f", or {ignore_index} to ignore")
            )
        as_bytes = values.astype(np.uint8)  # always a copy: what was handed in stays as it was
        np.copyto(as_bytes, np.uint8(IGNORE_INDEX), where=void)
        ids.append(as_bytes)
    return ids[0], ids[1]


def _listed(wrong: npt.NDArray[Any], at_most: int = 5) -> str:
    """Name wrong values with their counts."""
    values, counts = np.unique(wrong, return_counts=True)
    named = [f"{value} ({count} pixels)" for value, count in zip(values, counts, strict=True)]
    more = f" and {len(named) - at_most} other values" if len(named) > at_most else ""
    return ", ".join(named[:at_most]) + more
