"""The differences between runs and their intervals, as values: for tables and files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crispseg.evaluation.scores import format_percent, markdown_table
from crispseg.metrics.functional.arrays import Absent
from crispseg.metrics.table import DEFINITIONS
from crispseg.notebooks import html_table

__all__ = ["BOUNDARY_F_BY_RULE", "Comparison", "Difference"]

BOUNDARY_F_BY_RULE: dict[Absent, str] = {"skip": "boundary_f", "one": "boundary_f_absent_one"}
"""Which boundary F is compared under each rule for classes that an image lacks."""

_FEW = 10  # groups: below it, percentiles of so few draws cover visibly less than 95 %


@dataclass(frozen=True)
class Difference:
    """How far a run is from the first one in one score; shares in [0, 1], NaN for a score that does not exist.

    Attributes:
        run: the run that is compared with the first.
        score: ``"IoU"``, ``"boundary F"`` or ``"IoU at distance"``.
        radius_px: of the boundary F; None for others.
        crop_factor_px: of the IoU at distance; None for others.
        class_name: None for the mean over the classes.
        first: what the first run scores.
        value: what this run scores.
        low: the lower end of the interval of `difference`.
        high: its upper end.
    """

    run: str
    score: str
    radius_px: float | None
    crop_factor_px: int | None
    class_name: str | None
    first: float
    value: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """`value` − `first`."""
        return self.value - self.first

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what does not exist is None."""
        shares = {
            name: None if math.isnan(value) else value
            for name in ("first", "value", "difference", "low", "high")
            for value in (getattr(self, name),)
        }
        names = {"run": self.run, "score": self.score, "class": self.class_name}
        of = {"radius_px": self.radius_px, "crop_factor_px": self.crop_factor_px}
        return {**names, **of, **shares, "excludes_zero": self.excludes_zero}


@dataclass(frozen=True)
class Comparison:
    """Runs against the first of them.

    Attributes:
        runs: their names, the first being the one that the others are compared with.
        images: how many images all of them scored.
        left_out: how many others some of them scored.
        resamples: of the bootstrap.
        seed: of its draws.
        groups: how many groups of images were drawn from; None: single images were drawn.
        absent: the rule of the boundary F: classes that an image lacks are skipped, or count 1, as in the papers.
        differences: for each run but the first: IoU, then boundary F by radius, then IoU at distance by crop factor, if
            all runs have it for the same crops; each the mean first, then the classes.
    """

    runs: tuple[str, ...]
    images: int
    left_out: int
    resamples: int
    seed: int
    groups: int | None
    absent: Absent
    differences: tuple[Difference, ...]

    def mean_iou_at_distance(self) -> dict[str, dict[float, float]]:
        """By run and crop factor: mean IoU inside the crop; empty where not all runs have the same crops."""
        return self._means(lambda entry: entry.crop_factor_px)

    def mean_boundary_f(self) -> dict[str, dict[float, float]]:
        """By run and radius: mean boundary F; empty where it was not compared."""
        return self._means(lambda entry: entry.radius_px)

    def _means(self, place: Callable[[Difference], float | None]) -> dict[str, dict[float, float]]:
        """By run and place: the means over classes of what has such a place."""
        values: dict[str, dict[float, float]] = {}
        for entry in self.differences:
            at = place(entry)
            if at is not None and entry.class_name is None:
                for run, share in ((self.runs[0], entry.first), (entry.run, entry.value)):
                    values.setdefault(run, {})[at] = share
        return values

    def note(self) -> str:
        """How the intervals were found, for below a table."""
        left_out = f" ({self.left_out} others left out)" if self.left_out else ""
        few = "; with so few groups it is too narrow" if self.groups is not None and self.groups < _FEW else ""
        return (
            f"{self.images} images{left_out}; in per cent; difference to {self.runs[0]}, with the 95 % interval of a "
            f"paired bootstrap over {self._drawn()} ({self.resamples} resamples, seed {self.seed}){few}. "
            f"{self._rules_in_words()}. * the interval excludes 0; where nothing differs, 1 of 20 such intervals does "
            "so by chance."
        )

    def _rules(self) -> dict[str, str]:
        """How each compared score is averaged."""
        rules = {
            "IoU": "pixels counted over the whole set",
            "boundary F": DEFINITIONS[BOUNDARY_F_BY_RULE[self.absent]].averaging,
            "IoU at distance": "pixels inside the crop counted over the whole set",
        }
        compared = {entry.score for entry in self.differences}
        return {score: rule for score, rule in rules.items() if score in compared}

    def _rules_in_words(self) -> str:
        return "; ".join(f"{score}: {rule}" for score, rule in self._rules().items())

    def _drawn(self) -> str:
        return "images" if self.groups is None else f"{self.groups} groups of images"

    def table_rows(self, run: str) -> list[list[str]]:
        """A run's differences as cells: a heading, then one row per score and class."""
        return [
            ["score", "class", self.runs[0], run, "difference", "95 % interval", ""],
            *(_row(entry) for entry in self.differences if entry.run == run),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "runs": list(self.runs),
            "images": self.images,
            "left_out": self.left_out,
            "resamples": self.resamples,
            "seed": self.seed,
            "groups": self.groups,
            "interval": f"95 %, percentiles of a paired bootstrap over {self._drawn()}",
            "averaging": self._rules(),
            "differences": [entry.to_dict() for entry in self.differences],
        }

    def to_json(self) -> str:
        """The same as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _repr_html_(self) -> str:
        """The same as `to_markdown`, for notebooks."""
        *others, last = self.runs[1:]
        tables = [html_table(self.table_rows(run), f"{run} against {self.runs[0]}", first=2) for run in others]
        return "".join(
            (*tables, html_table(self.table_rows(last), f"{last} against {self.runs[0]}", self.note(), first=2))
        )

    def to_markdown(self) -> str:
        """A table per run, and how the intervals were found."""
        tables = "\n".join(markdown_table(self.table_rows(run)) for run in self.runs[1:])
        return f"{tables}\n{self.note()}\n"


def _row(entry: Difference) -> list[str]:
    score = entry.score
    if entry.radius_px is not None:
        score = f"F {entry.radius_px:g} px"
    elif entry.crop_factor_px is not None:
        score = f"IoU crop {entry.crop_factor_px}"
    shares = [format_percent(entry.first), format_percent(entry.value), _signed(entry.difference)]
    interval = "–" if math.isnan(entry.low) else f"{_signed(entry.low)} to {_signed(entry.high)}"
    return [score, entry.class_name or "mean", *shares, interval, "*" if entry.excludes_zero else ""]


def _signed(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:+.2f}".replace("-", "−")
