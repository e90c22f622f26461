"""COCO's JSON: polygons and run-length codes of many images in one file, as many tools export it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crispseg.config import DataConfig
from crispseg.data.layouts.files import existing_root, split_parts
from crispseg.data.layouts.own_folders import split_names
from crispseg.data.records import Record, SampleSource
from crispseg.data.shapes import ShapesSource, missing_images, own_table, read_json, shapes_table, translated_ids
from crispseg.errors import DataError
from crispseg.labels import LabelSpace
from crispseg.vectors.painting import Overlaps, Shape
from crispseg.wording import some

__all__ = ["coco", "coco_files"]

_WHAT = "a COCO file with images, annotations and categories"
_OF_OTHER_KINDS = ("captions_", "person_keypoints_", "panoptic_", "image_info_", "stuff_")


@dataclass(frozen=True)
class _CocoRecord(Record):
    """An image and its annotations; `labels` is the file of all."""

    size_hw: tuple[int, int] = (0, 0)
    shapes: tuple[Shape, ...] = field(default=(), repr=False, compare=False)


def coco(
    config: DataConfig,
    split: str,
    *,
    annotations: str | None = None,
    image_folder: str | None = None,
    overlaps: Overlaps = "smaller",
    skip_boxes: bool = False,
) -> tuple[SampleSource, LabelSpace]:
    """Images with a COCO file for each split, or one for all.

    Args:
        config: the section; its root may be the COCO file itself.
        split: whose name is in the file's, or its folder's; ``all``: of the only file.
        annotations: the file, below the root, with ``{split}`` where it has one; None: it is looked for.
        image_folder: of the images, below the root; None: it is looked for.
        overlaps: whose a pixel is that several annotations cover.
        skip_boxes: whether annotations that are boxes alone are left out, so that their objects are background.
    """
    root, files = _files_of(config, annotations)
    records: list[_CocoRecord] = []
    names: dict[int, str] | None = None
    space = own_table(config.labels, root)
    for part in split_parts(split):
        path = _file_of(files, part, root, config, annotations)
        values = read_json(path, _WHAT)
        if absent := [key for key in ("images", "annotations", "categories") if not isinstance(values.get(key), list)]:
            raise DataError(f"{path}: no list of {' or '.join(absent)}; {_WHAT} was expected")
        found = _categories(values, path)
        if names is not None and found != names:
            raise DataError(f"{path}: its categories {some(found.items())} differ from the other split's")
        names = found
        if space is None:
            space = shapes_table(found, root.resolve().name)
            raw_ids = {raw: raw for raw in found}
        else:
            raw_ids = translated_ids(found, space, path)
        records += _records(values, path, raw_ids, _image_folders(path, root, part, image_folder), skip_boxes)
    assert space is not None
    return ShapesSource(records, space, _shapes_of, overlaps, config.max_pixels), space


def coco_files(root: Path) -> dict[str, list[Path]]:
    """The COCO files in a folder and the folders in it, by the split that their names tell; ``all`` where none."""
    found: dict[str, list[Path]] = {}
    for path in sorted([*root.glob("*.json"), *root.glob("*/*.json")]):
        if path.name.startswith((".", *_OF_OTHER_KINDS)) or not _looks_like_coco(path):
            continue
        found.setdefault(_split_of(path, root), []).append(path)
    return found


def _files_of(config: DataConfig, annotations: str | None) -> tuple[Path, dict[str, list[Path]]]:
    if config.root is not None and Path(config.root).is_file():
        path = Path(config.root)
        return path.parent, {_split_of(path, path.parent): [path]}
    root = existing_root(config, "COCO files and their images")
    return root, coco_files(root) if annotations is None else {}


def _file_of(
    files: Mapping[str, list[Path]], part: str, root: Path, config: DataConfig, annotations: str | None
) -> Path:
    if annotations is not None:
        paths = [root / annotations.replace("{split}", name) for name in split_names(part)]
        return next((path for path in paths if path.is_file()), paths[0])
    found = next((files[name] for name in split_names(part) if name in files), [])
    if not found and (part == "all" or config.val is not None):
        found = [path for paths in files.values() for path in paths]
    if not found:
        there = some(path.relative_to(root) for paths in files.values() for path in paths)
        raise DataError(
            f"{root}: no COCO file of the split {part!r} found, whose name or folder says so; {there} found; where "
            "there is one for all, its split is 'all', and data.val: 0.2 draws from it"
        )
    if len(found) > 1:
        there = " and ".join(str(path.relative_to(root)) for path in found)
        raise DataError(f"{root}: {there} all may be meant; say which by data.annotations")
    return found[0]


def _looks_like_coco(path: Path) -> bool:
    """By its beginning: the whole may be half a gigabyte."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError:
        return False
    if b'"imagePath"' in head or b'"shapes"' in head:
        return False
    return any(key in head for key in (b'"categories"', b'"image_id"', b'"file_name"'))


def _split_of(path: Path, root: Path) -> str:
    where = path.relative_to(root).with_suffix("").as_posix()
    for split in ("train", "val", "test"):
        for name in split_names(split):
            if re.search(rf"(?:^|[/_.\-]){name}(?:\d{{4}})?(?:$|[/_.\-])", where, re.IGNORECASE):
                return split
    return "all"


def _categories(values: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Names by id, without groups: categories that are others' supercategory and annotate nothing."""
    names: dict[int, str] = {}
    groups = set()
    for entry in values["categories"]:
        if not isinstance(entry, dict) or type(entry.get("id")) is not int or not isinstance(entry.get("name"), str):
            raise DataError(f"{path}: a category is {entry!r:.100}; an object with id and name was expected")
        if entry["id"] in names or not 0 <= entry["id"] <= 65535:
            raise DataError(f"{path}: category id {entry['id']} occurs twice, or is not in 0–65535")
        names[entry["id"]] = entry["name"]
        groups.add(str(entry.get("supercategory")))
    for annotation in values["annotations"]:
        ids = [annotation.get(key) for key in ("image_id", "category_id")] if isinstance(annotation, dict) else [None]
        if not all(isinstance(one, int | str) for one in ids):
            raise DataError(f"{path}: an annotation is {annotation!r:.100}; image_id and category_id were expected")
    used = {annotation["category_id"] for annotation in values["annotations"]}
    if unknown := sorted(str(raw) for raw in used if raw not in names):
        raise DataError(f"{path}: annotations of category {some(unknown)}, which no category has; export it again")
    own = {entry["name"] for entry in values["categories"] if entry.get("supercategory") not in (entry["name"], None)}
    return {raw: name for raw, name in names.items() if raw in used or not (name in groups and own - {name})}


def _records(
    values: Mapping[str, Any], path: Path, raw_ids: Mapping[int, int], folders: Sequence[Path], skip_boxes: bool
) -> list[_CocoRecord]:
    of_image: dict[Any, list[Shape]] = {}
    boxes = 0
    for annotation in values["annotations"]:
        code = _code(annotation.get("segmentation"), path)
        boxes += code is None
        if code is not None:
            of_image.setdefault(annotation["image_id"], []).append(Shape(raw_ids[annotation["category_id"]], code=code))
    if boxes and not skip_boxes:
        raise DataError(
            f"{path}: {boxes} of {len(values['annotations'])} annotations have no outline but a box alone, which does "
            "not say which pixels are meant; outline them, or leave them out by data.skip_boxes=true, so that their "
            "objects are background"
        )
    records, missing = [], []
    images = values["images"]
    stems = {Path(str(image.get("file_name"))).stem for image in images if isinstance(image, dict)}
    for image in images:
        if (
            not isinstance(image, dict)
            or not isinstance(image.get("file_name"), str)
            or not isinstance(image.get("id"), int | str)
        ):
            raise DataError(f"{path}: an image is {image!r:.100}; an object with id and file_name was expected")
        name = image["file_name"].replace("\\", "/")
        found = _found(name, folders)
        if found is None:
            missing.append(name)
            continue
        size_hw = (image.get("height", 0), image.get("width", 0))
        if not all(type(side) is int for side in size_hw):
            raise DataError(f"{path}: {name} is {size_hw[0]!r}×{size_hw[1]!r}; whole numbers of pixels expected")
        own = Path(name).stem if len(stems) == len(images) else Path(name).with_suffix("").as_posix()
        records.append(_CocoRecord(own, found, path, size_hw, tuple(of_image.pop(image["id"], ()))))
    if missing:
        raise missing_images(missing, len(images), path, folders, "image_folder")
    if of_image:
        raise DataError(f"{path}: annotations of images {some(of_image)}, which are not listed; export it again")
    return sorted(records, key=lambda record: record.name)


def _code(segmentation: Any, path: Path) -> Any:
    """Polygons as arrays, which take a tenth of the memory; None if there is nothing."""
    if isinstance(segmentation, dict):
        return segmentation
    if not isinstance(segmentation, list) or not segmentation:
        return None
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise DataError(f"{path}: an outline is {polygon!r:.60}; x, y of three points or more were expected")
    try:
        return [np.array(polygon, dtype=np.float64) for polygon in segmentation]
    except (TypeError, ValueError):
        raise DataError(f"{path}: an outline is {segmentation!r:.60}; numbers were expected") from None


def _found(name: str, folders: Sequence[Path]) -> Path | None:
    for wanted in (name, Path(name).name):
        for folder in folders:
            if (folder / wanted).is_file():
                return folder / wanted
    return None


def _image_folders(path: Path, root: Path, part: str, said: str | None) -> list[Path]:
    if said is not None:
        return [root / said.replace("{split}", name) for name in split_names(part)]
    below = [path.parent, root]
    for base in (path.parent, path.parent.parent, root):
        for name in ("images", "data", "JPEGImages", *split_names(part), *(f"{one}2017" for one in split_names(part))):
            below += [base / name, base / "images" / name, *(base / name / one for one in split_names(part))]
    return list(dict.fromkeys(folder for folder in below if folder.is_dir()))


def _shapes_of(record: Record, size_hw: tuple[int, int] | None) -> tuple[Sequence[Shape], tuple[int, int]]:
    assert isinstance(record, _CocoRecord)
    return record.shapes, size_hw or record.size_hw
