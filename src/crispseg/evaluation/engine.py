"""Scores a set image by image: in threads, in order, in bounded memory, and so that it can be stopped and go on.

NumPy, OpenCV and the readers of image files let other threads run while they work, so threads are as fast as processes
here and need no copies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple, Protocol

from crispseg.data.problems import Problem, problems_in_words
from crispseg.errors import DataError
from crispseg.evaluation.journal import Journal
from crispseg.evaluation.records import ImageRecord, Labels, Settings
from crispseg.evaluation.totals import Totals
from crispseg.pictures.colour import Picture
from crispseg.threads import Workers

__all__ = ["Example", "Outcome", "ScoredSet", "Watch", "Work", "score_set"]

Outcome = ImageRecord | list[Problem] | None
"""What the work on an image gives: its record, what is wrong with it, or, where it was only checked, nothing."""


class Example(NamedTuple):
    """One image of a set: uint8 (H, W, 3) RGB if there is one, and train ids (H, W) of both maps."""

    image: Picture | None
    prediction: Labels
    labels: Labels


Work = Callable[[], tuple[Outcome, Example | None]]
"""Gives the outcome of an image, and what was scored, if it was."""

Watch = Callable[[ImageRecord, Example], object]
"""Is shown every image that is scored, in the thread that scored it, before its record is written."""


class ScoredSet(Protocol):
    """Predictions with labels."""

    @property
    def names(self) -> Sequence[str]:
        """One per image, none twice."""

    def is_current(self, record: ImageRecord, /) -> bool:
        """Whether a record of an earlier run is still that of its image."""

    def prepare(self, index: int, /, only_check: bool) -> Work:
        """Do what must be done in order, and hand out the rest of the work for a worker."""

    def example(self, name: str, /) -> Example:
        """An image by its name."""


def score_set(
    images: ScoredSet,
    settings: Settings,
    problems: Sequence[Problem] = (),
    *,
    journal: Journal | None = None,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    watch: Watch | None = None,
) -> tuple[Totals, list[Problem]]:
    """Score every image, a few ahead of the slowest.

    As soon as something is wrong, and unless `skip_bad` leaves it out, the images that follow are only checked, so that
    all that is wrong is said at once and soon.

    Args:
        images: the set.
        settings: of the records.
        problems: what is known to be wrong before the first image.
        journal: where records are written, and taken from where it resumes; None: nowhere.
        skip_bad: whether to leave bad images out.
        workers: threads; None: one per core, four at most.
        progress: called with (images done, images in all) after each, in the calling thread.
        watch: is shown every image that is scored now; what it raises ends the run.

    Returns:
        The sums, and what was left out.

    Raises:
        DataError: if something is wrong, or nothing is left to score.
    """
    found = list(problems)
    totals = Totals(settings)
    done: set[str] = set()
    total = len(images.names)
    threads = workers or min(os.cpu_count() or 1, 4)

    def waiting() -> Iterator[tuple[str, Work]]:
        for index, name in enumerate(images.names):
            if name not in done:
                yield name, _prepared(images, index, only_check=bool(found) and not skip_bad)

    with ExitStack() as stack:
        if journal is not None:
            for record in journal.take_over(images.is_current):
                totals.add(record)
                done.add(record.name)
            stack.enter_context(journal)
        pool = stack.enter_context(Workers(threads))
        outcomes = pool.ahead(
            lambda item: _guarded(item[1], item[0], watch),
            waiting(),
            room=lambda _: 2 * threads,  # no more images in memory than keep the threads busy
        )
        for finished, outcome in enumerate(outcomes, len(done) + 1):
            if isinstance(outcome, ImageRecord):
                totals.add(outcome)
                if journal is not None:
                    journal.append(outcome)
            elif outcome is not None:
                found.extend(outcome)
            if progress is not None:
                progress(finished, total)
        skipped = len({problem.where for problem in found})
        _raise_if_bad(found, skipped, totals.images, skip_bad=skip_bad, resumable=journal is not None)
        if journal is not None:
            journal.finish(totals.images, skipped)
    return totals, found


def _prepared(images: ScoredSet, index: int, only_check: bool) -> Work:
    """The work on an image; if it cannot even be prepared, work that says why."""
    try:
        return images.prepare(index, only_check=only_check)
    except DataError as error:
        problem = _problem(images.names[index], error)
        return lambda: ([problem], None)


def _guarded(work: Work, name: str, watch: Watch | None) -> Outcome:
    try:
        outcome, example = work()
    except (DataError, OSError) as error:  # a file may have gone since it was found
        return [_problem(name, error)]
    if watch is not None and isinstance(outcome, ImageRecord) and example is not None:
        watch(outcome, example)
    return outcome


def _problem(name: str, error: Exception) -> Problem:
    return Problem("image that cannot be used", name, str(error))


def _raise_if_bad(found: Sequence[Problem], bad: int, scored: int, *, skip_bad: bool, resumable: bool) -> None:
    if found and not skip_bad:
        later = ", either with --resume, which keeps what is scored already" if resumable and scored else ""
        raise DataError(
            f"{bad} image{'s' * (bad > 1)} cannot be scored: {problems_in_words(found)}. Mend what is wrong, or score "
            f"the others with --skip-bad{later}"
        )
    if not scored:
        raise DataError(f"no image is left to score: {problems_in_words(found)}")
