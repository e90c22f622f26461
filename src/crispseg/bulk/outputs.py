"""What is written for one image: a list of writers, each of one file that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from crispseg.errors import ConfigError, DataError
from crispseg.io import atomic_write, write_png
from crispseg.pictures import to_jpeg_bytes
from crispseg.wording import nearest_name

if TYPE_CHECKING:
    from crispseg.inference import Prediction

__all__ = ["OUTPUTS", "Output", "choose_outputs", "chosen", "overlay_output", "polygon_output"]


class Named(Protocol):
    """What is chosen by its name."""

    @property
    def name(self) -> str:
        """That the user knows it by."""


Part = TypeVar("Part", bound=Named)


@dataclass(frozen=True)
class Output:
    """One file for each image.

    Attributes:
        name: that the user chooses it by.
        ending: of the file's name, after the image's.
        write: called with prediction, image file and the path to write, which must appear whole or not at all; from
            several threads at once.
        detail: what else the file's content depends on, so that a run does not go on with files of other options.
        finish: called at the end with all images, by their results' paths below the folder without ending, and the
            folder; for what is one file of them all. None: nothing is.
    """

    name: str
    ending: str
    write: Callable[[Prediction, Path, Path], object]
    detail: str = ""
    finish: Callable[[Mapping[Path, Path], Path], object] | None = None


def _write_labels(prediction: Prediction, source: Path, path: Path) -> None:
    prediction.save(path)


def _write_overlay(prediction: Prediction, source: Path, path: Path) -> None:
    write_png(path, prediction.overlay(), level=_FAST)


def _write_boundaries(prediction: Prediction, source: Path, path: Path) -> None:
    write_png(path, np.rint(255 * prediction.boundaries()).astype(np.uint8), level=_FAST)


_FAST = 1
"""Compression of what looks like a photograph: at the usual level it would take longer than a GPU's network."""


def _write_mask_boundaries(prediction: Prediction, source: Path, path: Path) -> None:
    write_png(path, (255 * prediction.mask_boundaries()).astype(np.uint8))


OUTPUTS = (
    Output("labels", "_labels.png", _write_labels),
    Output("overlay", "_overlay.png", _write_overlay),
    Output("boundaries", "_boundaries.png", _write_boundaries),
    Output("mask_boundaries", "_mask_boundaries.png", _write_mask_boundaries),
)
"""What is written unless less or more is asked for."""


def choose_outputs(names: Sequence[str]) -> tuple[Output, ...]:
    """Some of `OUTPUTS`.

    Args:
        names: of at least one.

    Raises:
        ConfigError: if one is unknown, or none is named.

    Example:
        >>> [output.ending for output in choose_outputs(["overlay", "labels"])]
        ['_labels.png', '_overlay.png']
    """
    return chosen(OUTPUTS, names, "output")


def chosen(parts: Sequence[Part], names: Sequence[str], called: str) -> tuple[Part, ...]:
    """Some of the parts, in their own order.

    Args:
        parts: that there are.
        names: of at least one.
        called: what one of them is, for the error.

    Raises:
        ConfigError: if one is unknown, or none is named.
    """
    known = [part.name for part in parts]
    for name in names:
        if name not in known:
            raise ConfigError(f"no {called} is called {name!r}; {nearest_name(name, known)}")
    if not names:
        raise ConfigError(f"no {called} is named; some of {', '.join(known)} expected")
    return tuple(part for part in parts if part.name in names)


def overlay_output(kind: str, quality: int = 95) -> Output:
    """The overlay in another format than `OUTPUTS` has.

    Args:
        kind: ``"png"``, which is without loss, or ``"jpg"``: a fifth of the file, and of the time to write it.
        quality: of a JPEG, 1 to 100.

    Raises:
        ConfigError: if there is no such format or quality.

    Example:
        >>> overlay_output("jpg").ending, overlay_output("jpg", 80).detail
        ('_overlay.jpg', 'quality 80')
    """
    if kind == "png":
        return choose_outputs(["overlay"])[0]
    if kind != "jpg":
        raise ConfigError(f"overlay format is {kind!r:.40}; png or jpg expected")
    if not 1 <= quality <= 100:
        raise ConfigError(f"overlay quality is {quality}; 1 to 100 expected")

    def write(prediction: Prediction, source: Path, path: Path) -> None:
        if max(prediction.labels.shape) > _JPEG_SIDE:
            raise DataError(
                f"{source}: {' × '.join(map(str, prediction.labels.shape))} pixels; a JPEG has {_JPEG_SIDE} a side at "
                "most: write the overlay as png"
            )
        with atomic_write(path) as temporary:
            temporary.write_bytes(to_jpeg_bytes(prediction.overlay(), quality))

    return Output("overlay", "_overlay.jpg", write, f"quality {quality}")


_JPEG_SIDE = 65500  # of libjpeg


def polygon_output(kind: str, simplify_px: float = 0.0) -> Output:
    """Polygons of each image; COCO's are joined at the end in ``coco.json``, as those who read them expect.

    Args:
        kind: one of `crispseg.vectors.KINDS`.
        simplify_px: see `crispseg.vectors.polygons`.

    Raises:
        ConfigError: if there is no such kind, the tolerance is no number of pixels, or a package is not installed.

    Example:
        >>> polygon_output("svg").ending
        '.svg'
    """
    from crispseg.vectors.files import KINDS, check_kind
    from crispseg.vectors.regions import check_tools

    check_kind(kind)
    check_tools(simplify_px)

    def write(prediction: Prediction, source: Path, path: Path) -> None:
        prediction.save_polygons(path, kind, simplify_px, source=source)

    return Output(
        f"polygons_{kind}", KINDS[kind], write, f"simplified by {simplify_px} px", _join if kind == "coco" else None
    )


def _join(images: Mapping[Path, Path], folder: Path) -> None:
    from crispseg.vectors import KINDS, join_coco

    files = {
        f"{target.as_posix()}{source.suffix}": folder / f"{target}{KINDS['coco']}" for target, source in images.items()
    }
    join_coco({name: path for name, path in files.items() if path.is_file()}, folder / "coco.json")
