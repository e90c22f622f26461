"""The scores of a set, as a value: for tables, files and comparisons."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["Scores"]


@dataclass(frozen=True)
class Scores:
    """What a predictor scores on a set; all shares in [0, 1].

    Attributes:
        iou: by class name, from the pixel counts of the whole set; NaN for a class that is neither shown nor predicted.
        pixel_accuracy: share of the labelled pixels that are right; NaN if there is none.
        boundary_f: by radius in pixels and class name, the mean over the images; NaN for a class that no image shows.
        images: how many there were.
    """

    iou: Mapping[str, float]
    pixel_accuracy: float
    boundary_f: Mapping[float, Mapping[str, float]]
    images: int

    averaging: ClassVar[Mapping[str, str]] = {
        "iou": "pixels counted over the whole set",
        "mean_iou": "mean over the classes of the IoU over the whole set; absent classes skipped",
        "pixel_accuracy": "pixels counted over the whole set",
        "boundary_f": "mean over images, absent classes skipped",
        "mean_boundary_f": "mean over the classes of the mean over images; absent classes skipped",
    }
    """How each score is averaged; part of every file."""

    @property
    def mean_iou(self) -> float:
        """Mean over the classes of the IoU over the whole set."""
        return _mean(self.iou)

    @property
    def mean_boundary_f(self) -> dict[float, float]:
        """By radius in pixels: mean over the classes of their mean over the images."""
        return {radius: _mean(by_class) for radius, by_class in self.boundary_f.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON; a score that does not exist is None, radii are strings."""
        return {
            "images": self.images,
            "mean_iou": _plain(self.mean_iou),
            "pixel_accuracy": _plain(self.pixel_accuracy),
            "mean_boundary_f": {_radius(r): _plain(value) for r, value in self.mean_boundary_f.items()},
            "iou": {name: _plain(value) for name, value in self.iou.items()},
            "boundary_f": {
                _radius(r): {name: _plain(value) for name, value in by_class.items()}
                for r, by_class in self.boundary_f.items()
            },
            "averaging": dict(self.averaging),
        }

    def to_json(self) -> str:
        """The same as JSON, without NaN, which JSON does not know."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def table_rows(self) -> list[list[str]]:
        """The scores as cells: a heading, the mean, then one row per class.

        Returns:
            Rows of equal length; shares in per cent with one digit, "–" for a score that does not exist.

        Example:
            >>> scores = Scores({"sky": 0.9, "pole": 0.25}, 0.875, {1: {"sky": 0.5, "pole": float("nan")}}, images=2)
            >>> scores.table_rows()
            [['class', 'IoU', 'F 1 px'], ['mean', '57.5', '50.0'], ['sky', '90.0', '50.0'], ['pole', '25.0', '–']]
        """
        radii = list(self.boundary_f)
        means = self.mean_boundary_f
        return [
            ["class", "IoU", *(f"F {_radius(radius)} px" for radius in radii)],
            ["mean", _percent(self.mean_iou), *(_percent(means[radius]) for radius in radii)],
            *(
                [name, _percent(iou), *(_percent(self.boundary_f[radius][name]) for radius in radii)]
                for name, iou in self.iou.items()
            ),
        ]

    def to_markdown(self) -> str:
        """A table for documents, with the averaging rules below it."""
        head, *rows = self.table_rows()
        lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
        lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return (
            f"{table}\n\n{self.images} images, {_percent(self.pixel_accuracy)} % of the pixels right. In per cent. "
            f"IoU: {self.averaging['iou']}. Boundary F: {self.averaging['boundary_f']}.\n"
        )


def _mean(values: Mapping[str, float]) -> float:
    known = [value for value in values.values() if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _radius(radius: float) -> str:
    return f"{radius:g}"
