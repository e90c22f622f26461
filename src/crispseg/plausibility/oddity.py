"""What looks odd, in words."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Oddity", "per_cent"]


@dataclass(frozen=True)
class Oddity:
    """Something that is possible, and probably not meant.

    Attributes:
        kind: the same words for all of a kind.
        detail: one line: what was found, what it probably means, and what to do.
        refuses: whether nothing sensible can follow.
    """

    kind: str
    detail: str
    refuses: bool = False


def per_cent(part: float, whole: float) -> str:
    """A share for reading; never 0 or 100 that is none.

    Example:
        >>> per_cent(1, 3), per_cent(1, 100_000), per_cent(99_999, 100_000), per_cent(1, 1)
        ('33 %', 'less than 1 %', 'more than 99 %', '100 %')
    """
    share = 100 * part / max(whole, 1)
    if 0 < share < 1:
        return "less than 1 %"
    return "more than 99 %" if 99 < share < 100 else f"{share:.0f} %"
