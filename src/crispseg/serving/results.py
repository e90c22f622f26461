"""What a service answers with: each output in its formats, as bytes of a prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crispseg.io.png_writing import encode_png
from crispseg.pictures import to_jpeg_bytes
from crispseg.serving.limits import Refusal
from crispseg.wording import nearest_name

if TYPE_CHECKING:
    from crispseg.inference import Prediction

__all__ = ["OUTPUTS", "Format", "choose_format"]

_FAST = 1  # level of PNG compression


@dataclass(frozen=True)
class Format:
    """One form of an output.

    Attributes:
        name: that a request chooses it by.
        media_type: of the answer, by which an ``Accept`` chooses it.
        make: from the prediction, the image's name and how coarse polygons may become, in pixels.
    """

    name: str
    media_type: str
    make: Callable[[Prediction, str, float], bytes]


def _polygons(kind: str) -> Callable[[Prediction, str, float], bytes]:
    def make(prediction: Prediction, name: str, simplify_px: float) -> bytes:
        from crispseg.vectors import polygons
        from crispseg.vectors.files import polygons_text

        regions = polygons(prediction.labels, prediction.label_space, simplify_px)
        return polygons_text(kind, regions, name, prediction.image).encode()

    return make


def _boundaries(prediction: Prediction) -> bytes:
    return encode_png(np.rint(255 * prediction.boundaries()).astype(np.uint8), level=_FAST)


OUTPUTS: Mapping[str, tuple[Format, ...]] = {
    "mask": (Format("png", "image/png", lambda prediction, name, px: prediction.to_png()),),
    "overlay": (
        Format("png", "image/png", lambda prediction, name, px: encode_png(prediction.overlay(), level=_FAST)),
        Format("jpeg", "image/jpeg", lambda prediction, name, px: to_jpeg_bytes(prediction.overlay())),
    ),
    "boundaries": (Format("png", "image/png", lambda prediction, name, px: _boundaries(prediction)),),
    "polygons": (
        Format("geojson", "application/geo+json", _polygons("geojson")),
        Format("coco", "application/json", _polygons("coco")),
        Format("labelme", "application/json", _polygons("labelme")),
        Format("svg", "image/svg+xml", _polygons("svg")),
    ),
}
"""What can be asked for; the first format of each is given unless the request says otherwise."""


def choose_format(output: str, name: str | None, accept: str) -> Format:
    """The format of an output that a request asks for.

    Args:
        output: one of `OUTPUTS`.
        name: as the request's query has it; None: by `accept`.
        accept: the request's header; the first of its types that the output has counts, or the output's first format.

    Raises:
        Refusal: 422 if the output has no format of that name.

    Example:
        >>> choose_format("overlay", None, "image/webp,image/jpeg;q=0.8").name, choose_format("mask", None, "*/*").name
        ('jpeg', 'png')
    """
    formats = OUTPUTS[output]
    if name is not None:
        by_name = {one.name: one for one in formats}
        if name not in by_name:
            raise Refusal(422, f"format is {name!r:.100}; {nearest_name(name[:100], by_name)}")
        return by_name[name]
    for wanted in accept.split(","):
        for one in formats:
            if wanted.partition(";")[0].strip().lower() == one.media_type:
                return one
    return formats[0]
