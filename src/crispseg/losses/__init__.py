"""Losses: functions first, thin modules over them, and one named-terms loss per system (`build_loss`).

All take logits, never probabilities, compute in float32, and are means over the pixels that they speak of: they do not
change when a batch is repeated, and an empty selection gives 0 with a gradient path.
"""

from __future__ import annotations

from crispseg.losses.active_boundary import ActiveBoundaryLoss, active_boundary_loss
from crispseg.losses.boundary import BoundaryBCE, boundary_bce
from crispseg.losses.class_weights import balanced_weights
from crispseg.losses.common import batch_of_all_processes
from crispseg.losses.decoupled import (
    HardBoundaryCrossEntropy,
    InteriorCrossEntropy,
    RelaxedCrossEntropy,
    hard_boundary_cross_entropy,
    hard_cross_entropy,
    interior_cross_entropy,
    relaxed_cross_entropy,
)
from crispseg.losses.dual_task import (
    DualBoundaryLoss,
    DualSegmentationLoss,
    boundary_potential,
    dual_boundary_loss,
    dual_segmentation_loss,
)
from crispseg.losses.inverse_form import (
    InverseFormLoss,
    InverseTransformation,
    inverse_form_loss,
    transform_distance,
)
from crispseg.losses.inverse_form_files import load_inverse_form, save_inverse_form
from crispseg.losses.inverse_form_training import InverseFormError, inverse_form_error, train_inverse_form
from crispseg.losses.overlap import dice_loss, lovasz_softmax
from crispseg.losses.segmentation import (
    OhemCrossEntropy,
    SegmentationCrossEntropy,
    ohem_cross_entropy,
    segmentation_cross_entropy,
)
from crispseg.losses.system import (
    LOSSES,
    DecoupledLoss,
    GscnnLoss,
    SegmentationLoss,
    build_loss,
    completed_options,
    register_loss,
)

__all__ = [
    "LOSSES",
    "ActiveBoundaryLoss",
    "BoundaryBCE",
    "DecoupledLoss",
    "DualBoundaryLoss",
    "DualSegmentationLoss",
    "GscnnLoss",
    "HardBoundaryCrossEntropy",
    "InteriorCrossEntropy",
    "InverseFormError",
    "InverseFormLoss",
    "InverseTransformation",
    "OhemCrossEntropy",
    "RelaxedCrossEntropy",
    "SegmentationCrossEntropy",
    "SegmentationLoss",
    "active_boundary_loss",
    "balanced_weights",
    "batch_of_all_processes",
    "boundary_bce",
    "boundary_potential",
    "build_loss",
    "completed_options",
    "dice_loss",
    "dual_boundary_loss",
    "dual_segmentation_loss",
    "hard_boundary_cross_entropy",
    "hard_cross_entropy",
    "interior_cross_entropy",
    "inverse_form_error",
    "inverse_form_loss",
    "load_inverse_form",
    "lovasz_softmax",
    "ohem_cross_entropy",
    "register_loss",
    "relaxed_cross_entropy",
    "save_inverse_form",
    "segmentation_cross_entropy",
    "train_inverse_form",
    "transform_distance",
]
