"""Polygons as GeoJSON (RFC 7946): longitudes and latitudes where the image is georeferenced, else pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from crispseg.extras import needed
from crispseg.vectors.georeference import Georeference
from crispseg.vectors.regions import Regions

__all__ = ["geojson_document"]

_DECIMALS = 9  # of a degree: a tenth of a millimetre
_LONGEST_SIDE = 64  # px; a straight line of the image is none in degrees, so long ones get points in between


def geojson_document(regions: Regions, georeference: Georeference | None = None) -> dict[str, Any]:
    """A FeatureCollection with a feature for each region.

    Properties are ``class``, ``id`` (as in label files), ``colour`` and ``area_px``. Rings turn as the standard asks:
    outlines counter-clockwise with y up, holes clockwise.

    Args:
        regions: of the image.
        georeference: makes coordinates longitudes and latitudes of WGS84, the only ones that the standard knows. None:
            pixels, x to the right, y *down*, from the upper left corner, as ``crispseg.coordinates`` in the file says.

    Raises:
        ConfigError: if a class has no id in its table.
        DataError: if the georeference does not hold for all points.
    """
    shapely = needed("shapely", "vectors", "making polygons")
    shapes = np.array([region.polygon for region in regions.regions], dtype=object)
    areas = shapely.area(shapes)
    if georeference is not None and shapes.size:
        shapes = shapely.segmentize(shapes, _LONGEST_SIDE)
        shapes = shapely.transform(shapes, lambda points: georeference.to_wgs84(points).round(_DECIMALS))
    shapes = shapely.orient_polygons(shapes)
    space = regions.label_space
    features = [
        {
            "type": "Feature",
            "properties": {
                "class": space.class_names[region.train_id],
                "id": space.id_in_files(region.train_id),
                "colour": "#{:02x}{:02x}{:02x}".format(*space.classes[region.train_id].colour),
                "area_px": float(area),
            },
            "geometry": {"type": "Polygon", "coordinates": _rings(shape, whole=georeference is None)},
        }
        for region, shape, area in zip(regions.regions, shapes, areas, strict=True)
    ]
    height, width = regions.size_hw
    about = {"coordinates": _PIXELS if georeference is None else _DEGREES, "height": height, "width": width}
    return {"type": "FeatureCollection", "crispseg": {**about, "label_space": space.name}, "features": features}


_PIXELS = "pixels: x to the right, y down, from the upper left corner of the image"
_DEGREES = "longitude, latitude (WGS84)"


def _rings(polygon: Any, *, whole: bool) -> list[list[list[float]]]:
    rings = [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    return [(ring.astype(np.int64) if whole else ring).tolist() for ring in rings]
