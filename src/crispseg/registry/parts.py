"""The names of the library's own parts: where each lives, and what its builder gives it.

To add a part to the library, write its file and its line here.
"""

from __future__ import annotations

from typing import Any

from crispseg.registry.registry import Registry

__all__ = ["BACKBONES", "CONTEXTS", "HEADS", "LAYOUTS", "LOSSES"]

HEADS: Registry[Any] = Registry(
    "head",
    {
        "plain": "crispseg.heads.plain:Plain",
        "deeplabv3plus": "crispseg.heads.deeplabv3plus:DeepLabV3Plus",
        "concat": "crispseg.heads.fusion:ConcatFusion",
        "addition": "crispseg.heads.fusion:AdditionFusion",
        "fpn": "crispseg.heads.fusion:Pyramid",
        "gated_fpn": "crispseg.heads.fusion:GatedPyramid",
        "gff": "crispseg.heads.fusion:GFF",
        "gff_dfp": "crispseg.heads.fusion:GFFDense",
        "gscnn": "crispseg.heads.gscnn:GSCNN",
        "decoupled": "crispseg.heads.decoupled:Decoupled",
        "released_deeplabv3plus": "crispseg.published.heads:ReleasedDeepLabV3Plus",
        "released_decoupled": "crispseg.published.heads:ReleasedDecoupled",
        "released_gff": "crispseg.published.heads:ReleasedGFF",
        "released_gscnn": "crispseg.published.heads:ReleasedGSCNN",
    },
    given=("info", "num_classes", "context", "channels"),
)
"""Classes derived from `crispseg.heads.Head`."""

CONTEXTS: Registry[Any] = Registry(
    "context",
    {
        "identity": "crispseg.context.pooling:Identity",
        "ppm": "crispseg.context.pooling:PyramidPooling",
        "aspp": "crispseg.context.aspp:ASPP",
        "dense_aspp": "crispseg.context.aspp:DenseASPP",
        "released_aspp": "crispseg.published.contexts:ReleasedASPP",
        "released_ppm": "crispseg.published.contexts:ReleasedPyramidPooling",
    },
    given=("in_channels", "channels", "stride", "extra_channels"),
)
"""Classes derived from `crispseg.context.Context`."""

BACKBONES: Registry[Any] = Registry(
    "backbone",
    {
        "wide_resnet38": "crispseg.backbones.wide_resnet38:wide_resnet38",
        "released_resnet50s": "crispseg.published.trunk:released_resnet50s",
        "released_resnet101s": "crispseg.published.trunk:released_resnet101s",
    },
)
"""What makes a `crispseg.backbones.Backbone`, of those that are not timm's."""

LOSSES: Registry[Any] = Registry(
    "loss",
    {
        "segmentation": "crispseg.losses.system:SegmentationLoss",
        "gscnn": "crispseg.losses.system:GscnnLoss",
        "decoupled": "crispseg.losses.system:DecoupledLoss",
    },
    given=("config", "num_classes"),
    options={
        "segmentation": (),
        "gscnn": (
            "boundary_radius_px",
            "boundary_shape",
            "edge_weight",
            "edge_balance",
            "dual_boundary_weight",
            "dual_segmentation_weight",
            "dual_threshold",
            "gumbel_temperature",
            "dual_filter",
        ),
        "decoupled": (
            "boundary_radius_px",
            "boundary_shape",
            "body_weight",
            "edge_weight",
            "edge_balance",
            "edge_segmentation_weight",
            "hard_fraction",
            "hard_boundary_threshold",
            "hard_boundary_from",
            "body_boundary",
            "relaxation_radius_px",
        ),
    },
)
"""Classes derived from `crispseg.losses.SegmentationLoss`, by the system that a head announces."""

_LAYOUT_OPTIONS = {
    "toy_streets": ("toy_train_images", "toy_val_images", "toy_size_hw", "toy_seed"),
    "kitti": ("folds", "fold"),
    "voc": ("encoding", "colour_distance"),
    "coco": ("annotations", "image_folder", "overlaps", "skip_boxes"),
    "labelme": ("overlaps", "skip_lines"),
    "yolo": ("overlaps", "skip_boxes"),
    "huggingface": ("subset", "image_column", "label_column", "encoding", "colour_distance"),
    "folder": ("encoding", "colour_distance", "image_folder", "label_folder", "label_ending", "split_lists"),
}
_LAYOUT_HOMES = {"voc": ".voc", "coco": ".coco", "labelme": ".labelme", "yolo": ".yolo", "huggingface": ".huggingface"}
_LAYOUTS = (
    "toy_streets",
    "folder",
    "voc",
    "coco",
    "labelme",
    "yolo",
    "huggingface",
    "cityscapes",
    "cityscapes_coarse",
    "camvid",
    "camvid_original",
    "isbi_membranes",
    "kitti",
    "bdd100k",
    "ade20k",
    "pascal_context",
    "coco_stuff10k",
    "mapillary",
)

LAYOUTS: Registry[Any] = Registry(
    "layout",
    {name: f"crispseg.data.layouts{_LAYOUT_HOMES.get(name, '')}:{name}" for name in _LAYOUTS},
    given=("config", "split"),
    options={name: _LAYOUT_OPTIONS.get(name, ()) for name in _LAYOUTS},
)
"""Functions from a recipe's data section and a split to a source of samples and their label table."""
