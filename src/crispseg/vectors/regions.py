"""The regions of a label map as polygons whose borders are shared: no gaps, no overlaps, simplified or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.extras import needed
from crispseg.labels import IGNORE_INDEX, LabelSpace

if TYPE_CHECKING:
    import shapely

__all__ = ["Region", "Regions", "polygons"]


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of one class that touch each other side by side.

    Attributes:
        train_id: of the class.
        polygon: its outline and holes along the pixels' edges. Coordinates are whole numbers of pixels, x to the right,
            y down, from the upper left corner of the image.
    """

    train_id: int
    polygon: shapely.Polygon


@dataclass(frozen=True, eq=False)
class Regions:
    """A label map as polygons, which cover the image without gaps and overlaps.

    Attributes:
        regions: the larger the area within its outline, the earlier: a region comes before what lies in its holes.
        ignored: polygons of what is ignored, in the same order; no class has them.
        size_hw: of the image, in pixels.
        label_space: names, colours and ids of the classes.
    """

    regions: tuple[Region, ...]
    ignored: tuple[shapely.Polygon, ...]
    size_hw: tuple[int, int]
    label_space: LabelSpace

    def to_labels(self) -> npt.NDArray[np.uint8]:
        """Paint the polygons: a pixel belongs to the one that its centre lies in.

        Returns:
            (H, W) uint8 train ids, 255 where nothing is; the label map itself, if nothing was simplified.
        """
        features = _needed("rasterio.features")
        shapes = [(region.polygon, region.train_id) for region in self.regions]
        if not shapes:
            return np.full(self.size_hw, IGNORE_INDEX, dtype=np.uint8)
        labels: npt.NDArray[np.uint8] = features.rasterize(
            shapes, out_shape=self.size_hw, fill=IGNORE_INDEX, dtype=np.uint8
        )
        return labels


def polygons(labels: npt.NDArray[np.integer[Any]], label_space: LabelSpace, simplify_px: float = 0.0) -> Regions:
    """Make polygons of a label map.

    Args:
        labels: (H, W) train ids, 255 where a pixel is ignored.
        label_space: of the labels.
        simplify_px: how coarse outlines may become: corners go whose triangle with their neighbours has an area of less
            than the square of it. Borders are simplified once for both sides, so that there is neither gap nor
            overlap; points where three regions meet stay, and so does the image's frame. 0: not at all.

    Raises:
        DataError: if the labels are of another form, or hold ids that the table does not.
        ConfigError: if `simplify_px` is negative or no number, or rasterio or shapely are not installed.

    Example:
        >>> two = LabelSpace.from_dict({"name": "two", "classes": ["ground", "pole"]})
        >>> found = polygons(np.array([[0, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=np.uint8), two)
        >>> [(region.train_id, region.polygon.wkt) for region in found.regions][1]
        (1, 'POLYGON ((1 1, 1 3, 2 3, 2 1, 1 1))')
    """
    check_tools(simplify_px)
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or labels.size == 0:
        raise DataError(f"labels are {labels.dtype} {labels.shape}; (H, W) integers expected, none of them 0")
    unknown = labels[(labels < 0) | ((labels >= label_space.num_classes) & (labels != IGNORE_INDEX))]
    if unknown.size:
        raise DataError(
            f"labels hold {unknown[0]}, but the label table {label_space.name!r} has {label_space.num_classes} classes"
        )
    shapely = _needed("shapely")
    shapes, train_ids = _covering(labels.astype(np.uint8))
    if simplify_px > 0:
        shapes = shapely.coverage_simplify(shapes, simplify_px, simplify_boundary=False)
    filled = shapely.area(shapely.polygons(shapely.get_exterior_ring(shapes)))
    order = np.argsort(-filled, kind="stable").tolist()
    return Regions(
        regions=tuple(Region(int(train_ids[i]), shapes[i]) for i in order if train_ids[i] != IGNORE_INDEX),
        ignored=tuple(shapes[i] for i in order if train_ids[i] == IGNORE_INDEX),
        size_hw=(labels.shape[0], labels.shape[1]),
        label_space=label_space,
    )


def check_tools(simplify_px: float) -> None:
    """Refuse before the work what would be refused in it.

    Raises:
        ConfigError: if the tolerance is negative or no number, or rasterio or shapely are not installed.
    """
    if not (math.isfinite(simplify_px) and simplify_px >= 0):
        raise ConfigError(f"simplify_px is {simplify_px}; pixels expected, 0 or more")
    for module in ("rasterio.features", "shapely"):
        _needed(module)


def _covering(labels: npt.NDArray[np.uint8]) -> tuple[Any, npt.NDArray[np.uint8]]:
    """Polygons with every corner that a neighbour has there too, which simplifying shared borders needs; their ids."""
    features, shapely, geometry = _needed("rasterio.features"), _needed("shapely"), _needed("shapely.geometry")
    found = list(features.shapes(labels, connectivity=4))
    shapes = np.array([geometry.shape(outline) for outline, _ in found], dtype=object)
    train_ids = np.array([value for _, value in found], dtype=np.uint8)
    # A polygon as found has no point in the middle of a straight side, where two neighbours may meet.
    kind, points, (ring_ends, polygon_ends) = shapely.to_ragged_array(shapely.segmentize(shapes, 1.0))
    points = np.rint(points).astype(np.int64)
    kept = _corners(labels)[points[:, 1], points[:, 0]]
    counts = np.concatenate(([0], np.cumsum(kept)))
    return shapely.from_ragged_array(
        kind, points[kept].astype(np.float64), (counts[ring_ends], polygon_ends)
    ), train_ids


def _corners(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """(H + 1, W + 1): where pixels meet, whether borders do more there than pass straight through."""
    framed = np.full((labels.shape[0] + 2, labels.shape[1] + 2), -1, dtype=np.int16)
    framed[1:-1, 1:-1] = labels
    (a, b), (c, d) = ((framed[:-1, :-1], framed[:-1, 1:]), (framed[1:, :-1], framed[1:, 1:]))  # around each
    corners: npt.NDArray[np.bool_] = ~(((a == b) & (c == d)) | ((a == c) & (b == d)))
    return corners


def _needed(module: str) -> Any:
    return needed(module, "vectors", "making polygons")
