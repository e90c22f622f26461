"""Large TIFFs, by rasterio: windows of them are read, and maps of their place on Earth written, never a whole one."""

from __future__ import annotations

import errno
import shutil
import warnings
import zlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import CrispsegError, DataError
from crispseg.extras import needed
from crispseg.io import atomic_write
from crispseg.io.orientation import is_turned
from crispseg.pictures.colour import Picture

__all__ = ["SceneFile", "write_map"]

Bytes = npt.NDArray[np.uint8]

_TILE = 512  # px, of what is written
_CACHE_MB = 128  # of tiles that were decoded: windows overlap, and a tile is needed several times
_LARGEST_BLOCK = 2**28  # bytes that have to be decoded at once


class SceneFile:
    """A TIFF or GeoTIFF of 8 bits, open for reading; a context manager.

    Args:
        path: of the file.
        bands: three numbers from 1, which are red, green and blue; None: the first three of three or four, or the one
            of a grey image.

    Attributes:
        size_hw: in pixels.
        has_nodata: whether some pixels may say nothing: there is a nodata value, a mask or transparency.

    Raises:
        DataError: if it is missing, no TIFF, broken, or of another kind than said above.
        ConfigError: if rasterio is not installed.
    """

    def __init__(self, path: Path, bands: Sequence[int] | None = None) -> None:
        self.path = path
        self._rasterio = _needed("rasterio")
        self._enums = _needed("rasterio.enums")
        self._turned = False
        self._stack = ExitStack()
        if not path.is_file():
            raise DataError(f"{path}: no such file; a TIFF was expected")
        with ExitStack() as stack:
            stack.enter_context(self._rasterio.Env(GDAL_CACHEMAX=_CACHE_MB))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", _needed("rasterio.errors").NotGeoreferencedWarning)
                    # Only this driver: others follow paths inside the file.
                    self._file: Any = stack.enter_context(self._rasterio.open(path, driver="GTiff"))
            except Exception as error:  # rasterio's, and those of the libraries below it
                raise DataError(
                    f"{path}: no TIFF that can be read ({_reason(error)}); segment other images without --tiled, with "
                    "--window H W"
                ) from error
            self._bands = self._chosen(bands)
            self._check()
            self._stack = stack.pop_all()
        self.size_hw: tuple[int, int] = (self._file.height, self._file.width)
        flags = {flag for band in self._bands for flag in self._file.mask_flag_enums[band - 1]}
        self.has_nodata: bool = self._enums.MaskFlags.all_valid not in flags

    def __enter__(self) -> SceneFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, top: int, left: int, height: int, width: int) -> Picture:
        """A window, uint8 RGB (height, width, 3)."""
        window = _needed("rasterio.windows").Window(left, top, width, height)
        bands: Bytes = self._reading(lambda: self._file.read(list(self._bands), window=window))
        return np.ascontiguousarray(bands.transpose(1, 2, 0))

    def says_nothing(self, top: int, height: int) -> npt.NDArray[np.bool_]:
        """Which pixels of some rows are nodata, (height, W)."""
        window = _needed("rasterio.windows").Window(0, top, self.size_hw[1], height)
        mask: Bytes = self._reading(lambda: self._file.dataset_mask(window=window))
        return np.asarray(mask == 0)

    def placed(self) -> dict[str, Any]:
        """Where it lies, as rasterio writes it into another file."""
        points, crs_of_points = self._file.gcps
        if points:
            return {"gcps": points, "crs": crs_of_points}
        if self._file.crs is None and self._file.transform.is_identity:
            return {}
        return {"transform": self._file.transform, "crs": self._file.crs}

    def _chosen(self, bands: Sequence[int] | None) -> tuple[int, ...]:
        count = self._file.count
        if bands is not None:
            if len(bands) != 3 or not all(1 <= band <= count for band in bands):
                raise DataError(
                    f"{self.path}: bands {', '.join(map(str, bands))} asked for; three of its {count} expected, as in "
                    "--bands 1,2,3"
                )
            return tuple(bands)
        alpha = self._file.colorinterp[-1] == self._enums.ColorInterp.alpha
        if count - alpha == 1:
            return (1, 1, 1)
        if count - alpha == 3 or count == 4:
            return (1, 2, 3)
        raise DataError(f"{self.path}: {count} bands found; say which are red, green and blue, as in --bands 3,2,1")

    def _check(self) -> None:
        kinds = {self._file.dtypes[band - 1] for band in self._bands}
        if kinds != {"uint8"}:
            raise DataError(
                f"{self.path}: samples of {', '.join(sorted(kinds))} found, 8 bits expected; scale them as those were "
                "that the model was trained on, for instance by gdal_translate -ot Byte -scale LOW HIGH 0 255"
            )
        if self._file.colorinterp[0] == self._enums.ColorInterp.palette:
            raise DataError(f"{self.path}: a palette found, colours expected; convert it by gdal_translate -expand rgb")
        height, width = self._file.block_shapes[0]
        if height * width * self._file.count > _LARGEST_BLOCK and self._file.compression is not None:
            raise DataError(
                f"{self.path}: stored in blocks of {height}×{width} pixels, each of which has to be decoded at once; "
                "write it in tiles first, by gdal_translate -co TILED=YES -co COMPRESS=DEFLATE"
            )
        with suppress(DataError):  # of kinds that only GDAL reads, which no camera turns
            self._turned = is_turned(self.path)
        if self._turned:
            raise DataError(
                f"{self.path}: turned by its orientation, which scenes may not be; write it upright, without the tag"
            )

    def _reading(self, read: Any) -> Any:
        try:
            return read()
        except MemoryError:
            raise
        except Exception as error:  # rasterio's, and those of the libraries below it
            raise DataError(
                f"{self.path}: broken or truncated TIFF ({_reason(error)}); copy or download it again"
            ) from error


def write_map(
    path: Path,
    rows: Iterable[tuple[int, npt.NDArray[Any]]],
    like: SceneFile,
    dtype: str,
    *,
    palette: Bytes | None = None,
    nodata: int | None = None,
    overviews: bool = False,
) -> None:
    """Write a map of a scene as a GeoTIFF in compressed tiles, which appears whole or not at all.

    What was written is read again and compared before the file is put in place: GDAL tells not all that goes wrong.

    Args:
        path: of the file to be.
        rows: (top, values (h, W)) from the top to the bottom; all but the last as high as tiles or a multiple of that.
        like: the scene whose place on Earth the map has.
        dtype: ``"uint8"`` or ``"uint16"``.
        palette: (256, 3) uint8 colours of the values; None: grey.
        nodata: the value of pixels that say nothing; None: there are none.
        overviews: whether to add halved sizes, which viewers show from afar.

    Raises:
        OSError: if it cannot be written.
    """
    rasterio, windows = _needed("rasterio"), _needed("rasterio.windows")
    height, width = like.size_hw
    kind = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": dtype, "nodata": nodata}
    tiles = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE, "compress": "deflate", "bigtiff": "if_safer"}
    sums: list[tuple[int, int, int]] = []
    with (
        atomic_write(path) as temporary,
        rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, GDAL_PAM_ENABLED=False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", _needed("rasterio.errors").NotGeoreferencedWarning)
        try:
            with rasterio.open(temporary, "w", **kind, **tiles, **like.placed()) as file:
                if palette is not None:
                    file.write_colormap(1, dict(enumerate(map(tuple, palette.tolist()))))
                for top, values in rows:
                    file.write(values, 1, window=windows.Window(0, top, width, len(values)))
                    sums.append((top, len(values), _checksum(values)))
            if overviews:
                _add_overviews(rasterio, temporary, max(height, width), nearest=palette is not None)
            with rasterio.open(temporary) as file:
                for top, count, checksum in sums:
                    if _checksum(file.read(1, window=windows.Window(0, top, width, count))) != checksum:
                        raise OSError(f"rows {top} to {top + count - 1} are not what was written")
        except (CrispsegError, MemoryError):
            raise
        except Exception as error:  # rasterio's, and those of the libraries below it
            full = shutil.disk_usage(path.parent).free < _ALMOST_NOTHING
            raise OSError(errno.ENOSPC if full else errno.EIO, _reason(error), str(path)) from error


_ALMOST_NOTHING = 2**20  # bytes


def _checksum(values: npt.NDArray[Any]) -> int:
    return zlib.crc32(values.tobytes())


def _add_overviews(rasterio: Any, path: Path, longest_side: int, *, nearest: bool) -> None:
    resampling = _needed("rasterio.enums").Resampling
    factors = [2**step for step in range(1, 20) if longest_side >= _TILE * 2**step]
    with rasterio.Env(COMPRESS_OVERVIEW="DEFLATE"), rasterio.open(path, "r+") as file:
        file.build_overviews(factors or [2], resampling.nearest if nearest else resampling.average)


def _reason(error: Exception) -> str:
    said = error.__cause__ or error  # "See previous exception for details"
    return " ".join(str(said).split())[:200] or type(error).__name__


def _needed(module: str) -> Any:
    return needed(module, "geo", "a scene in tiles (--tiled)")
