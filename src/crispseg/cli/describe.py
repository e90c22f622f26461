"""``crispseg describe``: where a network's parameters and computation sit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crispseg.cli.console import out_console, print_table
from crispseg.errors import ConfigError

__all__ = ["describe"]


def describe(
    model: Annotated[str, typer.Argument(help="A system's name, such as [b]gff[/b], or a model folder.")],
    backbone: Annotated[str | None, typer.Option(help="Any backbone that timm knows, or wide_resnet38.")] = None,
    context: Annotated[str | None, typer.Option(help="identity, ppm, aspp or dense_aspp.")] = None,
    classes: Annotated[int | None, typer.Option(min=2, max=255, help="Number of classes.", show_default="19")] = None,
    output_stride: Annotated[int | None, typer.Option(help="8, 16 or 32.", show_default="8")] = None,
    size: Annotated[str, typer.Option(metavar="HxW", help="Height and width of the image to count for.")] = "512x512",
) -> None:
    """Print parameters and multiply-accumulates of a network, part by part."""
    from rich.table import Table

    from crispseg import models

    size_hw = _parse_size(size)
    options: dict[str, Any] = {
        "backbone": backbone,
        "context": context,
        "num_classes": classes,
        "output_stride": output_stride,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if Path(model).exists() or "/" in model:
        if given:
            raise ConfigError(
                f"{', '.join(sorted(given))} given for the saved model {model}, which has its own; leave them out"
            )
        network = models.load_model(model)
        card = models.saved_card(model)
    else:
        card = {}
        if output_stride not in (None, 8, 16, 32):
            raise ConfigError(f"--output-stride {output_stride}: 8, 16 or 32 expected")
        network = models.create_model(model, **given)

    description = models.describe(network, size_hw)
    table = Table(title=f"{model} at {size_hw[0]}×{size_hw[1]} (height × width)", title_justify="left")
    table.add_column("part")
    table.add_column("parameters (M)", justify="right")
    table.add_column("GMACs", justify="right")
    for part in description.parts:
        table.add_row(part.name, f"{part.parameters / 1e6:.3f}", f"{part.gmacs:.2f}")
    table.add_section()
    table.add_row("total", f"{description.parameters / 1e6:.3f}", f"{description.gmacs:.2f}", style="bold")
    if description.inference_parameters != description.parameters:
        table.add_row("without training-only parts", f"{description.inference_parameters / 1e6:.3f}", "", style="dim")
    console = out_console()
    print_table(console, table)
    for key, value in {**card.get("source", {}), "licence": card.get("licence"), "notes": card.get("notes")}.items():
        if value:
            console.print(f"{key}: {value}", style="dim", soft_wrap=True)


def _parse_size(text: str) -> tuple[int, int]:
    from crispseg.parsing import parse_whole

    height, _, width = (parse_whole(part) for part in text.lower().replace("×", "x").partition("x"))
    if not height or not width:
        raise ConfigError(f"--size {text:.100}: two positive numbers as in 512x512 (height x width) expected")
    return height, width
