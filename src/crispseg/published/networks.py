"""The ten released networks: what each is built of, where its file comes from, and under which terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crispseg.config import ModelConfig
from crispseg.published import tables

__all__ = ["NETWORKS", "PublishedNetwork", "Source"]


@dataclass(frozen=True)
class Source:
    """Where released weights come from; facts for the card and the documentation.

    Attributes:
        paper: authors, venue and year.
        url: of the repository that links to the files.
        licence: of the repository and the files in it, as far as it says; an identifier of the Hugging Face Hub.
        licence_note: what that means to a user.
        pretraining: what the weights were trained on before.
    """

    paper: str
    url: str
    licence: str
    licence_note: str
    pretraining: str


@dataclass(frozen=True)
class PublishedNetwork:
    """A released network.

    Attributes:
        name: as ``crispseg convert --from`` takes it.
        title: for people.
        config: builds the network here; see `crispseg.models.build_model`.
        table: released module name → ours, one to one.
        unused: keys of the file that take no part in the output, with their shapes.
        classifier: the key whose first dimension is the number of classes.
        source: where the file comes from.
        reported: the score that the paper gives for such a network, on Cityscapes.
    """

    name: str
    title: str
    config: ModelConfig
    table: Mapping[str, str]
    unused: Mapping[str, tuple[int, ...]]
    classifier: str
    source: Source
    reported: str


_IMAGENET = "ImageNet classification"
_MAPILLARY = (
    "ImageNet classification, then Mapillary Vistas where the paper says so (GFF, table 8; Decoupled, table 3b); the "
    "file does not say which"
)
_UNCLEAR = (
    "The repository states no clear licence. Without one you may not redistribute the weights or build a product on "
    "them; ask the authors. Cityscapes' own terms allow non-commercial use only"
)
_DECOUPLE_URL = "https://github.com/lxtGH/DecoupleSegNets"

_GSCNN_SOURCE = Source(
    paper="T. Takikawa, D. Acuna, V. Jampani, S. Fidler: Gated-SCNN, ICCV 2019",
    url="https://github.com/nv-tlabs/GSCNN",
    licence="cc-by-nc-sa-4.0",
    licence_note="Non-commercial use only, share alike. Cityscapes' own terms allow non-commercial use only, too",
    pretraining=_IMAGENET,
)


def _decouple_source(pretraining: str) -> Source:
    return Source(
        paper="X. Li et al.: Improving Semantic Segmentation via Decoupled Body and Edge Supervision, ECCV 2020",
        url=_DECOUPLE_URL,
        licence="unknown",
        licence_note=_UNCLEAR,
        pretraining=pretraining,
    )


_GFF_SOURCE = Source(
    paper="X. Li et al.: GFF: Gated Fully Fusion for Semantic Segmentation, AAAI 2020",
    url=_DECOUPLE_URL,
    licence="unknown",
    licence_note=_UNCLEAR,
    pretraining=_MAPILLARY,
)

_RESNET50 = ("released_resnet50s", tables.RESNET50, _IMAGENET)
_RESNET101 = ("released_resnet101s", tables.RESNET101, _IMAGENET)
_WIDE_RESNET38 = ("wide_resnet38", tables.WIDE_RESNET38, _MAPILLARY)
_Trunk = tuple[str, tables.Table, str]

_CONTEXTS = {
    "DeepLabV3+": ("released_aspp", tables.ASPP),
    "PSPNet": ("released_ppm", tables.PPM),
    "FCN": ("identity", tables.FCN),
}
# The edge branch of ASPP that this network inherits and never calls.
_EDGE_CONV = {
    "edge_conv.0.weight": (256, 1, 1, 1),
    "edge_conv.1.weight": (256,),
    "edge_conv.1.bias": (256,),
    "edge_conv.1.running_mean": (256,),
    "edge_conv.1.running_var": (256,),
    "edge_conv.1.num_batches_tracked": (),
}


def _baseline(name: str, base: str, trunk: _Trunk, reported: str) -> PublishedNetwork:
    backbone, trunk_table, pretraining = trunk
    context, context_table = _CONTEXTS[base]
    return PublishedNetwork(
        name=name,
        title=f"{base}, the baseline of Decoupled",
        config=ModelConfig(head="released_deeplabv3plus", backbone=backbone, context=context),
        table={**trunk_table, **context_table, **tables.BASELINE},
        unused={},
        classifier="final.6.weight",
        source=_decouple_source(pretraining),
        reported=reported,
    )


def _decoupled(
    name: str, base: str, trunk: _Trunk, reported: str, unused: Mapping[str, tuple[int, ...]] | None = None
) -> PublishedNetwork:
    backbone, trunk_table, pretraining = trunk
    context, context_table = _CONTEXTS[base]
    return PublishedNetwork(
        name=name,
        title=f"Decoupled body and edge supervision on {base}",
        config=ModelConfig(head="released_decoupled", backbone=backbone, context=context),
        table={**trunk_table, **context_table, **tables.DECOUPLED},
        unused=unused or {},
        classifier="final_seg.6.weight",
        source=_decouple_source(pretraining),
        reported=reported,
    )


_ALL = (
    PublishedNetwork(
        name="gscnn_wrn38",
        title="GSCNN",
        config=ModelConfig(head="released_gscnn", backbone="wide_resnet38", context="released_aspp"),
        table={**tables.WIDE_RESNET38, **tables.ASPP, **tables.GSCNN},
        unused={"dsn1.weight": (1, 64, 1, 1), "dsn1.bias": (1,)},
        classifier="final_seg.6.weight",
        source=_GSCNN_SOURCE,
        reported="80.8 mIoU on val (table 1), 82.8 on test with three scales",
    ),
    PublishedNetwork(
        name="gff_deeplabv3plus_wrn38",
        title="GFF on DeepLabV3+",
        config=ModelConfig(
            head="released_gff",
            backbone="wide_resnet38",
            context="released_aspp",
            context_options={"merge_kernel_size": 3},
        ),
        table={**tables.WIDE_RESNET38, **tables.ASPP, **tables.GFF},
        unused={},
        classifier="gff_head.cls.6.weight",
        source=_GFF_SOURCE,
        reported="83.3 mIoU on test, several scales (table 8)",
    ),
    _decoupled("decoupled_deeplabv3plus_r50", "DeepLabV3+", _RESNET50, "81.5 mIoU on val (table 2)"),
    _decoupled("decoupled_deeplabv3plus_r101", "DeepLabV3+", _RESNET101, "82.6 mIoU on val (table 2)"),
    _decoupled("decoupled_deeplabv3plus_wrn38", "DeepLabV3+", _WIDE_RESNET38, "82.4 mIoU on val (table 2)", _EDGE_CONV),
    _decoupled("decoupled_fcn_r50", "FCN", _RESNET50, "80.1 mIoU on val (table 1)"),
    _decoupled("decoupled_pspnet_r50", "PSPNet", _RESNET50, "81.0 mIoU on val (table 2)"),
    _baseline("deeplabv3plus_r50", "DeepLabV3+", _RESNET50, "79.7 mIoU on val (Decoupled, table 2)"),
    _baseline("deeplabv3plus_wrn38", "DeepLabV3+", _WIDE_RESNET38, "81.3 mIoU on val (Decoupled, table 2)"),
    _baseline("fcn_r50", "FCN", _RESNET50, "76.6 mIoU on val (Decoupled, table 1)"),
)

NETWORKS: dict[str, PublishedNetwork] = {network.name: network for network in _ALL}
"""By the name that ``crispseg convert --from`` takes."""
