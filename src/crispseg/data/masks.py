"""Masks of any tool as labels of a data set: ids or the label table's colours, told apart by file and table."""

from __future__ import annotations

import math
import os
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from crispseg.data.encodings import checked_train_ids, colours_of
from crispseg.data.label_files import (
    NO_CLASS,
    LabelFormat,
    LabelIds,
    RawIds,
    colour_codes,
    counted,
    unknown_colours,
)
from crispseg.errors import ConfigError, DataError
from crispseg.io import ImageBytes, LabelImage, image_size_hw, read_label_ids, read_label_image
from crispseg.io.label_images import labels_in_alpha
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.wording import some

__all__ = ["MASK_ENCODINGS", "MaskEncoding", "ids_in_files", "mask_format", "read_mask", "what_it_holds"]

MaskEncoding = Literal["auto", "raw-ids", "train-ids", "colours"]
"""What the pixels of a mask mean; `auto`: what file and table leave no doubt about."""

MASK_ENCODINGS: tuple[MaskEncoding, ...] = get_args(MaskEncoding)


def mask_format(label_space: LabelSpace, encoding: MaskEncoding = "auto", colour_distance: float = 0.0) -> LabelFormat:
    """The label files of a data set, each read by `read_mask`.

    Raises:
        ConfigError: if masks cannot be colours of this table, but shall be.
    """
    if encoding == "colours":
        _require_colours(label_space)
    elif colour_distance > 0 and encoding != "auto":
        raise ConfigError(f"data.colour_distance {colour_distance:g} is of use with data.encoding colours only")
    read = partial(_read, label_space=label_space, encoding=encoding, colour_distance=colour_distance)
    return LabelFormat(read, image_size_hw, how=f"{encoding} {colour_distance:g}")


def _read(
    path: Path, max_pixels: int, label_space: LabelSpace, encoding: MaskEncoding, colour_distance: float
) -> RawIds:
    return read_mask(path, label_space, encoding, colour_distance, max_pixels)


def read_mask(
    path: str | os.PathLike[str] | ImageBytes,
    label_space: LabelSpace,
    encoding: MaskEncoding,
    colour_distance: float,
    max_pixels: int,
) -> RawIds:
    """Read a mask as raw ids of the label table; those of colours are the first of each class.

    A grey file holds ids. A palette file holds ids as well, its indices, unless these are not in the table while all
    its colours are. Three channels are colours; where they are equal, so that they might be ids too, the table decides
    by what it knows. Where ids and colours both are possible and mean different classes, the file is refused.

    Args:
        path: of the file, or its content.
        label_space: the classes.
        encoding: ``"auto"`` for that rule, or what the file holds.
        colour_distance: how far a colour may lie from the nearest class's, as a Euclidean distance in RGB of 0–255,
            for anti-aliased borders; 0: not at all. With it JPEG is read too.
        max_pixels: see `crispseg.io.read_image`.

    Returns:
        (H, W) uint16 raw ids, of which those of grey files may be outside the table.

    Raises:
        DataError: if the file is broken, holds colours or train ids that the table does not know, or may mean two
            things.
    """
    where = path.name if isinstance(path, ImageBytes) else os.fspath(path)
    if encoding == "raw-ids":
        return read_label_ids(path, max_pixels)
    if encoding == "train-ids":
        train = checked_train_ids(read_label_ids(path, max_pixels), label_space, where)
        return ids_in_files(label_space)[train]
    if where.lower().endswith((".jpg", ".jpeg")) and colour_distance <= 0:
        raise DataError(
            f"{where}: JPEG changes label ids; save labels as PNG, or, where they are colours of the table (black and "
            "white too), set data.colour_distance=150, which takes the nearest"
        )
    image = read_label_image(path, max_pixels, lossy=colour_distance > 0)
    if encoding == "colours":
        return _by_colour(image.colours(), label_space, colour_distance, where)
    if image.palette is not None:
        return _of_palette(image, label_space, colour_distance, where)
    if image.values.ndim == 2 and not (colour_distance > 0 and label_space.has_colours):
        return image.ids()
    if not image.is_grey:
        if not label_space.has_colours:
            raise DataError(f"{where}: colours found: {_listed(image.colours())}; {_no_colours(label_space)}")
        return _by_colour(image.colours(), label_space, colour_distance, where)
    return _of_equal_channels(image, label_space, colour_distance, where)


def what_it_holds(path: Path) -> str:
    """The values or colours of a mask that nobody has a table for, in words, and how a table for them looks."""
    try:
        image = read_label_image(path)
    except DataError as error:
        return str(error)
    if (in_alpha := labels_in_alpha(path)) is not None:
        return f"{path.name}: {in_alpha}"
    if image.is_grey:
        held, values = counted(image.ids()), np.unique(image.ids()).tolist()
        if values == [*range(len(values))]:
            entries = [f"class{value}" for value in values]
        else:
            entries = [f"{{name: class{value}, ids: [{value}]}}" for value in values]
    else:
        codes = np.unique(colour_codes(image.colours())).tolist()
        held, values = f"the colours {_listed(image.colours())}", codes
        entries = [
            f"{{name: class{at}, colour: [{code >> 16}, {code >> 8 & 255}, {code & 255}]}}"
            for at, code in enumerate(codes)
        ]
    table = f", for which 'classes: [{', '.join(entries)}]' would be a table" if 2 <= len(values) <= 8 else ""
    return f"{path.name} holds {held}{table}"


def _listed(colours: npt.NDArray[np.uint8]) -> str:
    return counted(colour_codes(colours), lambda code: f"({code >> 16}, {code >> 8 & 255}, {code & 255})")


def _of_palette(image: LabelImage, label_space: LabelSpace, distance: float, where: str) -> RawIds:
    """By index, unless only the colours are known."""
    ids = image.ids()
    used = np.flatnonzero(np.bincount(ids.ravel(), minlength=1))
    by_id = label_space.lookup[used]
    if not label_space.has_colours:
        return ids
    colours = LabelImage(used[:, None].astype(np.uint16), image.palette).colours()[:, 0]
    by_colour = _nearest(colour_codes(colours), label_space, distance)
    # Black says little: it is what a palette has where nobody chose a colour.
    telling = (by_colour != NO_CLASS) & (colours.any(axis=1) | _is_black(label_space))
    if (by_colour == NO_CLASS).any() or not telling.any():
        return ids
    if (by_id >= 0).all():
        if (by_id == by_colour)[telling].all():
            return ids
        raise _doubtful(where, label_space, used[telling], by_id[telling], by_colour[telling], "the indices")
    table = np.zeros(int(used.max()) + 1, dtype=np.uint16)
    table[used] = ids_in_files(label_space)[by_colour]
    return np.asarray(table[ids])


def _of_equal_channels(image: LabelImage, label_space: LabelSpace, distance: float, where: str) -> RawIds:
    """By ids or by colours, whichever the table knows."""
    ids = image.ids()
    if not label_space.has_colours:
        return ids
    used = np.flatnonzero(np.bincount(ids.ravel(), minlength=1))
    by_id = label_space.lookup[used]
    by_colour = _nearest(colour_codes(np.stack([used] * 3, axis=1).astype(np.uint8)), label_space, distance)
    if (by_colour == NO_CLASS).any():
        if (by_id >= 0).all():
            return ids
        return _by_colour(image.colours(), label_space, distance, where)  # says which are unknown
    if all(len({*entry.colour}) == 1 for entry in label_space.classes):
        # White of a table in shades of grey is a class, not the 255 that is ignored where nobody says so.
        by_id = np.where((used == IGNORE_INDEX) & (IGNORE_INDEX not in label_space.ignore_ids), by_colour, by_id)
    if (by_id >= 0).all() and (by_id != by_colour).any():
        raise _doubtful(where, label_space, used, by_id, by_colour, "three equal channels")
    return _by_colour(image.colours(), label_space, distance, where)


def _by_colour(colours: npt.NDArray[np.uint8], label_space: LabelSpace, distance: float, where: str) -> RawIds:
    codes = colour_codes(colours)
    ids = colours_of(label_space)[codes]
    unknown = ids == NO_CLASS
    if unknown.any() and distance > 0:
        rest, places = np.unique(codes[unknown], return_inverse=True)
        ids[unknown] = _nearest(rest, label_space, distance)[places]
        unknown = ids == NO_CLASS
    if unknown.any():
        whose = f"the classes of the label table {label_space.name!r}"
        within = f" within a distance of {distance:g}" if distance > 0 else ""
        raise unknown_colours(where, codes[unknown], whose + within, _advice(codes, unknown, label_space))
    return ids_in_files(label_space)[ids]


def _advice(every: npt.NDArray[np.int32], unknown: npt.NDArray[np.bool_], label_space: LabelSpace) -> str:
    """What to do about colours of no class: few are classes that the table lacks, many are blends of those it has."""
    table = colours_of(label_space)
    swapped = table[(every & 255) << 16 | every & 0xFF00 | every >> 16]
    if (swapped != NO_CLASS).all():
        return "with red and blue exchanged, as OpenCV writes them, they are the table's; exchange them back"
    codes = np.unique(every[unknown])
    if len(codes) > _MOST_COMPARED:
        return "so many are a picture's; masks of the table's colours are expected"
    known = np.flatnonzero(table != NO_CLASS)
    furthest = math.ceil(float(np.sqrt(_squared_distances(codes, known).min(axis=1).max())))
    if len(codes) <= 2 * label_space.num_classes and furthest > 30:
        return "add them to the table"
    return (
        f"add them to the table, or, where they are blends along borders, set data.colour_distance={furthest}, which "
        "gives each the nearest class"
    )


_MOST_COMPARED = 20_000  # colours


def _nearest(codes: npt.NDArray[np.int32], label_space: LabelSpace, distance: float) -> LabelIds:
    """(N,) the train ids of colours; `NO_CLASS` where none is near enough. Of equally near ones the first class."""
    ids = colours_of(label_space)[codes]
    if distance <= 0:
        return np.asarray(ids)
    table = colours_of(label_space)
    known = np.flatnonzero(table != NO_CLASS)
    known = known[np.argsort(table[known], kind="stable")]
    for start in range(0, len(codes), _CHUNK):
        part = codes[start : start + _CHUNK]
        squares = _squared_distances(part, known)
        nearest = squares.argmin(axis=1)
        near = squares[np.arange(len(part)), nearest] <= distance**2
        ids[start : start + _CHUNK] = np.where(near, table[known[nearest]], NO_CLASS)
    return np.asarray(ids)


def _squared_distances(codes: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(N, M) of N colours from M others, as `colour_codes` writes them."""
    at, of = (np.stack([code >> 16, code >> 8 & 255, code & 255], axis=1) for code in (codes, others))
    return np.asarray(((at[:, None] - of[None]) ** 2).sum(axis=2))


_CHUNK = 4096  # colours that are compared with all classes at once


@lru_cache(maxsize=8)
def ids_in_files(label_space: LabelSpace) -> RawIds:
    """(256,) a raw id for each train id, and at 255 one that is ignored.

    Raises:
        ConfigError: if a class has no id, or no id is ignored.
    """
    ids = np.zeros(256, dtype=np.uint16)
    ids[: label_space.num_classes] = [label_space.id_in_files(index) for index in range(label_space.num_classes)]
    ignored = [raw for raw in (IGNORE_INDEX, *label_space.ignore_ids) if label_space.lookup[raw] == IGNORE_INDEX]
    if not ignored:
        raise ConfigError(
            f"label table {label_space.name!r}: 255 is a class's id, so no id is ignored; name one in ignore_ids"
        )
    ids[IGNORE_INDEX] = ignored[0]
    return ids


def _is_black(label_space: LabelSpace) -> bool:
    return any(entry.colour == (0, 0, 0) for entry in (*label_space.classes, *label_space.ignored_classes))


def _require_colours(label_space: LabelSpace) -> None:
    if not label_space.has_colours:
        raise ConfigError(f"data.encoding colours: {_no_colours(label_space)}")
    colours_of(label_space)


def _no_colours(label_space: LabelSpace) -> str:
    without = [entry.name for entry in label_space.classes if entry.colour_is_made_up]
    return (
        f"the label table {label_space.name!r} gives no colour for {some(without)}; write every class as in "
        "{name: crack, colour: [255, 0, 0]}"
    )


def _doubtful(
    where: str,
    label_space: LabelSpace,
    used: npt.NDArray[np.int64],
    by_id: npt.NDArray[np.int16],
    by_colour: LabelIds,
    what: str,
) -> DataError:
    at = int(np.flatnonzero(by_id != by_colour)[0])

    def named(train_id: int) -> str:
        return label_space.class_names[train_id] if train_id < label_space.num_classes else "ignored"

    return DataError(
        f"{where}: {what} may be ids or colours of the table {label_space.name!r}, and {used[at]} would be "
        f"{named(int(by_id[at]))!r} as an id, {named(int(by_colour[at]))!r} as a colour; say which by data.encoding, "
        "raw-ids or colours"
    )
