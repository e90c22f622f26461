"""What the pixels of a label image hold: raw ids, train ids, or colours, each read as train ids."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from crispseg.data.label_files import NO_CLASS, LabelIds, RawIds, colour_table, counted, read_colours
from crispseg.data.records import train_ids
from crispseg.errors import ConfigError, DataError
from crispseg.io import MAX_PIXELS, read_label_ids
from crispseg.io.opening import ImageSource, name_of
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.wording import nearest_name

__all__ = [
    "ENCODINGS",
    "Encoding",
    "check_encodings",
    "checked_train_ids",
    "colours_of",
    "read_labels",
    "read_labels_and_ids",
]

Encoding = Literal["raw-ids", "train-ids", "colours"]
"""What the pixels of a label image hold."""

ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)


def check_encodings(label_space: LabelSpace, *encodings: Encoding) -> None:
    """Check that files can be read so.

    Raises:
        ConfigError: if an encoding is unknown or does not fit the label table.
    """
    for asked in encodings:
        if asked not in ENCODINGS:
            raise ConfigError(f"unknown encoding {asked!r}; {nearest_name(asked, ENCODINGS)}")
        if asked == "colours":
            colours_of(label_space)  # says what is wrong with it


def read_labels(path: ImageSource, label_space: LabelSpace, encoding: Encoding = "raw-ids") -> LabelIds:
    """Read a label image of any encoding as train ids.

    Args:
        path: of a lossless image file, or its content.
        label_space: the classes.
        encoding: ``"raw-ids"``, the ids of the label table, as data sets and `Prediction.save` write them;
            ``"train-ids"``, 0 to K − 1 and 255; or ``"colours"`` of the table's classes and of its ignored ones, black
            being ignored as well unless a class is black.

    Returns:
        (H, W) uint8 train ids, 255 = ignore.

    Raises:
        DataError: if the file is missing or broken, or holds a value or colour that the table does not know.
    """
    return read_labels_and_ids(path, label_space, encoding)[0]


def read_labels_and_ids(
    path: ImageSource, label_space: LabelSpace, encoding: Encoding, max_pixels: int = MAX_PIXELS
) -> tuple[LabelIds, RawIds | None]:
    """Do what `read_labels` does, and hand out the raw ids as well where the file holds such."""
    if encoding == "raw-ids":
        raw = read_label_ids(path, max_pixels)
        return train_ids(raw, label_space, name_of(path)), raw
    if encoding == "train-ids":
        return checked_train_ids(read_label_ids(path, max_pixels), label_space, name_of(path)), None
    whose = f"the classes of the label table {label_space.name!r}"
    advice = "repair the file, or add them to the table"
    return read_colours(path, colours_of(label_space), whose, advice, max_pixels), None


def checked_train_ids(ids: RawIds, label_space: LabelSpace, source: str) -> LabelIds:
    """Ids that are train ids already.

    Args:
        ids: (H, W) uint16.
        label_space: the classes.
        source: what to call them in errors.

    Raises:
        DataError: if they are others; it lists them with their pixel counts.
    """
    wrong = (ids >= label_space.num_classes) & (ids != IGNORE_INDEX)
    if wrong.any():
        raise DataError(
            f"{source}: {counted(ids[wrong])} found, train ids 0 to {label_space.num_classes - 1} of the "
            f"label table {label_space.name!r} or {IGNORE_INDEX} expected"
        )
    return ids.astype(np.uint8)


@lru_cache(maxsize=2)  # 16 MB each
def colours_of(label_space: LabelSpace) -> npt.NDArray[np.uint8]:
    """The `colour_table` of a label table: train ids, 255 for what is ignored, black too unless a class is black.

    Raises:
        ConfigError: if two classes have one colour.
    """
    if label_space.num_classes > NO_CLASS:
        raise ConfigError(f"label table {label_space.name!r}: colours tell at most {NO_CLASS} classes apart")
    colours = [entry.colour for entry in label_space.classes]
    if twice := sorted({str(colour) for colour in colours if colours.count(colour) > 1}):
        raise ConfigError(
            f"label table {label_space.name!r}: several classes have the colour {', '.join(twice)}, so colours do not "
            "tell them apart; give them others, or score raw ids"
        )
    void = [(0, 0, 0), *(entry.colour for entry in label_space.ignored_classes)]
    of_classes = ((colour, train_id) for train_id, colour in enumerate(colours))
    # The classes last, for some share a colour with what is ignored.
    return colour_table([*((colour, IGNORE_INDEX) for colour in void), *of_classes])
