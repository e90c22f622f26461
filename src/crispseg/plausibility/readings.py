"""Do the values of predictions mean what they are read as? From a table of values against true classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.plausibility.oddity import Oddity, per_cent

__all__ = ["READINGS", "odd_label_readings", "odd_readings"]

READINGS = "predictions whose values mean something else"

Counts = npt.NDArray[np.int64]

_POOR = 0.5  # share of right pixels from which on nothing is asked
_FITS = 0.5  # least share that another reading must have
_BETTER = 0.3  # and by how much it must be better
_RELABELLED = 0.75  # the same of values that were given new meanings, which fit by chance more easily


def odd_readings(table: Counts, space: LabelSpace, encoding: str, label_encoding: str = "raw-ids") -> list[Oddity]:
    """Whether another reading of the predicted values fits the labels far better than the one that was asked for.

    Args:
        table: (256, K) pixels by predicted value, as stored, and true class.
        space: the label table.
        encoding: as which the values were read: ``"raw-ids"`` or ``"train-ids"``.
        label_encoding: as which those of the labels were read, for the cure.

    Example:
        >>> classes = [{"name": "a", "ids": [7]}, {"name": "b", "ids": [8]}]
        >>> space = LabelSpace.from_dict({"name": "two", "classes": classes})
        >>> table = np.zeros((256, 2), dtype=np.int64)
        >>> table[0, 0] = table[1, 1] = 50
        >>> "--encoding train-ids" in odd_readings(table, space, "raw-ids")[0].detail
        True
    """
    readings = {
        "raw-ids": ("raw ids of the label table", space.lookup[:256].astype(np.int64)),
        "train-ids": ("train ids", _identity(space)),
    }
    of_labels, whole = readings[encoding][1], int(table.sum())
    right = _right(table, of_labels)
    if not whole or right >= _POOR * whole:
        return []

    def said(words: str, fitting: int, cure: str) -> list[Oddity]:
        detail = (
            f"read as {encoding}, {per_cent(right, whole)} of the predicted pixels are right; read as {words}, "
            f"{per_cent(fitting, whole)} would be: {cure}"
        )
        return [Oddity(READINGS, detail)]

    tried: list[tuple[int, str, str]] = []
    for name, (words, lookup) in readings.items():
        if name != encoding:
            cure = f"give --encoding {name} --label-encoding {label_encoding}"
            tried.append((_right(table, lookup), words, cure))
        for by, where in ((1, "one higher"), (-1, "one lower")):
            moved = np.roll(lookup, by)
            moved[0 if by > 0 else 255] = IGNORE_INDEX
            cure = "their tool counts from another number; give --label-space a table with its ids, or write them anew"
            tried.append((_right(table, moved), f"{words} that are {where} than the table's", cure))
    fitting, words, cure = max(tried)
    if fitting >= _FITS * whole and fitting - right >= _BETTER * whole:
        return said(words, fitting, cure)
    return _relabelled(table, space, right)


def odd_label_readings(table: Counts, space: LabelSpace) -> list[Oddity]:
    """What to say of labels that hold train ids and were read as raw ids, whatever the predictions hold.

    Args:
        table: (256, K) pixels by predicted value, as stored, and true class, the labels being read as train ids.
        space: the label table.
    """
    right = {
        "raw-ids": _right(table, space.lookup[:256].astype(np.int64)),
        "train-ids": _right(table, _identity(space)),
    }
    encoding = max(right, key=lambda name: right[name])
    detail = (
        "the labels look like train ids where raw ids are read, so that classes with higher ids never occur; read as "
        f"train ids, {per_cent(right[encoding], int(table.sum()))} of the predicted pixels would be right: give "
        f"--encoding {encoding} --label-encoding train-ids"
    )
    return [Oddity(READINGS, detail)]


def _relabelled(table: Counts, space: LabelSpace, right: int) -> list[Oddity]:
    """Values that go together with classes one by one, and with others than they name."""
    whole = int(table.sum())
    values = np.flatnonzero(table.sum(axis=1) >= 0.01 * whole)
    classes = table[values].argmax(axis=1)
    fitting = int(table[values, classes].sum())
    distinct = len(set(classes.tolist()))
    needed = 2 if space.num_classes == 2 else 3
    if distinct < needed or distinct < len(values) - 1 or fitting < _RELABELLED * whole or right > 0.3 * whole:
        return []
    pairs = ", ".join(
        f"{value} is {space.classes[index].name!r}"
        for value, index in [*zip(values.tolist(), classes.tolist(), strict=True)][:6]
    )
    detail = (
        f"{per_cent(right, whole)} of the predicted pixels are right, and yet their values go together with classes: "
        f"{pairs}, in {per_cent(fitting, whole)} of the pixels; the predictions are of another label table: write it "
        "down and score by it"
    )
    return [Oddity(READINGS, detail)]


def _identity(space: LabelSpace) -> Counts:
    lookup = np.full(256, IGNORE_INDEX, dtype=np.int64)
    lookup[: space.num_classes] = np.arange(space.num_classes)
    return lookup


def _right(table: Counts, lookup: Counts) -> int:
    values = np.flatnonzero((lookup >= 0) & (lookup < table.shape[1]))
    return int(table[values, lookup[values]].sum())
