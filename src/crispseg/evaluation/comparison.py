"""Whether two evaluations of the same images differ by more than the choice of images would explain.

The paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): images are drawn with
replacement, the same ones for every run; all scores are taken anew; and the middle 95 % of the differences are the
interval. Images that resemble each other, such as frames of one drive, can be drawn group by group instead: the cluster
bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). It is vectorised: a
resample is a vector of weights, and all sums are products of matrices, block by block.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation.journal import RecordFile
from crispseg.evaluation.records import Settings
from crispseg.evaluation.scores import format_percent, markdown_table
from crispseg.metrics.counts import SetCounts, Shares
from crispseg.metrics.functional.arrays import Absent
from crispseg.metrics.table import DEFINITIONS, choose_scores
from crispseg.notebooks import html_table

__all__ = ["Comparison", "Difference", "compare"]

_COMPARED = {
    "iou": "IoU",
    "boundary_f": "boundary F",
    "boundary_f_absent_one": "boundary F",
    "distance_iou": "IoU at distance",
}
_CHOOSABLE = ("iou", "boundary_f", "distance_iou")
_BY_RULE: dict[Absent, str] = {"skip": "boundary_f", "one": "boundary_f_absent_one"}
MAX_RESAMPLES = 100_000
"""Their sums are in memory at once: hundreds of megabytes for tables of 150 classes."""

_BLOCK = 64  # images whose weights are in memory at once
_LISTED = 5
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
        values: dict[str, dict[float, float]] = {}
        for entry in self.differences:
            if entry.crop_factor_px is not None and entry.class_name is None:
                for run, share in ((self.runs[0], entry.first), (entry.run, entry.value)):
                    values.setdefault(run, {})[entry.crop_factor_px] = share
        return values

    def mean_boundary_f(self) -> dict[str, dict[float, float]]:
        """By run and radius: mean boundary F; empty where it was not compared."""
        values: dict[str, dict[float, float]] = {}
        for entry in self.differences:
            if entry.radius_px is not None and entry.class_name is None:
                for run, share in ((self.runs[0], entry.first), (entry.run, entry.value)):
                    values.setdefault(run, {})[entry.radius_px] = share
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
            "boundary F": DEFINITIONS[_BY_RULE[self.absent]].averaging,
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


def compare(
    folders: Sequence[str | os.PathLike[str]],
    resamples: int = 2000,
    seed: int = 0,
    *,
    common: bool = False,
    group_by: int | str | None = None,
    absent: Absent = "skip",
    scores: Sequence[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Comparison:
    """Compare evaluations of the same images with the first of them.

    Args:
        folders: two or more that `crispseg.evaluate` or `evaluate_folders` wrote, ``images.jsonl`` above all.
        resamples: how often images are drawn anew; 1 to `MAX_RESAMPLES`.
        seed: of the draws; the same seed gives the same intervals.
        common: whether to compare on the images that all runs scored where they scored different ones.
        group_by: what images are drawn together because they resemble each other: a number N for blocks of N images
            that follow each other by name, or a regular expression, for images in whose names it finds the same, such
            as ``"^[^_]+"`` for what stands before the first underscore; None draws every image by itself.
        absent: which boundary F is compared: that in which an image without the class is skipped, or that in which it
            counts 1, ``"one"``, as in the papers.
        scores: which of iou, boundary_f and distance_iou; None: those that the runs have, which must be the same.
        progress: called with (images done, images in all).

    Returns:
        The differences with their intervals.

    Raises:
        ConfigError: if the runs have other classes, radii or scores, or an argument does not fit.
        DataError: if a run is missing, broken or not whole, the images or their labels differ, or fewer than 2 remain.
    """
    if len(folders) < 2 or not 1 <= resamples <= MAX_RESAMPLES:
        raise ConfigError(
            f"{len(folders)} runs, {resamples} resamples; 2 runs or more and 1 to {MAX_RESAMPLES} resamples expected"
        )
    if absent not in _BY_RULE:
        raise ConfigError(f"absent is {absent!r}; {' or '.join(_BY_RULE)} expected")
    runs = [RecordFile(Path(folder)) for folder in folders]
    names = [os.fspath(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise ConfigError(f"a run is named twice: {', '.join(names)}; compare different ones")
    settings = _common_settings(runs, None if scores is None else choose_scores(scores))
    places = [_places(run) for run in runs]
    chosen, left_out = _common_images(runs, places, common)

    groups = None if group_by is None else _groups(chosen, group_by)
    draws = _weights(len(chosen), resamples, seed) if groups is None else _group_weights(groups, resamples, seed)

    sums: list[SetCounts | None] = [None for _ in runs]
    needed = [name for score in _score_names(settings, absent) for name in DEFINITIONS[score].needs]
    done = 0
    for weights in draws:
        block = chosen[done : done + weights.shape[1]]
        truths: list[npt.NDArray[np.int64]] = []
        for index, (run, at) in enumerate(zip(runs, places, strict=True)):
            counts = [run.read_at(at[name]).counts(settings.label_space.num_classes) for name in block]
            truths.append(np.stack([image.arrays()["confusion"].sum(axis=1) for image in counts]))
            total = SetCounts.stack([image.only(needed) for image in counts]).weighted(weights)
            before = sums[index]
            sums[index] = total if before is None else before + total
            if wrong := np.flatnonzero((truths[0] != truths[-1]).any(axis=1)).tolist():
                raise DataError(
                    f"{block[wrong[0]]}: {runs[0].path} and {run.path} counted other labels; compare runs on the same "
                    "labels"
                )
        done += len(block)
        if progress is not None:
            progress(done, len(chosen))

    first, *others = [_scores(total, settings, absent) for total in sums if total is not None]
    differences = [
        entry
        for run, scores in zip(names[1:], others, strict=True)
        for entry in _differences(run, first, scores, settings)
    ]
    count = None if groups is None else int(groups.max()) + 1
    return Comparison(tuple(names), len(chosen), left_out, resamples, seed, count, absent, tuple(differences))


def _weights(images: int, resamples: int, seed: int) -> Iterator[Shares]:
    """How often each image is drawn, (1 + resamples, images of a block) for one block after the other.

    The first row is the set itself. How many draws fall into a block is drawn first, then which images they are: the
    same as drawing from all images at once, without their weights in memory at once.
    """
    rng = np.random.default_rng(seed)
    sizes = np.diff([*range(0, images, _BLOCK), images])
    draws = rng.multinomial(images, sizes / images, size=resamples)
    for size, of_block in zip(sizes, draws.T, strict=True):
        drawn = rng.multinomial(of_block, np.full(size, 1 / size))
        yield np.vstack((np.ones(size), drawn))


def _groups(names: Sequence[str], group_by: int | str) -> npt.NDArray[np.int64]:
    """Which group, from 0, each of the sorted names belongs to."""
    if isinstance(group_by, int):
        if group_by < 1:
            raise ConfigError(
                f"group_by is {group_by}; blocks of one image at least, or a regular expression, expected"
            )
        found = [str(index // group_by) for index in range(len(names))]
    else:
        found = [_matched(name, group_by) for name in names]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(found))}
    if len(numbers) < 2:
        raise ConfigError(
            f"group_by {group_by!r} puts all {len(names)} images into one group ({found[0]!r}); an interval needs two "
            "at least, better ten"
        )
    return np.array([numbers[group] for group in found])


def _matched(name: str, pattern: str) -> str:
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise ConfigError(f"group_by {pattern!r} is no regular expression: {error}") from error
    if match is None:
        raise ConfigError(f"group_by {pattern!r} finds nothing in the name {name!r}; every image needs a group")
    return match[0]


def _group_weights(groups: npt.NDArray[np.int64], resamples: int, seed: int) -> Iterator[Shares]:
    """`_weights` where whole groups are drawn, as many as there are; a resample's number of images then varies."""
    count = int(groups.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    for start in range(0, len(groups), _BLOCK):
        block = groups[start : start + _BLOCK]
        yield np.vstack((np.ones(len(block)), drawn[:, block]))


def _score_names(settings: Settings, absent: Absent) -> list[str]:
    """What is compared: of `_COMPARED` what both runs have, and of the two boundary F the one that is asked for."""
    asked = [name for name in _CHOOSABLE if settings.scores is None or name in settings.scores]
    return [_BY_RULE[absent] if name == "boundary_f" else name for name in asked if _keys(name, settings)]


def _keys(name: str, settings: Settings) -> Sequence[Any]:
    """The radii or crop factors of a score; a single None where it has none of them."""
    by = DEFINITIONS[name].by
    return settings.radii_px if by == "radius" else settings.crop_factors_px if by == "crop" else (None,)


def _scores(sums: SetCounts, settings: Settings, absent: Absent) -> dict[str, Shares]:
    """Scores (B, 1 + K) by name from sums of B resamples; (B, R, 1 + K) by radius or crop. The mean comes first."""
    scores = {}
    for name in _score_names(settings, absent):
        of_class: Shares = DEFINITIONS[name].of(sums, settings.label_space, "skip")
        known = ~np.isnan(of_class)
        mean = np.nan_to_num(of_class).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
        mean = np.where(known.any(axis=-1), mean, np.nan)
        scores[name] = np.concatenate((mean[..., None], of_class), axis=-1)
    return scores


def _differences(
    run: str, first: dict[str, Shares], scores: dict[str, Shares], settings: Settings
) -> Iterator[Difference]:
    """One entry per score and class; row 0 is the set itself, the others are the resamples."""
    for name, of_run in scores.items():
        definition = DEFINITIONS[name]
        for index, key in enumerate(_keys(name, settings)):
            at = (slice(None),) if key is None else (slice(None), index)
            for column, class_name in enumerate((None, *settings.label_space.class_names)):
                ours, theirs = of_run[at][:, column], first[name][at][:, column]
                drawn = (ours - theirs)[1:]
                drawn = drawn[~np.isnan(drawn)]  # a class that only few images show is missing from some resamples
                low, high = np.percentile(drawn, (2.5, 97.5)) if drawn.size else (math.nan, math.nan)
                yield Difference(
                    run,
                    _COMPARED[name],
                    key if definition.by == "radius" else None,
                    key if definition.by == "crop" else None,
                    class_name,
                    *map(float, (theirs[0], ours[0], low, high)),
                )


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


def _common_settings(runs: Sequence[RecordFile], scores: Sequence[str] | None) -> Settings:
    """Those of the first run, with what is compared alone."""
    first = runs[0].settings
    compared = _common_scores(runs, scores)
    for run in runs:
        settings = run.settings
        ours, theirs = settings.label_space, first.label_space
        if ours.class_names != theirs.class_names:
            raise ConfigError(
                f"{run.path}: classes of {ours.name!r} ({', '.join(ours.class_names)}), but {runs[0].path} has those "
                f"of {theirs.name!r} ({', '.join(theirs.class_names)}); compare runs of the same classes"
            )
        if settings.radii_px != first.radii_px and "boundary_f" in compared:
            raise ConfigError(
                f"{run.path}: radii {list(settings.radii_px)}, but {runs[0].path} has {list(first.radii_px)}; evaluate "
                "one of them again with the other's radii"
            )
        if not run.is_whole():
            raise DataError(f"{run.path}: the run was stopped before its end; go on with it by --resume first")
    crops = {(run.settings.crop_factors_px, run.settings.crop_margin_px) for run in runs}
    if "distance_iou" in compared and (len(crops) > 1 or not first.crop_factors_px):
        if scores is not None:
            raise ConfigError(
                "distance_iou is to be compared, but not all runs have it for the same crops; evaluate each of them "
                "with the same --crop-factors"
            )
        compared.remove("distance_iou")
    if not compared:
        raise ConfigError(
            f"the runs have none of the scores that are compared ({', '.join(_CHOOSABLE)}); evaluate with one of them"
        )
    factors = first.crop_factors_px if "distance_iou" in compared else ()
    return replace(first, crop_factors_px=factors, scores=tuple(compared), instances=False)


def _common_scores(runs: Sequence[RecordFile], scores: Sequence[str] | None) -> list[str]:
    """Which of `_CHOOSABLE` are compared."""
    if scores is None:
        for run in runs:
            if run.settings.scores != runs[0].settings.scores:
                has, other = (", ".join(of.settings.scores or ("all scores",)) for of in (run, runs[0]))
                raise ConfigError(
                    f"{run.path}: {has}, but {runs[0].path} has {other}; say which to compare, for instance --scores "
                    "iou, or evaluate one of them again with the other's scores"
                )
        return [name for name in _CHOOSABLE if runs[0].settings.scores is None or name in runs[0].settings.scores]
    for name in scores:
        if name not in _CHOOSABLE:
            raise ConfigError(f"scores names {name}, which is not compared; {' and '.join(_CHOOSABLE)} are")
        for run in runs:
            if run.settings.scores is not None and name not in run.settings.scores:
                raise ConfigError(
                    f"{run.path}: {name} is to be compared, but the run has {', '.join(run.settings.scores)} only; "
                    "evaluate it again with that score"
                )
    return list(scores)


def _places(run: RecordFile) -> dict[str, int]:
    """Where the record of each image lies in the file."""
    places: dict[str, int] = {}
    for offset, record in run.with_offsets():
        if record.name in places:
            raise DataError(f"{run.path}: the image {record.name!r} occurs twice; evaluate again with unique names")
        places[record.name] = offset
    return places


def _common_images(runs: Sequence[RecordFile], places: Sequence[dict[str, int]], common: bool) -> tuple[list[str], int]:
    """The images to compare on, sorted, and how many others there are."""
    shared = sorted(set(places[0]).intersection(*places[1:]))
    every = set().union(*places)
    if len(every) > len(shared) and not common:
        missing = [
            f"{run.path} lacks {len(names)}: {', '.join(names[:_LISTED])}{' …' * (len(names) > _LISTED)}"
            for run, at in zip(runs, places, strict=True)
            if (names := sorted(every - at.keys()))
        ]
        raise DataError(
            f"the runs scored different images: {'; '.join(missing)}; --common compares on the {len(shared)} that all "
            "of them have"
        )
    if len(shared) < 2:
        raise DataError(f"images that all runs scored: {len(shared)}; an interval needs two at least")
    return shared, len(every) - len(shared)
