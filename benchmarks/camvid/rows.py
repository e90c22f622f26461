"""The rows of the CamVid comparison and its protocols, as data, and the recipe that each row is trained with.

A row changes the network and the loss of its own system. Everything else, from augmentation to schedule, is the
protocol's: the same for all rows. The auxiliary classifier is off everywhere, for only some of the papers use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peers  # noqa: F401 # registers the heads of the rows in PEERS

from crispseg.config import Recipe
from crispseg.errors import ConfigError
from crispseg.recipes import differing_keys, override
from crispseg.train.complete import completed
from crispseg.wording import nearest_name

__all__ = [
    "PEERS",
    "PROTOCOLS",
    "RESULTS",
    "ROWS",
    "THIN_CLASSES",
    "Job",
    "Protocol",
    "Row",
    "jobs_of",
    "other_values",
    "recipe_of",
]

RESULTS = Path("docs/results/camvid/results")
"""Where run.py keeps what it measures and tables.py finds it."""

THIN_CLASSES = ("pole", "sign", "fence", "pedestrian", "bicyclist")


@dataclass(frozen=True)
class Row:
    """A network and the weights of its loss.

    Attributes:
        title: for tables.
        model: values of the recipe's section ``model``, beside backbone, stride and width.
        baseline: the row that it claims to improve on, or, of other libraries' decoders, the one of ours that users
            would take instead; None for the baselines themselves.
        claim: whether it is trained with three seeds.
        loss: values of the section ``loss``; what is left out is the paper's.
    """

    title: str
    model: Mapping[str, Any]
    baseline: str | None = None
    claim: bool = False
    loss: Mapping[str, float] = field(default_factory=dict)


def _plain(head: str, context: str) -> dict[str, Any]:
    return {"head": head, "context": context}


def _ablated(body: float, edge: float, hard: float) -> dict[str, float]:
    """Decoupled's loss weights of body, boundary and hard pixels at boundaries."""
    return {"body_weight": body, "edge_weight": edge, "edge_segmentation_weight": hard}


# What the losses were when the reduced protocol was first measured. Rows whose names end in _letter have the papers'
# losses as they are read now (docs/decisions/0003): plain cross-entropy in Decoupled; a disk of 2 px, Sobel in GSCNN.
_DECOUPLED_THEN = {"edge_balance": True}
_GSCNN_THEN = {"boundary_radius_px": 1, "boundary_shape": "square", "dual_filter": "gaussian"}

_ON_PPM = {"baseline": "pspnet"}
_DECOUPLED_FCN = {"model": _plain("decoupled", "identity"), "baseline": "fcn_decoupled"}
_WITHOUT_DUAL = {**_GSCNN_THEN, "dual_boundary_weight": 0.0, "dual_segmentation_weight": 0.0}
_GSCNN = {"head": "gscnn", "context": "aspp", "head_options": {"gradient": "canny"}}
_GSCNN_WITHOUT_GRADIENTS = {"head": "gscnn", "context": "aspp", "head_options": {"gradient": "none"}}

ROWS: dict[str, Row] = {
    "fcn": Row("FCN", _plain("plain", "identity"), claim=True),
    "pspnet": Row("PSPNet", _plain("plain", "ppm"), claim=True),
    "deeplabv3plus": Row("DeepLabV3+", _plain("deeplabv3plus", "aspp"), claim=True),
    # GFF, table 1 and 2
    "concat": Row("PSPNet + concat", _plain("concat", "ppm"), **_ON_PPM),
    "addition": Row("PSPNet + addition", _plain("addition", "ppm"), **_ON_PPM),
    "fpn": Row("PSPNet + FPN", _plain("fpn", "ppm"), **_ON_PPM),
    "gated_fpn": Row("PSPNet + gated FPN", _plain("gated_fpn", "ppm"), **_ON_PPM),
    "gff": Row("PSPNet + GFF", _plain("gff", "ppm"), claim=True, **_ON_PPM),
    "gff_dfp": Row("PSPNet + GFF + DFP", _plain("gff_dfp", "ppm"), claim=True, **_ON_PPM),
    # Not in the paper: a level finer than stride 4, for poles
    "gff_stem": Row("PSPNet + GFF, stem joins", {**_plain("gff", "ppm"), "head_options": {"stem_channels": 16}}, "gff"),
    # Decoupled, table 1a and 2a
    "fcn_decoupled": Row("FCN + Decoupled", _plain("decoupled", "identity"), "fcn", claim=True),
    "pspnet_decoupled": Row("PSPNet + Decoupled", _plain("decoupled", "ppm"), "pspnet", claim=True),
    "deeplabv3plus_decoupled": Row(
        "DeepLabV3+ + Decoupled",
        _plain("decoupled", "aspp"),
        "deeplabv3plus",
        claim=True,
        loss=_DECOUPLED_THEN,
    ),
    "deeplabv3plus_decoupled_letter": Row(
        "DeepLabV3+ + Decoupled, plain boundary loss", _plain("decoupled", "aspp"), "deeplabv3plus_decoupled"
    ),
    # Decoupled, table 1b, which is about the FCN
    "fcn_decoupled_no_supervision": Row(
        "FCN + Decoupled, none of its losses", loss=_ablated(0, 0, 0), **_DECOUPLED_FCN
    ),
    "fcn_decoupled_body_only": Row("FCN + Decoupled, body loss only", loss=_ablated(1, 0, 0), **_DECOUPLED_FCN),
    "fcn_decoupled_edge_only": Row("FCN + Decoupled, boundary loss only", loss=_ablated(0, 25, 0), **_DECOUPLED_FCN),
    "fcn_decoupled_hard_only": Row("FCN + Decoupled, hard pixels' loss only", loss=_ablated(0, 0, 1), **_DECOUPLED_FCN),
    "fcn_decoupled_no_hard": Row("FCN + Decoupled, no hard pixels' loss", loss=_ablated(1, 25, 0), **_DECOUPLED_FCN),
    "fcn_decoupled_no_fine": Row(
        "FCN + Decoupled, no low-level detail",
        {**_plain("decoupled", "identity"), "head_options": {"fine": False}},
        "fcn_decoupled",
    ),
    # GSCNN, table 1, 3 and 4
    "gscnn": Row(
        "DeepLabV3+ + GSCNN",
        _GSCNN,
        "deeplabv3plus",
        claim=True,
        loss=_GSCNN_THEN,
    ),
    "gscnn_letter": Row("DeepLabV3+ + GSCNN, borders of a 2 px disk, Sobel", _GSCNN, "gscnn"),
    "gscnn_letter_gaussian": Row(
        "DeepLabV3+ + GSCNN, borders of a 2 px disk, Gaussian",
        _GSCNN,
        "gscnn_letter",
        loss={"dual_filter": "gaussian"},
    ),
    "gscnn_no_dual": Row("GSCNN, no dual-task loss", _GSCNN, "gscnn", loss=_WITHOUT_DUAL),
    "gscnn_no_gradients": Row("GSCNN, no image gradients", _GSCNN_WITHOUT_GRADIENTS, "gscnn", loss=_GSCNN_THEN),
    "gscnn_no_dual_no_gradients": Row("GSCNN, neither of them", _GSCNN_WITHOUT_GRADIENTS, "gscnn", loss=_WITHOUT_DUAL),
}
"""By name, in the order of the tables."""

# What users would pick on the same backbone, each at its own stride and widths.
PEERS: dict[str, Row] = {
    "smp_deeplabv3plus": Row(
        "smp's DeepLabV3+", {**_plain("smp_deeplabv3plus", "identity"), "channels": 256}, "deeplabv3plus", claim=True
    ),
    "smp_fpn": Row(
        "smp's FPN, stride 32",
        {**_plain("smp_fpn", "identity"), "channels": 256, "output_stride": 32},
        "gff",
        claim=True,
    ),
    "torchvision_lraspp": Row(
        "torchvision's LR-ASPP", _plain("torchvision_lraspp", "identity"), "deeplabv3plus", claim=True
    ),
}
OWN_ROWS = tuple(ROWS)
ROWS |= PEERS


@dataclass(frozen=True)
class Protocol:
    """How every row is trained and scored.

    Attributes:
        title: for tables.
        size_hw: of the images that are trained on and scored.
        backbones: values of the section ``model`` by the backbone's name, in the order in which they are run.
        rows: their names.
        values: the other sections of the recipe.
        start: what the backbone starts from, for tables and descriptions.
    """

    title: str
    size_hw: tuple[int, int]
    backbones: Mapping[str, Mapping[str, Any]]
    rows: tuple[str, ...]
    values: Mapping[str, Mapping[str, Any]]
    start: str = "no pretraining"


def _values(
    size_hw: tuple[int, int], epochs: int, batch_size: int, validate_every: int, workers: int
) -> dict[str, dict[str, Any]]:
    return {
        "data": {
            "layout": "camvid",
            "crop_hw": size_hw,
            "scale_range": (0.75, 2.0),
            "flip_probability": 0.5,
            "jitter": 0.04,
            "workers": workers,
            "cache": True,
        },
        # As in recipes/camvid/quick_cpu.yaml: (share of the training pixels)^−0.4, mean 1 over the pixels. Without
        # them poles, signs and people had an IoU of 0 after the 12 epochs of the reduced protocol.
        "loss": {"class_weights": (0.92, 0.81, 2.87, 0.72, 1.56, 1.15, 2.68, 2.72, 1.41, 3.41, 4.67)},
        "train": {
            "epochs": epochs,
            "batch_size": batch_size,
            "optimizer": "adamw",  # from random weights ahead of SGD: docs/results/camvid_quick_cpu.md
            "lr": 0.001,
            "weight_decay": 0.05,
            "poly_power": 0.9,
            "warmup_steps": 100,
            "precision": "bf16",
            "channels_last": True,
            "ema_decay": 0.995,
            "validate_every": validate_every,
            "picture_count": 0,
        },
        "evaluate": {"radii_px": (1, 2, 3, 5)},
    }


def _pretrained(values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A backbone that knows something is moved less than what starts fresh."""
    values["train"] |= {"backbone_lr_factor": 0.3}
    return values


# Stride 16 and levels twice as wide as the reduced protocol's: at stride 32 a body has nothing to warp.
_PRETRAINED_LITE0 = {
    "tf_efficientnet_lite0": {
        "output_stride": 16,
        "channels": 128,
        "backbone_padding": "centred",
        "pretrained": True,
    }
}

PROTOCOLS: dict[str, Protocol] = {
    "full": Protocol(
        "Full protocol: 480×360, 150 epochs, GPU",
        (360, 480),
        {
            "resnet18": {"output_stride": 8, "channels": 128},
            "resnet50s": {"output_stride": 8, "channels": 256},
        },
        OWN_ROWS,
        _values((360, 480), epochs=150, batch_size=8, validate_every=10, workers=8),
    ),
    "reduced": Protocol(
        "Reduced protocol: 240×180, 12 epochs, CPU",
        (180, 240),
        {"resnet18": {"output_stride": 16, "channels": 64}},
        (
            *("pspnet", "gff", "gff_stem", "deeplabv3plus", "deeplabv3plus_decoupled"),
            *("deeplabv3plus_decoupled_letter", "gscnn", "gscnn_letter", "gscnn_letter_gaussian"),
        ),
        _values((180, 240), epochs=12, batch_size=4, validate_every=4, workers=1),
    ),
    "pretrained": Protocol(
        "Pretrained protocol: 240×180, 6 epochs, CPU",
        (180, 240),
        _PRETRAINED_LITE0,
        (
            *("pspnet", "gff", "gff_dfp", "deeplabv3plus", "deeplabv3plus_decoupled"),
            *("deeplabv3plus_decoupled_letter", "gscnn", "gscnn_letter", *PEERS),
        ),
        _pretrained(_values((180, 240), epochs=6, batch_size=4, validate_every=3, workers=0)),
        start="ImageNet weights",
    ),
    # Whether edge branches, whose losses outweigh the segmentation's in the first epochs, help once those are over.
    "pretrained_longer": Protocol(
        "Longer pretrained protocol: 240×180, 18 epochs, CPU",
        (180, 240),
        _PRETRAINED_LITE0,
        ("deeplabv3plus", "deeplabv3plus_decoupled", "gscnn"),
        _pretrained(_values((180, 240), epochs=18, batch_size=4, validate_every=6, workers=0)),
        start="ImageNet weights",
    ),
}


@dataclass(frozen=True)
class Job:
    """One training: a row of a protocol with a backbone and a seed."""

    protocol: str
    backbone: str
    row: str
    seed: int

    @property
    def path(self) -> Path:
        """Where its files lie below the folder of all results, or of all runs."""
        return Path(self.protocol, self.backbone, self.row, f"seed{self.seed}")


def jobs_of(
    protocol: str,
    backbones: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Job]:
    """The trainings of a protocol, in the order in which they are worth most: all rows once, then further seeds.

    Args:
        protocol: its name.
        backbones: some of its backbones; None: all.
        rows: some of its rows; None: all.
        seeds: for each of these rows; None: 0, 1 and 2 for those that carry a claim, 0 for the others.

    Raises:
        ConfigError: if a name is unknown.
    """
    known = PROTOCOLS[_known("protocol", protocol, PROTOCOLS)]
    chosen_backbones = [_known("backbone", name, known.backbones) for name in backbones or known.backbones]
    chosen_rows = [_known("row", name, known.rows) for name in rows or known.rows]
    return [
        Job(protocol, backbone, row, seed)
        for backbone in chosen_backbones
        for seed in (seeds if seeds is not None else (0, 1, 2))
        for row in chosen_rows
        if seeds is not None or seed == 0 or ROWS[row].claim
    ]


def recipe_of(job: Job, root: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """What a job trains.

    Args:
        job: see `jobs_of`.
        root: of the images, in the protocol's size.
        overrides: changes like ``train.epochs=1``, to try the chain out; results of different ones never share a table.

    Raises:
        ConfigError: if a change does not fit.
    """
    protocol, row = PROTOCOLS[job.protocol], ROWS[job.row]
    values: dict[str, Any] = deepcopy({name: dict(section) for name, section in protocol.values.items()})
    values["name"] = "_".join(("camvid", *job.path.parts))
    values["description"] = f"{row.title}, {job.backbone}, {protocol.start}"
    head_options = {"auxiliary": False, **row.model.get("head_options", {})}
    values["model"] = {"backbone": job.backbone, **protocol.backbones[job.backbone], **row.model}
    values["model"]["head_options"] = head_options
    values["loss"] |= row.loss
    values["data"]["root"] = str(root)
    values["train"]["seed"] = job.seed
    return override(Recipe.model_validate(values), overrides)


def other_values(found: Recipe, expected: Recipe) -> dict[str, tuple[Any, Any]]:
    """Where two recipes would train differently: key → both values. Places, weight files and workers do not count.

    Options that a result of an older version does not name have the values that they had then.
    """
    then = _OPTIONS_THEN.get(found.model.head, {})
    options = {key: value for key, value in then.items() if key not in found.loss.options}
    meant = found.model_copy(update={"loss": found.loss.model_copy(update=options)})
    differing = differing_keys(completed(meant), completed(expected))
    return {key: values for key, values in differing.items() if key not in _WITHOUT_INFLUENCE}


_OPTIONS_THEN: dict[str, dict[str, Any]] = {
    "decoupled": {
        **_DECOUPLED_THEN,
        "boundary_shape": "square",
        "hard_boundary_from": "branch",
        "body_boundary": "relaxed",
    },
    "gscnn": {**_GSCNN_THEN, "edge_balance": True},
}
"""By head: what was no option yet."""

# A result tells the file of backbone weights by its checksum.
_WITHOUT_INFLUENCE = (
    "name",
    "description",
    "model.backbone_weights",
    *(f"data.{key}" for key in ("root", "workers", "cache", "check")),
)


def _known(kind: str, name: str, names: Mapping[str, Any] | Sequence[str]) -> str:
    if name not in names:
        raise ConfigError(f"{kind} {name!r} is not one of the protocol's; {nearest_name(name, names)}")
    return name
