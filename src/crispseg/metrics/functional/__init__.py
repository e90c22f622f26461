"""Scores as functions of arrays or tensors; the classes over them keep sums and nothing else."""

from crispseg.metrics.functional.boundary_f import Absent, boundary_f_score
from crispseg.metrics.functional.regions import confusion_counts, iou_from_counts, mean_iou, pixel_accuracy

__all__ = ["Absent", "boundary_f_score", "confusion_counts", "iou_from_counts", "mean_iou", "pixel_accuracy"]
