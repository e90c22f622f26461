"""Scores: functions on arrays or tensors, and torchmetrics classes over them that sum across images and processes."""

from crispseg.metrics.functional import (
    Absent,
    boundary_f_score,
    confusion_counts,
    iou_from_counts,
    mean_iou,
    pixel_accuracy,
)
from crispseg.metrics.scores import BoundaryFScore, SegmentationScores

__all__ = [
    "Absent",
    "BoundaryFScore",
    "SegmentationScores",
    "boundary_f_score",
    "confusion_counts",
    "iou_from_counts",
    "mean_iou",
    "pixel_accuracy",
]
