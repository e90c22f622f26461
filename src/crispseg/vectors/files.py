"""Polygons in files: one writer for each kind, by its name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crispseg.errors import ConfigError, DataError
from crispseg.io import atomic_write
from crispseg.pictures.colour import Picture
from crispseg.vectors.coco import coco_document
from crispseg.vectors.geojson import geojson_document
from crispseg.vectors.georeference import Georeference, read_georeference
from crispseg.vectors.labelme import labelme_document
from crispseg.vectors.regions import Regions
from crispseg.vectors.svg import svg_text
from crispseg.wording import nearest_name

__all__ = ["KINDS", "check_kind", "polygons_text", "save_polygons"]

KINDS: Mapping[str, str] = {"geojson": ".geojson", "coco": "_coco.json", "labelme": ".json", "svg": ".svg"}
"""Of files, and how the name of an image's own ends. LabelMe looks for the image's name with ``.json``."""


def check_kind(kind: str) -> None:
    """Refuse what is none of `KINDS`.

    Raises:
        ConfigError: if it is not.
    """
    if kind not in KINDS:
        raise ConfigError(f"no polygons are called {kind!r}; {nearest_name(kind, KINDS)}")


def save_polygons(
    path: str | os.PathLike[str],
    kind: str,
    regions: Regions,
    source: str | os.PathLike[str] | None = None,
    image: Picture | None = None,
) -> None:
    """Write polygons of an image into a file that appears whole or not at all.

    Args:
        path: of the file to be.
        kind: one of `KINDS`.
        regions: of the image.
        source: the image's file: COCO and LabelMe name it, and GeoJSON takes its georeference from it. None: unnamed.
        image: (H, W, 3) uint8 RGB, below the polygons of an SVG. None: nothing is.

    Raises:
        ConfigError: if there is no such kind, a class has no id, or what makes polygons is not installed.
        DataError: if the source's georeference cannot be used, or its name is no text.
        OSError: if the file cannot be written.
    """
    check_kind(kind)
    seen_as = Path(path).name if source is None else _as_seen_from(Path(path).parent, Path(source))
    georeference = read_georeference(source) if kind == "geojson" and source is not None else None
    text = polygons_text(kind, regions, seen_as, image, georeference)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def polygons_text(
    kind: str,
    regions: Regions,
    image_path: str,
    image: Picture | None = None,
    georeference: Georeference | None = None,
) -> str:
    """What a file of polygons holds.

    Args:
        kind: one of `KINDS`.
        regions: of the image.
        image_path: of the image as seen from the file's folder, for LabelMe; COCO takes its last part.
        image: see `save_polygons`.
        georeference: of the image, for GeoJSON.

    Raises:
        ConfigError, DataError: as `save_polygons`.
    """
    check_kind(kind)
    if kind == "svg":
        return svg_text(regions, image)
    if kind == "geojson":
        return _json(geojson_document(regions, georeference))
    if any("\ud800" <= character <= "\udfff" for character in image_path):
        raise DataError(
            f"{image_path}: the name holds bytes that are no UTF-8 text, which JSON cannot hold; rename the file"
        )
    if kind == "labelme":
        return _json(labelme_document(regions, image_path))
    return _json(coco_document(regions, image_path.rpartition("/")[2]))


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, allow_nan=False) + "\n"


def _as_seen_from(folder: Path, source: Path) -> str:
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return Path(os.path.abspath(source)).as_posix()
