"""The page of an evaluation: one HTML file with its drawings and pictures inside, that needs nothing from outside.

`render_report` turns scores into the values that ``evaluation.html.j2`` shows; the template escapes all of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crispseg import pictures
from crispseg.evaluation.engine import Example
from crispseg.evaluation.scores import Scores, format_percent, mean_of
from crispseg.evaluation.scoring import Evaluation
from crispseg.evaluation.totals import Totals
from crispseg.io import atomic_write
from crispseg.labels import LabelSpace
from crispseg.metrics.table import DEFINITIONS
from crispseg.pages.base import bar_values, class_colours, fitted, line_chart, panel_values, render_page

__all__ = ["render_report", "write_pages"]

_PROBLEMS_SHOWN = 100
_NUMBERS_UP_TO = 30  # classes whose confusion has room for numbers


def write_pages(evaluation: Evaluation, folder: str | os.PathLike[str], all_images: str | None = None) -> None:
    """Write ``report.html``, and ``scores.md`` with the same tables, into a folder.

    Args:
        evaluation: of a set.
        folder: for the files.
        all_images: the address of the page of all images, which the report leads to; None: there is none.
    """
    pages = {"report.html": render_report(evaluation, all_images), "scores.md": evaluation.scores.to_markdown()}
    for name, text in pages.items():
        with atomic_write(Path(folder) / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def render_report(evaluation: Evaluation, all_images: str | None = None) -> str:
    """Make the page: scores, confusion, the worst images, and what was left out.

    Args:
        evaluation: of a set; the worst images are read, or predicted, anew.
        all_images: the address of the page of all images, or None.

    Returns:
        A whole HTML document.
    """
    scores, totals, problems = evaluation.scores, evaluation.totals, evaluation.problems
    examples = [(name, iou, evaluation.images.example(name)) for name, iou in totals.worst()]
    space = totals.settings.label_space
    columns, classes = _columns(scores), class_colours(space)
    return render_page(
        "evaluation.html.j2",
        summary=scores.summary(),
        all_images=all_images,
        tiles=_tiles(scores),
        headings=list(columns),
        rows=[
            {**entry, "cells": [bar_values(by_class[entry["name"]]) for by_class in columns.values()]}
            for entry in classes
        ],
        means=[bar_values(mean_of(by_class)) for by_class in columns.values()],
        boundary_curve=line_chart(
            {
                "mean over images": scores.mean_shown_boundary_f,
                "counted over the whole set": {r: mean_of(by_class) for r, by_class in scores.boundary_f_set.items()},
            },
            " px",
        ),
        distance_curve=line_chart({"counted over the whole set": scores.mean_distance_iou}, " px"),
        confusion=_confusion(totals, space),
        classes=classes,
        scenes=[_scene(name, iou, example, space) for name, iou, example in examples],
        details=[(title, rows[0], rows[1:]) for title, rows in scores.detail_tables().items()],
        rules=[
            (name.replace("_", " "), entry.averaging) for name, entry in DEFINITIONS.items() if _is_scored(scores, name)
        ],
        facts=_facts(totals.settings.source, space),
        problems=[(problem.where, f"{problem.kind}: {problem.detail}") for problem in problems[:_PROBLEMS_SHOWN]],
        more_problems=max(0, len(problems) - _PROBLEMS_SHOWN),
    )


def _tiles(scores: Scores) -> list[dict[str, str]]:
    of_boundary = scores.mean_shown_boundary_f
    radii = _first_and_last(list(of_boundary))
    shares = {
        "mean IoU": scores.mean_iou,
        **{f"boundary F within {radius:g} px": of_boundary[radius] for radius in radii},
        "Boundary IoU": mean_of(scores.boundary_iou),
        "category IoU": mean_of(scores.category_iou),
        "iIoU": mean_of(scores.iiou),
        "category iIoU": mean_of(scores.category_iiou),
        "class accuracy": mean_of(scores.class_accuracy),
        "pixels right": scores.pixel_accuracy,
    }
    known = {name: share for name, share in shares.items() if not math.isnan(share)}
    return [{"name": name, "value": format_percent(share), "unit": "%"} for name, share in known.items()]


def _columns(scores: Scores) -> dict[str, Mapping[str, float]]:
    """What the table of bars shows, by its heading."""
    if scores.chosen is not None:
        return scores.main_columns()
    of_boundary = getattr(scores, scores.shown_boundary_f)
    radii = _first_and_last(list(of_boundary))
    of_instances = {"iIoU": scores.iiou} if scores.iiou else {}
    of_boundaries = {f"boundary F within {radius:g} px": of_boundary[radius] for radius in radii}
    return {"IoU": scores.iou, **of_instances, **of_boundaries}


def _confusion(totals: Totals, space: LabelSpace) -> dict[str, Any]:
    """The confusion as an SVG grid: each row is what became of a class's pixels, in per cent."""
    table = totals.confusion if totals.confusion[:, -1].any() else totals.confusion[:, :-1]
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    columns = [*space.class_names, "(none)"][: table.shape[1]]
    numbers = len(columns) <= _NUMBERS_UP_TO
    step = 34 if numbers else 12
    margin = 9 + 7 * max(map(len, columns))
    return {
        "width": margin + step * len(columns) + 8,
        "height": margin + step * len(table) + 8,
        "margin": margin,
        "step": step,
        "size": min(13, step),
        "rows": [{"name": name, "y": margin + step * i} for i, name in enumerate(space.class_names)],
        "columns": [{"name": name, "x": margin + step * i} for i, name in enumerate(columns)],
        "cells": [
            {
                "x": margin + step * column,
                "y": margin + step * row,
                "opacity": f"{shares[row, column]:.3f}",
                "dark": shares[row, column] > 0.6,
                "text": f"{100 * shares[row, column]:.0f}" if numbers and shares[row, column] >= 0.005 else "",
                "title": f"{space.class_names[row]} → {columns[column]}: {100 * shares[row, column]:.2f} %, "
                f"{table[row, column]} pixels",
            }
            for row, column in zip(*np.nonzero(table), strict=True)
        ],
    }


def _scene(name: str, iou: float, example: Example, space: LabelSpace) -> dict[str, Any]:
    drawn = {} if example.image is None else {"image": example.image}
    drawn |= {
        "labels": pictures.colourise(example.labels, space.palette),
        "prediction": pictures.colourise(example.prediction, space.palette),
        "errors": pictures.error_map(example.prediction, example.labels),
    }
    panels = [
        panel_values(fitted(picture, smooth=caption in ("image", "errors")), caption, photo=caption == "image")
        for caption, picture in drawn.items()
    ]
    return {"name": name, "note": f"mean IoU of its classes {format_percent(iou)} %", "panels": panels, "maps": []}


def _is_scored(scores: Scores, name: str) -> bool:
    value = getattr(scores, name)
    return not math.isnan(value) if isinstance(value, float) else bool(value)


def _facts(source: Mapping[str, Any], space: LabelSpace) -> list[tuple[str, str]]:
    facts = {"label table": f"{space.name}, {space.num_classes} classes", **source}
    return [(str(name).replace("_", " "), str(value)) for name, value in facts.items() if value is not None]


def _first_and_last(radii: Sequence[float]) -> list[float]:
    """The smallest and the largest radius: what all others lie between."""
    return sorted({min(radii), max(radii)}) if radii else []
