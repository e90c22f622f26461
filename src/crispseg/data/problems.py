"""What is wrong with data, collected so that all of it is said at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crispseg.wording import in_words_by_kind

__all__ = ["Problem", "problems_in_words"]


@dataclass(frozen=True)
class Problem:
    """Something that stops training or scoring, or makes its scores worthless.

    Attributes:
        kind: the same words for all problems of a kind.
        where: the split or the image that it was found in.
        detail: which file, what was found, what was expected, what to do.
    """

    kind: str
    where: str
    detail: str


def problems_in_words(problems: Iterable[Problem]) -> str:
    """All problems on one line, by kind; of a kind that has many, the first are named and the others counted.

    Example:
        >>> problems_in_words([Problem("no prediction", "a", "a.png"), Problem("no prediction", "b", "b.png")])
        '2 × no prediction: a.png; b.png'
    """
    return in_words_by_kind((problem.kind, problem.detail) for problem in problems)
