"""The losses of whole systems: named, weighted terms from a model's output."""

from __future__ import annotations

from torch import Tensor, nn

from crispseg.config import LossConfig
from crispseg.errors import ConfigError
from crispseg.losses.boundary import BoundaryBCE
from crispseg.losses.decoupled import HardBoundaryCrossEntropy, RelaxedCrossEntropy
from crispseg.losses.dual_task import DualBoundaryLoss, DualSegmentationLoss
from crispseg.losses.segmentation import OhemCrossEntropy, SegmentationCrossEntropy
from crispseg.types import SegmentationOutput

__all__ = ["DecoupledLoss", "GscnnLoss", "SegmentationLoss", "build_loss"]


class SegmentationLoss(nn.Module):
    """The segmentation and its auxiliary head: the terms that every system has.

    Calling it with an output and labels (N, H, W) gives a dict of scalars, already weighted, whose sum is the loss.
    A term whose logits the output lacks is left out, as is a purely regularising one whose weight is 0.

    Terms:
        ``segmentation``: cross-entropy, or OHEM, of the logits.
        ``auxiliary``: the same of the auxiliary logits, by default 0.4 times.

    Raises:
        ConfigError: when built, if there is not one class weight, 0 or above, for each class.
        ValueError: when called, if the shapes do not belong together.
    """

    def __init__(self, config: LossConfig, num_classes: int) -> None:
        super().__init__()
        _check_class_weights(config, num_classes)
        self.config = config
        self.num_classes = num_classes
        self.cross_entropy: nn.Module = (
            OhemCrossEntropy(
                config.ohem_probability, config.ohem_min_kept, config.class_weights, config.label_smoothing
            )
            if config.segmentation == "ohem"
            else SegmentationCrossEntropy(config.class_weights, config.label_smoothing)
        )

    def forward(self, output: SegmentationOutput, labels: Tensor) -> dict[str, Tensor]:
        """See the class."""
        if output.logits.shape[1] != self.num_classes:
            raise ValueError(f"logits have {output.logits.shape[1]} classes, the loss {self.num_classes}")
        terms = {"segmentation": self.cross_entropy(output.logits, labels)}
        if output.auxiliary_logits is not None:
            terms["auxiliary"] = self.config.auxiliary_weight * self.cross_entropy(output.auxiliary_logits, labels)
        return terms


class GscnnLoss(SegmentationLoss):
    """GSCNN, eq. 3 and 7.

    Terms, beside those of `SegmentationLoss` (λ2 = 1):
        ``edge``: λ1 = 20 times the balanced BCE of the boundary logits.
        ``dual_boundary``: λ3 = 1 times eq. 5.
        ``dual_segmentation``: λ4 = 1 times eq. 6.
    """

    def __init__(self, config: LossConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.edge_weight = 20.0 if config.edge_weight is None else config.edge_weight
        self.edge = BoundaryBCE(config.boundary_radius_px)
        self.dual_boundary = DualBoundaryLoss(config.gumbel_temperature)
        self.dual_segmentation = DualSegmentationLoss(config.dual_threshold, config.class_weights)

    def forward(self, output: SegmentationOutput, labels: Tensor) -> dict[str, Tensor]:
        """See the class."""
        terms = super().forward(output, labels)
        if output.boundary_logits is not None:
            terms["edge"] = self.edge_weight * self.edge(output.boundary_logits, labels)
            if self.config.dual_boundary_weight:
                terms["dual_boundary"] = self.config.dual_boundary_weight * self.dual_boundary(output.logits, labels)
            if self.config.dual_segmentation_weight:
                terms["dual_segmentation"] = self.config.dual_segmentation_weight * self.dual_segmentation(
                    output.logits, labels, output.boundary_logits
                )
        return terms


class DecoupledLoss(SegmentationLoss):
    """Decoupled, eq. 3 to 5.

    Terms, beside those of `SegmentationLoss` (λ3 = 1):
        ``body``: λ1 = 1 times the relaxed cross-entropy of the body logits.
        ``edge``: λ4 = 25 times the balanced BCE of the boundary logits.
        ``edge_segmentation``: λ5 = 1 times eq. 5 on the final logits.
    """

    def __init__(self, config: LossConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.edge_weight = 25.0 if config.edge_weight is None else config.edge_weight
        self.body = RelaxedCrossEntropy(config.relaxation_radius_px, config.class_weights)
        self.edge = BoundaryBCE(config.boundary_radius_px)
        self.edge_segmentation = HardBoundaryCrossEntropy(
            config.hard_fraction, config.hard_boundary_threshold, config.class_weights
        )

    def forward(self, output: SegmentationOutput, labels: Tensor) -> dict[str, Tensor]:
        """See the class."""
        terms = super().forward(output, labels)
        if output.body_logits is not None:
            terms["body"] = self.config.body_weight * self.body(output.body_logits, labels)
        if output.boundary_logits is not None:
            terms["edge"] = self.edge_weight * self.edge(output.boundary_logits, labels)
            if self.config.edge_segmentation_weight:
                terms["edge_segmentation"] = self.config.edge_segmentation_weight * self.edge_segmentation(
                    output.logits, labels, output.boundary_logits
                )
        return terms


_OWN_TERMS: dict[str, type[SegmentationLoss]] = {"gscnn": GscnnLoss, "decoupled": DecoupledLoss}


def build_loss(system: str, config: LossConfig, num_classes: int) -> SegmentationLoss:
    """The loss of a system, with its paper's weights unless the config has others.

    Args:
        system: what a head announces as its ``system``: ``"gscnn"`` and ``"decoupled"`` have terms of their own; every
            other name means the segmentation and auxiliary terms.
        config: weights and settings.
        num_classes: K of the logits.

    Returns:
        A module that maps (output, labels (N, H, W)) to named, weighted terms.

    Raises:
        ConfigError: if there is not one class weight for each class.

    Example:
        >>> import torch
        >>> loss = build_loss("gscnn", LossConfig(), num_classes=3)
        >>> output = SegmentationOutput(torch.zeros(1, 3, 8, 8), boundary_logits=torch.zeros(1, 1, 8, 8))
        >>> sorted(loss(output, torch.zeros(1, 8, 8, dtype=torch.long)))
        ['dual_boundary', 'dual_segmentation', 'edge', 'segmentation']
    """
    return _OWN_TERMS.get(system, SegmentationLoss)(config, num_classes)


def _check_class_weights(config: LossConfig, num_classes: int) -> None:
    weights = config.class_weights
    if weights is None:
        return
    if len(weights) != num_classes:
        raise ConfigError(
            f"loss.class_weights: {len(weights)} values found, {num_classes} expected, one for each class; "
            "add or remove some, or leave the key out"
        )
    if min(weights) < 0 or max(weights) == 0:
        raise ConfigError(
            f"loss.class_weights: {min(weights)} to {max(weights)} found; 0 or above expected, and one above 0"
        )
