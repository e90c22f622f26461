"""Polygons as SVG, over the picture: to look at in a browser, to edit in a drawing program."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from crispseg.pictures import to_data_uri, to_jpeg_bytes
from crispseg.pictures.colour import Picture
from crispseg.vectors.regions import Regions

__all__ = ["svg_text"]


def svg_text(regions: Regions, image: Picture | None = None) -> str:
    """A group for each class, a path with holes for each of its regions.

    Args:
        regions: of the image.
        image: (H, W, 3) uint8 RGB that lies below them, inside the file as a JPEG. None: nothing does.

    Returns:
        One document that needs no other file and holds no script.
    """
    height, width = regions.size_hw
    space = regions.label_space
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    ]
    if image is not None:
        lines.append(f'<image width="{width}" height="{height}" href="{to_data_uri(to_jpeg_bytes(image))}"/>')
    for train_id in sorted({region.train_id for region in regions.regions}):
        red, green, blue = space.classes[train_id].colour
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        lines.append(
            f'<g id="class-{train_id}" fill="{colour}" fill-opacity="0.45" fill-rule="evenodd" '
            f'stroke="{colour}" stroke-width="1" stroke-linejoin="round">'
        )
        lines.append(f"<title>{escape(space.class_names[train_id])}</title>")
        lines.extend(f'<path d="{_path(one.polygon)}"/>' for one in regions.regions if one.train_id == train_id)
        lines.append("</g>")
    return "\n".join((*lines, "</svg>", ""))


def _path(polygon: Any) -> str:
    rings = [np.asarray(ring.coords)[:-1].astype(np.int64) for ring in (polygon.exterior, *polygon.interiors)]
    return "".join("M" + "L".join(f"{x} {y}" for x, y in ring.tolist()) + "Z" for ring in rings)
