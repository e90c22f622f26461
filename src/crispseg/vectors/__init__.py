"""Label maps as polygons, exact or simplified without gaps, in the files that maps and annotation tools read."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.vectors.coco import coco_document, join_coco
    from crispseg.vectors.files import KINDS, save_polygons
    from crispseg.vectors.geojson import geojson_document
    from crispseg.vectors.georeference import Georeference, read_georeference
    from crispseg.vectors.labelme import labelme_document
    from crispseg.vectors.regions import Region, Regions, polygons
    from crispseg.vectors.svg import svg_text
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.vectors.coco": ("coco_document", "join_coco"),
            "crispseg.vectors.files": ("KINDS", "save_polygons"),
            "crispseg.vectors.geojson": ("geojson_document",),
            "crispseg.vectors.georeference": ("Georeference", "read_georeference"),
            "crispseg.vectors.labelme": ("labelme_document",),
            "crispseg.vectors.regions": ("Region", "Regions", "polygons"),
            "crispseg.vectors.svg": ("svg_text",),
        },
    )

__all__ = [
    "KINDS",
    "Georeference",
    "Region",
    "Regions",
    "coco_document",
    "geojson_document",
    "join_coco",
    "labelme_document",
    "polygons",
    "read_georeference",
    "save_polygons",
    "svg_text",
]
