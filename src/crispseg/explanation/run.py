"""From models and an image to its pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError
from crispseg.explanation.figures import Available, choose_figures
from crispseg.explanation.looks import AnyModel, Look, look
from crispseg.explanation.subject import Options, Subject, check_labels
from crispseg.inference import ExportedModel
from crispseg.inference.exported import is_exported
from crispseg.inference.images import require_rgb
from crispseg.io import MAX_PIXELS, read_image
from crispseg.pictures.colour import Picture
from crispseg.pictures.drawing import Drawing

__all__ = ["MOST_MODELS", "draw_explanation", "explain", "look_at"]

MOST_MODELS = 4
"""That are shown beside each other."""

AnyImage = str | os.PathLike[str] | npt.NDArray[np.uint8]


def explain(
    model: AnyModel | str,
    image: AnyImage,
    *,
    labels: npt.NDArray[np.uint8] | None = None,
    beside: Mapping[str, AnyModel] | None = None,
    only: Sequence[str] | None = None,
    options: Options | None = None,
) -> dict[str, Picture]:
    """Draw what a model does with an image: every figure of the papers that the model and the labels allow.

    Args:
        model: as `crispseg.load_model` gives it, or an exported file, which shows no maps of its inside.
        image: a file's path, or (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 true train ids, 255 = ignore; None: unknown, and no errors are drawn.
        beside: up to three other models with the same classes, by title.
        only: names of pictures; None: all that can be drawn. See `crispseg.explanation.figures_of`.
        options: of the pictures; None: the defaults.

    Returns:
        Pictures by name, each (H, W, 3) uint8 RGB.

    Raises:
        ConfigError: if a picture cannot be drawn of this model, or the models do not fit each other.
        DataError: if the image cannot be read, or the labels are of another size.

    Example:
        >>> import crispseg
        >>> model = crispseg.create_model("gff", backbone="resnet18", num_classes=3, channels=16, output_stride=32)
        >>> image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        >>> pictures = crispseg.explain(model, image, only=["gates", "knockout"])
        >>> {name: picture.dtype.name for name, picture in pictures.items()}
        {'gates': 'uint8', 'knockout': 'uint8'}
    """
    drawings = draw_explanation(model, image, labels=labels, beside=beside, only=only, options=options)
    return {name: drawing.to_array() for name, drawing in drawings.items()}


def draw_explanation(
    model: AnyModel | str,
    image: AnyImage,
    *,
    labels: npt.NDArray[np.uint8] | None = None,
    beside: Mapping[str, AnyModel] | None = None,
    only: Sequence[str] | None = None,
    options: Options | None = None,
) -> dict[str, Drawing]:
    """`explain`, as drawings: `Drawing.write` makes PNG, PDF or SVG of each. See there."""
    if isinstance(model, str):
        if not is_exported(model):
            raise ConfigError(f"{model}: no exported file by its ending; for a folder give crispseg.load_model(folder)")
        model = ExportedModel(model)
    picture = image if isinstance(image, np.ndarray) else read_image(image, MAX_PIXELS)
    check_labels(labels, picture)
    models = {"model": model, **(beside or {})}
    if len(models) > MOST_MODELS:
        raise ConfigError(f"{len(models)} models; {MOST_MODELS} at most expected, each of a title of its own")
    looks = look_at(models, picture, close_gates=only is None or "knockout" in only)
    available = Available(next(iter(looks.values())).shown, labels is not None, len(looks))
    figures = choose_figures(only, available)
    subject = Subject(looks, labels, options or Options())
    return {figure.name: figure.draw(subject) for figure in figures}


def look_at(models: Mapping[str, AnyModel], image: Picture, *, close_gates: bool) -> dict[str, Look]:
    """Let each model look at an image; gates are closed in the first alone."""
    for model in models.values():
        require_rgb(model, "explain")
    return {
        title: look(model, image, close_gates=close_gates and position == 0)
        for position, (title, model) in enumerate(models.items())
    }
