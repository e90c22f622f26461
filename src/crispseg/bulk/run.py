"""Segmenting many images into a folder: threads read ahead, the network runs, and threads write behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crispseg.bulk.outputs import OUTPUTS, Output
from crispseg.bulk.workers import Workers
from crispseg.errors import DataError
from crispseg.inference import Prediction, Predictor
from crispseg.io.files import remove_leftovers
from crispseg.io.images import read_image
from crispseg.pictures.colour import Picture

__all__ = ["Failure", "Segmented", "segment_images"]


@dataclass(frozen=True)
class Failure:
    """An image that could not be segmented, and why, in a sentence that names its file."""

    source: Path
    message: str


@dataclass(frozen=True)
class Segmented:
    """What became of many images.

    Attributes:
        done: how many are segmented, with all their files in place.
        failures: those that could not be, in order.
    """

    done: int
    failures: tuple[Failure, ...]


def segment_images(
    predictor: Predictor,
    images: Mapping[Path, Path],
    out: str | os.PathLike[str],
    outputs: Sequence[Output] = OUTPUTS,
    progress: Callable[[int, int], object] | None = None,
) -> Segmented:
    """Segment images into a folder, as ``crispseg segment`` does.

    A broken image is left out and reported, and the others are still done.

    Args:
        predictor: that segments them.
        images: for each, by its result's path below `out` without ending: its file, as `collect_images` finds them.
        out: the folder; made if need be.
        outputs: what is written for each.
        progress: called with (images that are whole, images that were looked at) after each.

    Raises:
        OSError: if a file cannot be written.
        ConfigError, WeightsError: if the model does not fit.

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
        Segmented(done=1, failures=())
        >>> [path.name for path in (folder / "masks").iterdir()]
        ['a_overlay.png']
    """
    folder = Path(out)
    targets, sources = list(images), list(images.values())
    failures: dict[int, str] = {}  # by position, as everything here
    readable: list[int] = []
    remove_leftovers(folder, below=True)
    with Workers(THREADS) as readers, Workers(THREADS) as writers:

        def read(position: int) -> tuple[int, Picture | None]:
            try:
                return position, read_image(sources[position], predictor.max_pixels)
            except DataError as error:
                failures[position] = str(error)
                return position, None

        def pictures() -> Iterator[Picture]:
            for position, picture in readers.ahead(read, range(len(sources)), lambda one: _room(one[1])):
                if picture is not None:
                    readable.append(position)
                    yield picture

        def predictions() -> Iterator[tuple[int, Prediction]]:
            def refuse(index: int, error: DataError | OSError) -> None:
                failures[readable[index]] = f"{sources[readable[index]]}: {error}"

            for index, prediction in predictor.predict_many(pictures(), on_error=refuse):
                yield readable[index], prediction

        def write(one: tuple[int, Prediction]) -> int:
            position, prediction = one
            try:
                for output in outputs:
                    if not writers.leaving.is_set():
                        output.write(prediction, sources[position], folder / f"{targets[position]}{output.ending}")
            except DataError as error:  # such as a georeference that polygons cannot use
                failures[position] = str(error)
            return position

        done = 0
        for position in writers.behind(write, predictions(), lambda one: _room(one[1].image)):
            done += position not in failures
            if progress is not None:
                progress(done, position + 1)
    for output in outputs:
        if output.finish is not None:
            output.finish(images, folder)
    return Segmented(done, tuple(Failure(sources[position], failures[position]) for position in sorted(failures)))


THREADS = min(os.cpu_count() or 1, 4)
"""That read, and as many that write."""

_MOST_WAITING = 8  # images on either side of the network, as many as it takes at once
_PIXELS_WAITING = 2**24  # of all of them; with what is known of them, 15 bytes each


def _room(newest: Picture | None) -> int:
    """How many images may wait where the newest is of this size."""
    if newest is None:
        return _MOST_WAITING
    return min(max(_PIXELS_WAITING // (newest.size // 3), 1), _MOST_WAITING)
