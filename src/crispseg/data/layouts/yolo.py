"""YOLO's outlines: a text file for each image, a line for each object, and ``data.yaml`` with the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crispseg.config import DataConfig
from crispseg.data.layouts.files import existing_root, split_parts
from crispseg.data.layouts.own_folders import images_below, split_names
from crispseg.data.records import Record, SampleSource
from crispseg.data.shapes import ShapesSource, own_table, shapes_table, translated_ids
from crispseg.errors import DataError
from crispseg.labels import LabelSpace
from crispseg.parsing import MAX_YAML_BYTES, TextError, parse_whole, parse_yaml, read_text
from crispseg.vectors.painting import Overlaps, Shape
from crispseg.wording import some

__all__ = ["yolo", "yolo_table"]

_TABLES = ("data.yaml", "dataset.yaml", "data.yml")


def yolo(
    config: DataConfig, split: str, *, overlaps: Overlaps = "smaller", skip_boxes: bool = False
) -> tuple[SampleSource, LabelSpace]:
    """``ROOT/images/SPLIT/*`` with ``ROOT/labels/SPLIT/*.txt``, or ``ROOT/SPLIT/{images,labels}``, and ``data.yaml``.

    An image without a text file has no object.

    Args:
        config: the section.
        split: a key of ``data.yaml``, or a folder's name.
        overlaps: whose a pixel is that several outlines cover; Ultralytics' own tools give it to the smaller one.
        skip_boxes: whether lines that are boxes alone are left out, so that their objects are background.
    """
    root = existing_root(config, "images, labels and data.yaml")
    path = yolo_table(root)
    if path is None:
        raise DataError(f"{root / 'data.yaml'}: no such file; YOLO's table with 'names' was expected")
    values = _table(path)
    names = _names(values, path)
    space = own_table(config.labels, root)
    if space is None:
        space = shapes_table(names, root.resolve().name)
        raw_ids = {number: number for number in names}
    else:
        raw_ids = translated_ids(names, space, path)
    records = [record for part in split_parts(split) for record in _records(values, path, root, part, config)]
    return ShapesSource(
        records, space, partial(_shapes_of, raw_ids=raw_ids, skip_boxes=skip_boxes), overlaps, config.max_pixels
    ), space


def yolo_table(root: Path) -> Path | None:
    """YOLO's table in a folder."""
    for name in _TABLES:
        if (root / name).is_file() and "names:" in (root / name).read_text(encoding="utf-8", errors="replace"):
            return root / name
    return None


def _table(path: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(read_text(path, MAX_YAML_BYTES))
    except (OSError, TextError) as error:
        raise DataError(f"{path}: {error}; YOLO's table with 'names' was expected") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: {type(values).__name__} found where YOLO's table with 'names' was expected")
    return values


def _names(values: Mapping[str, Any], path: Path) -> dict[int, str]:
    names = values.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if isinstance(names, dict):
        numbers = {key: parse_whole(str(key)) for key in names}
        names = {key if numbers[key] is None else numbers[key]: name for key, name in names.items()}
        if names and all(type(key) is int and isinstance(name, str | int) for key, name in names.items()):
            return {key: str(name) for key, name in names.items()}
    raise DataError(f"{path}: names is {names!r:.80}; a list of names, or names by number, was expected")


def _records(values: Mapping[str, Any], table: Path, root: Path, part: str, config: DataConfig) -> list[Record]:
    images = _image_folder(values, table, root, part)
    if images is None and config.val is not None:
        images = root / "images" if (root / "images").is_dir() else None
    if images is None:
        raise DataError(
            f"{root}: no images of the split {part!r} found; images/{part}, {part}/images or a key "
            f"{part!r} in {table.name} was expected"
        )
    found = images_below(images)
    if not found:
        raise DataError(f"{images}: no images found; those of the split {part!r} were expected")
    records, without = [], 0
    for name, image in found.items():
        text = _labels_of(image)
        without += not text.is_file()
        records.append(Record(name, image, text if text.is_file() else image))
    if without == len(records):
        raise DataError(
            f"{images}: none of {without} images has a text file, such as {_labels_of(records[0].image)}; outlines "
            "were expected there"
        )
    return records


def _image_folder(values: Mapping[str, Any], table: Path, root: Path, part: str) -> Path | None:
    said = next((values[name] for name in split_names(part) if isinstance(values.get(name), str)), None)
    candidates: list[Path] = []
    if said is not None:
        base = values.get("path")
        bases = [table.parent / base] if isinstance(base, str) else []
        candidates += [place / said for place in (*bases, table.parent)]
        trimmed = said
        while trimmed.startswith("../"):  # Roboflow writes one too many
            trimmed = trimmed[3:]
        candidates.append(root / trimmed)
    for name in split_names(part):
        candidates += [root / "images" / name, root / name / "images"]
    if part == "all":
        candidates.append(root / "images")
    return next((path for path in candidates if path.is_dir()), None)


def _labels_of(image: Path) -> Path:
    """As Ultralytics looks for it: the last ``images`` in the path is ``labels``."""
    parts = [*image.parts]
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _shapes_of(
    record: Record, size_hw: tuple[int, int] | None, raw_ids: Mapping[int, int], skip_boxes: bool
) -> tuple[Sequence[Shape], tuple[int, int]]:
    if size_hw is None or record.labels == record.image:
        return (), size_hw or (0, 0)
    path = record.labels
    try:
        lines = read_text(path).splitlines()
    except (OSError, TextError) as error:
        raise DataError(f"{path}: cannot be read ({error}); a line per outline was expected") from error
    return [
        _shape(line, f"{path}: line {number}", size_hw, raw_ids)
        for number, line in enumerate(lines, 1)
        if line.strip() and not (skip_boxes and len(line.split()) in (5, 6))
    ], size_hw


def _shape(line: str, where: str, size_hw: tuple[int, int], raw_ids: Mapping[int, int]) -> Shape:
    words = line.split()
    try:
        number, values = int(float(words[0])), np.array(words[1:], dtype=np.float64)
    except (OverflowError, ValueError):
        raise DataError(f"{where} is {line[:60]!r}; a class's number and x y x y … were expected") from None
    if len(values) in (4, 5) or len(values) < 6 or len(values) % 2:
        raise DataError(
            f"{where} has {len(values)} numbers: a box, which does not say which pixels are meant; three points "
            "or more were expected, as YOLO's segmentation has them; data.skip_boxes=true leaves boxes out"
        )
    if number not in raw_ids:
        raise DataError(f"{where}: class {number} is not in names, which has {some(raw_ids)}; add it to data.yaml")
    if not np.isfinite(values).all() or values.min() < -0.5 or values.max() > 1.5:
        raise DataError(
            f"{where}: from {values.min():g} to {values.max():g}; shares of the image's sides, 0 to 1, expected"
        )
    return Shape(raw_ids[number], (values.reshape(-1, 2) * (size_hw[1], size_hw[0]),))
