"""``crispseg convert``: released checkpoints to model folders, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.console import out_console, print_table
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["convert"]


def convert(
    checkpoint: Annotated[
        str | None, typer.Argument(help="A released file; with --to-released, a converted model.", show_default=False)
    ] = None,
    network: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="Which network it is.", show_default="by its keys")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The model folder to write; with --to-released, the file. Must not exist.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="A label table, by name or path.", show_default="cityscapes for 19 classes, else numbered"),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store 16 bits a value, in half the space.")] = False,
    to_released: Annotated[
        bool, typer.Option("--to-released", help="The way back: write a file that the released code loads.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the networks that can be converted.")] = False,
) -> None:
    """Convert a checkpoint of the released GSCNN, Decoupled or GFF networks into a model folder."""
    console = out_console()
    if list_:
        print_table(console, _networks_table())
        return
    if checkpoint is None or out is None:
        missing = "CHECKPOINT" if checkpoint is None else "--out"
        raise ConfigError(f"{missing} is missing; crispseg convert CHECKPOINT --out DIR, or crispseg convert --list")
    if to_released:
        if network is not None or labels is not None or half:
            raise ConfigError("--from, --labels and --half are for reading a released file; leave out --to-released")
        from crispseg.models import load_model
        from crispseg.published import to_released as write_released

        written = write_released(load_model(checkpoint), out)
        console.print(f"{out}: {written.title} ({written.name}), as the released code loads it", soft_wrap=True)
        return

    from crispseg import published
    from crispseg.labels import label_space

    table = None if labels is None else label_space(labels)
    model = published.convert(checkpoint, network, out=out, labels=table, half=half)
    found = published.network_of(model)
    classes = _classes_in_words(model.num_classes, labels)
    console.print(f"{out}: {found.title} ({found.name}), {classes}", soft_wrap=True)
    console.print(f"licence: {found.source.licence}. {found.source.licence_note}.", style="yellow", soft_wrap=True)
    console.print(f"next: crispseg segment {out} IMAGES… --out masks", style="dim", soft_wrap=True)


def _classes_in_words(count: int, labels: str | None) -> str:
    if labels is not None:
        return f"{count} classes of {labels}"
    if count == 19:
        return "19 classes, taken for those of Cityscapes (--labels names others)"
    return f"{count} classes without names (--labels names a table)"


def _networks_table() -> Table:
    from rich.table import Table

    from crispseg.published import NETWORKS

    table = Table(title="crispseg convert CHECKPOINT --from NAME --out DIR", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    table.add_column("the paper's score on Cityscapes")
    for network in NETWORKS.values():
        table.add_row(network.name, network.source.licence, network.reported)
    return table
