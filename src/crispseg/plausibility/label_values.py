"""What the values of label files say, beside whether the table knows them: from counts, without a pixel."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.plausibility.oddity import Oddity, per_cent
from crispseg.wording import some

__all__ = ["LABEL_CLASSES", "LABEL_VALUES", "LABEL_VOID", "are_train_ids", "meant_ids", "odd_labels"]

LABEL_VALUES = "label values that look like others"
LABEL_VOID = "labels that say next to nothing"
LABEL_CLASSES = "classes that one split has and another has not"

Pixels = Mapping[int, int]
"""Pixels by raw value."""

_MOSTLY_VOID = 0.9  # of a split; Cityscapes' coarse labels leave out a half
_STAND_IN = 0.01  # least share of 255 where it may be a class of many
_FEW_CLASSES = 5
_MANY_VALUES = 64  # that no table has: pictures, or masks that were smoothed


def odd_labels(splits: Mapping[str, Pixels], space: LabelSpace, *, table: str = "the label table") -> list[Oddity]:
    """What is odd about the values of a data set's label files.

    Args:
        splits: pixels by raw value, of each split.
        space: the table that they are read by.
        table: what to call its file, for the cure.

    Returns:
        Those that refuse first; empty where all looks right.

    Example:
        >>> space = LabelSpace.from_dict({"name": "roads", "classes": ["background", "road"]})
        >>> [found.refuses for found in odd_labels({"train": {0: 70, 255: 30}}, space)]
        [True]
        >>> odd_labels({"train": {0: 70, 1: 30}}, space)
        []
    """
    total: Counter[int] = Counter()
    for pixels in splits.values():
        total.update(pixels)
    if not sum(total.values()):
        return []
    found = _stand_in(total, space, table) or _one_class(total, space, table)
    found += _as_train_ids(total, space) or _levels(total, space, table)
    found += [odd for split, pixels in splits.items() for odd in _void(split, pixels, space)]
    found += _of_one_split(splits, space)
    return sorted(found, key=lambda odd: not odd.refuses)


def meant_ids(pixels: Pixels, space: LabelSpace) -> str | None:
    """What label files with values outside of the table probably hold, as a cure; None where nothing is known.

    Args:
        pixels: by raw value, all of the files' values.
        space: the table that does not know some of them.

    Example:
        >>> three = LabelSpace.from_dict({"name": "three", "classes": ["a", "b", "c"]})
        >>> meant_ids({0: 5, 127: 5, 255: 5}, three)
        'the values 0, 127, 255 are spread over grey levels: write ids [0], [127], [255] in the order of the classes'
    """
    values = sorted(value for value, count in pixels.items() if count)
    known = {raw for entry in space.classes for raw in entry.ids} | {*space.ignore_ids, IGNORE_INDEX}
    if not values or set(values) <= known:
        return None
    if len(values) >= _MANY_VALUES and len(values) > 2 * len(known):
        return (
            f"{len(values)} different values are more than masks have: they were smoothed when they were resized (use "
            "nearest neighbour), saved as JPEG before, or are pictures"
        )
    if (smoothed := _smoothed(pixels, known)) is not None:
        return smoothed
    if (step := _step(values)) is not None:
        listed = some(values, 12)
        if len(values) <= space.num_classes:
            return (
                f"the values {listed} are spread over grey levels: write ids "
                f"{some((f'[{value}]' for value in values), 12)} in the order of the classes"
            )
        return f"the values {listed} are multiples of {step}, as if ids had been multiplied by it; divide them by it"
    identity = all(entry.ids == (index,) for index, entry in enumerate(space.classes))
    count = space.num_classes
    if identity and values[-1] == count and set(values) <= {*range(count + 1), IGNORE_INDEX}:
        ids = "[1], [2], …" if count > 2 else "[1], [2]"
        if values[0] > 0:
            return f"the values {values[0]} to {count} are one higher than the table's: write ids {ids}"
        return f"0 to {count} is one value more than classes: where 0 is unlabelled, write ids {ids} and ignore_ids [0]"
    if len(values) == count and not {*values} & {IGNORE_INDEX}:
        listed = some((f"[{value}]" for value in values), 12)
        return f"the masks hold {count} values for {count} classes: if they are in their order, write ids {listed}"
    return None


def _smoothed(pixels: Pixels, known: set[int]) -> str | None:
    """Of binary masks whose borders were blended: two values nearly everywhere, and many others between."""
    two = sorted(sorted(pixels, key=lambda value: pixels[value])[-2:])
    others = [value for value in pixels if value not in two and pixels[value]]
    far = len(others) >= _BLENDS and all(two[0] <= value + _BLENDS and value <= two[1] + _BLENDS for value in others)
    if not far or len({*others} - known) < _BLENDS or sum(pixels[v] for v in two) < _MOSTLY * sum(pixels.values()):
        return None
    colours = " and ".join(f"colour: [{value}, {value}, {value}]" for value in two)
    distance = math.ceil(math.sqrt(3) * (two[1] - two[0]) / 2)
    return (
        f"nearly all pixels hold {two[0]} or {two[1]}, and {len(others)} other values lie along borders: binary masks "
        "that were smoothed when they were resized, or saved as JPEG. Use nearest neighbour and PNG, or read the "
        f"nearer of both: give the two classes {colours}, and say data.colour_distance={distance}"
    )


_BLENDS = 6  # values besides two
_MOSTLY = 0.7  # of the pixels hold one of two


def _share_of(total: Pixels, value: int) -> str:
    return per_cent(total.get(value, 0), sum(total.values()))


def _absent(pixels: Pixels, space: LabelSpace) -> list[int]:
    """Train ids of classes without a pixel."""
    return [index for index, entry in enumerate(space.classes) if not any(pixels.get(raw, 0) for raw in entry.ids)]


def _names(space: LabelSpace, train_ids: Sequence[int]) -> str:
    return some((repr(space.classes[index].name) for index in train_ids), 6)


def _stand_in(total: Pixels, space: LabelSpace, table: str) -> list[Oddity]:
    """255, which is ignored always, in the place of a class that never occurs."""
    absent, is_class = _absent(total, space), space.lookup[IGNORE_INDEX] != IGNORE_INDEX
    pixels = total.get(IGNORE_INDEX, 0)
    if not absent or not pixels or is_class:
        return []
    seen = space.num_classes - len(absent)
    name = space.classes[absent[-1]].name
    what = f"class {name!r} never occurs, and 255, which is ignored, is {_share_of(total, IGNORE_INDEX)} of the pixels"
    cure = f"if 255 means {name!r}, write ids: [255] for it in {table}, as in '- {{name: {name}, ids: [255]}}'"
    if seen <= 1 and space.num_classes == 2:
        return [Oddity(LABEL_VALUES, f"{what}: the masks hold {_values(total)} alone; {cure}", refuses=True)]
    in_question = absent == [space.num_classes - 1] and space.num_classes <= _FEW_CLASSES
    if in_question and pixels >= _STAND_IN * sum(total.values()):
        return [Oddity(LABEL_VALUES, f"{what}; {cure}")]
    return []


def _values(total: Pixels) -> str:
    return " and ".join(map(str, sorted(value for value, count in total.items() if count)[:8]))


def _one_class(total: Pixels, space: LabelSpace, table: str) -> list[Oddity]:
    """Labels that a network which always says the same would fit."""
    absent = _absent(total, space)
    if len(absent) != space.num_classes - 1:
        return []
    seen = next(index for index in range(space.num_classes) if index not in absent)
    entry = space.classes[seen]
    detail = (
        f"every pixel that is not ignored is {entry.name!r} (values found: {_values(total)}), and "
        f"{_names(space, absent)} never occur{'s' * (len(absent) == 1)}: there is nothing to learn; see whether the "
        f"masks are empty, and whether {table} has their ids"
    )
    return [Oddity(LABEL_VALUES, detail, refuses=True)]


def are_train_ids(total: Pixels, space: LabelSpace) -> bool:
    """Whether files that are read by a table of raw ids hold train ids by their looks.

    Args:
        total: pixels by raw value.
        space: the table.
    """
    return bool(_as_train_ids(total, space))


def _as_train_ids(total: Pixels, space: LabelSpace) -> list[Oddity]:
    """Files of train ids that are read by a table of raw ids."""
    values = {value for value, count in total.items() if count} - {IGNORE_INDEX}
    count = space.num_classes
    beyond = [index for index, entry in enumerate(space.classes) if entry.ids and min(entry.ids) >= count]
    never = set(_absent(total, space))
    if len(beyond) < 3 or not values or max(values) >= count or not never.issuperset(beyond):
        return []
    if not any(space.lookup[value] == IGNORE_INDEX for value in values):
        return []
    detail = (
        f"the values are {min(values)} to {max(values)} alone, which look like train ids (0 to {count - 1}), where "
        f"raw ids of the table {space.name!r} are read, and {_names(space, beyond)} never occur; take files of raw "
        "ids, or a table whose ids are train ids (data.labels; --encoding train-ids for crispseg score)"
    )
    return [Oddity(LABEL_VALUES, detail)]


def _levels(total: Pixels, space: LabelSpace, table: str) -> list[Oddity]:
    """Values that the table knows, and that are all multiples of something where the table's are not."""
    values = sorted(value for value, count in total.items() if count and value != IGNORE_INDEX)
    step = _step(values)
    ids = [raw for entry in space.classes for raw in entry.ids]
    if step is None or len(values) < 4 or all(raw % step == 0 for raw in ids):
        return []
    if any(space.lookup[value] < 0 for value in values):
        return []  # said with the ids that the table does not know
    detail = (
        f"all values are multiples of {step} ({some(values, 8)}), where {table} has others between: masks that were "
        f"multiplied for viewers hold such; if so, divide them by {step}, or write the values as ids"
    )
    return [Oddity(LABEL_VALUES, detail)]


def _step(values: Sequence[int]) -> int | None:
    """How far apart values are that stand at equal distances from 0 on, to one; None: they do not."""
    if len(values) < 2 or values[0] != 0:
        values = [0, *values]
    if len(values) < 2:
        return None
    step = values[-1] / (len(values) - 1)
    if step < 2 or any(abs(value - index * step) > 1 for index, value in enumerate(values)):
        divisor = math.gcd(*values)
        return divisor if divisor >= 10 and len(values) >= 3 else None
    return round(step)


def _void(split: str, pixels: Pixels, space: LabelSpace) -> list[Oddity]:
    ignored = {value: count for value, count in pixels.items() if count and space.lookup[value] == IGNORE_INDEX}
    whole, void = sum(pixels.values()), sum(ignored.values())
    if not _MOSTLY_VOID * whole <= void < whole:  # all of it is a problem of its own
        return []
    most = max(ignored, key=lambda value: ignored[value])
    why = "which is always ignored" if most == IGNORE_INDEX else "which ignore_ids has"
    detail = (
        f"{split}: {per_cent(void, whole)} of the pixels are ignored, most of them as {most}, {why}: no loss and no "
        f"score speaks of them; if {most} is a class, or background, give it one in the label table"
    )
    return [Oddity(LABEL_VOID, detail)]


def _of_one_split(splits: Mapping[str, Pixels], space: LabelSpace) -> list[Oddity]:
    """Classes that the first split lacks, or that it has alone."""
    with_labels = {split: pixels for split, pixels in splits.items() if len(_absent(pixels, space)) < space.num_classes}
    first = next(iter(splits), None)
    if first not in with_labels:
        return []
    absent_first, found = set(_absent(with_labels[first], space)), []
    for split, pixels in with_labels.items():
        if split == first:
            continue
        absent = set(_absent(pixels, space))
        if unlearned := sorted(absent_first - absent):
            detail = (
                f"{_names(space, unlearned)}: in {split}, never in {first}: what {first} does not show cannot be "
                "learned from it; divide the images otherwise"
            )
            found.append(Oddity(LABEL_CLASSES, detail))
        if unscored := sorted(absent - absent_first):
            detail = (
                f"{_names(space, unscored)}: in {first}, never in {split}: {split} gives no score for "
                f"{'them' if len(unscored) > 1 else 'it'}; divide the images otherwise"
            )
            found.append(Oddity(LABEL_CLASSES, detail))
    return found
