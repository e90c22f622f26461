"""The pictures of the demo's page: scenes as the networks see them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from crispseg.data import SegmentationDataset
from crispseg.inference import Prediction, Predictor
from crispseg.models import Segmenter
from crispseg.pages.demo import Panel, Scene
from crispseg.pictures import (
    boundary_picture,
    colourise,
    error_map,
    gain_map,
    map_note,
    map_picture,
    overlay,
)

__all__ = ["SCENES", "SCENE_POOL", "Shown", "draw_scenes"]

SCENES = 4
SCENE_POOL = 12  # the shown scenes are the busiest of so many


class Shown(Protocol):
    """A trained system, as far as its pictures need it."""

    @property
    def model(self) -> Segmenter:
        """For what it shows of its inside."""

    @property
    def predictor(self) -> Predictor:
        """For what it predicts."""

    @property
    def dataset(self) -> SegmentationDataset:
        """The validation scenes."""


def draw_scenes(ours: Shown, baseline: Shown | None) -> list[Scene]:
    """Draw the busiest validation scenes: those with the longest boundaries.

    Args:
        ours: the system that the page is about.
        baseline: what it is held against; None: nothing.

    Returns:
        `SCENES` scenes in the order of the data set.
    """
    pool = range(min(SCENE_POOL, len(ours.dataset)))
    busiest = sorted(pool, key=lambda index: -_boundary_length(ours.dataset.sample(index).labels))[:SCENES]
    return [_scene(ours, baseline, index) for index in sorted(busiest)]


def _boundary_length(labels: npt.NDArray[np.uint8]) -> int:
    return int((labels[1:] != labels[:-1]).sum() + (labels[:, 1:] != labels[:, :-1]).sum())


def _scene(ours: Shown, baseline: Shown | None, index: int) -> Scene:
    image, labels, name = ours.dataset.sample(index)
    palette = ours.dataset.label_space.palette
    prediction = ours.predictor(image)
    truth_note = f"{len(np.unique(labels[labels != 255]))} classes"
    panels = [
        Panel("image", image, smooth=True),
        Panel("truth", colourise(labels, palette), truth_note),
        Panel("prediction", colourise(prediction.labels, palette), _share_right(prediction, labels)),
        Panel("overlay", overlay(image, prediction.labels, palette), smooth=True),
        Panel("boundaries", boundary_picture(prediction.boundaries()), _boundary_note(prediction)),
        Panel("wrong pixels", error_map(prediction.labels, labels)),
    ]
    if baseline is not None:
        other = baseline.predictor(image)
        panels += [
            Panel("plain baseline", colourise(other.labels, palette), _share_right(other, labels)),
            Panel("wrong pixels of the baseline", error_map(other.labels, labels)),
            Panel("difference", gain_map(labels, prediction.labels, other.labels), "blue: won, orange: lost"),
        ]
    return Scene(f"Scene {name}", "", tuple(panels), _maps(ours.model, image))


def _share_right(prediction: Prediction, labels: npt.NDArray[np.uint8]) -> str:
    known = labels != 255
    return f"{100 * float((prediction.labels == labels)[known].mean()):.1f} % of the pixels right"


def _boundary_note(prediction: Prediction) -> str:
    if prediction.boundary_probability is not None:
        return "the boundary branch's probability"
    return "of the predicted labels"


def _maps(model: Segmenter, image: npt.NDArray[np.uint8]) -> tuple[Panel, ...]:
    """Pictures of what the head shows of its inside."""
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        maps = model(batch.to(next(model.parameters()).device), with_maps=True).maps
    size_hw = (image.shape[0], image.shape[1])
    shown = [(model.head.map_info[name], values[0]) for name, values in maps.items()]
    return tuple(
        Panel(info.title, map_picture(values, info, size_hw), map_note(values, info), smooth=True)
        for info, values in shown
    )
