"""The scores of a set, as a value: for tables, files and comparisons."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

__all__ = ["Scores", "format_percent", "markdown_table"]

ByClass = Mapping[str, float]
ByRadius = Mapping[float, ByClass]


@dataclass(frozen=True, eq=False)
class Scores:
    """What is scored on a set; all shares in [0, 1], NaN for a score that does not exist.

    Two are equal if all their values are, NaN being equal to NaN.

    Attributes:
        iou: by class name, from the pixel counts of the whole set; NaN for a class that is neither shown nor predicted.
        pixel_accuracy: share of the labelled pixels that are right.
        boundary_f: by radius in pixels and class name, the mean over the images; NaN for a class that no image shows.
        images: how many there were.
        class_accuracy: by class name, the share of its pixels that are right.
        frequency_weighted_iou: mean of the IoU, weighted with the classes' shares of the labelled pixels.
        category_iou: by category name, confusion within a category being right; empty if the table knows none.
        boundary_precision: likewise, the share of the predicted boundary that is matched, over images that have one.
        boundary_recall: likewise, the share of the true boundary that is matched, over images that have one.
        boundary_f_set: by radius and class name, from the boundary pixels of all images added up.
        boundary_precision_set: likewise.
        boundary_recall_set: likewise.
        boundary_iou: by class name, within 2 % of the diagonal of each mask's contour (Cheng et al., CVPR 2021), from
            the counts of the whole set.
        trimap_iou: by radius and class name, IoU in the band of that radius around the true boundaries.
        skipped: how many images could not be scored and were left out.
        distance_iou: by crop factor in pixels and class name, inside the crops of GSCNN, section 4; empty if not
            asked for.
        iiou: by class name, instance-weighted by the rules of the Cityscapes evaluation, NaN for classes without
            instances; empty if there were no instance files.
        category_iiou: likewise by category, NaN for categories that hold classes without instances.
    """

    iou: ByClass
    pixel_accuracy: float
    boundary_f: ByRadius
    images: int
    class_accuracy: ByClass = field(default_factory=dict)
    frequency_weighted_iou: float = math.nan
    category_iou: ByClass = field(default_factory=dict)
    boundary_precision: ByRadius = field(default_factory=dict)
    boundary_recall: ByRadius = field(default_factory=dict)
    boundary_f_set: ByRadius = field(default_factory=dict)
    boundary_precision_set: ByRadius = field(default_factory=dict)
    boundary_recall_set: ByRadius = field(default_factory=dict)
    boundary_iou: ByClass = field(default_factory=dict)
    trimap_iou: ByRadius = field(default_factory=dict)
    skipped: int = 0
    distance_iou: ByRadius = field(default_factory=dict)
    iiou: ByClass = field(default_factory=dict)
    category_iiou: ByClass = field(default_factory=dict)

    averaging: ClassVar[Mapping[str, str]] = {
        "iou": "pixels counted over the whole set",
        "mean_iou": "mean over the classes of the IoU over the whole set; absent classes skipped",
        "pixel_accuracy": "pixels counted over the whole set",
        "boundary_f": "mean over images, absent classes skipped",
        "mean_boundary_f": "mean over the classes of the mean over images; absent classes skipped",
        "class_accuracy": "pixels counted over the whole set",
        "frequency_weighted_iou": "IoU over the whole set, weighted with the classes' shares of the labelled pixels",
        "category_iou": "pixels counted over the whole set",
        "boundary_precision": "mean over the images in which the class is predicted",
        "boundary_recall": "mean over the images that show the class",
        "boundary_f_set": "boundary pixels counted over the whole set",
        "boundary_precision_set": "boundary pixels counted over the whole set",
        "boundary_recall_set": "boundary pixels counted over the whole set",
        "boundary_iou": "pixels within 2 % of the diagonal of the masks' contours, counted over the whole set",
        "trimap_iou": "pixels in the band around the true boundaries, counted over the whole set",
        "distance_iou": "pixels inside the crop around the vanishing point, counted over the whole set",
        "iiou": "pixels counted over the whole set, those of an object weighted with average size / its size",
        "category_iiou": "pixels counted over the whole set, those of an object weighted with average size / its size",
    }
    """How each score is averaged; part of every file."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scores):
            return NotImplemented
        return all(_same(getattr(self, entry.name), getattr(other, entry.name)) for entry in fields(self))

    __hash__ = None  # type: ignore[assignment]  # its mappings can be changed

    @property
    def mean_iou(self) -> float:
        """Mean over the classes of the IoU over the whole set."""
        return _mean(self.iou)

    @property
    def mean_boundary_f(self) -> dict[float, float]:
        """By radius in pixels: mean over the classes of their mean over the images."""
        return _means(self.boundary_f)

    @property
    def mean_distance_iou(self) -> dict[float, float]:
        """By crop factor in pixels: mean over the classes of the IoU over the whole set, GSCNN's mIoU at distance."""
        return _means(self.distance_iou)

    def summary_dict(self) -> dict[str, Any]:
        """The main scores alone, in the form of `to_dict`: IoU, pixel accuracy and boundary F, for cards and logs.

        Example:
            >>> scores = Scores({"sky": 0.9, "pole": 0.25}, 0.875, {1: {"sky": 0.5, "pole": float("nan")}}, images=2)
            >>> summary = scores.summary_dict()
            >>> list(summary)
            ['images', 'mean_iou', 'pixel_accuracy', 'mean_boundary_f', 'iou', 'boundary_f', 'averaging']
            >>> summary["boundary_f"]
            {'1': {'sky': 0.5, 'pole': None}}
        """
        values: dict[str, Any] = {
            "images": self.images,
            "mean_iou": _plain(self.mean_iou),
            "pixel_accuracy": _plain(self.pixel_accuracy),
            "mean_boundary_f": _plain_by_radius(self.mean_boundary_f),
            "iou": _plain_by_class(self.iou),
            "boundary_f": {_radius(r): _plain_by_class(by_class) for r, by_class in self.boundary_f.items()},
        }
        return values | {"averaging": {name: rule for name, rule in self.averaging.items() if name in values}}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON; a score that does not exist is None, radii are strings.

        Besides each score by class there is its mean over the classes that have one, under ``mean_…``. What was not
        scored, such as categories where the label table has none, is left out.
        """
        details = [name for name in _DETAILS if getattr(self, name)]
        values = self.summary_dict() | {
            "averaging": {
                name: rule for name, rule in self.averaging.items() if name in details or name not in _DETAILS
            }
            | {f"mean_{name}": _OF_CLASSES + self.averaging[name] for name in details},
            "skipped": self.skipped,
            "frequency_weighted_iou": _plain(self.frequency_weighted_iou),
        }
        for name in details:
            scores = getattr(self, name)
            if name in _BY_CLASS:
                values |= {f"mean_{name}": _plain(_mean(scores)), name: _plain_by_class(scores)}
            else:
                values[f"mean_{name}"] = _plain_by_radius(_means(scores))
                values[name] = {_radius(r): _plain_by_class(by_class) for r, by_class in scores.items()}
        return values

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
        columns = {"IoU": self.iou, **_columns("F", self.boundary_f)}
        if self.iiou:
            columns = {"IoU": self.iou, "iIoU": self.iiou} | columns
        return _rows("class", columns)

    def category_rows(self) -> list[list[str]]:
        """IoU and, where it is scored, iIoU of the categories, like `table_rows`; empty where there are none."""
        instances = {"iIoU": self.category_iiou} if self.category_iiou else {}
        return _rows("category", {"IoU": self.category_iou, **instances}) if self.category_iou else []

    def distance_rows(self) -> list[list[str]]:
        """IoU inside each crop, like `table_rows`; empty where it is not scored."""
        columns = {f"crop {_radius(factor)}": by_class for factor, by_class in self.distance_iou.items()}
        return _rows("class", columns) if columns else []

    def detail_tables(self) -> dict[str, list[list[str]]]:
        """The scores that `table_rows` leaves out, as tables of the same form by title; empty where there are none."""
        tables = {}
        if self.class_accuracy:
            columns = {
                "accuracy": self.class_accuracy,
                "Boundary IoU": self.boundary_iou,
                **_columns("trimap IoU", self.trimap_iou),
            }
            tables["Accuracy, Boundary IoU and trimap IoU, counted over the whole set"] = _rows("class", columns)
        for suffix, rule in (("", "mean over images"), ("_set", "counted over the whole set")):
            rates = {"P": f"boundary_precision{suffix}", "R": f"boundary_recall{suffix}", "F": f"boundary_f{suffix}"}
            if self.class_accuracy:
                columns = {
                    heading: by_class
                    for radius in self.boundary_f
                    for letter, name in rates.items()
                    for heading, by_class in _columns(letter, {radius: getattr(self, name)[radius]}).items()
                }
                tables[f"Precision, recall and F of the boundaries, {rule}"] = _rows("class", columns)
        if self.category_iou:
            tables["IoU of the categories, counted over the whole set"] = self.category_rows()
        if self.distance_iou:
            tables["IoU at distance by crop factor in pixels, counted over the whole set"] = self.distance_rows()
        return tables

    def summary(self) -> str:
        """One line: images, skipped ones, and the scores that have one value for the set."""
        parts = [f"{self.images} images, {format_percent(self.pixel_accuracy)} % of the pixels right"]
        if self.skipped:
            parts.append(f"{self.skipped} skipped")
        if self.class_accuracy:
            parts.append(f"class accuracy {format_percent(_mean(self.class_accuracy))}")
            parts.append(f"frequency-weighted IoU {format_percent(self.frequency_weighted_iou)}")
            parts.append(f"Boundary IoU {format_percent(_mean(self.boundary_iou))}")
        if self.category_iou:
            parts.append(f"category IoU {format_percent(_mean(self.category_iou))}")
        if self.iiou:
            parts.append(f"iIoU {format_percent(_mean(self.iiou))}")
            parts.append(f"category iIoU {format_percent(_mean(self.category_iiou))}")
        return ", ".join(parts)

    def to_markdown(self) -> str:
        """Tables for documents, with the averaging rules below them."""
        details = "".join(f"{title}:\n\n{markdown_table(rows)}\n" for title, rows in self.detail_tables().items())
        return (
            f"{markdown_table(self.table_rows())}\n{details}"
            f"{self.summary()}. In per cent. "
            f"IoU: {self.averaging['iou']}. Boundary F: {self.averaging['boundary_f']}.\n"
        )


_BY_CLASS = ("class_accuracy", "category_iou", "boundary_iou", "iiou", "category_iiou")
_RATES = ("boundary_precision", "boundary_recall")
_DETAILS = (*_BY_CLASS, *_RATES, *(f"{rate}_set" for rate in ("boundary_f", *_RATES)), "trimap_iou", "distance_iou")
_OF_CLASSES = "mean over the classes, absent ones skipped; "


def markdown_table(rows: list[list[str]]) -> str:
    r"""Cells as a Markdown table: the first row is the heading, the first column stands left, the others right.

    Example:
        >>> print(markdown_table([["class", "IoU"], ["a|b", "50.0"]]), end="")
        | class | IoU |
        | --- | ---: |
        | a\|b | 50.0 |
    """
    head, *rest = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rest]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def format_percent(share: float) -> str:
    """A share in per cent with one digit, "–" for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    return bool(one == other) or (one != one and other != other)  # NaN differs from itself


def _columns(letter: str, by_radius: ByRadius) -> dict[str, ByClass]:
    return {f"{letter} {_radius(radius)} px": by_class for radius, by_class in by_radius.items()}


def _rows(first: str, columns: Mapping[str, ByClass]) -> list[list[str]]:
    names = next(iter(columns.values()))
    return [
        [first, *columns],
        ["mean", *(format_percent(_mean(by_class)) for by_class in columns.values())],
        *([name, *(format_percent(by_class[name]) for by_class in columns.values())] for name in names),
    ]


def _mean(values: ByClass) -> float:
    known = [value for value in values.values() if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _means(by_radius: ByRadius) -> dict[float, float]:
    return {radius: _mean(by_class) for radius, by_class in by_radius.items()}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _plain_by_class(by_class: ByClass) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in by_class.items()}


def _plain_by_radius(by_radius: Mapping[float, float]) -> dict[str, float | None]:
    return {_radius(radius): _plain(value) for radius, value in by_radius.items()}


def _radius(radius: float) -> str:
    return f"{radius:g}"
