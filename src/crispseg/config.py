"""A recipe: values only, frozen and strict. An unknown key is an error that names the nearest known one.

The sections are the rooms that read them: ``model`` is for `crispseg.models`, ``data`` for `crispseg.data`, ``loss``
for `crispseg.losses`, ``train`` for `crispseg.train`, ``evaluate`` for `crispseg.evaluation`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

__all__ = [
    "MASK_BANDS",
    "MAX_CLASS_BIAS",
    "MAX_SCALE",
    "DataConfig",
    "EvaluateConfig",
    "LossConfig",
    "ModelConfig",
    "NonNegative",
    "PaperConfig",
    "PositiveInt",
    "Probability",
    "Recipe",
    "TrainConfig",
]

MAX_SCALE = 16
"""The largest scale at which an image is looked at, relative to its own: 256 times the pixels."""

MAX_CLASS_BIAS = 20
"""The most that is added to the logarithm of a class's probability, or taken from it: a factor of 5·10⁸."""

MASK_BANDS = 3
"""How many bands behind red, green and blue tell a network of a mask: those of `crispseg.ops.directions.mask_bands`."""

PositiveInt = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Width = Annotated[int, Field(gt=0, le=8192)]  # a 3×3 convolution of 8192 has 2.4 GB
Probability = Annotated[float, Field(ge=0, le=1)]


def _number_as_text(value: Any) -> Any:
    """YAML reads 32 as a number."""
    return str(value) if type(value) is int else value


class _Values(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class ModelConfig(_Values):
    """Everything that `crispseg.create_model` needs to build the same network again."""

    head: str = "gff"
    backbone: str = "resnet50s"
    context: str | None = None  # None: the head's own, as in its paper
    output_stride: Literal[8, 16, 32] = 8
    channels: Width = 256  # width of the head
    context_channels: Width | None = None  # width of the context; None: the head's (PSPNet's own is 512)
    pretrained: bool = False  # timm's ImageNet weights, from the Hub
    backbone_weights: str | None = None  # a file with the backbone's weights instead
    backbone_padding: Literal["own", "centred"] = "own"  # centred: strided convolutions of tf_… models pad in turn
    weights: str | None = None  # a saved model to start from, folder or Hub id; takes precedence over both
    in_channels: Annotated[int, Field(gt=0, le=64)] | None = None  # bands of an image; None: of data.bands, 3 without
    bands: tuple[PositiveInt, ...] | None = None  # of image files: as data.bands has them, kept for segmenting
    value_range: tuple[float, float] | None = None  # of image files: as data has it, kept for segmenting
    sees_mask: bool = False  # three bands more tell of a coarse mask's borders: set by data.target corrections
    mean: tuple[float, ...] | None = None  # of each band, of 1; None: the backbone's, measured for other than 3 bands
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] | None = (
        None  # the deviation likewise
    )
    weights_partial: bool = False  # take from `weights` what fits; what differs starts fresh (two-stage training)
    head_options: dict[str, Any] = Field(default_factory=dict)  # keyword arguments of the head's class
    context_options: dict[str, Any] = Field(default_factory=dict)  # keyword arguments of the context's class

    @property
    def image_channels(self) -> int:
        """How many bands an image has, with those that tell of a mask."""
        if self.sees_mask:
            return 3 + MASK_BANDS
        return self.in_channels or (3 if self.bands is None else len(self.bands))

    @model_validator(mode="after")
    def _per_band(self) -> ModelConfig:
        count = self.image_channels
        if self.sees_mask and (self.bands is not None or self.in_channels not in (None, 3, count)):
            raise ValueError("sees_mask adds three bands to red, green and blue alone; leave out bands and in_channels")
        for key in ("bands", "mean", "std"):
            values = getattr(self, key)
            if values is not None and len(values) != count:
                raise ValueError(f"{key} has {len(values)} values, {count} expected, one for each of in_channels")
        return self

    def without_sources(self) -> ModelConfig:
        """The architecture alone, for weights that come from elsewhere."""
        return self.model_copy(update={"pretrained": False, "backbone_weights": None, "weights": None})


class DataConfig(_Values):
    """Where the images are and how they are cut and varied, and the options of the layout, which its signature names.

    An option is a key of this section like the others. Whether the layout takes it is known when it is opened: see
    `crispseg.data.layouts.open_layout`.
    """

    model_config = ConfigDict(extra="allow")

    layout: str = "folder"  # a name in crispseg.data.LAYOUTS, such as cityscapes or camvid; docs/datasets.md has all
    root: str | None = None
    labels: str | None = None  # name of a packaged table or path of a YAML file; None: the layout's own
    # for refiners: directions, which way the inside lies; corrections, which way the right label of a damaged mask lies
    target: Literal["classes", "directions", "corrections"] = "classes"
    reach_px: Annotated[int, Field(gt=0, le=64)] = 4  # how far from a border pixels have a direction
    train_split: str = "train"  # a plus joins several, as in train+val
    val_split: str = "val"
    val: Annotated[float, Field(gt=0, lt=1)] | None = None  # share of the training images that is val_split instead
    group_by: str | None = None  # regular expression: images whose names match alike stay in one split, with `val`
    split_seed: Annotated[int, Field(ge=0)] = 0  # another number, other images in `val`
    crop_hw: tuple[PositiveInt, PositiveInt] = (512, 512)
    scale_range: tuple[float, float] = (0.75, 2.0)
    flip_probability: Probability = 0.5
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0  # turned by ± this
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.04  # brightness, contrast, saturation: factors 1 ± this
    hue_jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    colour_shift: Annotated[float, Field(ge=0, le=255)] = 0.0  # added to each channel: ± this, of 255
    blur_probability: Probability = 0.0
    class_uniform: Probability = 0.0  # share of an epoch's samples drawn so that every class comes equally often
    class_uniform_tile: PositiveInt = 1024  # side of the tiles whose classes are looked up for it, in px
    check: Literal["full", "headers", "none"] = "full"  # before training: every pixel once, or headers
    index_cache: str | None = None  # folder of what look-up and check found; None: crispseg in the user's cache folder
    workers: Annotated[int, Field(ge=0)] = 2
    bands: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None  # of image files; None: as shown, RGB
    bit_depth: Annotated[int, Field(ge=1, le=16)] | None = None  # that images use of their samples, such as 12 of 16
    value_range: tuple[float, float] | None = None  # stored values that are black and white; another bit_depth
    exif: Literal["apply", "ignore"] | None = None  # orientation of images; None: applied, with a warning
    max_pixels: PositiveInt = 40_000_000  # of one image; larger ones are refused, for small files can hold huge images
    cache: bool = False  # keep decoded images in memory: 4 bytes per pixel of the data set

    @property
    def options(self) -> dict[str, Any]:
        """What the section says beside the keys that all layouts have."""
        return dict(self.model_extra or {})

    def own_split(self, split: str) -> str:
        """The data set's own name of ``"train"`` or ``"val"``; other names are taken as its own already."""
        return {"train": self.train_split, "val": self.val_split}.get(split, split)

    @model_validator(mode="after")
    def _ordered(self) -> DataConfig:
        low, high = self.scale_range
        if not 0.01 <= low <= high <= 100:
            raise ValueError(f"scale_range is ({low}, {high}); two numbers in ascending order, 0.01 to 100, expected")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range is {self.value_range}; black and white, the smaller first, expected")
        if self.value_range is not None and self.bit_depth is not None:
            raise ValueError("bit_depth and value_range both say which value is white; keep one")
        return self

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """The values that are black and white, by either key."""
        return self.value_range if self.bit_depth is None else (0.0, float(2**self.bit_depth - 1))


class LossConfig(_Values):
    """The terms that every loss has, and the options of the chosen one, which its signature names.

    An option is a key of this section like the others. Whether the loss takes it is known when it is built: see
    `crispseg.losses.build_loss`.
    """

    model_config = ConfigDict(extra="allow")

    system: str | None = None  # which loss; None: the one that the head announces
    segmentation: Literal["cross_entropy", "ohem"] = "cross_entropy"
    auxiliary_weight: NonNegative = 0.4
    active_boundary_weight: NonNegative = 0.0  # of the active boundary loss (Wang et al., 2022), beside all others
    inverse_form_weight: NonNegative = 0.0  # of InverseForm (Borse et al., 2021), beside all others
    inverse_form_network: str | None = None  # its network: a file that `crispseg data inverse-form` wrote
    class_weights: tuple[float, ...] | Literal["auto"] | None = None  # auto: by their shares of the training labels
    class_weight_power: Annotated[float, Field(ge=0, le=2)] = 0.5  # of auto: weight = share to the power of −this
    dice_weight: NonNegative = 0.0  # of the soft Dice loss, beside the cross-entropy
    lovasz_weight: NonNegative = 0.0  # of the Lovász-softmax loss
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ohem_probability: Probability = 0.7
    ohem_min_kept: PositiveInt = 100_000

    @property
    def options(self) -> dict[str, Any]:
        """What the section says beside the common terms."""
        return dict(self.model_extra or {})


class TrainConfig(_Values):
    """The optimisation."""

    epochs: PositiveInt = 100
    max_steps: PositiveInt | None = None  # optimiser steps; ends the run before `epochs` if smaller
    patience: PositiveInt | None = None  # validations in a row without a better mean IoU that end the run
    max_hours: Annotated[float, Field(gt=0)] | None = None  # of training over all sittings, after which the run ends
    # images per optimiser step, over all processes and accumulated batches; auto: as many as fit, found by trial
    batch_size: PositiveInt | Literal["auto"] = 8
    accumulate: PositiveInt = 1  # batches that an optimiser step is divided into, to save memory
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0, le=1e6)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1e6)] = 5e-4
    weight_decay_on: Literal["weights", "all"] = "weights"  # all: also norms, biases and position embeddings
    backbone_lr_factor: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    layer_lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # rate of a block, of that of the block above it
    freeze_backbone: bool = False  # its weights and its norms' statistics stay as they are
    poly_power: NonNegative = 0.9
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    # auto: bf16 where the processor or the GPU computes it, 32 elsewhere
    precision: Annotated[Literal["auto", "32", "bf16", "fp16"], BeforeValidator(_number_as_text)] = "32"
    activation_checkpointing: Literal["none", "light", "full"] = "none"  # compute again for gradients, to save memory
    channels_last: bool = True
    sync_batchnorm: bool = True  # has no effect with one process
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None  # evaluate and keep an average of the weights
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    validate_every: PositiveInt = 1  # epochs
    save_every_steps: PositiveInt | None = None  # also save in the middle of an epoch: for long epochs
    picture_count: Annotated[int, Field(ge=0)] = 4  # validation images shown in the run's page and in TensorBoard
    # who keeps curves and pictures; auto: TensorBoard where it is installed, else csv
    logger: Literal["auto", "tensorboard", "wandb", "mlflow", "csv"] = "auto"
    devices: PositiveInt | Literal["auto"] = "auto"  # per machine; torchrun decides where it started the run
    nodes: PositiveInt = 1  # machines; torchrun decides where it started the run
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"  # several processes: copies (ddp), or shards of the model (fsdp)
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"

    @property
    def images_per_step(self) -> int:
        """`batch_size`, once a run has found what ``auto`` is."""
        if self.batch_size == "auto":
            raise ValueError("train.batch_size is auto, and no run has found a number for it yet")
        return self.batch_size


class EvaluateConfig(_Values):
    """How the validation images are scored: of the best model. During training they are scored whole, at one scale."""

    batch_size: PositiveInt = 1
    radii_px: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 2, 3, 5)
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=MAX_SCALE)], ...], Field(min_length=1)] = (1.0,)
    flip: bool = False
    window_hw: tuple[PositiveInt, PositiveInt] | None = None
    # by class name, added to the logarithm of its probability before the most probable class is the label
    class_bias: dict[str, Annotated[float, Field(ge=-MAX_CLASS_BIAS, le=MAX_CLASS_BIAS)]] = Field(default_factory=dict)
    scores: Annotated[tuple[str, ...], Field(min_length=1)] | None = None  # which scores; None: all that there are
    absent: Literal["skip", "one"] = "skip"  # boundary F of classes that an image lacks; one: 1, as in the papers' code


class PaperConfig(_Values):
    """Which row of which paper a recipe is, and what the paper reports for it; nothing is computed from it."""

    table: str  # for instance "GSCNN, table 3"
    row: str = ""  # as the table names it
    mean_iou: float | None = None  # per cent
    boundary_f: dict[str, float] = Field(default_factory=dict)  # per cent, by threshold: "3px", "5px" …
    note: str = ""  # what was adapted, where the paper is silent or the row needs a remark


class Recipe(_Values):
    """One experiment."""

    name: str = "run"
    description: str = ""
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    paper: PaperConfig | None = None

    @field_validator("name")
    @classmethod
    def _one_folder(cls, name: str) -> str:
        if name.strip() in ("", ".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", name):
            raise ValueError(f"name is {name!r}, which is no folder's name; letters, digits, '-', '_' and '.' expected")
        return name
