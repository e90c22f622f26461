"""Scenes: TIFFs of any size, segmented by windows in bounded memory, and gone on with from the rows that are finished.

Finished rows are kept in strips beside the file to be, in ``NAME.parts``: the maps are put together when all are there,
so that nothing that is not whole has their names, and a run that was killed goes on from its last strip.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.bulk.outputs import chosen
from crispseg.bulk.rasters import SceneFile, write_map
from crispseg.bulk.record import Record, settings_of, stamp_of
from crispseg.bulk.run import Failure, Segmented, shard_of
from crispseg.errors import ConfigError, DataError
from crispseg.inference import Predictor
from crispseg.inference.prediction import Rows
from crispseg.io import atomic_write, read_label_ids, write_png
from crispseg.io.files import remove_leftovers
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.parsing import TextError, parse_json

__all__ = ["SCENE_MAPS", "SceneMap", "choose_scene_maps", "segment_scenes"]

Bytes = npt.NDArray[np.uint8]

STRIP_ROWS = 512
"""As high as the tiles that are written."""


@dataclass(frozen=True)
class SceneMap:
    """What is written of a scene: a GeoTIFF of its size and place.

    Attributes:
        name: that the user chooses it by.
        ending: of the file's name, after the scene's.
        of: finished rows as bytes.
        detail: what else its content depends on.
    """

    name: str
    ending: str
    of: Callable[[Rows], Bytes]
    detail: str = ""


def _boundaries(rows: Rows) -> Bytes:
    if rows.boundary_probability is None:
        raise ConfigError("the model has no boundary branch, so there is no map of boundaries; leave it out (--only)")
    return np.rint(255 * rows.boundary_probability).astype(np.uint8)


SCENE_MAPS = (
    SceneMap("labels", "_labels.tif", lambda rows: rows.labels),
    SceneMap("confidence", "_confidence.tif", lambda rows: np.rint(255 * rows.confidence).astype(np.uint8)),
    SceneMap("boundaries", "_boundaries.tif", _boundaries),
)
"""Labels are ids of the label table in its colours; the others are shares of one in parts of 255."""


def choose_scene_maps(names: Sequence[str]) -> tuple[SceneMap, ...]:
    """Some of `SCENE_MAPS`.

    Raises:
        ConfigError: if one is unknown, or none is named.

    Example:
        >>> [one.ending for one in choose_scene_maps(["confidence", "labels"])]
        ['_labels.tif', '_confidence.tif']
    """
    return chosen(SCENE_MAPS, names, "map of a scene")


def segment_scenes(
    predictor: Predictor,
    images: Mapping[Path, Path],
    out: str | os.PathLike[str],
    maps: Sequence[SceneMap] = SCENE_MAPS[:1],
    progress: Callable[[Path, int, int], object] | None = None,
    *,
    bands: Sequence[int] | None = None,
    overviews: bool = False,
    shard: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> Segmented:
    """Segment TIFFs and GeoTIFFs into a folder, as ``crispseg segment --tiled`` does.

    The labels are those that `Predictor` gives for the whole image through the same windows. Pixels that the scene
    itself says nothing of (nodata, a mask, transparency) are 255, which every label table ignores. A scene that cannot
    be read is left out and reported. A run that was stopped goes on from the rows that are finished.

    Args:
        predictor: with `window_hw`, and at scale 1.0.
        images: for each scene, by its result's path below `out` without ending: its file, as `collect_images` finds
            them; TIFFs of 8 bits.
        out: the folder; made if need be.
        maps: what is written of each.
        progress: called with (file, rows that are finished, rows in all) as they are.
        bands: three numbers from 1, which are red, green and blue; None: the first three of three or four, or one, if
            there is no other.
        overviews: whether to add halved sizes to what is written.
        shard: see `crispseg.segment_images`.
        overwrite: whether to do again what is there.

    Raises:
        OSError: if a file cannot be written; what is finished stays.
        ConfigError: if the predictor has no windows or other scales, a class has no id for files, rasterio is not
            installed, or the folder holds the results of another model or other options.
        WeightsError: if what the model gives is not finite.

    Example:
        >>> import tempfile, torch, crispseg
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.fromarray(np.full((40, 60, 3), 200, dtype=np.uint8)).save(folder / "scene.tif")
        >>> def dark(images: torch.Tensor) -> crispseg.SegmentationOutput:
        ...     return crispseg.SegmentationOutput(logits=torch.cat((images[:, :1], 1 - images[:, :1]), dim=1))
        >>> two = LabelSpace.from_dict({"name": "two", "classes": ["bright", "dark"]})
        >>> predictor = Predictor(dark, two, window_hw=(32, 32))
        >>> segment_scenes(predictor, {Path("scene"): folder / "scene.tif"}, folder / "masks")
        Segmented(images=1, done=1, earlier=0, failures=())
        >>> sorted(path.name for path in (folder / "masks").iterdir())
        ['scene_labels.tif', 'segmented.jsonl']
    """
    if predictor.window_hw is None:
        raise ConfigError("scenes are segmented through windows; give the predictor window_hw, such as (512, 512)")
    if predictor.scales != (1.0,):
        raise ConfigError(f"scales is {predictor.scales}; scenes are segmented at scale 1.0 alone")
    if overviews:  # a map that was written without them is written again
        maps = [replace(one, detail="overviews") for one in maps]
    space = predictor.label_space
    _ids_in_files(space)  # says now what would be wrong with it after hours
    folder, of_shard = Path(out), shard_of(images, shard)
    settings = settings_of(predictor) | {"tiled": True, "bands": None if bands is None else list(bands)}
    done = earlier = 0
    failures: list[Failure] = []
    with Record(folder, settings, shard, overwrite) as record:
        remove_leftovers(folder, below=True)
        for target, source in of_shard:
            stamp = stamp_of(source)
            if record.holds(target, stamp, maps):
                earlier += 1
                continue
            parts = folder / f"{target}.parts"
            if overwrite:
                shutil.rmtree(parts, ignore_errors=True)
            try:
                with SceneFile(source, bands) as scene:
                    strips = _Strips(parts, {**settings, "stamp": stamp, "size_hw": scene.size_hw}, maps, scene.size_hw)
                    _fill(strips, predictor, scene, None if progress is None else _of_file(progress, source))
                    for one in maps:
                        _assemble(strips, one, folder / f"{target}{one.ending}", scene, space, overviews)
            except DataError as error:
                failures.append(Failure(source, str(error)))
                continue
            record.add(target, stamp, maps)
            shutil.rmtree(parts)
            done += 1
    return Segmented(len(of_shard), done + earlier, earlier, tuple(failures))


def _of_file(progress: Callable[[Path, int, int], object], source: Path) -> Callable[[int, int], object]:
    return lambda done, total: progress(source, done, total)


class _Strips:
    """Finished rows in files: PNGs of train ids or bytes, of `STRIP_ROWS` each, which appear whole or not at all."""

    def __init__(
        self, folder: Path, head: Mapping[str, Any], maps: Sequence[SceneMap], size_hw: tuple[int, int]
    ) -> None:
        self.size_hw, self.maps, self._folder = size_hw, maps, folder
        head = json.loads(json.dumps({"format": "crispseg scene 1", **head}))  # as it is read again
        try:
            found = parse_json((folder / "scene.json").read_bytes())
        except (FileNotFoundError, TextError):
            found = None
        if found != head:  # nothing, or strips of the file as it was before
            shutil.rmtree(folder, ignore_errors=True)
            with atomic_write(folder / "scene.json") as temporary:
                temporary.write_text(json.dumps(head), encoding="utf-8")
        remove_leftovers(folder)

    def tops(self) -> range:
        """Where strips begin."""
        return range(0, self.size_hw[0], STRIP_ROWS)

    def rows_of(self, top: int) -> int:
        """How many rows the strip has that begins there."""
        return min(STRIP_ROWS, self.size_hw[0] - top)

    def first_missing(self) -> int:
        """The first row that is not finished in every map."""
        for top in self.tops():
            if not all(self._path(one, top).is_file() for one in self.maps):
                return top
        return self.size_hw[0]

    def write(self, top: int, values: Mapping[str, Bytes]) -> None:
        for one in self.maps:
            write_png(self._path(one, top), values[one.name], level=1)

    def read(self, one: SceneMap, top: int) -> Bytes:
        path = self._path(one, top)
        try:
            return read_label_ids(path, max_pixels=STRIP_ROWS * self.size_hw[1]).astype(np.uint8)
        except DataError as error:
            path.unlink(missing_ok=True)
            raise DataError(
                f"{path}: a finished part is broken, and was removed; give the same command again"
            ) from error

    def _path(self, one: SceneMap, top: int) -> Path:
        return self._folder / f"{one.name}_{top:09d}.png"


def _fill(
    strips: _Strips, predictor: Predictor, scene: SceneFile, progress: Callable[[int, int], object] | None
) -> None:
    """Segment what is missing."""
    first, height = strips.first_missing(), strips.size_hw[0]
    if progress is not None:
        progress(first, height)
    if first == height:
        return
    rows = predictor.stream(scene.read, strips.size_hw, first)
    for top, values in _cut(rows, strips, first):
        if scene.has_nodata:
            silent = scene.says_nothing(top, strips.rows_of(top))
            for name, of_map in values.items():
                of_map[silent] = IGNORE_INDEX if name == "labels" else 0
        strips.write(top, values)
        if progress is not None:
            progress(top + strips.rows_of(top), height)


def _cut(finished: Iterable[Rows], strips: _Strips, first: int) -> Iterator[tuple[int, dict[str, Bytes]]]:
    """Rows as they come, as strips; those above the first are passed over."""
    held = {one.name: np.empty((STRIP_ROWS, strips.size_hw[1]), np.uint8) for one in strips.maps}
    position = first
    for rows in finished:
        end = rows.top + len(rows.labels)
        values = {one.name: one.of(rows) for one in strips.maps}
        while position < end:
            top = position - position % STRIP_ROWS
            bottom = top + strips.rows_of(top)
            stop = min(end, bottom)
            for name, of_map in values.items():
                held[name][position - top : stop - top] = of_map[position - rows.top : stop - rows.top]
            position = stop
            if stop == bottom:
                yield top, {name: of_map[: bottom - top] for name, of_map in held.items()}


def _assemble(strips: _Strips, one: SceneMap, path: Path, scene: SceneFile, space: LabelSpace, overviews: bool) -> None:
    """Make a map's file of its strips."""
    ids = _ids_in_files(space)
    is_labels = one.name == "labels"
    wide = is_labels and int(ids.max()) > IGNORE_INDEX
    table = ids if wide else ids.astype(np.uint8)

    def rows() -> Iterator[tuple[int, npt.NDArray[Any]]]:
        for top in strips.tops():
            values = strips.read(one, top)
            yield top, table[values] if is_labels else values

    nodata = IGNORE_INDEX if is_labels and scene.has_nodata else None
    palette = space.palette_in_files() if is_labels and not wide else None
    write_map(path, rows(), scene, "uint16" if wide else "uint8", palette=palette, nodata=nodata, overviews=overviews)


def _ids_in_files(space: LabelSpace) -> npt.NDArray[np.uint16]:
    """The value in files of each train id; 255 stays what it is.

    Raises:
        ConfigError: if a class has none.
    """
    ids = np.full(256, IGNORE_INDEX, np.uint16)
    for train_id in range(space.num_classes):
        ids[train_id] = space.id_in_files(train_id)
    return ids
