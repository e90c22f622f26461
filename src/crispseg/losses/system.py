"""The losses of whole systems: named, weighted terms from a model's output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from crispseg.config import LossConfig, NonNegative, PositiveInt, Probability
from crispseg.errors import ConfigError, WeightsError
from crispseg.losses.active_boundary import active_boundary_loss
from crispseg.losses.boundary import BoundaryBCE
from crispseg.losses.decoupled import HardBoundaryCrossEntropy, InteriorCrossEntropy, RelaxedCrossEntropy
from crispseg.losses.dual_task import DualBoundaryLoss, DualSegmentationLoss, PotentialFilter
from crispseg.losses.inverse_form import InverseFormLoss
from crispseg.losses.inverse_form_files import load_inverse_form
from crispseg.losses.overlap import dice_loss, lovasz_softmax
from crispseg.losses.segmentation import OhemCrossEntropy, SegmentationCrossEntropy
from crispseg.ops.boundaries import Shape
from crispseg.registry import LOSSES as _LOSSES
from crispseg.registry import Registry
from crispseg.types import SegmentationOutput

__all__ = [
    "LOSSES",
    "DecoupledLoss",
    "GscnnLoss",
    "SegmentationLoss",
    "build_loss",
    "completed_options",
    "register_loss",
]


class SegmentationLoss(nn.Module):
    """The segmentation and its auxiliary head: the terms that every system has.

    Calling it with an output and labels (N, H, W) gives a dict of scalars, already weighted, whose sum is the loss.
    A term whose weight is 0 and that only regularises is left out. In evaluation mode (``loss.eval()``) so is a term
    whose logits the output lacks, as the body's are then; in training that is an error, and so are boundary or body
    logits that no term supervises: a branch that is never taught must not pass unseen.

    A loss of another system derives from this class, names in ``supervises`` what it teaches, and takes its options by
    keyword; `register_loss` makes it known.

    Terms:
        ``segmentation``: cross-entropy, or OHEM, of the logits.
        ``auxiliary``: the same of the auxiliary logits, by default 0.4 times; heads may do without.
        ``active_boundary``: of the logits; left out unless it has a weight.
        ``inverse_form``: of the boundary logits, where the loss supervises them, else of the logits; left out unless it
            has a weight.
        ``dice``: of the logits, if ``dice_weight`` is above 0; so is ``lovasz``, if ``lovasz_weight`` is.

    Args:
        config: the common terms' settings.
        num_classes: K of the logits.

    Attributes:
        class_weights: one for each class, or None.
        supervises: which of ``boundary_logits`` and ``body_logits`` its terms need.

    Raises:
        ConfigError: when built, if there is not one class weight, 0 or above, for each class, or ``inverse_form`` has a
            weight and no network; when called in training, if the output lacks logits that a term needs, or has some
            that none supervises.
        WeightsError: when built, if that network's file is missing, broken or of another kind.
        ValueError: when called, if the shapes do not belong together.
    """

    supervises: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: LossConfig, num_classes: int) -> None:
        super().__init__()
        self.class_weights = _checked_class_weights(config, num_classes)
        self.config = config
        self.num_classes = num_classes
        self.cross_entropy: nn.Module = (
            OhemCrossEntropy(config.ohem_probability, config.ohem_min_kept, self.class_weights, config.label_smoothing)
            if config.segmentation == "ohem"
            else SegmentationCrossEntropy(self.class_weights, config.label_smoothing)
        )
        self.inverse_form = _inverse_form(config)

    def forward(self, output: SegmentationOutput, labels: Tensor) -> dict[str, Tensor]:
        """See the class."""
        if output.logits.shape[1] != self.num_classes:
            raise ValueError(f"logits have {output.logits.shape[1]} classes, the loss {self.num_classes}")
        if self.training:
            self._check_branches(output)
        terms = {"segmentation": self.cross_entropy(output.logits, labels)}
        if output.auxiliary_logits is not None:
            terms["auxiliary"] = self.config.auxiliary_weight * self.cross_entropy(output.auxiliary_logits, labels)
        if self.config.active_boundary_weight:
            moved = active_boundary_loss(output.logits, labels)
            terms["active_boundary"] = self.config.active_boundary_weight * moved
        if self.inverse_form is not None:
            by_branch = "boundary_logits" in self.supervises and output.boundary_logits is not None
            shown = output.boundary_logits if by_branch else output.logits
            terms["inverse_form"] = self.config.inverse_form_weight * self.inverse_form(shown, labels)
        if self.config.dice_weight:
            terms["dice"] = self.config.dice_weight * dice_loss(output.logits, labels)
        if self.config.lovasz_weight:
            terms["lovasz"] = self.config.lovasz_weight * lovasz_softmax(output.logits, labels)
        return terms

    def _compare_boundaries_of(self, radius_px: int, shape: Shape) -> None:
        """Say how wide the boundaries are that a branch is taught, for the terms that compare it with the labels'."""
        if self.inverse_form is not None:
            self.inverse_form.radius_px, self.inverse_form.shape = radius_px, shape

    def _check_branches(self, output: SegmentationOutput) -> None:
        for branch in ("boundary_logits", "body_logits"):
            is_there, is_taught = getattr(output, branch) is not None, branch in self.supervises
            if is_there == is_taught:
                continue
            found = f"is there, and no term of {type(self).__name__} supervises it"
            if is_taught:
                found = f"is missing, and {type(self).__name__} has a term for it"
            raise ConfigError(
                f"loss: the head's {branch} {found}; set loss.system, or the head's `system`, to a loss that fits it "
                f"({', '.join(LOSSES)})"
            )


class GscnnLoss(SegmentationLoss):
    """GSCNN, eq. 3 and 7.

    Terms, beside those of `SegmentationLoss` (λ2 = 1):
        ``edge``: λ1 times the balanced BCE of the boundary logits.
        ``dual_boundary``: λ3 times eq. 5.
        ``dual_segmentation``: λ4 times eq. 6.

    Args:
        config: see `SegmentationLoss`.
        num_classes: see `SegmentationLoss`.
        boundary_radius_px: how far from a label change a pixel still is a boundary target: CASENet's 2.
        boundary_shape: CASENet's disk, or a square.
        edge_weight: λ1.
        edge_balance: whether β balances boundary and other pixels.
        dual_boundary_weight: λ3.
        dual_segmentation_weight: λ4.
        dual_threshold: the boundary probability above which a pixel takes part in eq. 6.
        gumbel_temperature: τ of the arg max's surrogate in eq. 5.
        dual_filter: ∇G∗ of eq. 4: Sobel's kernels, or a Gaussian and a central difference.
    """

    supervises = ("boundary_logits",)

    def __init__(
        self,
        config: LossConfig,
        num_classes: int,
        *,
        boundary_radius_px: PositiveInt = 2,
        boundary_shape: Shape = "disk",
        edge_weight: NonNegative = 20.0,
        edge_balance: bool = True,
        dual_boundary_weight: NonNegative = 1.0,
        dual_segmentation_weight: NonNegative = 1.0,
        dual_threshold: Probability = 0.8,
        gumbel_temperature: Annotated[float, Field(gt=0)] = 1.0,
        dual_filter: PotentialFilter = "sobel",
    ) -> None:
        super().__init__(config, num_classes)
        self.edge_weight = edge_weight
        self.dual_boundary_weight = dual_boundary_weight
        self.dual_segmentation_weight = dual_segmentation_weight
        self.edge = BoundaryBCE(boundary_radius_px, shape=boundary_shape, balanced=edge_balance)
        self._compare_boundaries_of(boundary_radius_px, boundary_shape)
        self.dual_boundary = DualBoundaryLoss(gumbel_temperature, by=dual_filter)
        self.dual_segmentation = DualSegmentationLoss(dual_threshold, self.class_weights)

    def forward(self, output: SegmentationOutput, labels: Tensor) -> dict[str, Tensor]:
        """See the class."""
        terms = super().forward(output, labels)
        if output.boundary_logits is not None:
            terms["edge"] = self.edge_weight * self.edge(output.boundary_logits, labels)
            if self.dual_boundary_weight:
                terms["dual_boundary"] = self.dual_boundary_weight * self.dual_boundary(output.logits, labels)
            if self.dual_segmentation_weight:
                terms["dual_segmentation"] = self.dual_segmentation_weight * self.dual_segmentation(
                    output.logits, labels, output.boundary_logits
                )
        return terms


class DecoupledLoss(SegmentationLoss):
    """Decoupled, eq. 3 to 5.

    Terms, beside those of `SegmentationLoss` (λ3 = 1):
        ``body``: λ1 times the relaxed cross-entropy of the body logits.
        ``edge``: λ4 times the BCE of the boundary logits, plain: 25 is "to balance the amount of pixels on edges".
        ``edge_segmentation``: λ5 times eq. 5 on the final logits.

    Args:
        config: see `SegmentationLoss`.
        num_classes: see `SegmentationLoss`.
        boundary_radius_px: how far from a label change a pixel still is a boundary target; not stated in the paper.
        boundary_shape: a square, or a disk.
        body_weight: λ1.
        edge_weight: λ4.
        edge_balance: whether β balances boundary and other pixels, as in GSCNN.
        edge_segmentation_weight: λ5.
        hard_fraction: K / N of eq. 5, the share of the boundary's pixels that counts.
        hard_boundary_threshold: t_b, the boundary probability above which a pixel is at a boundary.
        hard_boundary_from: whose boundary: the branch's, as in eq. 5, or the labels'.
        body_boundary: what the body's loss makes of pixels at label changes: relaxed (section 3.4) or ignored
            (introduction).
        relaxation_radius_px: within this reach of a label change, either label is right for the body.
    """

    supervises = ("boundary_logits", "body_logits")

    def __init__(
        self,
        config: LossConfig,
        num_classes: int,
        *,
        boundary_radius_px: PositiveInt = 1,
        boundary_shape: Shape = "square",
        body_weight: NonNegative = 1.0,
        edge_weight: NonNegative = 25.0,
        edge_balance: bool = False,
        edge_segmentation_weight: NonNegative = 1.0,
        hard_fraction: Annotated[float, Field(gt=0, le=1)] = 0.10,
        hard_boundary_threshold: Probability = 0.8,
        hard_boundary_from: Literal["branch", "labels"] = "branch",
        body_boundary: Literal["relaxed", "ignored"] = "relaxed",
        relaxation_radius_px: PositiveInt = 1,
    ) -> None:
        super().__init__(config, num_classes)
        self.body_weight = body_weight
        self.edge_weight = edge_weight
        self.edge_segmentation_weight = edge_segmentation_weight
        body_loss = RelaxedCrossEntropy if body_boundary == "relaxed" else InteriorCrossEntropy
        self.body = body_loss(relaxation_radius_px, self.class_weights)
        self.edge = BoundaryBCE(boundary_radius_px, shape=boundary_shape, balanced=edge_balance)
        self._compare_boundaries_of(boundary_radius_px, boundary_shape)
        self.edge_segmentation = HardBoundaryCrossEntropy(
            hard_fraction,
            hard_boundary_threshold,
            self.class_weights,
            label_radius_px=boundary_radius_px if hard_boundary_from == "labels" else None,
            label_shape=boundary_shape,
        )

    def forward(self, output: SegmentationOutput, labels: Tensor) -> dict[str, Tensor]:
        """See the class."""
        terms = super().forward(output, labels)
        if output.body_logits is not None:
            terms["body"] = self.body_weight * self.body(output.body_logits, labels)
        if output.boundary_logits is not None:
            terms["edge"] = self.edge_weight * self.edge(output.boundary_logits, labels)
            if self.edge_segmentation_weight:
                terms["edge_segmentation"] = self.edge_segmentation_weight * self.edge_segmentation(
                    output.logits, labels, output.boundary_logits
                )
        return terms


LOSSES: Registry[type[SegmentationLoss]] = _LOSSES


def register_loss(name: str, loss_class: type[SegmentationLoss]) -> None:
    """Make a loss known by name, to heads that announce it as their ``system`` and to recipes (``loss.system``).

    Args:
        name: not taken yet.
        loss_class: derived from `SegmentationLoss`. It is called with the loss section and the number of classes, and
            with the options that its signature names: keys of a recipe's loss section. Their annotations say which
            values are right.

    Raises:
        ConfigError: if the name stands for another class.
    """
    LOSSES.register(name, loss_class)


def completed_options(system: str, config: LossConfig) -> LossConfig:
    """The section with every option of its loss, and no other.

    Args:
        system: what the head announces; ``loss.system`` takes precedence.
        config: as a recipe has it.

    Raises:
        ConfigError: if there is no such loss, or it does not take an option that is set.
    """
    name = config.system or system
    LOSSES.find(name, "loss.system" if config.system else "loss of the head")
    common = {key: getattr(config, key) for key in type(config).model_fields}
    return LossConfig(**common, **LOSSES.completed(name, config.options, "loss"))


def build_loss(system: str, config: LossConfig, num_classes: int) -> SegmentationLoss:
    """The loss of a system, with its paper's weights unless the config has others.

    Args:
        system: what a head announces as its ``system``: a name in `LOSSES`. ``loss.system`` takes precedence.
        config: weights and settings.
        num_classes: K of the logits.

    Returns:
        A module that maps (output, labels (N, H, W)) to named, weighted terms.

    Raises:
        ConfigError: if there is no such loss, it does not take an option that is set, or there is not one class weight
            for each class.

    Example:
        >>> import torch
        >>> loss = build_loss("gscnn", LossConfig(edge_weight=10), num_classes=3)
        >>> output = SegmentationOutput(torch.zeros(1, 3, 8, 8), boundary_logits=torch.zeros(1, 1, 8, 8))
        >>> sorted(loss(output, torch.zeros(1, 8, 8, dtype=torch.long)))
        ['dual_boundary', 'dual_segmentation', 'edge', 'segmentation']
        >>> build_loss("gscn", LossConfig(), num_classes=3)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        crispseg.errors.ConfigError: loss of the head: unknown loss 'gscn'; did you mean 'gscnn'? Known: ...
    """
    complete = completed_options(system, config)
    return LOSSES[config.system or system](complete, num_classes, **complete.options)


def _inverse_form(config: LossConfig) -> InverseFormLoss | None:
    """The term with its network, if it has a weight."""
    if not config.inverse_form_weight:
        return None
    if config.inverse_form_network is None:
        raise ConfigError(
            f"loss.inverse_form_weight is {config.inverse_form_weight:g}, and loss.inverse_form_network names no file; "
            "crispseg data inverse-form writes one from the labels of a data set"
        )
    try:
        network = load_inverse_form(Path(config.inverse_form_network).expanduser())
    except WeightsError as error:
        raise WeightsError(f"loss.inverse_form_network: {error}") from error
    return InverseFormLoss(network)


def _checked_class_weights(config: LossConfig, num_classes: int) -> tuple[float, ...] | None:
    weights = config.class_weights
    if weights is None:
        return None
    if weights == "auto":
        raise ConfigError(
            "loss.class_weights is auto, which fit counts from the training labels; one number for each class, as "
            "crispseg.losses.balanced_weights gives them, is needed here"
        )
    if len(weights) != num_classes:
        raise ConfigError(
            f"loss.class_weights: {len(weights)} values found, {num_classes} expected, one for each class; "
            "add or remove some, or leave the key out"
        )
    if min(weights) < 0 or max(weights) == 0:
        raise ConfigError(
            f"loss.class_weights: {min(weights)} to {max(weights)} found; 0 or above expected, and one above 0"
        )
    return weights
