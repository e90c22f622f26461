"""What is wrong with a set, collected so that all of it is said at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crispseg.wording import in_words_by_kind

__all__ = ["Problem", "problems_in_words"]


@dataclass(frozen=True)
class Problem:
    """Why an image cannot be scored.

    Attributes:
        name: of the image.
        kind: the same words for all problems of a kind.
        detail: which file, what was found, what was expected.
    """

    name: str
    kind: str
    detail: str


def problems_in_words(problems: Sequence[Problem]) -> str:
    """All problems on one line, by kind; of a kind that has many, the first are named and the others counted.

    Example:
        >>> problems_in_words([Problem("a", "no prediction", "a.png"), Problem("b", "no prediction", "b.png")])
        '2 × no prediction: a.png; b.png'
    """
    return in_words_by_kind((problem.kind, problem.detail) for problem in problems)
