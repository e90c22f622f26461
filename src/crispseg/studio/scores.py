"""Scores of one image, for the page."""

from __future__ import annotations

from typing import Any

from crispseg.evaluation.records import Settings, score_image
from crispseg.evaluation.totals import Totals
from crispseg.inference import Prediction
from crispseg.studio.seen import Ids

__all__ = ["RADII_PX", "score"]

RADII_PX = (1, 3)
"""Of the boundary F."""


def score(prediction: Prediction, truth: Ids) -> dict[str, Any]:
    """Mean IoU over the image's classes, the share of pixels that are right, and boundary F.

    Args:
        prediction: of the image.
        truth: (H, W) true train ids or 255.

    Returns:
        Plain values as in ``scores.json`` of an evaluation; None where nobody knows.
    """
    settings = Settings(prediction.label_space, RADII_PX, scores=("iou", "pixel_accuracy", "boundary_f"))
    totals = Totals(settings)
    totals.add(score_image(prediction.labels, truth, settings, "the image"))
    values = totals.scores().summary_dict()
    return {name: value for name, value in values.items() if name not in ("images", "averaging")}
