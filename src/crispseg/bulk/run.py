"""Segmenting many images into a folder: threads read ahead, the network runs, and threads write behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from crispseg.bulk.outputs import OUTPUTS, Output
from crispseg.bulk.record import Record, Stamp, settings_of, stamp_of
from crispseg.errors import ConfigError, DataError
from crispseg.inference import Prediction, Predictor
from crispseg.io.bands import Pixels, read_pixels
from crispseg.io.files import remove_leftovers
from crispseg.pictures.colour import Picture
from crispseg.threads import Workers

__all__ = ["Engine", "Failure", "Outcome", "Segmented", "in_threads", "segment_images", "shard_of"]


@dataclass(frozen=True)
class Failure:
    """An image that could not be segmented, and why, in a sentence that names its file."""

    source: Path
    message: str


@dataclass(frozen=True)
class Segmented:
    """What became of many images.

    Attributes:
        images: how many there were, in this shard.
        done: how many have all their files in place.
        earlier: how many of those had them before.
        failures: those that could not be segmented, in order.
    """

    images: int
    done: int
    earlier: int
    failures: tuple[Failure, ...]


class Outcome(NamedTuple):
    """What became of one image.

    Attributes:
        position: in the list that the engine was given.
        stamp: of the file, from before it was read.
        failure: why it could not be segmented; None: all its files are in place.
    """

    position: int
    stamp: Stamp | None
    failure: str | None


Engine = Callable[[Sequence[tuple[Path, Path]], Path, Sequence[Output]], Generator[Outcome, None, None]]
"""Segments images, of each its result's path below the folder without ending and its file, as `in_threads` does."""


def segment_images(
    predictor: Predictor,
    images: Mapping[Path, Path],
    out: str | os.PathLike[str],
    outputs: Sequence[Output] = OUTPUTS,
    progress: Callable[[int, int, int], object] | None = None,
    *,
    shard: tuple[int, int] | None = None,
    overwrite: bool = False,
    engine: Engine | None = None,
) -> Segmented:
    """Segment images into a folder, as ``crispseg segment`` does.

    A broken image is left out and reported, and the others are still done. A run that was stopped goes on where it was:
    ``segmented.jsonl`` in the folder says by which model and options it holds the results of which images, as they
    were then, and those that are whole are left alone.

    Args:
        predictor: that segments them.
        images: for each, by its result's path below `out` without ending: its file, as `collect_images` finds them.
        out: the folder; made if need be.
        outputs: what is written for each.
        progress: called with (images that are whole, images that were looked at, images in all) after each.
        shard: (2, 8): the second of eight parts of the images, sorted by the results' paths, so that eight machines
            that see the same folders can share the work. None: all.
        overwrite: whether to do again what is there, and to replace the results of another model or other options.
        engine: what segments those that are missing; None: threads of this process. See `crispseg.bulk.OnRay`.

    Raises:
        OSError: if a file cannot be written.
        ConfigError: if the folder holds the results of another model or other options, another process is at work in
            it, there is no such shard, or the model does not fit.
        WeightsError: if what the model gives is not finite.

    Example:
        >>> import numpy as np, tempfile, torch, crispseg
        >>> from crispseg.bulk import choose_outputs, collect_images
        >>> from crispseg.io import write_png
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_png(folder / "photos" / "a.png", np.zeros((4, 6, 3), dtype=np.uint8))
        >>> def dark(images: torch.Tensor) -> crispseg.SegmentationOutput:
        ...     return crispseg.SegmentationOutput(logits=torch.cat((images[:, :1], 1 - images[:, :1]), dim=1))
        >>> two = crispseg.LabelSpace.from_dict({"name": "two", "classes": ["bright", "dark"]})
        >>> images = collect_images([folder / "photos"], folder / "masks")
        >>> segment_images(crispseg.Predictor(dark, two), images, folder / "masks", choose_outputs(["overlay"]))
        Segmented(images=1, done=1, earlier=0, failures=())
        >>> sorted(path.name for path in (folder / "masks").iterdir())
        ['a_overlay.png', 'segmented.jsonl']
    """
    folder = Path(out)
    of_shard = shard_of(images, shard)
    failures: dict[int, str] = {}
    with Record(folder, settings_of(predictor), shard, overwrite) as record:
        remove_leftovers(folder, below=True)
        missing = [one for one in of_shard if not record.holds(one[0], stamp_of(one[1]), outputs)]
        earlier = done = len(of_shard) - len(missing)
        outcomes = (
            in_threads(predictor, missing, folder, outputs) if engine is None else engine(missing, folder, outputs)
        )
        with closing(outcomes):
            for seen, outcome in enumerate(outcomes, start=earlier + 1):
                if outcome.failure is None:
                    record.add(missing[outcome.position][0], outcome.stamp, outputs)
                    done += 1
                else:
                    failures[outcome.position] = outcome.failure
                if progress is not None:
                    progress(done, seen, len(of_shard))
        for output in outputs:
            if output.finish is not None:
                output.finish(images, folder)  # those of all shards, whose last one to end has them all
    failed = tuple(Failure(missing[position][1], failures[position]) for position in sorted(failures))
    return Segmented(len(of_shard), done, earlier, failed)


def in_threads(
    predictor: Predictor, images: Sequence[tuple[Path, Path]], folder: Path, outputs: Sequence[Output]
) -> Generator[Outcome, None, None]:
    """Segment images here: threads read ahead of the network and write behind it.

    Args:
        predictor: the network.
        images: of each, its result's path below the folder without ending, and its file.
        folder: of the results.
        outputs: what is written.

    Yields:
        What became of each image: first those that are whole, in order, then the others.

    Raises:
        OSError, ConfigError, WeightsError: as `segment_images`.
    """
    failures: dict[int, str] = {}  # by position, as everything here
    stamps: dict[int, Stamp | None] = {}
    readable: list[int] = []
    with Workers(THREADS) as readers, Workers(THREADS) as writers:

        def read(position: int) -> tuple[int, Pixels | None]:
            source = images[position][1]
            stamps[position] = stamp_of(source)  # before it is read: a change that comes later is noticed
            try:
                return position, read_pixels(source, predictor.reading, predictor.max_pixels)
            except DataError as error:
                failures[position] = str(error)
                return position, None

        def pictures() -> Iterator[Pixels]:
            for position, picture in readers.ahead(read, range(len(images)), lambda one: _room(one[1])):
                if picture is not None:
                    readable.append(position)
                    yield picture

        def predictions() -> Iterator[tuple[int, Prediction]]:
            def refuse(index: int, error: DataError | OSError) -> None:
                failures[readable[index]] = f"{images[readable[index]][1]}: {error}"

            for index, prediction in predictor.predict_many(pictures(), on_error=refuse):
                yield readable[index], prediction

        def write(one: tuple[int, Prediction]) -> int:
            position, prediction = one
            target, source = images[position]
            try:
                for output in outputs:
                    if not writers.leaving.is_set():
                        output.write(prediction, source, folder / f"{target}{output.ending}")
            except DataError as error:  # such as a georeference that polygons cannot use
                failures[position] = str(error)
            return position

        for position in writers.behind(write, predictions(), lambda one: _room(one[1].image)):
            if position not in failures:
                yield Outcome(position, stamps[position], None)
    for position in sorted(failures):
        yield Outcome(position, stamps[position], failures[position])


def shard_of(images: Mapping[Path, Path], shard: tuple[int, int] | None) -> list[tuple[Path, Path]]:
    """The images of a shard, (2, 8) for the second of eight; None: all."""
    if shard is None:
        return list(images.items())
    number, count = shard
    if not 1 <= number <= count:
        raise ConfigError(f"shard {number} of {count}; 1 to {count} of 1 or more expected")
    return sorted(images.items(), key=lambda one: one[0].as_posix())[number - 1 :: count]


THREADS = min(os.cpu_count() or 1, 4)
"""That read, and as many that write."""

_MOST_WAITING = 8  # images on either side of the network, as many as it takes at once
_PIXELS_WAITING = 2**24  # of all of them; with what is known of them, 15 bytes each


def _room(newest: Picture | None) -> int:
    """How many images may wait where the newest is of this size."""
    if newest is None:
        return _MOST_WAITING
    return min(max(_PIXELS_WAITING // (newest.size // 3), 1), _MOST_WAITING)
