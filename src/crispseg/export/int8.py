"""Files in 8-bit integers: how much they lose, and which layers stay in float so that it is little enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.evaluation import evaluate
from crispseg.evaluation.scoring import LabelledSet
from crispseg.export.graph import SMALLEST_SIDE
from crispseg.export.quantise import QUANTISERS, Floats, in_float, layers
from crispseg.extras import needed
from crispseg.inference.card import ExportCard
from crispseg.inference.exported import ExportedModel, onnx_session
from crispseg.io import read_image
from crispseg.labels import LabelSpace

__all__ = ["BOUNDARY_PX", "MAX_IMAGES", "MIN_IMAGES", "Int8", "accepted"]

MIN_IMAGES, MAX_IMAGES = 8, 64
"""How many images the ranges of values are taken from: fewer are refused, of more some are taken, evenly."""

LARGEST_SIDE = 1024
"""In pixels; of larger images the middle is taken."""

BOUNDARY_PX = 1
"""The radius of the boundary F that decides."""

LEAST_EQUAL = 0.9
"""The least share of pixels with the float model's label at each size that is tried."""

_RANKED_ON, _RANKED_SIDE = 4, 256  # images, and their largest side, on which layers are compared with each other
_ALWAYS_INTEGER = 0.5  # the share of layers that a file must have in integers to be called one

AnyImage = str | os.PathLike[str] | npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Int8:
    """What an 8-bit file is made with, and how much it may lose.

    Args:
        calibrate: image files or uint8 (H, W, 3) RGB arrays, `MIN_IMAGES` or more, such as the network was trained on.
        labelled: images with labels, others than those, that the loss is measured on; None: it is not measured.
        max_loss: of mean IoU and of boundary F at 1 px, each in percentage points.
        on_step: told in words what is being done.

    Raises:
        ConfigError: if there are too few images, or `max_loss` is negative.
    """

    calibrate: Sequence[AnyImage]
    labelled: LabelledSet | None = None
    max_loss: float = 0.3
    on_step: Callable[[str], object] = lambda words: None

    def __post_init__(self) -> None:
        if len(self.calibrate) < MIN_IMAGES:
            raise ConfigError(
                f"{len(self.calibrate)} image{'s' * (len(self.calibrate) != 1)} to calibrate with, {MIN_IMAGES} or "
                "more expected, such as the network was trained on"
            )
        if not 0 <= self.max_loss <= 100:
            raise ConfigError(f"max_loss is {self.max_loss}; percentage points from 0 to 100 expected")

    def images(self) -> list[Floats]:
        """(1, 3, H, W) each, in [0, 1].

        Raises:
            DataError: if a file is no image or too small.
        """
        chosen = np.linspace(0, len(self.calibrate) - 1, min(len(self.calibrate), MAX_IMAGES)).round().astype(int)
        return [_to_batch(self.calibrate[index]) for index in chosen]


def accepted(
    original: Path,
    card: ExportCard,
    kind: str,
    options: Int8,
    sizes: Sequence[tuple[int, int, int]],
    write: Callable[[Any, ExportCard, str], Path],
) -> tuple[Path, ExportCard]:
    """Quantise a file, and keep layers in float until it loses little enough.

    Args:
        original: a float ``.onnx``.
        card: its card.
        kind: ``onnx`` or ``openvino``.
        options: see `Int8`.
        sizes: batch, height and width of the images that the file is tried on.
        write: writes a graph and its card under a name, and returns the path.

    Returns:
        The path and the card of the file that was accepted.

    Raises:
        ConfigError: if the file gives no classes.
        WeightsError: if every file loses too much, or runs wrongly at some size.
    """
    onnx = needed("onnx", "onnx", "quantising")
    if not {"logits", "probabilities", "labels"} & set(card.outputs):
        raise ConfigError(
            f"outputs: {', '.join(card.outputs)} only; an 8-bit file is judged by its classes, so it must give logits, "
            "probabilities or labels"
        )
    images = options.images()
    reference = ExportedModel(original)
    options.on_step(f"quantising by {len(images)} images")
    graph = onnx.load(original)
    whole = QUANTISERS[kind](original, images)
    names = layers(whole, graph)
    scores = _scores(reference, options, "the float file")
    ranked: list[str] = []
    count = 0
    while True:
        kept = ranked[:count]
        values: dict[str, Any] = {"images": len(images), "layers": len(names), "float_layers": kept}
        candidate = in_float(whole, graph, kept)
        exported = ExportedModel(write(candidate, card, f"int8_{count}"))
        values["equal_labels"] = _check_sizes(exported, reference, images, sizes)
        loss = None
        if scores is not None:
            in_words = f"the 8-bit file with {count} of {len(names)} layers in float"
            loss = _Loss(scores, _scores(exported, options, in_words) or scores)
            values |= {"labelled_images": len(options.labelled or ()), "max_loss": options.max_loss, **loss.to_dict()}
        if loss is None or loss.largest <= options.max_loss:
            final = replace(card, quantised=values)
            return write(candidate, final, "int8"), final
        count = max(2 * count, 1)
        if count > _ALWAYS_INTEGER * len(names):
            raise WeightsError(
                f"the 8-bit file loses {loss.in_words()}, also with {len(kept)} of {len(names)} layers in float, where "
                f"{options.max_loss:g} of each is allowed; nothing was written. Calibrate with more images, or export "
                "in float"
            )
        if not ranked:
            options.on_step(f"comparing {len(names)} layers")
            ranked = _ranked(whole, graph, names, reference, images)


class _Scores(NamedTuple):
    mean_iou: float
    boundary_f: float


class _Loss(NamedTuple):
    """Of a file against the float one, in percentage points; negative where it gains."""

    before: _Scores
    after: _Scores

    @property
    def points(self) -> _Scores:
        return _Scores(*(100 * (one - other) for one, other in zip(self.before, self.after, strict=True)))

    @property
    def largest(self) -> float:
        return max(self.points)

    def in_words(self) -> str:
        return f"{self.points.mean_iou:.2f} points of mean IoU and {self.points.boundary_f:.2f} of boundary F at 1 px"

    def to_dict(self) -> dict[str, Any]:
        pairs = zip(("mean_iou", "boundary_f_1px"), self.before, self.after, self.points, strict=True)
        return {name: {"float": one, "int8": other, "lost_points": lost} for name, one, other, lost in pairs}


class _Labelled(NamedTuple):
    labels: npt.NDArray[np.uint8]


class _Labeller:
    """A file as `crispseg.evaluate` asks for it; labels alone are enough."""

    def __init__(self, exported: ExportedModel) -> None:
        self._exported = exported

    @property
    def label_space(self) -> LabelSpace:
        return self._exported.label_space

    def __call__(self, image: npt.NDArray[np.uint8]) -> _Labelled:
        return _Labelled(_labels(self._exported.filled(_as_batch(image)))[0])


def _scores(exported: ExportedModel, options: Int8, what: str) -> _Scores | None:
    if options.labelled is None:
        return None
    options.on_step(f"scoring {what}")
    scores = evaluate(_Labeller(exported), options.labelled, radii_px=(BOUNDARY_PX,), scores=("iou", "boundary_f"))
    found = _Scores(scores.mean_iou, scores.mean_boundary_f[BOUNDARY_PX])
    if not np.isfinite(found).all():
        raise DataError("the labelled images have no class to score; give others")
    return found


def _check_sizes(
    exported: ExportedModel, reference: ExportedModel, images: Sequence[Floats], sizes: Sequence[tuple[int, int, int]]
) -> float:
    """The share of equal labels on the images; at the sizes that are tried it must be `LEAST_EQUAL` or more."""
    for batch, height, width in sizes:
        where = f"at {batch}×3×{height}×{width}"
        tried = np.concatenate([_part(images[index % len(images)], (height, width)) for index in range(batch)])
        try:
            found = exported(tried)
        except Exception as error:  # every runtime has its own
            reason = " ".join(str(error).split())
            raise WeightsError(f"the 8-bit file does not run {where} ({reason:.300}); nothing was written") from error
        expected = reference(tried)
        for name, ours in expected.items():
            theirs = found[name]
            if theirs.shape != ours.shape or theirs.dtype != ours.dtype or not np.isfinite(theirs).all():
                raise WeightsError(
                    f"the 8-bit file gives {name} {theirs.dtype} {theirs.shape} {where}, finite {ours.dtype} "
                    f"{ours.shape} expected; nothing was written"
                )
        equal = float((_labels(found) == _labels(expected)).mean())
        if equal < LEAST_EQUAL:
            raise WeightsError(
                f"the 8-bit file gives {100 * equal:.1f} % of pixels the float file's label {where}, where "
                f"{100 * LEAST_EQUAL:.0f} % are expected; nothing was written. Calibrate with more images, or export "
                "in float"
            )
    return float(np.mean([(_labels(exported(image)) == _labels(reference(image))).mean() for image in images]))


def _ranked(
    whole: Any, graph: Any, names: Sequence[str], reference: ExportedModel, images: Sequence[Floats]
) -> list[str]:
    """Layers, first the one that leaves the smallest error when it alone is taken back to float."""
    runtime = needed("onnxruntime", "onnx", "comparing layers")
    spread = images[:: max(len(images) // _RANKED_ON, 1)][:_RANKED_ON]
    tried = [_part(image, _sides(image, lambda side: min(side, _RANKED_SIDE))) for image in spread]
    expected = [reference(image) for image in tried]

    def error_without(name: str) -> float:
        text = in_float(whole, graph, [name]).SerializeToString()
        session = onnx_session(runtime, text)
        return sum(
            _error(dict(zip(ours, session.run(None, {"images": image}), strict=True)), ours)
            for image, ours in zip(tried, expected, strict=True)
        )

    return sorted(names, key=error_without)


def _error(found: Mapping[str, npt.NDArray[Any]], expected: Mapping[str, npt.NDArray[Any]]) -> float:
    """The share of labels that differ, and of boundaries the power of the error over theirs.

    Not the power of the logits' error: of models/camvid it names layers whose return to float changes no label, and
    passes over the first eight, which alone move outlines.
    """
    total = float((_labels(found) != _labels(expected)).mean())
    if "boundaries" in expected:
        ours = expected["boundaries"]
        total += float(np.square(found["boundaries"] - ours).mean() / max(float(ours.var()), 1e-12))
    return total


def _labels(found: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.uint8]:
    """(N, H, W), from whatever a file gives."""
    if "labels" in found:
        labels: npt.NDArray[np.uint8] = found["labels"]
        return labels
    maps = found["logits" if "logits" in found else "probabilities"]
    most_probable: npt.NDArray[np.uint8] = maps.argmax(axis=1).astype(np.uint8)
    return most_probable


def _to_batch(image: AnyImage) -> Floats:
    batch = _as_batch(image if isinstance(image, np.ndarray) else read_image(image))
    return _part(batch, _sides(batch, lambda side: min(max(side, SMALLEST_SIDE), LARGEST_SIDE)))


def _as_batch(image: npt.NDArray[np.uint8]) -> Floats:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)


def _sides(image: Floats, change: Callable[[int], int]) -> tuple[int, int]:
    height, width = image.shape[2:]
    return change(height), change(width)


def _part(image: Floats, size_hw: tuple[int, int]) -> Floats:
    """The middle; images that are smaller are enlarged before."""
    (height, width), (new_height, new_width) = image.shape[2:], size_hw
    scale = max(new_height / height, new_width / width, 1.0)
    if scale > 1:
        larger_hw = _sides(image, lambda side: max(round(side * scale), 1))
        larger_hw = max(larger_hw[0], new_height), max(larger_hw[1], new_width)
        pixels = cv2.resize(image[0].transpose(1, 2, 0), larger_hw[::-1], interpolation=cv2.INTER_LINEAR)
        image = pixels.transpose(2, 0, 1)[None]
        height, width = larger_hw
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return np.ascontiguousarray(image[..., top : top + new_height, left : left + new_width])
