"""What gates do over a set of images: how far they are open, where, and what becomes wrong without them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.explanation.looks import Ids, Look
from crispseg.labels import IGNORE_INDEX
from crispseg.pictures.arrays import enlarge
from crispseg.pictures.plots import Plot, gate_plot

__all__ = ["BINS", "NEAR_PX", "GateStatistics"]

BINS = 25
NEAR_PX = 3
"""How far from an outline a pixel counts as near it."""


@dataclass
class _Sums:
    """Of one gate."""

    title: str
    cells: int = 0
    total: float = 0.0
    squares: float = 0.0
    above_half: int = 0
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    near: list[float] = field(default_factory=lambda: [0.0, 0.0])  # sum over pixels, number of pixels
    far: list[float] = field(default_factory=lambda: [0.0, 0.0])
    closed: list[int] = field(default_factory=lambda: [0, 0, 0, 0, 0])  # pixels, changed, judged, wrong now, right now


class GateStatistics:
    """Sums over images; constant in memory.

    Attributes:
        images: how many were added.
    """

    def __init__(self) -> None:
        self.images = 0
        self._gates: dict[str, _Sums] = {}

    def add(self, look: Look, labels: Ids | None = None) -> None:
        """Add an image.

        Args:
            look: at it.
            labels: (H, W) true train ids or 255; None: unknown. Outlines are those of the labels, or of the prediction.
        """
        self.images += 1
        predicted = look.prediction.labels
        near = _near_outlines(predicted if labels is None else labels)
        for name in look.shown.of_kind("gate"):
            sums = self._gates.setdefault(name, _Sums(look.shown.map_info[name].title))
            values = look.maps[name]
            sums.cells += values.size
            sums.total += float(values.sum(dtype=np.float64))
            sums.squares += float(np.square(values, dtype=np.float64).sum())
            sums.above_half += int((values > 0.5).sum())
            sums.counts += np.histogram(values.clip(0, 1), BINS, (0, 1))[0]
            large = enlarge(np.ascontiguousarray(values.mean(axis=0)), near.shape)
            for where, kept in ((near, sums.near), (~near, sums.far)):
                kept[0] += float(large[where].sum(dtype=np.float64))
                kept[1] += int(where.sum())
            if name in look.without:
                sums.closed = [
                    a + b for a, b in zip(sums.closed, _changes(predicted, look.without[name], labels), strict=True)
                ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: shares in [0, 1], None where nobody knows."""
        return {
            "images": self.images,
            "near_px": NEAR_PX,
            "gates": {name: _values(sums) for name, sums in self._gates.items()},
        }

    def plot(self) -> Plot:
        """How far the gates are open, and what changes without each."""
        return gate_plot(
            {
                sums.title: (sums.counts / max(sums.cells, 1), _values(sums)["mean"], _changed(sums))
                for sums in self._gates.values()
            }
        )


def _changed(sums: _Sums) -> float | None:
    return None if not sums.closed[0] else sums.closed[1] / sums.closed[0]


def _values(sums: _Sums) -> dict[str, Any]:
    mean = sums.total / max(sums.cells, 1)
    _, _, judged, wrong_now, right_now = sums.closed
    return {
        "title": sums.title,
        "mean": mean,
        "deviation": max(sums.squares / max(sums.cells, 1) - mean**2, 0.0) ** 0.5,
        "above_half": sums.above_half / max(sums.cells, 1),
        "mean_near_outlines": _ratio(*sums.near),
        "mean_elsewhere": _ratio(*sums.far),
        "closed": {
            "changes": _changed(sums),
            "becomes_wrong": _ratio(wrong_now, judged),
            "becomes_right": _ratio(right_now, judged),
        },
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _changes(before: Ids, after: Ids, labels: Ids | None) -> list[int]:
    changed = int((before != after).sum())
    if labels is None:
        return [before.size, changed, 0, 0, 0]
    judged = labels != IGNORE_INDEX
    wrong_now = judged & (before == labels) & (after != labels)
    right_now = judged & (before != labels) & (after == labels)
    return [before.size, changed, int(judged.sum()), int(wrong_now.sum()), int(right_now.sum())]


def _near_outlines(labels: Ids) -> npt.NDArray[np.bool_]:
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR_PX + 1, 2 * NEAR_PX + 1))
    near: npt.NDArray[np.bool_] = cv2.dilate(labels, disk) != cv2.erode(labels, disk)
    return near
