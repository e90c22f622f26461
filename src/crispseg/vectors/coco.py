"""Polygons as COCO's JSON: one file for a whole set of images, joined from those of its images."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crispseg.errors import DataError
from crispseg.extras import needed
from crispseg.io import atomic_write
from crispseg.labels import LabelSpace
from crispseg.parsing import TextError, parse_json, read_text
from crispseg.vectors.regions import Regions

__all__ = ["coco_document", "join_coco"]

_LARGEST_FILE = 512_000_000  # bytes, of one image


def coco_document(
    regions: Regions, file_name: str, *, ignored_as: str | None = None, without: Collection[int] = ()
) -> dict[str, Any]:
    """A set of one image, with an annotation for each region.

    A region without holes is a polygon, one with holes a compressed run-length code, for COCO's polygons have none.
    Both rasterise to the region's pixels by pycocotools. Categories have the ids of label files.

    Args:
        regions: of the image.
        file_name: of the image, as the set shall name it.
        ignored_as: name of a further category for what is ignored; None: that is in no annotation.
        without: train ids of classes that are left out, such as a background.

    Raises:
        ConfigError: if a class has no id in its table, or pycocotools is not installed.
    """
    height, width = regions.size_hw
    space = regions.label_space
    categories = [entry for entry in _categories(space) if entry["name"] not in {space.class_names[i] for i in without}]
    found = [
        (space.id_in_files(region.train_id), region.polygon)
        for region in regions.regions
        if region.train_id not in without
    ]
    if ignored_as is not None:
        ignored_id = 1 + max(raw for entry in space.classes for raw in entry.ids)
        categories.append({"id": ignored_id, "name": ignored_as, "supercategory": ""})
        found += [(ignored_id, polygon) for polygon in regions.ignored]
    annotations = []
    for number, (category_id, polygon) in enumerate(found, start=1):
        segmentation, area = _segmentation(polygon, regions.size_hw)
        left, top, right, bottom = polygon.bounds
        annotations.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": category_id,
                "segmentation": segmentation,
                "area": area,
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
            }
        )
    return {
        "info": {"description": f"label table {space.name}"},
        "licenses": [],
        "categories": categories,
        "images": [{"id": 1, "file_name": file_name, "height": height, "width": width}],
        "annotations": annotations,
    }


def join_coco(sources: Mapping[str, str | os.PathLike[str]], path: str | os.PathLike[str]) -> int:
    """Write the files of single images as one of them all, an image after another.

    Args:
        sources: by the name that the set gives each image: its file, as `coco_document` makes them, with the same
            categories. Ids are given anew.
        path: of the file to be, which appears whole or not at all.

    Returns:
        How many images it holds.

    Raises:
        DataError: if a file cannot be read, or its categories differ from the first one's.
    """
    images: list[dict[str, Any]] = []
    head: dict[str, Any] = {}
    number = 0
    with atomic_write(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write('{"annotations": [')  # the longest part is not held
        for name, source in sources.items():
            one = _read(Path(source))
            head = head or {key: one[key] for key in ("info", "licenses", "categories")}
            if one["categories"] != head["categories"]:
                raise DataError(f"{source}: its categories are not those of the files before; segment all anew")
            images.append({**one["images"][0], "id": len(images) + 1, "file_name": name})
            for annotation in one["annotations"]:
                number += 1
                file.write(",\n" if number > 1 else "\n")
                file.write(json.dumps({**annotation, "id": number, "image_id": len(images)}))
        file.write("],\n" + json.dumps({**head, "images": images})[1:] + "\n")
    return len(images)


def _read(source: Path) -> dict[str, Any]:
    try:
        values = parse_json(read_text(source, _LARGEST_FILE))
        if not isinstance(values, dict) or {"info", "licenses", "categories", "images", "annotations"} - set(values):
            raise TextError("lacks a part")
    except (OSError, TextError) as error:
        raise DataError(f"{source}: no COCO file of one image ({error}); segment that image anew") from error
    return values


def _categories(space: LabelSpace) -> list[dict[str, Any]]:
    """Of the classes that have an id; `LabelSpace.id_in_files` says so where one of the others is predicted."""
    return [
        {"id": entry.ids[0], "name": entry.name, "supercategory": entry.category or ""}
        for entry in space.classes
        if entry.ids
    ]


def _segmentation(polygon: Any, size_hw: tuple[int, int]) -> tuple[Any, int]:
    """As COCO writes it, and its pixels."""
    codes = needed("pycocotools.mask", "vectors", "COCO files")
    height, width = size_hw
    if not polygon.interiors:
        outline = np.asarray(polygon.exterior.coords)[:-1].ravel().tolist()
        (code,) = codes.frPyObjects([outline], height, width)
        return [outline], int(codes.area(code))
    features = needed("rasterio.features", "vectors", "COCO files")
    mask = features.rasterize([(polygon, 1)], out_shape=size_hw, dtype=np.uint8)
    code = codes.encode(np.asfortranarray(mask))
    return {"size": list(size_hw), "counts": code["counts"].decode("ascii")}, int(mask.sum())
