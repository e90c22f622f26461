"""What label files probably hold that cannot be read as was asked: ids of another kind, or colours of another table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from crispseg.errors import DataError
from crispseg.io import read_image, read_label_ids
from crispseg.labels import IGNORE_INDEX, LabelSpace, label_space, label_space_names
from crispseg.plausibility.label_values import meant_ids
from crispseg.wording import some

__all__ = ["what_files_hold"]

Colour = tuple[int, int, int]

_MANY_COLOURS = 300  # more than any table has
_COVERED = 0.99  # of the pixels, by the colours of another table


def what_files_hold(paths: Iterable[Path], space: LabelSpace, encoding: str) -> str | None:
    """Say how files may be read that cannot be read as `encoding`.

    Args:
        paths: a few files of a kind; what is broken is left out.
        space: the label table.
        encoding: ``"raw-ids"``, ``"train-ids"`` or ``"colours"``.

    Returns:
        What they hold, and the cure; None where nothing is known.
    """
    ids: Counter[int] = Counter()
    colours: Counter[Colour] = Counter()
    for path in paths:
        try:
            values, counts = np.unique(read_label_ids(path), return_counts=True)
            ids.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        except DataError:
            with suppress(DataError):
                colours.update(_colours(path))
    return _of_colours(colours, space, encoding) if colours else _of_ids(ids, space, encoding)


def _of_ids(ids: Counter[int], space: LabelSpace, encoding: str) -> str | None:
    values = {*ids} - {IGNORE_INDEX}
    if not values:
        return None
    are_train_ids = max(values) < space.num_classes
    are_known = not any(space.lookup[value] < 0 for value in values)
    listed = some(sorted(values), 8)
    if encoding != "raw-ids" and are_known and not (encoding == "train-ids" and are_train_ids):
        return f"the values ({listed}) are ids of the label table; give --encoding raw-ids"
    if encoding != "train-ids" and are_train_ids:
        return f"the values ({listed}) are train ids by their looks; give --encoding train-ids"
    if encoding == "train-ids" and values <= {*range(1, space.num_classes + 1)}:
        return f"the values ({listed}) are train ids that count from 1; take 1 from each, or write a table with its ids"
    return meant_ids(ids, space) if encoding == "raw-ids" else None


def _of_colours(colours: Counter[Colour], space: LabelSpace, encoding: str) -> str | None:
    ours, whole = _palette(space), sum(colours.values())

    def share(palette: set[Colour], *, swapped: bool = False) -> float:
        return sum(n for colour, n in colours.items() if (colour[::-1] if swapped else colour) in palette) / whole

    if encoding != "colours" and share(ours) >= _COVERED:
        return "colours of the label table; give --encoding colours"
    if share(ours, swapped=True) >= _COVERED:
        return "the table's colours with red and blue exchanged, as OpenCV writes them; exchange them back"
    if all(red == green == blue for red, green, blue in colours):
        return f"grey in three equal channels ({some(sorted(red for red, _, _ in colours), 8)}); save one channel alone"
    for name in label_space_names():
        if share(_palette(label_space(name)) | {(0, 0, 0)}) >= _COVERED:
            return f"the colours of the label table {name!r}, not of {space.name!r}; name that table"
    if len(colours) >= _MANY_COLOURS:
        return "more colours than a table has: pictures such as overlays, or masks that were smoothed or saved as JPEG"
    return None


@cache
def _palette(space: LabelSpace) -> set[Colour]:
    return {entry.colour for entry in (*space.classes, *space.ignored_classes)} | {(0, 0, 0)}


def _colours(path: Path) -> dict[Colour, int]:
    image = read_image(path).astype(np.int32)
    codes, counts = np.unique(image[..., 0] << 16 | image[..., 1] << 8 | image[..., 2], return_counts=True)
    return {
        (code >> 16, code >> 8 & 255, code & 255): count
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
    }
