"""How messages are worded: what was probably meant, the first few of many, problems by their kind, durations."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = [
    "expected_in_words",
    "in_words_by_kind",
    "kind_in_words",
    "markdown_cell",
    "nearest_name",
    "os_error_in_words",
    "printable",
    "seconds_in_words",
    "some",
]

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
        words = "list" if words == "tuple" else words  # as YAML calls it
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
        >>> in_words_by_kind([("ids outside the table", f"{name}: 7 (1 px)") for name in ("a.png", "b.png")])
        '2 × ids outside the table: a.png, b.png: 7 (1 px)'
    """
    by_kind: dict[str, list[str]] = {}
    for kind, detail in problems:
        by_kind.setdefault(kind, []).append(detail)
    counts = {kind: len(details) for kind, details in by_kind.items()}
    by_kind = {kind: _said_once(details, most) for kind, details in by_kind.items()}
    return " — ".join(
        f"{counts[kind]} × {kind}: {'; '.join(details[:most])}"
        + (f"; and {len(details) - most} more" if len(details) > most else "")
        for kind, details in by_kind.items()
    )


def _said_once(details: list[str], most: int) -> list[str]:
    """Details that say the same of several files, as ``file: sentence``, with their files named together."""
    files: dict[str, list[str]] = {}
    for detail in details:
        file, separator, sentence = detail.partition(": ")
        files.setdefault(sentence if separator else detail, []).append(file if separator else "")
    return [sentence if names == [""] else f"{some(names, most)}: {sentence}" for sentence, names in files.items()]


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


def printable(text: str) -> str:
    r"""Text on one line that tells a terminal nothing: control characters and halves of characters are spelled out.

    Example:
        >>> printable("a\x1b[31m\nb \udcff ü")
        'a\\x1b[31m\\nb \\udcff ü'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def kind_in_words(value: object) -> str:
    """What a value of YAML or JSON is, as people call it.

    Example:
        >>> [kind_in_words(value) for value in (None, [1], {"a": 1}, "a", 1)]
        ['nothing', 'a list', 'a mapping', 'a text', 'int']
    """
    if value is None:
        return "nothing"
    names = {"list": "a list", "dict": "a mapping", "str": "a text"}
    return names.get(type(value).__name__, type(value).__name__)


def markdown_cell(text: str) -> str:
    r"""Text for a cell of a Markdown table, shown as it is.

    Example:
        >>> markdown_cell("sky | <b>\ncloud")
        'sky \\| &lt;b>\\ncloud'
    """
    escaped = printable(text.replace("\\", "\\\\"))
    for character, instead in (("|", "\\|"), ("<", "&lt;"), ("[", "\\["), ("`", "\\`")):
        escaped = escaped.replace(character, instead)
    return escaped


def os_error_in_words(error: OSError) -> str:
    """Which file, what the system said of it, and what to do.

    Example:
        >>> os_error_in_words(PermissionError(errno.EACCES, "Permission denied", "runs"))
        'runs: Permission denied; change its permissions, or name another'
    """
    names = [
        os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)
    ]
    where = " and ".join(name if isinstance(name, str) else os.fsdecode(name) for name in names)
    what = error.strerror or " ".join(str(error).split()) or type(error).__name__
    cure = _CURES.get(error.errno or 0, _OTHER_CURE)
    return f"{where}: {what}; {cure}" if where else f"{what}; {cure}"


_OTHER_CURE = "look after this file, its folder and its disk"
_CURES = {
    errno.ENOSPC: "make space on the disk, or name a folder on another",
    errno.EDQUOT: "make space in your quota, or name a folder on another disk",
    errno.EACCES: "change its permissions, or name another",
    errno.EPERM: "change its permissions, or name another",
    errno.EROFS: "name a folder that can be written to",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file: name a folder there",
    errno.EISDIR: "a folder is there: name a file",
    errno.EEXIST: "name another, or move what is there",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ELOOP: "its links lead in a circle: name the file itself",
    errno.EMFILE: "allow more open files (ulimit -n), or use fewer workers",
    errno.ENFILE: "close other programs: the system has no more open files to give",
    errno.ENOMEM: "free memory, or use smaller images, batches or fewer workers",
}
