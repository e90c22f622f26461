"""What is written for one image: a list of writers, each of one file that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crispseg.errors import ConfigError
from crispseg.io import write_png
from crispseg.wording import nearest_name

if TYPE_CHECKING:
    from crispseg.inference import Prediction

__all__ = ["OUTPUTS", "Output", "choose_outputs"]


@dataclass(frozen=True)
class Output:
    """One file for each image.

    Attributes:
        name: that the user chooses it by.
        ending: of the file's name, after the image's.
        write: called with prediction, image file and the path to write, which must appear whole or not at all; from
            several threads at once.
        detail: what else the file's content depends on, so that a run does not go on with files of other options.
    """

    name: str
    ending: str
    write: Callable[[Prediction, Path, Path], object]
    detail: str = ""


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
    known = [output.name for output in OUTPUTS]
    for name in names:
        if name not in known:
            raise ConfigError(f"no output is called {name!r}; {nearest_name(name, known)}")
    if not names:
        raise ConfigError(f"no output is named; some of {', '.join(known)} expected")
    return tuple(output for output in OUTPUTS if output.name in names)
