"""A label table as a value: classes with names, colours and raw ids.

Labels are train ids, uint8 or int64, with 255 = ignore, everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError
from crispseg.wording import kind_in_words, nearest_name, some

__all__ = ["IGNORE_INDEX", "LabelClass", "LabelSpace"]

IGNORE_INDEX = 255
"""The train id of pixels that no loss and no metric speaks of."""


@dataclass(frozen=True)
class LabelClass:
    """One class of a label table.

    Attributes:
        name: lower case, for tables and legends.
        colour: RGB, 0–255.
        ids: the raw values in label files that mean this class.
        category: the group of classes that it belongs to, for category scores; None where a table knows none.
        has_instances: whether label files tell single objects of the class apart.
        colour_is_made_up: whether the table gives none, so that masks in colours cannot be read by it.
    """

    name: str
    colour: tuple[int, int, int]
    ids: tuple[int, ...]
    category: str | None = None
    has_instances: bool = False
    colour_is_made_up: bool = field(default=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what a class does not have is left out."""
        values: dict[str, Any] = {"name": self.name, "colour": list(self.colour), "ids": list(self.ids)}
        if self.category is not None:
            values["category"] = self.category
        if self.has_instances:
            values["has_instances"] = True
        return values


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set: train id = position in `classes`.

    Attributes:
        name: of the table.
        classes: in the order of their train ids; 2 to 255 of them.
        ignore_ids: raw values that become 255. 255 itself always does.
        ignored_classes: what some of `ignore_ids` mean, for evaluations over raw ids, which know them by name.

    Example:
        >>> space = LabelSpace.from_dict(
        ...     {"name": "two", "classes": [{"name": "sky", "colour": [0, 0, 255], "ids": [0]},
        ...                                 {"name": "pole", "colour": [90, 90, 90], "ids": [7]}], "ignore_ids": [9]}
        ... )
        >>> space.num_classes, space.lookup[[0, 7, 9, 255, 3]].tolist()
        (2, [0, 1, 255, 255, -1])
    """

    name: str
    classes: tuple[LabelClass, ...]
    ignore_ids: tuple[int, ...] = ()
    ignored_classes: tuple[LabelClass, ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= IGNORE_INDEX:
            raise ConfigError(
                f"label table {self.name!r}: {len(self.classes)} classes found, 2 to {IGNORE_INDEX} expected"
            )
        names = [entry.name for entry in (*self.classes, *self.ignored_classes)]
        for what, text in (("its name", self.name), *_texts((*self.classes, *self.ignored_classes))):
            if not text.strip() or len(text) > _LONGEST_NAME or not text.isprintable():
                raise ConfigError(
                    f"label table {self.name[:_LONGEST_NAME]!r}: {what} is {text[:_LONGEST_NAME]!r}; 1 to "
                    f"{_LONGEST_NAME} printable characters on one line expected"
                )
        if wrong := [raw for raw in self.ignore_ids if not 0 <= raw <= _LARGEST_ID]:
            raise ConfigError(f"label table {self.name!r}: {wrong[0]} in ignore_ids is not in 0–{_LARGEST_ID}")
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"label table {self.name!r}: class names occur twice: {', '.join(doubled)}; rename one")
        seen: dict[int, str] = dict.fromkeys(self.ignore_ids, _IGNORED)
        for entry in self.classes:
            for raw in entry.ids:
                if raw in seen:
                    raise ConfigError(
                        f"label table {self.name!r}: id {raw} belongs to {seen[raw]!r} and to {entry.name!r}; keep one"
                    )
                if not 0 <= raw <= _LARGEST_ID:
                    raise ConfigError(
                        f"label table {self.name!r}: id {raw} of {entry.name!r} is not in 0–{_LARGEST_ID}"
                    )
                seen[raw] = entry.name
        for entry in self.ignored_classes:
            for raw in entry.ids:
                if (owner := seen.get(raw)) != _IGNORED:
                    found = f"belongs to {owner!r} too" if owner else "is not in ignore_ids"
                    raise ConfigError(
                        f"label table {self.name!r}: id {raw} of the ignored class {entry.name!r} {found}; "
                        "it must stand in ignore_ids and in one ignored class only"
                    )
                seen[raw] = entry.name

    @property
    def num_classes(self) -> int:
        """K, without ignore."""
        return len(self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the train ids."""
        return tuple(entry.name for entry in self.classes)

    @property
    def has_colours(self) -> bool:
        """Whether the table itself gives every class its colour, so that masks in colours can be read by it."""
        return not any(entry.colour_is_made_up for entry in self.classes)

    def id_in_files(self, train_id: int) -> int:
        """The raw value that files which we write hold for a class: the first of its ids.

        Args:
            train_id: of the class.

        Raises:
            ConfigError: if it has none.
        """
        entry = self.classes[train_id]
        if not entry.ids:
            raise ConfigError(
                f"label table {self.name!r}: class {entry.name!r} has no ids, so no file can hold it; give it one"
            )
        return entry.ids[0]

    def palette_in_files(self) -> npt.NDArray[np.uint8]:
        """(256, 3) uint8 RGB: the colour of each value in label files of 8 bits; black where it is no class's."""
        palette = np.zeros((256, 3), dtype=np.uint8)
        for train_id, entry in enumerate(self.classes):
            palette[[raw_id for raw_id in entry.ids if raw_id < len(palette)]] = self.palette[train_id]
        return palette

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of `classes`, in their order; empty where the table knows none."""
        return tuple(dict.fromkeys(entry.category for entry in self.classes if entry.category is not None))

    @cached_property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(256, 3) RGB per train id; ignore and unused ids are black."""
        colours = np.zeros((256, 3), dtype=np.uint8)
        colours[: self.num_classes] = [entry.colour for entry in self.classes]
        return colours

    @cached_property
    def lookup(self) -> npt.NDArray[np.int16]:
        """(65536,) raw id → train id, 255 = ignore, −1 = not in the table."""
        table = np.full(65536, -1, dtype=np.int16)
        table[[*self.ignore_ids, IGNORE_INDEX]] = IGNORE_INDEX
        for train_id, entry in enumerate(self.classes):
            table[list(entry.ids)] = train_id
        return table

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON; `from_dict` is the inverse."""
        values = {
            "name": self.name,
            "classes": [entry.to_dict() for entry in self.classes],
            "ignore_ids": list(self.ignore_ids),
        }
        if self.ignored_classes:
            values["ignored_classes"] = [entry.to_dict() for entry in self.ignored_classes]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "label table") -> LabelSpace:
        """Build a table from plain values; missing ``ids`` mean the position, missing colours are made up.

        Args:
            values: ``name``, ``classes`` (each ``name``, optionally ``colour``, ``ids``, ``category`` and
                ``has_instances``), and optionally ``ignore_ids`` and ``ignored_classes`` (each like a class, with
                ``ids`` that stand in ``ignore_ids``).
            source: what to call it in errors, for instance the file's path.

        Raises:
            ConfigError: if a key is unknown or missing, or a value does not fit.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{source}: {kind_in_words(values)} found where a mapping was expected, as in "
                "'classes: [background, crack]'"
            )
        if "classes" not in values and (instead := next((key for key in _CLASSES_ELSEWHERE if key in values), None)):
            raise ConfigError(
                f"{source}: {instead!r} found where 'classes' was expected: write a list of names in the order of "
                "their ids, as in 'classes: [background, crack]'"
            )
        if unknown := sorted(map(str, set(values) - set(_TABLE_KEYS))):
            raise ConfigError(
                f"{source}: unknown key {some(map(repr, unknown))}; {_meant_key(unknown[0], _TABLE_KEYS)}"
            )
        entries, ignored = values.get("classes"), values.get("ignored_classes", [])
        if not isinstance(entries, list) or not entries:
            found = "" if entries is None else f"; {kind_in_words(entries)} found"
            raise ConfigError(
                f"{source}: 'classes' must be a list of classes, each with a name, as in 'classes: [background, crack]'"
                f"{found}"
            )
        if not isinstance(ignored, list) or not all(isinstance(entry, Mapping) and "ids" in entry for entry in ignored):
            raise ConfigError(f"{source}: 'ignored_classes' must be a list of classes, each with a name and ids")
        if len(entries) > IGNORE_INDEX:
            raise ConfigError(f"{source}: {len(entries)} classes found, 2 to {IGNORE_INDEX} expected")
        table = (
            _text(values.get("name", "custom"), f"{source}: its name"),
            tuple(_label_class(entry, index, source) for index, entry in enumerate(entries)),
            _whole_numbers(values.get("ignore_ids", []), f"{source}: ignore_ids"),
            tuple(_label_class(entry, index, source) for index, entry in enumerate(ignored)),
        )
        try:
            return cls(*table)
        except ConfigError as error:
            words = str(error).removeprefix(f"label table {table[0][:_LONGEST_NAME]!r}: ")
            raise ConfigError(f"{source}: {words}") from error


_IGNORED = "ignore_ids"
_LONGEST_NAME = 100
_LARGEST_ID = 65535
_TABLE_KEYS = ("classes", "ignore_ids", "ignored_classes", "name")
_CLASS_KEYS = ("name", "colour", "ids", "category", "has_instances")


def _label_class(entry: Any, index: int, source: str) -> LabelClass:
    """A class from its plain values, or from its name alone."""
    what = f"{source}: class {index}"
    if not isinstance(entry, Mapping):
        entry = {"name": _text(entry, what)}
    if unknown := [str(key) for key in entry if key not in _CLASS_KEYS]:
        raise ConfigError(f"{what}: unknown key {some(map(repr, unknown))}; {_meant_key(unknown[0], _CLASS_KEYS)}")
    if "name" not in entry:
        raise ConfigError(f"{what}: it has no 'name'; {entry!r:.100} found, as in {{name: crack, ids: [1]}} expected")
    name, category = _text(entry["name"], f"{source}: the name of class {index}"), entry.get("category")
    colour = _colour(entry.get("colour", list(_made_up_colour(index, name))), f"{source}: colour of {name!r}")
    if not isinstance(category, str | None):
        raise ConfigError(f"{source}: category of {name!r} is {category!r}, a name expected")
    if not isinstance(has_instances := entry.get("has_instances", False), bool):
        raise ConfigError(f"{source}: has_instances of {name!r} is {has_instances!r}, true or false expected")
    ids = _whole_numbers(entry.get("ids", [index]), f"{source}: ids of {name!r}")
    made_up = "colour" not in entry
    return LabelClass(name, colour, ids, category, has_instances, made_up)


_CLASSES_ELSEWHERE = ("names", "labels", "categories", "class_names")  # as YOLO, LabelMe, COCO and others call them
_KEYS_ELSEWHERE = {"color": "colour", "rgb": "colour", "id": "ids", "value": "ids", "values": "ids", "label": "name"}


def _meant_key(found: str, known: tuple[str, ...]) -> str:
    """The key that was meant, by its customary other name or by its letters."""
    meant = _KEYS_ELSEWHERE.get(found.lower())
    return f"it is spelled {meant!r} here" if meant in known else nearest_name(found, known)


def _colour(value: Any, what: str) -> tuple[int, int, int]:
    """Three values in 0–255; of a text such as ``#ff0000`` the message says which."""
    if isinstance(value, str) and (digits := _HEXADECIMAL.fullmatch(value.strip())):
        meant = [int(digits[1][at : at + 2], 16) for at in (0, 2, 4)]
        raise ConfigError(f"{what}: {value!r} found, three numbers in 0–255 expected; write {meant}")
    if value is None:
        raise ConfigError(f"{what}: nothing found, for # begins a comment in YAML; write three numbers, [255, 0, 0]")
    if isinstance(value, list | tuple) and any(type(part) is float for part in value):
        raise ConfigError(f"{what}: {value!r:.100} found, three whole numbers in 0–255 expected, as in [255, 128, 0]")
    if isinstance(value, str):
        raise ConfigError(f"{what}: {value!r:.100} found, three whole numbers in 0–255 expected, as in [255, 0, 0]")
    numbers = _whole_numbers(value, what)
    if len(numbers) != 3 or not all(0 <= v <= 255 for v in numbers):
        raise ConfigError(f"{what} is {numbers}, three values in 0–255 expected")
    return numbers[0], numbers[1], numbers[2]


_HEXADECIMAL = re.compile(r"#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?")


def _text(value: Any, what: str) -> str:
    if isinstance(value, bool):
        raise ConfigError(
            f"{what} is {str(value).lower()}, a name expected: YAML reads yes, no, on, off, true and false as truth "
            f'values; write it in quotes, as in "{"yes" if value else "no"}"'
        )
    if value is None:
        raise ConfigError(f"{what} is empty, a text expected; write a name")
    if not isinstance(value, str):
        quoted = f', as in "{value}"' if type(value) in (int, float) else ""
        raise ConfigError(f"{what} is {value!r:.100}, a text expected; write it in quotes{quoted}")
    return value


def _whole_numbers(values: Any, what: str) -> tuple[int, ...]:
    """A list of them; neither the digits of a text nor booleans, which Python takes for numbers."""
    if type(values) is int:
        raise ConfigError(f"{what}: {values} found, a list of whole numbers expected; write [{values}]")
    if isinstance(values, list) and values and all(isinstance(value, str) and value.isdecimal() for value in values):
        meant = [int(value) for value in values[:8] if len(value) < 9]
        raise ConfigError(f"{what}: {values!r:.100} found, texts where whole numbers were expected; write {meant}")
    if not isinstance(values, list | tuple) or not all(type(value) is int for value in values):
        raise ConfigError(f"{what}: {values!r:.100} found, a list of whole numbers as in [0, 7] expected")
    return tuple(values)


def _texts(classes: Iterable[LabelClass]) -> Iterator[tuple[str, str]]:
    """Every text that will stand in tables and legends, and what it is."""
    for entry in classes:
        yield "the name of a class", entry.name
        if entry.category is not None:
            yield f"the category of {entry.name!r}", entry.category


_BACKGROUNDS = ("background", "bg", "other", "others", "rest")


def _made_up_colour(index: int, name: str) -> tuple[int, int, int]:
    """A stable colour for a class without one: the bit-interleaving of the Pascal VOC palette; backgrounds are grey."""
    if name.strip().lower().lstrip("_") in _BACKGROUNDS:
        return 64, 64, 64
    red = green = blue = 0
    value = index + 1
    for shift in range(8):
        red |= (value & 1) << (7 - shift)
        green |= (value >> 1 & 1) << (7 - shift)
        blue |= (value >> 2 & 1) << (7 - shift)
        value >>= 3
    return red, green, blue
