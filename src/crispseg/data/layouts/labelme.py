"""LabelMe's JSON: a file beside each image, with its outlines."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.config import DataConfig
from crispseg.data.layouts.files import IMAGE_ENDINGS, existing_root, split_parts
from crispseg.data.layouts.own_folders import split_names
from crispseg.data.masks import ids_in_files
from crispseg.data.records import Record, SampleSource
from crispseg.data.shapes import ShapesSource, missing_images, read_json, shapes_table
from crispseg.data.tables import BACKGROUND, IGNORED, is_background, table_beside
from crispseg.errors import DataError
from crispseg.io import ImageBytes, files_below, read_label_ids
from crispseg.labels import IGNORE_INDEX, LabelSpace, label_space
from crispseg.vectors.painting import Overlaps, Shape
from crispseg.wording import nearest_name

__all__ = ["labelme", "labelme_files"]

_WHAT = "a LabelMe file with shapes and imagePath"


def labelme(
    config: DataConfig, split: str, *, overlaps: Overlaps = "later", skip_lines: bool = False
) -> tuple[SampleSource, LabelSpace]:
    """``ROOT/SPLIT/*.json`` beside their images, or all in ROOT, and perhaps a table ``labels.yaml`` or ``labels.txt``.

    Without a table the classes are the names of all shapes below the root, in the order of the alphabet, after a
    background.

    Args:
        config: the section.
        split: a folder's name; ``all``: a root without such folders.
        overlaps: whose a pixel is that several shapes cover; LabelMe's own tools give it to the later one.
        skip_lines: whether points and lines, which cover no pixels, are left out.
    """
    root = existing_root(config, "LabelMe files beside their images")
    space = label_space(config.labels) if config.labels else table_beside(root)
    if space is None:
        space = shapes_table(dict(enumerate(_names(root), start=1)), root.resolve().name)
    elif config.labels is None and not (root / "labels.yaml").is_file():  # a list of names, perhaps without background
        space = shapes_table(dict(enumerate(space.class_names, start=1)), space.name)
    records = [record for part in split_parts(split) for record in _records(root, part, config)]
    read = partial(
        _shapes_of, skip_lines=skip_lines, raw_ids=_raw_ids(space), known=space.class_names, table=space.name
    )
    return ShapesSource(records, space, read, overlaps, config.max_pixels), space


def labelme_files(folder: Path) -> list[Path]:
    """The JSON files below a folder that LabelMe could have written, by their beginning."""
    return [path for path in files_below(folder) if path.suffix.lower() == ".json" and _looks_like_labelme(path)]


def _records(root: Path, part: str, config: DataConfig) -> list[Record]:
    folders = [root / name for name in split_names(part) if (root / name).is_dir()]
    if not folders and (part == "all" or config.val is not None):
        folders = [root]
    files = labelme_files(folders[0]) if folders else []
    if not files:
        where = folders[0] if folders else root / part
        raise DataError(
            f"{where}: no LabelMe files found; JSON files beside their images were expected; where there are no "
            "folders of splits, the split is 'all', and data.val: 0.2 draws from it"
        )
    records, missing = [], []
    for path in files:
        image = _image_of(path)
        if image is None:
            missing.append(f"the image of {path.name}")
            continue
        records.append(Record(path.relative_to(folders[0]).with_suffix("").as_posix(), image, path))
    if missing:
        raise missing_images(missing, len(files), folders[0], [path.parent for path in files[:1]], None)
    return records


def _image_of(path: Path) -> Path | None:
    """The image beside a file, of its stem; else the one that the file names, which takes reading it."""
    for ending in IMAGE_ENDINGS:
        for beside in (path.with_suffix(ending), path.with_suffix(ending.upper())):
            if beside.is_file():
                return beside
    said = read_json(path, _WHAT).get("imagePath")
    if not isinstance(said, str):
        return None
    named = said.replace("\\", "/")
    for beside in (path.parent / named, path.parent / Path(named).name):
        if beside.is_file():
            return beside
    return None


def _names(root: Path) -> list[str]:
    """Of all shapes, but for what is ignored and the background."""
    names = {str(shape.get("label")) for path in labelme_files(root) for shape in _shapes(read_json(path, _WHAT), path)}
    return sorted(name for name in names if name != IGNORED and not is_background(name))


def _raw_ids(space: LabelSpace) -> dict[str, int]:
    ids = {entry.name: entry.ids[0] for entry in space.classes if entry.ids}
    ids |= {f"_{BACKGROUND}_": raw for name, raw in ids.items() if is_background(name)}
    return {**ids, IGNORED: int(ids_in_files(space)[IGNORE_INDEX])}


def _shapes_of(
    record: Record,
    size_hw: tuple[int, int] | None,
    skip_lines: bool,
    raw_ids: Mapping[str, int],
    known: Sequence[str],
    table: str,
) -> tuple[Sequence[Shape], tuple[int, int]]:
    path = record.labels
    values = read_json(path, _WHAT)
    shapes = []
    for shape in _shapes(values, path):
        name = str(shape.get("label"))
        if skip_lines and shape.get("shape_type") in _LINES:
            continue
        if name not in raw_ids:
            raise DataError(f"{path}: {name!r} is no class of the label table {table!r}; {nearest_name(name, known)}")
        shapes.append(_shape(shape, raw_ids[name], path))
    height, width = values.get("imageHeight"), values.get("imageWidth")
    return shapes, size_hw or ((height, width) if type(height) is int and type(width) is int else (0, 0))


def _shapes(values: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    shapes = values.get("shapes")
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise DataError(f"{path}: no list of shapes; {_WHAT} was expected")
    return shapes


def _shape(shape: Mapping[str, Any], raw_id: int, path: Path) -> Shape:
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape, path)
    if kind == "mask":
        return Shape(raw_id, mask=(_mask(shape.get("mask"), path), round(points[0, 1]), round(points[0, 0])))
    if kind == "polygon" and len(points) >= 3:
        return Shape(raw_id, (points,))
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        return Shape(raw_id, (np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]),))
    if kind == "rectangle" and len(points) == 4:
        return Shape(raw_id, (points,))
    if kind == "circle" and len(points) == 2:
        radius = float(np.hypot(*(points[1] - points[0])))
        turn = np.linspace(0, 2 * np.pi, min(max(36, round(4 * radius)), 10_000), endpoint=False)
        return Shape(raw_id, (points[0] + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1),))
    raise DataError(
        f"{path}: {shape.get('label')!r} is a {kind} of {len(points)} points, which covers no pixels; polygons, "
        "rectangles, circles and masks are read: outline it, remove it, or leave all points and lines out by "
        "data.skip_lines=true"
    )


_FURTHEST = 1e7  # px from an image's corner; no tool writes more
_LINES = ("point", "points", "line", "linestrip")


def _points(shape: Mapping[str, Any], path: Path) -> npt.NDArray[np.float64]:
    try:
        points = np.array(shape.get("points"), dtype=np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or not (np.abs(points) <= _FURTHEST).all():
        raise DataError(
            f"{path}: the points of {shape.get('label')!r} are no pairs of numbers; save it in LabelMe again"
        )
    return points


def _mask(text: object, path: Path) -> npt.NDArray[np.bool_]:
    try:
        data = base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        raise DataError(f"{path}: a mask is no base64 ({error}); save it in LabelMe again") from error
    return read_label_ids(ImageBytes(data, f"{path}: a mask")) > 0


def _looks_like_labelme(path: Path) -> bool:
    """By its beginning, and its end where the image's bytes stand between."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 14)
            file.seek(0, 2)
            file.seek(max(file.tell() - 4096, 0))
            tail = file.read()
    except OSError:
        return False
    return b'"shapes"' in head and (b'"imagePath"' in head or b'"imagePath"' in tail)
