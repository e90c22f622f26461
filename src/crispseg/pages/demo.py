"""The demo's page: one HTML file with its pictures inside, that needs nothing from outside.

`render_report` turns results into the values that ``demo.html.j2`` shows; the template escapes all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crispseg.evaluation import Scores
from crispseg.labels import LabelSpace
from crispseg.pages.base import class_colours, line_chart, panel_values, render_page
from crispseg.pictures.colour import Picture

__all__ = ["Panel", "Scene", "SystemResult", "render_report"]


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
    classes = class_colours(label_space)
    return render_page(
        "demo.html.j2",
        title=f"{result.title} on toy streets",
        lead=lead,
        idea=idea,
        tiles=_tiles(result, baseline, shown_radius),
        classes=classes,
        scenes=[_scene_values(scene) for scene in scenes],
        scenes_note=scenes_note,
        compared=baseline is not None,
        table_note="Shares in per cent over all validation images.",
        headings=["IoU", f"boundary F within {shown_radius:g} px"],
        rows=[
            {
                **entry,
                "cells": [
                    _cell(_iou(result, entry["name"]), _iou(baseline, entry["name"])),
                    _cell(
                        _boundary(result, shown_radius, entry["name"]), _boundary(baseline, shown_radius, entry["name"])
                    ),
                ],
            }
            for entry in classes
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
    def values(panels: Sequence[Panel]) -> list[dict[str, Any]]:
        return [panel_values(panel.picture, panel.caption, panel.note, photo=panel.smooth) for panel in panels]

    return {"name": scene.name, "note": scene.note, "panels": values(scene.panels), "maps": values(scene.maps)}


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
    """Validation mIoU over the epochs; None where there is less than a line to draw."""
    if any(len(system.curve) < 2 for system in systems):
        return None
    highest = max(share for system in systems for _, share in system.curve)
    return line_chart(
        {system.title: dict(system.curve) for system in systems}, ceiling=min(1.0, math.ceil(highest * 5 + 0.01) / 5)
    )
