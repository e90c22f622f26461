"""Labels that are outlines rather than masks: samples whose label maps are painted when they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.data.masks import ids_in_files
from crispseg.data.records import FileSource, Record
from crispseg.data.tables import BACKGROUND, IGNORED, is_background, voc_colour
from crispseg.errors import ConfigError, DataError
from crispseg.io import image_size_hw
from crispseg.labels import IGNORE_INDEX, LabelClass, LabelSpace, label_space
from crispseg.parsing import TextError, parse_json, read_text
from crispseg.vectors.painting import Overlaps, Shape, paint
from crispseg.wording import nearest_name, some

__all__ = ["ReadShapes", "ShapesSource", "missing_images", "own_table", "read_json", "shapes_table", "translated_ids"]

ReadShapes = Callable[[Record, tuple[int, int] | None], tuple[Sequence[Shape], tuple[int, int]]]
"""From a record, and its image's size where it is known, to its shapes and the size that its labels say."""

_LARGEST_JSON = 1_000_000_000  # bytes; COCO's own training set has 470 MB


class ShapesSource(FileSource):
    """Samples from images and the outlines of what is in them.

    Args:
        records: one per sample.
        label_space: the table of the shapes' ids.
        read: the shapes of a record.
        overlaps: whose a pixel is that several shapes cover.
        max_pixels: of one image.
    """

    def __init__(
        self,
        records: Sequence[Record],
        label_space: LabelSpace,
        read: ReadShapes,
        overlaps: Overlaps,
        max_pixels: int,
    ) -> None:
        super().__init__(records, label_space, max_pixels=max_pixels)
        self.read_shapes = read
        self.overlaps = overlaps
        self.how = f"shapes {overlaps}"
        self.ignored = int(ids_in_files(label_space)[IGNORE_INDEX])
        background = [entry.ids[0] for entry in label_space.classes if is_background(entry.name)]
        self.uncovered = background[0] if background else self.ignored

    def labels_size_hw(self, index: int) -> tuple[int, int]:
        """What the labels say of the image's size; else the image's."""
        return self._shapes(self.records[index])[1]

    def _read(self, record: Record) -> npt.NDArray[np.uint16]:
        shapes, size_hw = self._shapes(record)
        try:
            return paint(shapes, size_hw, self.uncovered, self.ignored, self.overlaps)
        except DataError as error:
            raise DataError(f"{record.labels}: {record.name}: {error}; export it again") from error

    def _shapes(self, record: Record) -> tuple[Sequence[Shape], tuple[int, int]]:
        shapes, size_hw = self.read_shapes(record, None)
        if size_hw == (0, 0):
            size_hw = image_size_hw(record.image, self.max_pixels)
            shapes, _ = self.read_shapes(record, size_hw)
        elif min(size_hw) < 1 or size_hw[0] * size_hw[1] > self.max_pixels:
            raise DataError(
                f"{record.labels}: {record.name} is {size_hw[0]}×{size_hw[1]} by its labels; 1 to {self.max_pixels} "
                "pixels expected; export it again, or allow more by data.max_pixels if memory does"
            )
        return shapes, size_hw


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A file of annotations.

    Args:
        path: of the file.
        what: was expected, with its article.

    Raises:
        DataError: if it cannot be read, or is no JSON object.
    """
    try:
        values = parse_json(read_text(path, _LARGEST_JSON), _LARGEST_JSON)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {what} was expected") from error
    except TextError as error:
        raise DataError(f"{path}: {error}; {what} was expected") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: {type(values).__name__} found where {what} was expected")
    return values


def shapes_table(names: Mapping[int, str], name: str) -> LabelSpace:
    """A label table of names by id, with a background for what no shape covers.

    Args:
        names: by their ids in the tool's files; `IGNORED` is no class, and a background is moved to the front.
        name: of the table.

    Raises:
        ConfigError: if a name occurs twice, or there are too many.
    """
    ids = {raw: one for raw, one in sorted(names.items()) if one != IGNORED}
    background = next((raw for raw, one in ids.items() if is_background(one)), None)
    if background is None:
        background = 0 if 0 not in names else max(names) + 1
    ordered = [background, *(raw for raw in ids if raw != background)]
    classes = [
        LabelClass(BACKGROUND if raw == background else ids[raw], voc_colour(index), (raw,), colour_is_made_up=True)
        for index, raw in enumerate(ordered)
    ]
    ignored = tuple(raw for raw, one in names.items() if one == IGNORED)
    return LabelSpace(name, tuple(classes), ignored)


def own_table(labels: str | None, root: Path) -> LabelSpace | None:
    """The table that the recipe names, or ``labels.yaml`` in the root; None if there is neither."""
    if labels is not None:
        return label_space(labels)
    return label_space(root / "labels.yaml") if (root / "labels.yaml").is_file() else None


def translated_ids(names: Mapping[int, str], space: LabelSpace, where: Path) -> dict[int, int]:
    """From a tool's ids to raw ids of a label table of one's own.

    A name that is a class's counts; another's id must be one of the table's, which groups it.

    Args:
        names: by the tool's ids.
        space: the table.
        where: the names stand, for errors.

    Raises:
        ConfigError: if one is neither, or its name says one class and its id another.
    """
    found: dict[int, int] = {}
    by_name = {entry.name.lower(): entry for entry in space.classes}
    for raw, name in names.items():
        known = int(space.lookup[raw]) if 0 <= raw < len(space.lookup) else -1
        entry = by_name.get(name.lower()) or (by_name.get(BACKGROUND) if is_background(name) else None)
        if name == IGNORED or (entry is None and known == IGNORE_INDEX):
            found[raw] = int(ids_in_files(space)[IGNORE_INDEX])
        elif entry is None and known >= 0:
            found[raw] = raw
        elif entry is None:
            raise ConfigError(
                f"{where}: {name!r} (id {raw}) is no class of the label table {space.name!r}, nor its id; "
                f"{nearest_name(name, space.class_names)}; add the id to a class or to ignore_ids"
            )
        elif 0 <= known < space.num_classes and space.classes[known] is not entry:
            raise ConfigError(
                f"{where}: {name!r} has id {raw}, which is {space.class_names[known]!r} in the label table "
                f"{space.name!r}; give {entry.name!r} this id there, as in {{name: {entry.name}, ids: [{raw}]}}"
            )
        else:
            found[raw] = entry.ids[0]
    return found


def missing_images(
    missing: Sequence[str], count: int, where: Path, looked: Sequence[Path], key: str | None
) -> DataError:
    """What to say of images that are named and not there."""
    cure = f"; data.{key} names their folder" if key else ""
    return DataError(
        f"{where}: {len(missing)} of {count} images are not there: {some(missing)}; looked in "
        f"{some(looked, 4)}; put them there{cure}"
    )
