"""Scores as functions of arrays or tensors; the classes over them keep sums and nothing else."""

from crispseg.metrics.functional.arrays import Absent
from crispseg.metrics.functional.bands import (
    boundary_iou,
    boundary_iou_counts,
    boundary_iou_from_counts,
    boundary_iou_radius,
    trimap_counts,
    trimap_counts_by_radius,
    trimap_iou,
)
from crispseg.metrics.functional.boundary_f import (
    BoundaryCounts,
    boundary_f_from_counts,
    boundary_f_score,
    boundary_match_counts,
    boundary_precision_recall,
    precision_recall_from_counts,
    radius_from_ratio,
)
from crispseg.metrics.functional.cityscapes import (
    CityscapesCounts,
    CityscapesScores,
    cityscapes_counts,
    cityscapes_scores,
    kitti_instance_ids,
)
from crispseg.metrics.functional.distance import distance_counts, distance_crop, distance_iou
from crispseg.metrics.functional.regions import (
    category_iou,
    class_accuracy,
    confusion_counts,
    frequency_weighted_iou,
    iou_from_counts,
    mean_iou,
    pixel_accuracy,
)

__all__ = [
    "Absent",
    "BoundaryCounts",
    "CityscapesCounts",
    "CityscapesScores",
    "boundary_f_from_counts",
    "boundary_f_score",
    "boundary_iou",
    "boundary_iou_counts",
    "boundary_iou_from_counts",
    "boundary_iou_radius",
    "boundary_match_counts",
    "boundary_precision_recall",
    "category_iou",
    "cityscapes_counts",
    "cityscapes_scores",
    "class_accuracy",
    "confusion_counts",
    "distance_counts",
    "distance_crop",
    "distance_iou",
    "frequency_weighted_iou",
    "iou_from_counts",
    "kitti_instance_ids",
    "mean_iou",
    "pixel_accuracy",
    "precision_recall_from_counts",
    "radius_from_ratio",
    "trimap_counts",
    "trimap_counts_by_radius",
    "trimap_iou",
]
