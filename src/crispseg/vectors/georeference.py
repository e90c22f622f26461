"""Where on Earth an image lies, as a GeoTIFF or a file beside the image says."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import DataError
from crispseg.extras import needed
from crispseg.io.orientation import is_turned

__all__ = ["Georeference", "read_georeference"]

_WGS84 = "EPSG:4326"


@dataclass(frozen=True)
class Georeference:
    """From pixels to places.

    Attributes:
        transform: (a, b, c, d, e, f): x = a · column + b · row + c and y = d · column + e · row + f, in units of `crs`.
        crs: the coordinate reference system, as PROJ reads it: ``EPSG:32633`` or WKT.
        source: the file that says so, for errors.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str
    source: str = "the image"

    def to_wgs84(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Longitudes and latitudes of points of the image.

        Args:
            points: (N, 2) pixels, x to the right, y down, from the upper left corner.

        Returns:
            (N, 2) degrees.

        Raises:
            DataError: if a point lies nowhere.
            ConfigError: if rasterio is not installed.
        """
        warp = _needed("rasterio.warp")
        a, b, c, d, e, f = self.transform
        x, y = points.T
        try:
            found = warp.transform(self.crs, _WGS84, a * x + b * y + c, d * x + e * y + f)
        except Exception as error:  # rasterio's, and those of the libraries below it
            raise DataError(
                f"{self.source}: its coordinate system cannot be turned into longitudes and latitudes "
                f"({str(error)[:200]}); "
                "reproject the image, or remove its georeference"
            ) from error
        degrees = np.array(found, dtype=np.float64).T
        if not np.isfinite(degrees).all():
            raise DataError(f"{self.source}: a part of it lies nowhere on Earth by its georeference; mend or remove it")
        return degrees


def read_georeference(path: str | os.PathLike[str]) -> Georeference | None:
    """What an image file says of its place.

    Args:
        path: of any image.

    Returns:
        None if the file names no coordinate system, as photographs do not.

    Raises:
        DataError: if the file cannot be read, or is turned by its EXIF orientation and georeferenced too.
        ConfigError: if rasterio is not installed.
    """
    rasterio, errors = _needed("rasterio"), _needed("rasterio.errors")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                if image.crs is None or image.transform.is_identity:
                    return None
                a, b, c, d, e, f = (float(value) for value in image.transform[:6])
                crs = image.crs.to_wkt()
    except errors.RasterioError as error:
        raise DataError(f"{os.fspath(path)}: its georeference cannot be read ({error!s:.200})") from error
    if is_turned(path):  # rasterio does not look at it
        raise DataError(
            f"{os.fspath(path)}: georeferenced, but turned by its EXIF orientation as well, which do not go together; "
            "remove the orientation"
        )
    return Georeference((a, b, c, d, e, f), crs, os.fspath(path))


def _needed(module: str) -> Any:
    return needed(module, "vectors", "georeferenced polygons")
