"""A folder of masks and a folder of images to a folder of better masks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crispseg.bulk.collect import IMAGE_SUFFIXES
from crispseg.bulk.record import Record, Stamp, settings_of, stamp_of
from crispseg.bulk.run import THREADS, Failure
from crispseg.data.encodings import Encoding, read_labels
from crispseg.data.pairing import pair_with_images
from crispseg.errors import ConfigError, DataError
from crispseg.io.files import files_below, remove_leftovers
from crispseg.io.images import read_image
from crispseg.io.label_images import LabelImage
from crispseg.labels import LabelSpace
from crispseg.refinement.masks import codes_of, read_mask, write_mask
from crispseg.refinement.refiner import Refiner, enlarged
from crispseg.threads import Workers

__all__ = ["Refined", "refine_folder"]


@dataclass(frozen=True)
class Refined:
    """What became of many masks.

    Attributes:
        masks: how many there were.
        done: how many are in place.
        earlier: how many of those were before.
        changed: the share of the pixels that were given another value now; NaN if nothing was done.
        failures: masks that could not be refined, in order.
    """

    masks: int
    done: int
    earlier: int
    changed: float
    failures: tuple[Failure, ...]


def refine_folder(
    refiner: Refiner,
    masks: str | os.PathLike[str],
    images: str | os.PathLike[str],
    out: str | os.PathLike[str],
    progress: Callable[[int, int], object] | None = None,
    *,
    label_space: LabelSpace | None = None,
    encoding: Encoding = "raw-ids",
    overwrite: bool = False,
) -> Refined:
    """Refine every mask below a folder, as ``crispseg refine`` does.

    Masks and images pair by their names, as ``crispseg score`` pairs (docs/evaluate.md). Refined masks hold the values
    of the originals, whatever they mean, and keep their place below the folder, as PNG. A mask that cannot be refined
    is left out and reported. A run that was stopped goes on where it was, by ``refined.jsonl``.

    Args:
        refiner: that sharpens them.
        masks: the folder of masks.
        images: the folder of their images, which may hold others as well.
        out: the folder of the refined masks; made if need be.
        progress: called with (masks looked at, masks in all) after each.
        label_space: with it a mask with values of none of its classes is a failure.
        encoding: what the masks' pixels hold; which of several files of an image is meant, and what is checked.
        overwrite: whether to do again what is there.

    Raises:
        DataError: if there are no masks, or no images.
        ConfigError: if `out` is one of the folders, or holds the results of another refiner.
    """
    masks_folder, images_folder, out_folder = Path(masks), Path(images), Path(out)
    for what, folder in (("masks", masks_folder), ("images", images_folder)):
        if os.path.realpath(folder) == os.path.realpath(out_folder):
            raise ConfigError(f"--out {out_folder} is the folder of the {what} too; name another")
    pictures = [path for path in files_below(images_folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not pictures:
        raise DataError(
            f"{images_folder}: no images found; files ending in {', '.join(sorted(IMAGE_SUFFIXES))} expected"
        )
    pairs, problems = pair_with_images(masks_folder, images_folder, pictures, encoding)
    failures = [Failure(Path(one.where), f"{one.where}: {one.kind}: {one.detail}") for one in problems]
    totals = np.zeros(2, dtype=np.int64)  # pixels that changed, and pixels
    with Record(out_folder, _settings(refiner), overwrite=overwrite, done="refined") as record:
        remove_leftovers(out_folder, below=True)
        missing = [one for one in pairs if not record.holds(one[0], stamp_of(one[1], one[2]), [_OUTPUT])]
        earlier = len(pairs) - len(missing)
        for seen, result in enumerate(_results(refiner, missing, out_folder, label_space, encoding), start=earlier + 1):
            target, source, _ = missing[result.position]
            if result.failure is None:
                record.add(target, result.stamp, [_OUTPUT])
                totals += (result.changed, result.pixels)
            else:
                failures.append(Failure(source, result.failure))
            if progress is not None:
                progress(seen, len(pairs))
    failed = tuple(sorted(failures, key=lambda one: str(one.source)))
    changed = float(totals[0] / totals[1]) if totals[1] else float("nan")
    count = len(pairs) + len(problems)
    return Refined(count, count - len(failed), earlier, changed, failed)


class _Output(NamedTuple):
    ending: str
    detail: str = ""


_OUTPUT = _Output(".png")


class _Read(NamedTuple):
    position: int
    stamp: Stamp | None
    mask: LabelImage | None
    image: npt.NDArray[np.uint8] | None
    failure: str | None


class _Result(NamedTuple):
    position: int
    stamp: Stamp | None
    failure: str | None
    changed: int = 0
    pixels: int = 0


def _results(
    refiner: Refiner,
    pairs: Sequence[tuple[Path, Path, Path]],
    folder: Path,
    label_space: LabelSpace | None,
    encoding: Encoding,
) -> Iterator[_Result]:
    """Threads read ahead of the refiner and write behind it."""

    def read(position: int) -> _Read:
        _, source, picture = pairs[position]
        stamp = stamp_of(source, picture)
        try:
            if label_space is not None:
                read_labels(source, label_space, encoding)  # says what is wrong with its values
            return _Read(position, stamp, read_mask(source, refiner.max_pixels), _image(picture, refiner), None)
        except DataError as error:
            return _Read(position, stamp, None, None, str(error))

    def refined(readers: Workers) -> Iterator[tuple[_Read, Any, int]]:
        for one in readers.ahead(read, range(len(pairs)), lambda one: 4):
            if one.mask is None or one.image is None:
                yield one, None, 0
                continue
            try:
                codes = codes_of(one.mask)
                values = refiner(one.image, codes)
                changed = int((values != enlarged(codes, one.image.shape[:2])).sum())
            except DataError as error:
                yield one._replace(failure=f"{pairs[one.position][1]}: {error}"), None, 0
                continue
            yield one._replace(image=None), values, changed

    def write(work: tuple[_Read, Any, int]) -> _Result:
        one, values, changed = work
        if values is None or one.mask is None:
            return _Result(one.position, one.stamp, one.failure)
        write_mask(folder / f"{pairs[one.position][0]}{_OUTPUT.ending}", one.mask, values)
        return _Result(one.position, one.stamp, None, changed, values.size)

    with Workers(THREADS) as readers, Workers(THREADS) as writers:
        yield from writers.behind(write, refined(readers), lambda newest: 4)


def _image(path: Path, refiner: Refiner) -> npt.NDArray[np.uint8]:
    return read_image(path, refiner.max_pixels)


def _settings(refiner: Refiner) -> dict[str, Any]:
    how = {"method": refiner.method} if refiner.predictor is None else settings_of(refiner.predictor)
    return {
        **how,
        "steps": refiner.steps,
        "keep_thin": refiner.keep_thin_px,
        "keep_connected": refiner.keep_connected,
        "threshold": refiner.threshold,
    }
