"""The demo's page: one HTML file with its pictures inside, that needs nothing from outside.

`render_report` turns results into the values that ``demo.html.j2`` shows; the template escapes all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.evaluation import Scores
from crispseg.labels import LabelSpace
from crispseg.pages.base import css_colour, page_template
from crispseg.pictures import to_data_uri

__all__ = ["Panel", "Scene", "SystemResult", "render_report"]

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Panel:
    """One picture with its caption.

    Attributes:
        caption: a few words.
        picture: uint8 (H, W, 3) RGB.
        note: what to see in it.
        smooth: whether a browser may smooth it when it enlarges it; label maps keep hard pixels.
    """

    caption: str
    picture: Picture
    note: str = ""
    smooth: bool = False


@dataclass(frozen=True)
class Scene:
    """One validation image: its pictures, and below them what the network can show of its inside."""

    name: str
    note: str
    panels: tuple[Panel, ...]
    maps: tuple[Panel, ...] = ()


@dataclass(frozen=True)
class SystemResult:
    """A trained system and its scores.

    Attributes:
        name: as on the command line.
        title: for people.
        scores: on the validation images.
        seconds: of training.
        parameters: of the network.
        curve: (epoch, mIoU) after each validation.
        recipe_text: YAML.
    """

    name: str
    title: str
    scores: Scores
    seconds: float
    parameters: int
    curve: tuple[tuple[int, float], ...]
    recipe_text: str


def render_report(
    result: SystemResult,
    baseline: SystemResult | None,
    *,
    lead: str,
    idea: str,
    scenes: Sequence[Scene],
    scenes_note: str,
    label_space: LabelSpace,
    facts: Mapping[str, str],
) -> str:
    """Write the page.

    Args:
        result: the system that the page is about.
        baseline: what it is held against; None without ``--compare``.
        lead: what was done, in a sentence or two.
        idea: how the system works, in a sentence or two.
        scenes: the pictures.
        scenes_note: how to read them.
        label_space: names and colours of the classes.
        facts: the machine, the command and so on, in order.

    Returns:
        A whole HTML document.
    """
    systems = [result] if baseline is None else [result, baseline]
    radii = sorted(result.scores.boundary_f)
    shown_radius = radii[0]
    colours = {name: css_colour(label_space.palette[i]) for i, name in enumerate(label_space.class_names)}
    return page_template(Path(__file__).with_name("demo.html.j2")).render(
        title=f"{result.title} on toy streets",
        lead=lead,
        idea=idea,
        tiles=_tiles(result, baseline, shown_radius),
        classes=[{"name": name, "colour": colour} for name, colour in colours.items()],
        scenes=[_scene_values(scene) for scene in scenes],
        scenes_note=scenes_note,
        compared=baseline is not None,
        table_note="Shares in per cent over all validation images.",
        headings=["IoU", f"boundary F within {shown_radius:g} px"],
        rows=[
            {
                "name": name,
                "colour": colour,
                "cells": [
                    _cell(_iou(result, name), _iou(baseline, name)),
                    _cell(_boundary(result, shown_radius, name), _boundary(baseline, shown_radius, name)),
                ],
            }
            for name, colour in colours.items()
        ],
        means=[
            _cell(_known(result.scores.mean_iou), _known(baseline.scores.mean_iou) if baseline else None),
            _cell(_mean_boundary(result, shown_radius), _mean_boundary(baseline, shown_radius)),
        ],
        radii=[f"{radius:g}" for radius in radii],
        radius_rows=[
            {"name": system.title, "cells": [_percent(_mean_boundary(system, radius)) for radius in radii]}
            for system in systems
        ],
        curve=_curve(systems),
        facts=list(facts.items()),
        recipes=[(f"The recipe of {system.title}", system.recipe_text) for system in systems],
    )


def _tiles(result: SystemResult, baseline: SystemResult | None, radius: float) -> list[dict[str, str]]:
    shares = [
        ("mean IoU", _known(result.scores.mean_iou), _known(baseline.scores.mean_iou) if baseline else None),
        (f"boundary F within {radius:g} px", _mean_boundary(result, radius), _mean_boundary(baseline, radius)),
        ("pixels right", result.scores.pixel_accuracy, baseline.scores.pixel_accuracy if baseline else None),
    ]
    tiles = []
    for name, value, other in shares:
        cell = _cell(value, other)
        tiles.append(
            {"name": name, "value": cell["text"], "unit": "%", "note": "", "change": cell["change"]}
            | {"change_class": cell["change_class"]}
        )
    millions = f"{result.parameters / 1e6:.1f}"
    against = f"{baseline.parameters / 1e6:.1f} M in the plain baseline" if baseline else ""
    plain = {"change": "", "change_class": ""}
    tiles.append({"name": "parameters", "value": millions, "unit": "M", "note": against, **plain})
    waited = f"{baseline.seconds:.0f} s for the plain baseline" if baseline else ""
    tiles.append({"name": "training", "value": f"{result.seconds:.0f}", "unit": "s", "note": waited, **plain})
    return tiles


def _scene_values(scene: Scene) -> dict[str, Any]:
    def values(panel: Panel) -> dict[str, Any]:
        height, width = panel.picture.shape[:2]
        uri = to_data_uri(panel.picture)
        return {
            "caption": panel.caption,
            "note": panel.note,
            "photo": panel.smooth,
            "uri": uri,
            "width": width,
            "height": height,
        }

    return {
        "name": scene.name,
        "note": scene.note,
        "panels": [values(panel) for panel in scene.panels],
        "maps": [values(panel) for panel in scene.maps],
    }


def _cell(value: float | None, baseline: float | None) -> dict[str, Any]:
    """A share with its bar, and how it changed against the baseline."""
    cell: dict[str, Any] = {
        "text": _percent(value),
        "percent": None if value is None else round(100 * value, 1),
        "baseline_percent": None if baseline is None else round(100 * baseline, 1),
        "change": "",
        "change_class": "",
    }
    if value is not None and baseline is not None:
        change = round(100 * (value - baseline), 1)
        cell["change"] = f"{change:+.1f}".replace("-", "−") if change else "±0.0"
        cell["change_class"] = "up" if change > 0 else "down" if change < 0 else ""
    return cell


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _known(value: float | None) -> float | None:
    """A score, or None where the class occurs in neither truth nor prediction."""
    return None if value is None or math.isnan(value) else value


def _iou(system: SystemResult | None, name: str) -> float | None:
    return _known(system.scores.iou[name]) if system else None


def _boundary(system: SystemResult | None, radius: float, name: str) -> float | None:
    return _known(system.scores.boundary_f[radius][name]) if system else None


def _mean_boundary(system: SystemResult | None, radius: float) -> float | None:
    return _known(system.scores.mean_boundary_f[radius]) if system else None


def _curve(systems: Sequence[SystemResult]) -> dict[str, Any] | None:
    """Lines of validation mIoU over epochs as SVG coordinates; None where there is less than a line to draw."""
    if any(len(system.curve) < 2 for system in systems):
        return None
    width, height, left, right, top, bottom = 720, 240, 48, 704, 14, 204
    last_epoch = max(epoch for system in systems for epoch, _ in system.curve)
    first_epoch = min(epoch for system in systems for epoch, _ in system.curve)
    highest = max(share for system in systems for _, share in system.curve)
    ceiling = min(1.0, math.ceil(highest * 5 + 0.01) / 5)

    def x(epoch: int) -> float:
        return round(left + (right - left) * (epoch - first_epoch) / (last_epoch - first_epoch), 1)

    def y(share: float) -> float:
        return round(bottom - (bottom - top) * share / ceiling, 1)

    step = max(1, math.ceil((last_epoch - first_epoch) / 8))
    return {
        "width": width,
        "height": height,
        "left": left,
        "right": right,
        "label": "mean IoU on the validation images after each epoch",
        "grid": [{"y": y(ceiling * part / 4), "text": f"{100 * ceiling * part / 4:.0f} %"} for part in range(5)],
        "ticks": [{"x": x(epoch), "text": str(epoch)} for epoch in range(first_epoch, last_epoch + 1, step)],
        "lines": [
            {
                "name": system.title,
                "colour": colour,
                "points": " ".join(f"{x(epoch)},{y(share)}" for epoch, share in system.curve),
            }
            for system, colour in zip(systems, ("accent", "base"), strict=False)
        ],
    }
