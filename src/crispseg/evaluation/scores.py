"""The scores of a set, as a value: for tables, files and comparisons."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

from crispseg.metrics.functional.arrays import Absent, mean_of_known
from crispseg.metrics.table import DEFINITIONS, TABLES, ByClass, ByRadius, SetScores
from crispseg.notebooks import html_table
from crispseg.wording import markdown_cell

__all__ = ["Scores", "format_percent", "markdown_table", "mean_of"]


@dataclass(frozen=True, eq=False)
class Scores(SetScores):
    """The scores of a set; what each is, see `SetScores`.

    Attributes:
        absent: which boundary F the tables show: that of ``"skip"``, ``boundary_f``, or that of ``"one"``,
            ``boundary_f_absent_one``, the papers'. Both are held.

    Two are equal if all their values are, NaN being equal to NaN.
    """

    absent: Absent = "skip"

    averaging: ClassVar[Mapping[str, str]] = MappingProxyType(
        {name: definition.averaging for name, definition in DEFINITIONS.items()}
        | {f"mean_{name}": entry.averaging_of_mean for name, entry in DEFINITIONS.items() if entry.by is not None}
    )
    """How each score is averaged; part of every file."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scores):
            return NotImplemented
        return all(_same(getattr(self, entry.name), getattr(other, entry.name)) for entry in fields(self))

    __hash__ = None  # type: ignore[assignment]  # its mappings can be changed

    @property
    def mean_iou(self) -> float:
        """Mean over the classes of the IoU over the whole set."""
        return mean_of(self.iou)

    @property
    def mean_boundary_f(self) -> dict[float, float]:
        """By radius in pixels: mean over the classes of their mean over the images."""
        return _means(self.boundary_f)

    @property
    def shown_boundary_f(self) -> str:
        """Which of the two boundary F is shown: the name of its field."""
        return "boundary_f" if self.absent == "skip" else "boundary_f_absent_one"

    @property
    def mean_shown_boundary_f(self) -> dict[float, float]:
        """By radius in pixels: the mean over the classes of the one that is shown."""
        return _means(getattr(self, self.shown_boundary_f))

    @property
    def mean_distance_iou(self) -> dict[float, float]:
        """By crop factor in pixels: mean over the classes of the IoU over the whole set, GSCNN's mIoU at distance."""
        return _means(self.distance_iou)

    def summary_dict(self) -> dict[str, Any]:
        """The main scores alone, in the form of `to_dict`: IoU, pixel accuracy and boundary F, for cards and logs.

        The papers' boundary F is there if it is the one that is shown.

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
        if self.absent == "one":
            values["mean_boundary_f_absent_one"] = _plain_by_radius(self.mean_shown_boundary_f)
        left_out = [name for name in values if name != "images" and not self.is_chosen(name.removeprefix("mean_"))]
        values = {name: value for name, value in values.items() if name not in left_out}
        return values | {"averaging": {name: rule for name, rule in self.averaging.items() if name in values}}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON; a score that does not exist is None, radii are strings.

        Besides each score by class there is its mean over the classes that have one, under ``mean_…``. What was not
        scored, such as categories where the label table has none, is left out.
        """
        values = self.summary_dict() | {"skipped": self.skipped}
        if self.is_chosen("frequency_weighted_iou"):
            values["frequency_weighted_iou"] = _plain(self.frequency_weighted_iou)
        for name, definition in DEFINITIONS.items():
            scores = getattr(self, name)
            if name in values or definition.by is None or not scores:
                continue
            if definition.by in ("radius", "crop"):
                values[f"mean_{name}"] = _plain_by_radius(_means(scores))
                values[name] = {_radius(r): _plain_by_class(by_class) for r, by_class in scores.items()}
            else:
                values |= {f"mean_{name}": _plain(mean_of(scores)), name: _plain_by_class(scores)}
        return values | {"averaging": {name: rule for name, rule in self.averaging.items() if name in values}}

    def to_json(self) -> str:
        """The same as JSON, without NaN, which JSON does not know."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def table_rows(self) -> list[list[str]]:
        """The main scores as cells: a heading, the mean, then one row per class.

        Main are IoU, iIoU and boundary F; where scores were chosen, all of those by class and radius.

        Returns:
            Rows of equal length; shares in per cent with one digit, "–" for a score that does not exist. None if there
            is nothing to show.

        Example:
            >>> scores = Scores({"sky": 0.9, "pole": 0.25}, 0.875, {1: {"sky": 0.5, "pole": float("nan")}}, images=2)
            >>> scores.table_rows()
            [['class', 'IoU', 'F 1 px'], ['mean', '57.5', '50.0'], ['sky', '90.0', '50.0'], ['pole', '25.0', '–']]
        """
        columns = self.main_columns()
        return _rows("class", columns) if columns else []

    def main_columns(self) -> dict[str, ByClass]:
        """What `table_rows` shows, by heading."""
        return self._columns([name for name in self._main if getattr(self, name)])

    def category_rows(self) -> list[list[str]]:
        """IoU and, where it is scored, iIoU of the categories, like `table_rows`; empty where there are none."""
        names = [name for name in ("category_iou", "category_iiou") if getattr(self, name)]
        return _rows("category", self._columns(names)) if names else []

    def distance_rows(self) -> list[list[str]]:
        """IoU inside each crop, like `table_rows`; empty where it is not scored."""
        return _rows("class", self._columns(["distance_iou"])) if self.distance_iou else []

    def detail_tables(self) -> dict[str, list[list[str]]]:
        """The scores that `table_rows` leaves out, as tables of the same form by title; empty where there are none."""
        tables = {}
        for title in TABLES:
            names = [name for name, entry in DEFINITIONS.items() if entry.table == title and getattr(self, name)]
            own = [name for name in names if name not in self._main]
            if own:  # the main table's own score comes last, as in precision, recall and F
                ordered = [*own, *(name for name in names if name in self._main)]
                first = "category" if DEFINITIONS[own[0]].by == "category" else "class"
                tables[title] = _rows(first, self._columns(ordered))
        return tables

    def _columns(self, names: Sequence[str]) -> dict[str, ByClass]:
        """Scores by class under their headings, then those by radius, radius by radius."""
        columns: dict[str, ByClass] = {}
        of_radius: dict[float, dict[str, ByClass]] = {}
        for name in names:
            definition, scores = DEFINITIONS[name], getattr(self, name)
            if definition.by in ("class", "category"):
                columns[definition.heading] = scores
                continue
            for key, by_class in scores.items():
                unit = " px" if definition.by == "radius" else ""
                of_radius.setdefault(key, {})[f"{definition.heading} {_radius(key)}{unit}"] = by_class
        for by_heading in of_radius.values():
            columns |= by_heading
        return columns

    def summary(self) -> str:
        """One line: images, skipped ones, and the scores that have one value for the set."""
        parts = [f"{self.images} image{'s' * (self.images != 1)}"]
        if self.is_chosen("pixel_accuracy"):
            parts.append(f"{format_percent(self.pixel_accuracy)} % of the pixels right")
        if self.skipped:
            parts.append(f"{self.skipped} skipped")
        means = {
            "class accuracy": mean_of(self.class_accuracy),
            "frequency-weighted IoU": self.frequency_weighted_iou,
            "Boundary IoU": mean_of(self.boundary_iou),
            "category IoU": mean_of(self.category_iou),
            "iIoU": mean_of(self.iiou),
            "category iIoU": mean_of(self.category_iiou),
        }
        parts += [f"{name} {format_percent(share)}" for name, share in means.items() if not math.isnan(share)]
        return ", ".join(parts)

    def rules(self) -> str:
        """How the scores of `table_rows` are averaged, a sentence each."""
        shown = {"iou": "IoU", "iiou": "iIoU", self.shown_boundary_f: "Boundary F"}
        names = [name for name in self._main if getattr(self, name)]
        return "".join(f" {shown.get(name, DEFINITIONS[name].heading)}: {self.averaging[name]}." for name in names)

    def _repr_html_(self) -> str:
        """The main table, for notebooks."""
        return html_table(self.table_rows(), "Scores", f"{self.summary()}. In per cent.{self.rules()}")

    def to_markdown(self) -> str:
        """Tables for documents, with the averaging rules below them."""
        details = "".join(f"{title}:\n\n{markdown_table(rows)}\n" for title, rows in self.detail_tables().items())
        main = f"{markdown_table(rows)}\n" if (rows := self.table_rows()) else ""
        return f"{main}{details}{self.summary()}. In per cent.{self.rules()}\n"

    @property
    def _main(self) -> tuple[str, ...]:
        """What stands in the table above all others."""
        main = ("iou", "iiou", self.shown_boundary_f)
        if self.chosen is None:
            return main
        by_class = [name for name in self.chosen if DEFINITIONS[name].by in ("class", "radius")]
        return tuple(self.shown_boundary_f if name == "boundary_f" else name for name in by_class)


def markdown_table(rows: list[list[str]]) -> str:
    r"""Cells as a Markdown table: the first row is the heading, the first column stands left, the others right.

    Example:
        >>> print(markdown_table([["class", "IoU"], ["a|b", "50.0"]]), end="")
        | class | IoU |
        | --- | ---: |
        | a\|b | 50.0 |
    """
    head, *rest = [list(map(markdown_cell, row)) for row in rows]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rest]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def format_percent(share: float) -> str:
    """A share in per cent with one digit, "–" for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    return bool(one == other) or (one != one and other != other)  # NaN differs from itself


def _rows(first: str, columns: Mapping[str, ByClass]) -> list[list[str]]:
    names = next(iter(columns.values()))
    return [
        [first, *columns],
        ["mean", *(format_percent(mean_of(by_class)) for by_class in columns.values())],
        *([name, *(format_percent(by_class[name]) for by_class in columns.values())] for name in names),
    ]


def mean_of(by_class: ByClass) -> float:
    """The mean over the classes that have a score."""
    return mean_of_known(by_class.values())


def _means(by_radius: ByRadius) -> dict[float, float]:
    return {radius: mean_of(by_class) for radius, by_class in by_radius.items()}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _plain_by_class(by_class: ByClass) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in by_class.items()}


def _plain_by_radius(by_radius: Mapping[float, float]) -> dict[str, float | None]:
    return {_radius(radius): _plain(value) for radius, value in by_radius.items()}


def _radius(radius: float) -> str:
    return f"{radius:g}"
