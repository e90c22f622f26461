"""Label tables in the files of other tools: CVAT's ``labelmap.txt``, Roboflow's ``_classes.csv``, lists of names."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from crispseg.errors import ConfigError
from crispseg.labels import IGNORE_INDEX, LabelClass, LabelSpace, label_space
from crispseg.parsing import MAX_YAML_BYTES, TextError, parse_whole, read_text

__all__ = ["BACKGROUND", "IGNORED", "TABLE_FILES", "is_background", "table_beside", "table_of_names", "voc_colour"]

BACKGROUND = "background"
IGNORED = "__ignore__"
"""LabelMe's word for regions that are none of the classes."""

_VOID = ((224, 224, 192), "void")  # the borders of VOC's objects


def is_background(name: str) -> bool:
    """Whether a class is what no shape covers, by its name in one of the tools.

    Example:
        >>> is_background("_background_"), is_background("back")
        (True, False)
    """
    return name.strip("_ ").lower() == BACKGROUND


def table_beside(*folders: Path) -> LabelSpace | None:
    """The table of the first file that lies in one of the folders; None if there is none.

    Raises:
        ConfigError: if it is none.
    """
    for folder in folders:
        for name, read in _READERS.items():
            if (folder / name).is_file():
                return read(folder / name)
    return None


def table_of_names(names: Sequence[str], name: str, ids: Sequence[int] | None = None) -> LabelSpace:
    """A table of names in the order of their ids, in the colours of VOC.

    Args:
        names: of the classes.
        name: of the table.
        ids: of the classes; None: from 0.

    Raises:
        ConfigError: if a name occurs twice, or there are too few or too many.
    """
    raw = range(len(names)) if ids is None else ids
    return LabelSpace(
        name,
        tuple(
            LabelClass(one, voc_colour(index), (raw_id,), colour_is_made_up=True)
            for index, (one, raw_id) in enumerate(zip(names, raw, strict=True))
        ),
    )


def voc_colour(index: int) -> tuple[int, int, int]:
    """The colour of a place in the palette of Pascal VOC: its bits, three at a time, from the highest of each channel.

    Example:
        >>> voc_colour(0), voc_colour(1), voc_colour(15)
        ((0, 0, 0), (128, 0, 0), (192, 128, 128))
    """
    channels = [0, 0, 0]
    for shift in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * shift + channel) & 1) << (7 - shift)
    return channels[0], channels[1], channels[2]


def _labelmap(path: Path) -> LabelSpace:
    """Lines ``name:R,G,B:parts:actions``; an id is the place in the file, and Datumaro leaves VOC's colours out."""
    classes: list[LabelClass] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        if not (said := rest.partition(":")[0]) and rest:
            classes.append(LabelClass(name.strip(), voc_colour(len(classes)), (len(classes),)))
            continue
        values = [parse_whole(value.strip()) for value in said.split(",")]
        colour = tuple(value for value in values if value is not None and value <= 255)
        if len(values) != 3 or len(colour) != 3:
            raise ConfigError(
                f"{path}: line {number} is {line[:80]!r}; 'name:red,green,blue::' expected, as CVAT writes it"
            )
        classes.append(LabelClass(name.strip(), colour, (len(classes),)))
    ignored = tuple(one for one in classes if one.name in (_VOID[1], IGNORED))
    if not any(one.colour == _VOID[0] for one in classes):
        ignored += (LabelClass(_VOID[1], _VOID[0], ()),)
    kept = tuple(one for one in classes if one not in ignored)
    return LabelSpace(path.parent.name or "labelmap", kept, tuple(i for one in ignored for i in one.ids), ignored)


def _csv(path: Path) -> LabelSpace:
    """``Pixel Value, Class``, a line a class."""
    names: list[str] = []
    ids: list[int] = []
    for row in list(csv.reader(_lines(path), skipinitialspace=True))[1:]:
        value = parse_whole(row[0].strip()) if len(row) > 1 else None
        if value is None:
            raise ConfigError(f"{path}: {row!s:.80} found, a pixel value and a class expected, as Roboflow writes it")
        if value != IGNORE_INDEX:
            ids.append(value)
            names.append(row[1].strip())
    return table_of_names(names, path.parent.name, ids)


def _names(path: Path) -> LabelSpace:
    """A name a line, ``__ignore__`` left out."""
    names = [line for line in _lines(path) if line and line != IGNORED]
    return table_of_names([BACKGROUND if is_background(name) else name for name in names], path.parent.name)


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in read_text(path, MAX_YAML_BYTES).lstrip("\ufeff").splitlines()]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); a label table was expected") from error
    except TextError as error:
        raise ConfigError(f"{path}: {error}; a label table was expected") from error


_READERS = {
    "labels.yaml": label_space,
    "labels.yml": label_space,
    "labelmap.txt": _labelmap,
    "_classes.csv": _csv,
    "class_names.txt": _names,
    "labels.txt": _names,
    "classes.txt": _names,
}
TABLE_FILES = tuple(_READERS)
