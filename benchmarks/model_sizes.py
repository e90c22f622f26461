"""Parameters and GMACs at 512×512 beside the figures of the released networks and of the papers' cost columns.

    python benchmarks/model_sizes.py

prints the tables of docs/models.md. Counting needs no weights and no data; it takes about a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from crispseg.models import Description, build_model, create_model, describe, numbered_labels
from crispseg.recipes import load_recipe

CELLS = 128 * 128  # of stride 4 in 512×512
# 3×3 256 → 48 and 1×1 48 → 1: decides no label, and table 2a fits a count without it.
EDGE_CLASSIFIER_GMACS = CELLS * 48 * (256 * 9 + 1) / 1e9


@dataclass
class Released:
    """A released checkpoint; parameters (M) and GMACs are its own."""

    title: str
    head: str
    backbone: str
    parameters: float
    gmacs: float
    context: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Row:
    """A row of a paper's cost column; None: the paper does not give it."""

    title: str
    recipe: str
    gmacs: float
    parameters: float | None = None
    baseline: str | None = None  # the recipe that the paper's difference starts from
    gmacs_added: float | None = None
    parameters_added: float | None = None


NARROW_PPM = {"context_options": {"branch_channels": 256, "merge_kernel_size": 1}}
RELEASED = [
    Released("DeepLabV3+ R50", "deeplabv3plus", "resnet50s", 40.47, 189.6),
    Released("DeepLabV3+ WRN-38", "deeplabv3plus", "wide_resnet38", 137.10, 728.1),
    Released("Decoupled DeepLabV3+ R50", "decoupled", "resnet50s", 41.75, 203.1),
    Released("Decoupled DeepLabV3+ R101", "decoupled", "resnet101s", 60.75, 280.6),
    Released("Decoupled DeepLabV3+ WRN-38", "decoupled", "wide_resnet38", 138.38, 774.3),
    Released("Decoupled FCN R50", "decoupled", "resnet50s", 30.94, 160.9, "identity"),
    Released("Decoupled PSPNet R50", "decoupled", "resnet50s", 29.10, 144.8, "ppm", NARROW_PPM),
    Released("GSCNN WRN-38", "gscnn", "wide_resnet38", 137.28, 755.2),
    Released("GFF WRN-38 on ASPP", "gff_dfp", "wide_resnet38", 141.10, 808.8, "aspp"),
]

D = "decoupled/table2a_"
PAPERS = [
    Row("Decoupled 2a: PSPNet R50", f"{D}pspnet_resnet50", 132.1),
    Row("+ ours", f"{D}decoupled_pspnet_resnet50", 141.3, None, f"{D}pspnet_resnet50", 9.2),
    Row("Decoupled 2a: DeepLabV3+ R50", f"{D}deeplabv3plus_resnet50", 190.1),
    Row("+ ours", f"{D}decoupled_deeplabv3plus_resnet50", 199.1, None, f"{D}deeplabv3plus_resnet50", 9.0),
    Row("Decoupled 2a: DeepLabV3+ WRN-38", f"{D}deeplabv3plus_wide_resnet38", 664.5),
    Row("+ ours", f"{D}decoupled_deeplabv3plus_wide_resnet38", 672.0, None, f"{D}deeplabv3plus_wide_resnet38", 7.5),
    Row("GFF 3: PSPNet R101", "gff/table1_pspnet", 290.05, 65.6),
    Row("+ GFF", "gff/table1_gff", 300.05, 69.7, "gff/table1_pspnet", 10.0, 4.1),
    Row("+ DFP", "gff/table2_gff_dfp", 312.75, 70.5, "gff/table1_gff", 12.7, 0.8),
]
GSCNN_ADDS = {"resnet50": 0.43, "resnet101": 0.29, "wide_resnet38": 0.13}  # per cent


def main() -> None:
    print("| released network | parameters (M), ours | theirs | | GMACs, ours | theirs | |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for row in RELEASED:
        counted = _count(create_model, row.head, backbone=row.backbone, context=row.context, **row.options)
        # The released key lists hold the body classifier, which our evaluation skips.
        parameters = (counted.parameters if row.head == "decoupled" else counted.inference_parameters) / 1e6
        print(
            f"| {row.title} | {_cells(parameters, row.parameters, 2)} | {_cells(counted.gmacs, row.gmacs)} |",
            flush=True,
        )

    print("\n| the paper's table and row | GMACs, ours | theirs | | adds, ours | theirs | |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    counts: dict[str, Description] = {}
    for row in PAPERS:
        ours = counts[row.recipe] = _of_recipe(row.recipe)
        adds = "| | "
        if row.baseline is not None and row.gmacs_added is not None:
            adds = _cells(ours.gmacs - counts[row.baseline].gmacs, row.gmacs_added)
        print(f"| {row.title} | {_cells(ours.gmacs, row.gmacs)} | {adds} |", flush=True)
    print(f"\nWithout the edge classifier ({EDGE_CLASSIFIER_GMACS:.2f} GMACs on R50) Decoupled adds that much less.")

    print("\n| the paper's table and row | parameters (M), ours | theirs | | adds, ours | theirs | |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for row in PAPERS:
        if row.parameters is None:
            continue
        millions = counts[row.recipe].inference_parameters / 1e6
        adds = "| | "
        if row.baseline is not None and row.parameters_added is not None:
            adds = _cells(millions - counts[row.baseline].inference_parameters / 1e6, row.parameters_added, 2)
        print(f"| {row.title} | {_cells(millions, row.parameters, 2)} | {adds} |")
    for name, theirs in GSCNN_ADDS.items():
        with_stream, without = (
            _of_recipe(f"gscnn/table3_{name}_{row}").parameters for row in ("gradients", "baseline")
        )
        print(f"| GSCNN 5: {name} | | | | +{with_stream / without - 1:.2%} | +{theirs:.2f} % | |", flush=True)


def _count(build: Any, *arguments: Any, **options: Any) -> Description:
    with torch.device("meta"):
        model = build(*arguments, **options)
    return describe(model, (512, 512))


def _of_recipe(name: str) -> Description:
    return _count(build_model, load_recipe(name).model.without_sources(), numbered_labels(19))


def _cells(ours: float, theirs: float, digits: int = 1) -> str:
    return f"{ours:.{digits}f} | {theirs:.{digits}f} | {ours / theirs - 1:+.1%}"


if __name__ == "__main__":
    main()
