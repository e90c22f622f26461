"""Parameters and GMACs at 512×512 beside the figures of the papers and of the released networks.

    python benchmarks/model_sizes.py

prints the table of docs/models.md. Counting needs no weights and no data; it takes about a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crispseg import create_model, describe


@dataclass
class Row:
    title: str
    head: str
    backbone: str
    parameters: float  # millions, theirs
    gmacs: float  # theirs
    context: str | None = None
    options: dict[str, object] = field(default_factory=dict)
    in_training: bool = False  # released figures count the body classifier, which our evaluation skips


ROWS = [
    Row("DeepLabV3+ R50 (released)", "deeplabv3plus", "resnet50s", 40.47, 189.6),
    Row("DeepLabV3+ WRN-38 (released)", "deeplabv3plus", "wide_resnet38", 137.10, 728.1),
    Row("Decoupled DeepLabV3+ R50 (released)", "decoupled", "resnet50s", 41.75, 203.1),
    Row("Decoupled DeepLabV3+ R101 (released)", "decoupled", "resnet101s", 60.75, 280.6),
    Row("Decoupled DeepLabV3+ WRN-38 (released)", "decoupled", "wide_resnet38", 138.38, 774.3),
    Row("Decoupled FCN R50 (released)", "decoupled", "resnet50s", 30.94, 160.9, "identity"),
    Row("Decoupled PSPNet R50 (released)", "decoupled", "resnet50s", 29.10, 144.8, "ppm"),
    Row("GSCNN WRN-38 (released)", "gscnn", "wide_resnet38", 137.28, 755.2),
    Row("GFF WRN-38 on ASPP (released)", "gff_dfp", "wide_resnet38", 141.10, 808.8, "aspp"),
    Row("PSPNet R101 (GFF, table 3)", "pspnet", "resnet101s", 65.6, 290.05, None, {"context_channels": 512}),
    Row("+ GFF (GFF, table 3)", "gff", "resnet101s", 69.7, 300.05, None, {"context_channels": 512}),
    Row("+ GFF + DFP (GFF, table 3)", "gff_dfp", "resnet101s", 70.5, 312.75, None, {"context_channels": 512}),
]


def main() -> None:
    print("| network | parameters (M), ours | theirs | | GMACs, ours | theirs | |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for row in ROWS:
        model = create_model(row.head, backbone=row.backbone, context=row.context, num_classes=19, **row.options)
        counted = describe(model, (512, 512))
        parameters = counted.inference_parameters / 1e6
        if row.head == "decoupled":  # the released key lists hold the body classifier
            parameters = counted.parameters / 1e6
        print(
            f"| {row.title} | {parameters:.2f} | {row.parameters:.2f} | {parameters / row.parameters - 1:+.1%} "
            f"| {counted.gmacs:.1f} | {row.gmacs:.1f} | {counted.gmacs / row.gmacs - 1:+.1%} |",
            flush=True,
        )
    print()
    print("| backbone | parameters that GSCNN's shape stream adds, ours | GSCNN, table 5 |")
    print("|---|---:|---:|")
    for backbone, theirs in (("resnet50s", 0.43), ("resnet101s", 0.29), ("wide_resnet38", 0.13)):
        with_stream, without = (
            describe(create_model(head, backbone=backbone), (64, 64)).parameters for head in ("gscnn", "deeplabv3plus")
        )
        print(f"| {backbone} | +{with_stream / without - 1:.2%} | +{theirs:.2f} % |", flush=True)


if __name__ == "__main__":
    main()
