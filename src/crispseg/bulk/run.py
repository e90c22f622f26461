"""Segmenting many images into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crispseg.bulk.outputs import OUTPUTS, Output
from crispseg.inference import Predictor
from crispseg.io.files import remove_leftovers

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
    failures: list[Failure] = []
    done = 0
    remove_leftovers(folder, below=True)
    predictions = predictor.predict_many(
        sources, on_error=lambda position, error: failures.append(Failure(sources[position], str(error)))
    )
    for position, prediction in predictions:
        for output in outputs:
            output.write(prediction, sources[position], folder / f"{targets[position]}{output.ending}")
        done += 1
        if progress is not None:
            progress(done, position + 1)
    return Segmented(done, tuple(failures))
