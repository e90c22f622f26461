"""The page of a run: one HTML file with its curves and pictures inside, that needs nothing from outside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crispseg.evaluation.scores import format_percent
from crispseg.labels import LabelSpace
from crispseg.pages.base import bar_values, class_colours, fitted, line_chart, panel_values, render_page
from crispseg.pictures import to_data_uri, to_jpeg_bytes
from crispseg.pictures.colour import Picture
from crispseg.wording import seconds_in_words

__all__ = ["Look", "RunState", "render_run"]


@dataclass(frozen=True)
class Look:
    """An image and what the model makes of it.

    Attributes:
        name: of the sample.
        note: what to know of it.
        panels: pictures by their captions.
    """

    name: str
    note: str
    panels: Mapping[str, Picture]


@dataclass(frozen=True)
class RunState:
    """How far a run is.

    Attributes:
        name: of the recipe.
        description: of the recipe.
        ending: the best model's scores in words; empty while the run goes on.
        epoch: that is done.
        epochs: that the recipe asks for.
        best_epoch: counted from 1; 0 if there is none.
        seconds: of training, over all sittings.
        seconds_left: as far as it is known.
        images_per_second: of training.
        curves: ``loss``, ``mean_iou`` and ``pixel_accuracy``, each epoch → value.
        iou: by class, NaN where there is none.
        looks: at the first validation images.
        figures: name, sentence and picture of each figure of those images.
        worst: validation images, the worst first.
        settings: key → value and default, where they differ.
    """

    name: str
    description: str
    ending: str
    epoch: int
    epochs: int
    best_epoch: int
    seconds: float
    seconds_left: float | None
    images_per_second: float | None
    curves: Mapping[str, Mapping[int, float]]
    iou: Mapping[str, float]
    looks: Sequence[Look]
    figures: Sequence[tuple[str, str, Picture]]
    worst: Sequence[Look]
    settings: Mapping[str, tuple[str, str]]


def render_run(state: RunState, label_space: LabelSpace) -> str:
    """Make the page.

    Args:
        state: of the run.
        label_space: names and colours of the classes.

    Returns:
        A whole HTML document.
    """
    curves = state.curves
    shares = {"mean IoU": curves["mean_iou"], "pixels right": curves["pixel_accuracy"]}
    highest = max((value for value in curves["loss"].values() if math.isfinite(value)), default=0.0)
    return render_page(
        "training.html.j2",
        name=state.name,
        description=state.description,
        ending=state.ending,
        tiles=_tiles(state),
        score_curve=line_chart(shares) if any(shares.values()) else None,
        loss_curve=line_chart({"training loss": curves["loss"]}, ceiling=highest, percent=False) if highest else None,
        rows=[
            {**entry, "cell": bar_values(state.iou.get(entry["name"], math.nan))}
            for entry in class_colours(label_space)
        ],
        classes=class_colours(label_space),
        looks=[_scene(look) for look in state.looks],
        figures=[_figure(*figure) for figure in state.figures],
        worst=[_scene(look) for look in state.worst],
        settings=[(key, *values) for key, values in state.settings.items()],
    )


def _tiles(state: RunState) -> list[dict[str, str]]:
    scores, losses = state.curves["mean_iou"], state.curves["loss"]
    entries = [
        ("epochs", f"{state.epoch}", f"of {state.epochs}"),
        (f"best mean IoU, epoch {state.best_epoch}", format_percent(scores.get(state.best_epoch, math.nan)), "%"),
    ]
    if losses:
        entries.append(("training loss", f"{losses[max(losses)]:.3g}", ""))
    if state.images_per_second is not None:
        entries.append(("speed", f"{state.images_per_second:.3g}", "images/s"))
    entries.append(("trained", seconds_in_words(state.seconds), ""))
    if state.seconds_left is not None and not state.ending:
        entries.append(("left", seconds_in_words(state.seconds_left), ""))
    return [{"name": name, "value": value, "unit": unit} for name, value, unit in entries]


def _scene(look: Look) -> dict[str, Any]:
    panels = [
        panel_values(fitted(picture, smooth=caption in ("image", "errors")), caption, photo=caption == "image")
        for caption, picture in look.panels.items()
    ]
    return {"name": look.name, "note": look.note, "panels": panels, "maps": []}


def _figure(name: str, sentence: str, picture: Picture) -> dict[str, Any]:
    """A sheet at its full size, for its words are part of it; as JPEG, for there may be several large ones."""
    height, width = picture.shape[:2]
    uri = to_data_uri(to_jpeg_bytes(picture, quality=85))
    return {"name": name, "sentence": sentence, "uri": uri, "width": width, "height": height}
