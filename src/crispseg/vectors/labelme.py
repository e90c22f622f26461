"""Polygons as LabelMe reads them: a file for an image, each shape painted over those before it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from crispseg.extras import needed
from crispseg.vectors.regions import Regions

__all__ = ["labelme_document"]

_VERSION = "5.0.1"  # of LabelMe, whose files are alike since


def labelme_document(regions: Regions, image_path: str, *, without: Collection[int] = ()) -> dict[str, Any]:
    """What LabelMe reads, with an outline for each region.

    LabelMe's shapes have no holes. Its own tools paint them in the order of the file, so what lies in a hole comes
    after what is around it. Ignored regions are shapes named ``__ignore__``, LabelMe's own word, because what no shape
    covers counts as background there.

    Args:
        regions: of the image.
        image_path: of the image, as seen from the file's folder.
        without: train ids of classes that are left out, such as a background, but where they lie in a hole of another.
    """
    holes = (
        []
        if not without
        else [
            _polygon(hole)
            for polygon in (*(one.polygon for one in regions.regions if one.train_id not in without), *regions.ignored)
            for hole in polygon.interiors
        ]
    )
    named = [
        (regions.label_space.class_names[region.train_id], region.polygon)
        for region in regions.regions
        if region.train_id not in without or any(hole.contains(region.polygon) for hole in holes)
    ]
    shapes = [*named, *(("__ignore__", polygon) for polygon in regions.ignored)]
    shapes.sort(key=lambda shape: -_filled_area(shape[1]))
    height, width = regions.size_hw
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": [_shape(name, polygon) for name, polygon in shapes],
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shape(name: str, polygon: Any) -> dict[str, Any]:
    outline = np.asarray(polygon.exterior.coords)[:-1].tolist()  # the first point closes it
    return {"label": name, "points": outline, "group_id": None, "shape_type": "polygon", "flags": {}}


def _polygon(ring: Any) -> Any:
    return needed("shapely", "vectors", "making polygons").Polygon(ring)


def _filled_area(polygon: Any) -> float:
    x, y = np.asarray(polygon.exterior.coords).T
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2)
