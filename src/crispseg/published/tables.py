"""Which key of a released file is which of ours: released key → our key, one to one.

The names are facts about the files. Tables are joined per network in `crispseg.published.networks`.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ASPP", "BASELINE", "DECOUPLED", "FCN", "GFF", "GSCNN", "PPM", "RESNET50", "RESNET101", "WIDE_RESNET38"]

Table = dict[str, str]


def _join(tables: Iterable[Table]) -> Table:
    return {released: ours for table in tables for released, ours in table.items()}


def _conv(released: str, ours: str, *, bias: bool = False) -> Table:
    leaves = ("weight", "bias") if bias else ("weight",)
    return {f"{released}.{leaf}": f"{ours}.{leaf}" for leaf in leaves}


def _norm(released: str, ours: str) -> Table:
    leaves = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{released}.{leaf}": f"{ours}.{leaf}" for leaf in leaves}


def _conv_norm(released: str, ours: str, first: int = 0) -> Table:
    """A convolution and its normalisation side by side in a sequence; `first` is the released position."""
    return _conv(f"{released}.{first}", f"{ours}.0") | _norm(f"{released}.{first + 1}", f"{ours}.1")


def _classifier(released: str) -> Table:
    """3×3, 3×3, classifier: one flat sequence in the released networks."""
    return (
        _conv_norm(released, "head.classify.0")
        | _conv_norm(released, "head.classify.1", first=3)
        | _conv(f"{released}.6", "head.classify.2")
    )


def _resnet(blocks: tuple[int, int, int, int]) -> Table:
    """The deep stem is a sequence of its own in the released networks; the stages have timm's names."""
    table = _join(_conv(f"layer0.0.{index}", f"backbone.net.conv1.{index}") for index in (0, 3, 6))
    table |= _join(_norm(f"layer0.0.{index}", f"backbone.net.conv1.{index}") for index in (1, 4))
    table |= _norm("layer0.1", "backbone.net.bn1")
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            for index in (1, 2, 3):
                table |= _conv(f"{name}.conv{index}", f"backbone.net.{name}.conv{index}")
                table |= _norm(f"{name}.bn{index}", f"backbone.net.{name}.bn{index}")
            if block == 0:
                table |= _conv_norm(f"{name}.downsample", f"backbone.net.{name}.downsample")
    return table


def _wide_resnet38() -> Table:
    table = _conv("mod1.conv1", "backbone.mod1")
    for stage, (blocks, convolutions) in enumerate(((3, 2), (3, 2), (6, 2), (3, 2), (1, 3), (1, 3))):
        for block in range(blocks):
            released, ours = f"mod{stage + 2}.block{block + 1}", f"backbone.stages.{stage}.{block}"
            if block == 0:
                table |= _conv(f"{released}.proj_conv", f"{ours}.projection")
            for index in range(convolutions):
                norm = "bn1.0" if index == 0 else f"convs.bn{index + 1}.0"
                table |= _norm(f"{released}.{norm}", f"{ours}.norms.{index}")
                table |= _conv(f"{released}.convs.conv{index + 1}", f"{ours}.convolutions.{index}")
    return table


RESNET50 = _resnet((3, 4, 6, 3))
RESNET101 = _resnet((3, 4, 23, 3))
WIDE_RESNET38 = _wide_resnet38()

ASPP: Table = (
    _conv_norm("aspp.img_conv", "head.context.pooling")
    | _join(_conv_norm(f"aspp.features.{i}", f"head.context.branches.{i}") for i in range(4))
    | _conv("bot_aspp", "head.context.merge")
)
PPM: Table = _join(_conv_norm(f"ppm.stages.{i}", f"head.context.branches.{i}", first=1) for i in range(4)) | _conv_norm(
    "ppm.bottleneck", "head.context.merge"
)
FCN: Table = _conv_norm("fcn_head", "head.context.reduce")

BASELINE: Table = _conv("bot_fine", "head.detail") | _classifier("final")

DECOUPLED: Table = (
    _conv("bot_fine", "head.detail")
    | _join(_conv(f"squeeze_body_edge.down.{i}", f"head.encode.{i}", bias=True) for i in (0, 3))
    | _join(_norm(f"squeeze_body_edge.down.{i}", f"head.encode.{i}") for i in (1, 4))
    | _conv("squeeze_body_edge.flow_make", "head.flow")
    | _conv("edge_fusion", "head.merge_edge")
    | _conv_norm("edge_out", "head.classify_edge.0")
    | _conv("edge_out.3", "head.classify_edge.1")
    | _conv_norm("dsn_seg_body", "head.classify_body.0")
    | _conv("dsn_seg_body.3", "head.classify_body.1")
    | _classifier("final_seg")
)

GSCNN: Table = (
    _join(_conv(f"dsn{module}", f"head.sides.{i}", bias=True) for i, module in enumerate((3, 4, 7)))
    | _join(_conv(f"res{i + 1}.conv1", f"head.blocks.{i}.first.0") for i in range(3))
    | _join(_norm(f"res{i + 1}.bn1", f"head.blocks.{i}.first.1") for i in range(3))
    | _join(_conv(f"res{i + 1}.conv2", f"head.blocks.{i}.second.0") for i in range(3))
    | _join(_norm(f"res{i + 1}.bn2", f"head.blocks.{i}.second.1") for i in range(3))
    | _join(_conv(f"d{i + 1}", f"head.narrow.{i}", bias=True) for i in range(3))
    | _join(_norm(f"gate{i + 1}._gate_conv.{j}", f"head.gates.{i}.attention.{j}") for i in range(3) for j in (0, 4))
    | _join(
        _conv(f"gate{i + 1}._gate_conv.{j}", f"head.gates.{i}.attention.{j}", bias=True)
        for i in range(3)
        for j in (1, 3)
    )
    | _join(_conv(f"gate{i + 1}", f"head.gates.{i}.weight") for i in range(3))  # the gate is itself a convolution
    | _conv("fuse", "head.leave")
    | _conv("cw", "head.join_gradient")
    | _conv_norm("aspp.edge_conv", "head.context.extra_branch")
    | _conv("bot_fine", "head.detail")
    | _classifier("final_seg")
)

GFF: Table = (
    _join(_conv_norm(f"gff_head.d_in{i + 1}", f"head.project.{i}") for i in range(3))
    | _join(_conv(f"gff_head.gate{i + 1}.0", f"head.gates.{i}", bias=True) for i in range(3))
    | _join(_norm(f"gff_head.dense_{3 * i + 3}.norm1", f"head.dense.{i}.0") for i in range(3))
    | _join(_conv(f"gff_head.dense_{3 * i + 3}.conv1", f"head.dense.{i}.2", bias=True) for i in range(3))
    | _join(_norm(f"gff_head.dense_{3 * i + 3}.norm2", f"head.dense.{i}.3") for i in range(3))
    | _join(_conv(f"gff_head.dense_{3 * i + 3}.conv2", f"head.dense.{i}.5", bias=True) for i in range(3))
    | _classifier("gff_head.cls")
)
