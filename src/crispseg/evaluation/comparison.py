"""Whether two evaluations of the same images differ by more than the choice of images would explain.

The paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): images are drawn with
replacement, the same ones for every run; all scores are taken anew; and the middle 95 % of the differences are the
interval. Images that resemble each other, such as frames of one drive, can be drawn group by group instead.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation.bootstrap import group_numbers, group_weights, image_weights
from crispseg.evaluation.differences import BOUNDARY_F_BY_RULE, Comparison, Difference
from crispseg.evaluation.journal import RecordFile
from crispseg.evaluation.records import Settings
from crispseg.metrics.counts import SetCounts, Shares
from crispseg.metrics.functional.arrays import Absent
from crispseg.metrics.table import DEFINITIONS, choose_scores

__all__ = ["MAX_RESAMPLES", "compare"]

_COMPARED = {
    "iou": "IoU",
    "boundary_f": "boundary F",
    "boundary_f_absent_one": "boundary F",
    "distance_iou": "IoU at distance",
}
_CHOOSABLE = ("iou", "boundary_f", "distance_iou")
MAX_RESAMPLES = 100_000
"""Their sums are in memory at once: hundreds of megabytes for tables of 150 classes."""

_LISTED = 5


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
    if absent not in BOUNDARY_F_BY_RULE:
        raise ConfigError(f"absent is {absent!r}; {' or '.join(BOUNDARY_F_BY_RULE)} expected")
    runs = [RecordFile(Path(folder)) for folder in folders]
    names = [os.fspath(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise ConfigError(f"a run is named twice: {', '.join(names)}; compare different ones")
    settings = _common_settings(runs, None if scores is None else choose_scores(scores))
    places = [_places(run) for run in runs]
    chosen, left_out = _common_images(runs, places, common)

    groups = None if group_by is None else group_numbers(chosen, group_by)
    draws = image_weights(len(chosen), resamples, seed) if groups is None else group_weights(groups, resamples, seed)

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


def _score_names(settings: Settings, absent: Absent) -> list[str]:
    """What is compared: of `_COMPARED` what both runs have, and of the two boundary F the one that is asked for."""
    asked = [name for name in _CHOOSABLE if settings.scores is None or name in settings.scores]
    return [BOUNDARY_F_BY_RULE[absent] if name == "boundary_f" else name for name in asked if _keys(name, settings)]


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
