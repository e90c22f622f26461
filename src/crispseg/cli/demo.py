"""``crispseg demo``: train on toy streets and look at the result, in minutes on a CPU."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


class System(StrEnum):
    """What can be shown."""

    gff = "gff"
    gscnn = "gscnn"
    decoupled = "decoupled"
    plain = "plain"


def demo(
    system: Annotated[System, typer.Option(help="The system to train.")] = System.gff,
    compare: Annotated[bool, typer.Option("--compare", help="Also train the plain baseline, and show both.")] = False,
    out: Annotated[Path, typer.Option(help="The demo's folder.")] = Path("crispseg-demo"),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Train shorter or longer.", show_default="the recipe's")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change one value of the recipe; may be given often."),
    ] = None,
) -> None:
    """Train a system on made-up streets, print its scores, and write a page of pictures.

    Needs no data and no GPU: the scenes are drawn, with exact labels, as they are asked for.
    """
    from crispseg.demo.run import run_demo

    overrides = [*(set_ or []), *([f"train.epochs={epochs}"] if epochs else [])]
    run_demo(system.value, compare=compare, out=out, overrides=overrides)
