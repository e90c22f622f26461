"""How messages are worded: what was probably meant, the first few of many, problems by their kind, durations."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["expected_in_words", "in_words_by_kind", "nearest_name", "seconds_in_words", "some"]

T = TypeVar("T")


def expected_in_words(message: str) -> str:
    """What pydantic expected, to stand before "expected".

    Args:
        message: pydantic's, of one value.

    Example:
        >>> expected_in_words("Input should be a valid integer, unable to parse string as an integer")
        'an integer'
        >>> expected_in_words("Input should be greater than 0")
        'greater than 0'
    """
    words = message.removeprefix("Input should be ").removeprefix("a valid ")
    if "instance of" in words:  # "dictionary or instance of TrainConfig": nobody writes instances in YAML
        return "a mapping of keys to values"
    words = words.partition(", unable to parse")[0].partition(", got a number")[0]
    if message.startswith("Input should be a valid "):
        article = "an" if words[0] in "aeiou" else "a"
        return f"{article} {words}"
    return words[0].lower() + words[1:]


def in_words_by_kind(problems: Iterable[tuple[str, str]], most: int = 8) -> str:
    """All problems on one line, by kind; of a kind that has many, the first are named and the others counted.

    Args:
        problems: kind and detail of each.
        most: how many of a kind are named.

    Example:
        >>> in_words_by_kind([("no prediction", "a.png"), ("no prediction", "b.png")])
        '2 × no prediction: a.png; b.png'
    """
    by_kind: dict[str, list[str]] = {}
    for kind, detail in problems:
        by_kind.setdefault(kind, []).append(detail)
    return " — ".join(
        f"{len(details)} × {kind}: {'; '.join(details[:most])}"
        + (f"; and {len(details) - most} more" if len(details) > most else "")
        for kind, details in by_kind.items()
    )


def some(names: Iterable[T], most: int = 5, say: Callable[[T], str] = str) -> str:
    """The first few names, and how many more there are.

    Args:
        names: any number of them.
        most: how many are named.
        say: what is shown of one; called for those that are named only.

    Example:
        >>> some("abcdefg"), some([])
        ('a, b, c, d, e and 2 more', 'nothing')
    """
    listed = list(names)
    if not listed:
        return "nothing"
    return ", ".join(map(say, listed[:most])) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Say which known name the unknown one was probably meant to be.

    Args:
        name: what was found.
        known: every name that would have been right.

    Returns:
        A phrase to end an error message with.

    Example:
        >>> nearest_name("gf", ["gff", "fpn"])
        "did you mean 'gff'? Known: fpn, gff"
        >>> nearest_name("zzz", ["gff", "fpn"])
        'known: fpn, gff'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = some(names, 40)
    return f"did you mean {close[0]!r}? Known: {listed}" if close else f"known: {listed}"


def seconds_in_words(seconds: float) -> str:
    """A duration for reading.

    Example:
        >>> seconds_in_words(7.25), seconds_in_words(95), seconds_in_words(7260)
        ('7 s', '1 min 35 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
