"""Class-uniform sampling: a share of an epoch shows every class equally often, however rare it is.

Zhu et al., Improving Semantic Segmentation via Video Propagation and Label Relaxation (CVPR 2019), section 3.3. Images
are divided into tiles, and an index says which classes occur in which. Half of an epoch's samples are then drawn from
the tiles of one class after the other, each as a crop centred on that class.
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crispseg.data.fingerprint import fingerprint, found_once
from crispseg.data.records import FileSource, SampleSource
from crispseg.errors import DataError
from crispseg.labels import LabelSpace
from crispseg.ops.windows import place_windows

__all__ = ["ClassDraw", "ClassIndex", "build_class_index", "class_index"]

Progress = Callable[[int, int], object]

_FORMAT = 1  # of the index file; goes into the fingerprint
_LOGGER = logging.getLogger(__name__)


class ClassDraw(NamedTuple):
    """A sample that is to be cropped around a class; a data set takes it where it takes an index.

    Attributes:
        sample: its index.
        position: in the epoch; the same image may be drawn again, and is varied anew then.
        class_id: train id.
        tile: (top, left, bottom, right) in pixels, where the class occurs.
    """

    sample: int
    position: int
    class_id: int
    tile: tuple[int, int, int, int]

    def centre_px(self, labels: npt.NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int]:
        """A pixel of the class, any of the tile's with equal chance.

        Args:
            labels: (H, W) train ids of the sample.
            rng: draws the pixel.

        Returns:
            Row and column.

        Raises:
            ValueError: if the tile holds no such pixel.

        Example:
            >>> labels = np.array([[0, 0, 0, 1], [0, 0, 0, 0]], dtype=np.uint8)
            >>> ClassDraw(0, 0, 1, (0, 2, 2, 4)).centre_px(labels, np.random.default_rng(0))
            (0, 3)
        """
        top, left, bottom, right = self.tile
        of_class = labels[top:bottom, left:right] == self.class_id
        found = np.flatnonzero(of_class)
        if not len(found):
            raise ValueError(f"class {self.class_id} does not occur in the tile {self.tile}")
        row, column = divmod(int(rng.choice(found)), of_class.shape[1])
        return top + row, left + column


@dataclass(frozen=True, eq=False)
class ClassIndex:
    """Which classes occur in which tiles of which samples.

    Attributes:
        samples: (T,) int32, the sample that each tile is of, ascending.
        tiles: (T, 4) int32, its top, left, bottom and right in pixels; the tiles of a sample cover it whole.
        present: (T, K) bool, whether a pixel of it is of the class.
    """

    samples: npt.NDArray[np.int32]
    tiles: npt.NDArray[np.int32]
    present: npt.NDArray[np.bool_]

    @property
    def occurring(self) -> list[int]:
        """Train ids of the classes that occur at all."""
        return [int(class_id) for class_id in np.flatnonzero(self.present.any(0))]

    def draw(self, count: int, share: float, rng: np.random.Generator) -> list[int | ClassDraw]:
        """The samples of one epoch.

        Every class that occurs is drawn equally often, or once more than another; no tile is drawn again for a class
        before all of the class's have been. The rest of the epoch are different samples, each drawn once at most.

        Args:
            count: of the samples, and of an epoch's draws.
            share: of the epoch that is drawn by class, in [0, 1].
            rng: draws everything.

        Returns:
            `count` indices and `ClassDraw`s in the order in which they are to be shown.

        Raises:
            DataError: if no class occurs.

        Example:
            >>> tiles = np.array([[0, 0, 8, 8]] * 4, dtype=np.int32)
            >>> present = np.array([[True, False]] * 3 + [[True, True]])
            >>> index = ClassIndex(np.arange(4, dtype=np.int32), tiles, present)
            >>> drawn = index.draw(4, 1.0, np.random.default_rng(0))
            >>> sorted(key.class_id for key in drawn), {key.sample for key in drawn if key.class_id == 1}
            ([0, 0, 1, 1], {3})
        """
        classes = self.occurring
        if not classes:
            raise DataError("no class occurs in the training set, all its labels are ignore; set data.class_uniform: 0")
        order = rng.permutation(count)
        by_class = round(share * count)
        quotas = np.full(len(classes), by_class // len(classes))
        quotas[rng.permutation(len(classes))[: by_class % len(classes)]] += 1

        chosen: list[tuple[int, int]] = []
        for class_id, quota in zip(classes, quotas, strict=True):
            rows = np.flatnonzero(self.present[:, class_id])
            times, more = divmod(int(quota), len(rows))
            drawn = np.concatenate([np.repeat(rows, times), rng.choice(rows, more, replace=False)])
            chosen += [(int(row), class_id) for row in drawn]

        shown: list[int | tuple[int, int]] = [*order[: count - by_class].tolist(), *chosen]
        mixed = [shown[place] for place in rng.permutation(count)]
        return [key if isinstance(key, int) else self._draw(position, *key) for position, key in enumerate(mixed)]

    def _draw(self, position: int, row: int, class_id: int) -> ClassDraw:
        top, left, bottom, right = (int(v) for v in self.tiles[row])
        return ClassDraw(int(self.samples[row]), position, class_id, (top, left, bottom, right))


def class_index(
    source: SampleSource,
    label_space: LabelSpace,
    tile_px: int,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ClassIndex:
    """The index of a data set, from its file if the data set is still the same, else built and kept in a file.

    The file's name is a fingerprint of the label files' names, sizes and modification times, the label table and the
    tile: another data set has another file. Of several processes on the same folder one builds and the others wait.
    Samples that do not come from files are indexed each time.

    Args:
        source: of the samples.
        label_space: the classes of their labels.
        tile_px: side of the tiles.
        folder: for the file; None means ``crispseg`` in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``).
        progress: called with (samples done, samples in all) while the index is built, in the calling thread.

    Raises:
        ConfigError: if a folder is named that cannot be written to. Where the user's cache folder cannot, a warning is
            logged, and the next run builds the index again.
        DataError: if label files are missing or broken.
    """

    def build() -> ClassIndex:
        return build_class_index(source, label_space.num_classes, tile_px, progress=progress)

    if not isinstance(source, FileSource):
        return build()
    files = ((record.name, record.labels) for record in source.records)
    state = fingerprint(files, _FORMAT, tile_px, label_space.to_dict(), source.how)
    name = f"class-index-{state}.npz"
    return found_once(name, folder, "the class index", find=build, read=_read, write=_write)


def build_class_index(
    source: SampleSource,
    num_classes: int,
    tile_px: int,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ClassIndex:
    """Look through all labels, in parallel.

    Tiles cover every sample whole: the last ones along an axis overlap those before them, and a sample that is smaller
    than a tile is one tile. What comes out does not depend on the number of threads.

    Args:
        source: of the samples; files of images are not read.
        num_classes: K; train ids from K on do not count.
        tile_px: side of the tiles.
        threads: that read and count; None: one per core.
        progress: called with (samples done, samples in all) after each, in the calling thread.

    Raises:
        DataError: if a sample cannot be read.
    """

    def look_through(index: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        labels = source.labels(index) if isinstance(source, FileSource) else source.sample(index).labels
        height, width = labels.shape
        tiles = [
            (top, left, min(top + tile_px, height), min(left + tile_px, width))
            for top, left in place_windows((height, width), (tile_px, tile_px), overlap=0)
        ]
        counts = [
            np.bincount(labels[top:bottom, left:right].ravel(), minlength=256)[:num_classes]
            for top, left, bottom, right in tiles
        ]
        return np.array(tiles, dtype=np.int32), np.array(counts) > 0

    total = len(source.names)
    found = []
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for part in pool.map(look_through, range(total)):
            found.append(part)
            if progress is not None:
                progress(len(found), total)
    return ClassIndex(
        np.repeat(np.arange(total, dtype=np.int32), [len(tiles) for tiles, _ in found]),
        np.concatenate([np.empty((0, 4), np.int32), *(tiles for tiles, _ in found)]),
        np.concatenate([np.empty((0, num_classes), np.bool_), *(present for _, present in found)]),
    )


def _read(path: Path) -> ClassIndex | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return ClassIndex(arrays["samples"], arrays["tiles"], arrays["present"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _LOGGER.warning("%s: not a readable class index (%s); it is built again", path, error)
        return None


def _write(path: Path, index: ClassIndex) -> None:
    np.savez_compressed(path, samples=index.samples, tiles=index.tiles, present=index.present)
