"""What a model makes of an image, as the page keeps it, and the views that there are of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError
from crispseg.inference import ExportedModel, Prediction, Predictor
from crispseg.pictures import boundary_picture, colourise, error_map, gate_picture, map_note, map_picture
from crispseg.pictures import outline_picture as outlines
from crispseg.pictures.colour import Picture

if TYPE_CHECKING:
    from crispseg.models import Segmenter
    from crispseg.types import MapInfo

__all__ = ["AnyModel", "Ids", "Seen", "View", "seer", "views_of"]

AnyModel: TypeAlias = "Segmenter | ExportedModel"
Ids = npt.NDArray[np.uint8]

_PARTS = 65535


@dataclass(frozen=True, eq=False)
class Seen:
    """One image as a model sees it.

    Attributes:
        prediction: without the probabilities of all classes.
        probability: (K, H, W) uint16, each class's in parts of 65535: half the memory of floats, and made in a
            hundredth of the time of 16-bit floats, most of which would be subnormal.
        map_info: what the head's maps are, by name; none of an exported file.
        maps: float32 (C, h, w) by name, each at its own resolution.
    """

    prediction: Prediction
    probability: npt.NDArray[np.uint16]
    map_info: Mapping[str, MapInfo] = field(default_factory=dict)
    maps: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def shares(self, y: int, x: int) -> list[float]:
        """The probability of each class at a pixel, to four digits."""
        return [round(int(part) / _PARTS, 4) for part in self.probability[:, y, x]]

    @property
    def nbytes(self) -> int:
        """In memory, without the image, which all models share."""
        kept: list[npt.NDArray[Any] | None] = [self.prediction.labels, self.prediction.confidence, self.probability]
        kept += [self.prediction.boundary_probability, *self.maps.values()]
        return sum(values.nbytes for values in kept if values is not None)


@dataclass(frozen=True)
class View:
    """A picture of the image's size that a person may switch to.

    Attributes:
        name: by which models of different kinds have the same view.
        title: on its button.
        note: a sentence or a scale beside it.
        kind: ``"classes"`` for colours of classes, ``"flow"`` for those of directions, ``"picture"`` for others.
        draw: makes it, (H, W, 3) uint8 RGB.
    """

    name: str
    title: str
    note: str
    kind: str
    draw: Callable[[], Picture]


def seer(model: AnyModel, precision: str = "auto") -> Callable[[Picture], Seen]:
    """What segments images, (H, W, 3) uint8 RGB, with a model, and keeps what its head shows on the way.

    Args:
        model: a network, or an exported file, for which PyTorch is not imported.
        precision: of a network; see `Predictor`.
    """
    if isinstance(model, ExportedModel):
        predictor = Predictor(model, keep_probability=True)
        return lambda image: _kept(predictor(image), {}, {})
    from crispseg.explanation.looks import Looker

    looker = Looker(model, precision=precision, keep_probability=True)

    def see(image: Picture) -> Seen:
        found = looker(image)
        return _kept(found.prediction, found.shown.map_info, found.maps)

    return see


def _kept(prediction: Prediction, map_info: Mapping[str, MapInfo], maps: Mapping[str, npt.NDArray[np.float32]]) -> Seen:
    assert prediction.probability is not None  # it was asked for
    parts = (prediction.probability * np.float32(_PARTS) + np.float32(0.5)).astype(np.uint16)
    return Seen(replace(prediction, probability=None), parts, map_info, maps)


def views_of(seen: Seen, truth: Ids | None = None) -> list[View]:
    """The views of an image that a model has looked at, in the page's order.

    Args:
        seen: by the model.
        truth: (H, W) true train ids or 255; None: unknown, and there is no view of errors.
    """
    prediction = seen.prediction
    palette, image = prediction.label_space.palette, prediction.image
    colours = partial(colourise, prediction.labels, palette)
    views = [
        View("overlay", "Overlay", "The classes' colours over the image.", "classes", prediction.overlay),
        View("mask", "Mask", "The class of each pixel.", "classes", colours),
        View(
            "outlines",
            "Outlines",
            "Both sides of each border of the mask.",
            "classes",
            partial(outlines, image, prediction.labels, palette),
        ),
        View(
            "confidence",
            "Confidence",
            "The probability of the chosen class: dark blue 0, yellow 1.",
            "picture",
            partial(gate_picture, prediction.confidence),
        ),
    ]
    if truth is not None:
        note = "Bright red is wrong, dark green right, black not judged."
        views.append(View("errors", "Errors", note, "picture", partial(error_map, prediction.labels, truth)))
    if (boundary := prediction.boundary_probability) is not None:
        note = "What the boundary branch says: black 0, pale yellow 1."
        views.append(View("boundaries", "Boundaries", note, "picture", partial(boundary_picture, boundary)))
    for name, info in seen.map_info.items():
        views.append(_view_of_map(f"map {name}", info, seen.maps[name], (image.shape[0], image.shape[1])))
    return views


def _view_of_map(name: str, info: MapInfo, values: npt.NDArray[np.float32], size_hw: tuple[int, int]) -> View:
    def draw() -> Picture:
        try:
            return map_picture(values, info, size_hw)
        except ValueError as error:
            raise ConfigError(f"the head declares its map {name!r} as {info.kind}, but {error}") from error

    scale = "" if info.kind in ("flow", "features") else "; dark blue 0, yellow 1"
    kind = "flow" if info.kind == "flow" else "picture"
    title = info.title[:1].upper() + info.title[1:]
    return View(name, title, f"{info.sentence} ({map_note(values, info)}{scale})", kind, draw)
