"""What Lightning runs: a model with its loss, one step of training, one of validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from crispseg.config import Recipe
from crispseg.errors import TrainingError
from crispseg.losses import batch_of_all_processes
from crispseg.metrics import SegmentationScores
from crispseg.models import Segmenter
from crispseg.train.batches import Batch
from crispseg.train.checkpointing import checkpoint_blocks
from crispseg.train.depthwise import depthwise_in_float32
from crispseg.train.optim import build_optimizer, build_schedule
from crispseg.train.sharding import shard, whole
from crispseg.types import SegmentationOutput

__all__ = ["EpochScores", "SegmentationTask", "as_task", "diverged", "step_seed"]


@dataclass(frozen=True)
class EpochScores:
    """Scores of the validation set; NaN where there are none.

    Attributes:
        mean_iou: over the classes that occur.
        pixel_accuracy: share of the labelled pixels that are right.
        iou: per class name.
    """

    mean_iou: float
    pixel_accuracy: float
    iou: dict[str, float]


class SegmentationTask(L.LightningModule):
    """A model, its loss and its schedule, one step at a time.

    Every random draw of a step (dropout, Gumbel noise) depends on the recipe's seed and the step's place in the run
    alone, which is why a run that was stopped goes on as if it had not been.

    Args:
        model: to be trained.
        loss: model output and labels (N, H, W) → named terms, already weighted; their sum is minimised.
        recipe: of the run.
    """

    def __init__(
        self, model: Segmenter, loss: Callable[[SegmentationOutput, Tensor], dict[str, Tensor]], recipe: Recipe
    ) -> None:
        super().__init__()
        self.model: Segmenter = model
        if recipe.train.channels_last:
            self.model.to(memory_format=torch.channels_last)
        if recipe.train.activation_checkpointing != "none":
            checkpoint_blocks(self.model, recipe.train.activation_checkpointing)
        if recipe.train.freeze_backbone:
            self.model.backbone.requires_grad_(False)
        self.loss = loss
        self.recipe = recipe
        self._is_sharded = False
        self.scores = SegmentationScores(model.num_classes)
        self.total_steps = 0  # of the optimiser, known once the loaders are
        self.batch_names: list[str] = []  # of the batches that the coming optimiser step is made of
        self.last_terms: dict[str, Tensor] = {}  # of the last batch: "loss" and each term of it
        self.last_scores = EpochScores(math.nan, math.nan, {})
        self.scored_epoch = -1  # whose scores these are
        self.diverged_on: str | None = None  # the first image whose logits were not finite in this validation
        self.before_validation_step: Callable[[], None] | None = None
        self.train()  # Lightning leaves modules as they come

    def train(self, mode: bool = True) -> SegmentationTask:
        """As PyTorch's; a frozen backbone stays in evaluation mode, where norms keep their statistics."""
        super().train(mode)
        if self.recipe.train.freeze_backbone:
            self.model.backbone.eval()
        return self

    def configure_model(self) -> None:
        """Divide the model among the processes, if the recipe says so; Lightning calls this once they are there."""
        if self.recipe.train.strategy == "fsdp" and not self._is_sharded:
            self._is_sharded = True
            shard(self.model, self.trainer.strategy.root_device.type, self.trainer.world_size)

    # ── training ──

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step."""
        torch.manual_seed(step_seed(self.recipe.train.seed, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch: (), finite.

        Raises:
            TrainingError: if it is not finite.
        """
        if batch_idx % self.recipe.train.accumulate == 0:
            self.batch_names.clear()
        self.batch_names += batch["name"]
        with depthwise_in_float32(self.device.type):
            output = self._output(batch["image"])
        with torch.autocast(self.device.type, enabled=False), batch_of_all_processes():
            terms = self.loss(_as_float32(output), batch["labels"])
            total = torch.stack(list(terms.values())).sum()
        self._require_finite(total, "the loss", terms)
        self.last_terms = self._of_whole_batch({"loss": total, **terms})
        self.log_dict({f"train/{name}": value for name, value in self.last_terms.items() if name != "loss"})
        self.log("train/loss", self.last_terms["loss"], prog_bar=True)
        self.log("train/lr", self.head_lr())
        return total

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip to ``train.clip_norm``, if given, and look at the norm before the weights do.

        Raises:
            TrainingError: if it is not finite, except in fp16, where the loss scaler skips such a step.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        if self.recipe.train.precision != "fp16":
            self._require_finite(norm, "the gradient's norm", {})
        self.log("train/gradient_norm", norm)
        if self.recipe.train.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.recipe.train.clip_norm, norm)

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """Step, and drop the gradients at once: kept until the next backward pass, they would add to every forward."""
        super().optimizer_step(*arguments, **keywords)
        self.zero_grad()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Optimiser and poly schedule of the recipe."""
        optimizer = build_optimizer(self.model, self.recipe.train)
        steps = int(self.trainer.estimated_stepping_batches)
        self.total_steps = min(steps, self.recipe.train.max_steps or steps)
        schedule = build_schedule(optimizer, self.recipe.train, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # ── validation ──

    def on_validation_epoch_start(self) -> None:
        """Begin to count anew; an interrupted validation may have left counts."""
        self.scores.reset()
        self.diverged_on = None

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Count a batch of whole images.

        Returns:
            ``prediction`` (N, H, W) and ``boundary_probability`` (N, 1, H, W) or None, for pictures; for those of the
            first images also ``confidence`` (N, H, W), and ``maps``, see `SegmentationOutput.maps`.
        """
        # In the step and not in a hook around it: Lightning repeats a validation that ended in the middle of a step.
        if self.before_validation_step is not None:
            self.before_validation_step()
        is_shown = batch_idx < self.recipe.train.picture_count  # a batch has an image or more
        output = self._output(batch["image"], with_maps=is_shown)
        highest, prediction = output.logits.max(dim=1)  # argmax is three times as slow
        if not torch.isfinite(highest).all():  # said at the end: other processes may have other numbers of images
            self.diverged_on = self.diverged_on or batch["name"][0]
        self.scores.update(prediction, batch["labels"])
        boundary = output.boundary_logits
        return {
            "prediction": prediction,
            "confidence": (highest - output.logits.logsumexp(dim=1)).exp() if is_shown else None,
            "boundary_probability": None if boundary is None else boundary.sigmoid(),
            "maps": output.maps,
        }

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole set.

        Raises:
            TrainingError: if the model's logits were not finite.
        """
        if not self.trainer.strategy.reduce_boolean_decision(self.diverged_on is None):
            raise diverged(
                f"the logits of validation image {self.diverged_on or '(of another process)'} are not finite after "
                f"step {self.global_step} of {self.total_steps} (epoch {self.current_epoch + 1})"
            )
        scores = self.scores.compute()
        names = self.model.label_space.class_names
        values = {"val/mean_iou": scores["mean_iou"], "val/pixel_accuracy": scores["pixel_accuracy"]}
        values |= {f"val_iou/{name}": iou for name, iou in zip(names, scores["iou"], strict=True) if not iou.isnan()}
        self.scored_epoch = self.current_epoch
        self.last_scores = EpochScores(
            float(scores["mean_iou"]),
            float(scores["pixel_accuracy"]),
            {name: float(iou) for name, iou in zip(names, scores["iou"], strict=True)},
        )
        on_device = {key: value.to(self.device, torch.float32) for key, value in values.items()}
        # Every process has the same value by now; the mean over them keeps it and pleases Lightning.
        self.log_dict(on_device, sync_dist=True)
        self.log("mIoU", on_device["val/mean_iou"], prog_bar=True, logger=False, sync_dist=True)

    # ── helpers ──

    def _output(self, images: Tensor, with_maps: bool = False) -> SegmentationOutput:
        """Of images that are filled up to whole cells, in training as in validation and in `Predictor`."""
        filled = self.model.filled(images)
        if self.recipe.train.channels_last:
            filled = filled.contiguous(memory_format=torch.channels_last)
        output: SegmentationOutput = self.model(filled, with_maps=with_maps)
        return output.within((images.shape[-2], images.shape[-1]))

    def _of_whole_batch(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values of this process's part of the batch to those of the batch of all processes, without gradient."""
        values = torch.stack([term.detach() for term in terms.values()])
        mean: Any = self.trainer.strategy.reduce(values, reduce_op="mean")  # a tensor, as `values` is one
        return dict(zip(terms, mean, strict=True))

    def head_lr(self) -> float:
        """The coming step's learning rate of the head; the backbone's may be lower."""
        groups: list[dict[str, Any]] = self.trainer.optimizers[0].param_groups
        return float(next((group for group in groups if group["name"].startswith("head")), groups[0])["lr"])

    def _require_finite(self, value: Tensor, what: str, terms: dict[str, Tensor]) -> None:
        finite = bool(torch.isfinite(value))
        if self.trainer.strategy.reduce_boolean_decision(finite):
            return
        found = f"{value.item()}" if not finite else "not finite on another process"
        listed = "".join(f", {name} {term.item():.4g}" for name, term in terms.items())
        raise diverged(
            f"{what} is {found}{listed} at step {self.global_step + 1} of {self.total_steps} (epoch "
            f"{self.current_epoch + 1}), with the images {', '.join(self.batch_names)}",
            "look at these images and labels, ",
        )


def diverged(found: str, first: str = "") -> TrainingError:
    """What a run that learns no more ends with, wherever that is noticed.

    Args:
        found: what is not finite, and when.
        first: what to do before anything else.
    """
    return TrainingError(
        f"the run has diverged: {found}; it stops, and its checkpoints stay as they were. To mend it, {first}lower "
        "train.lr, lengthen train.warmup_steps, or set train.clip_norm or train.precision=32, and begin another run"
    )


def as_task(module: L.LightningModule) -> SegmentationTask:
    """What a callback was given, as the class that it is."""
    assert isinstance(module, SegmentationTask)
    return module


def step_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """The seed of one step on one process: unlike for every other step, and the same whenever it is taken.

    Example:
        >>> step_seed(0, 1, 2, 0) == step_seed(0, 1, 2, 0), step_seed(0, 1, 2, 0) == step_seed(0, 2, 1, 0)
        (True, False)
    """
    return int(np.random.SeedSequence((seed, epoch, batch, rank)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _as_float32(output: SegmentationOutput) -> SegmentationOutput:
    """Losses take logarithms and small differences, for which half precision is too coarse."""

    def convert(logits: Tensor | None) -> Tensor | None:
        return None if logits is None else logits.float()

    return replace(
        output,
        logits=output.logits.float(),
        boundary_logits=convert(output.boundary_logits),
        body_logits=convert(output.body_logits),
        auxiliary_logits=convert(output.auxiliary_logits),
    )
