"""``crispseg export``: a file for other runtimes, compared with the model before it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crispseg.cli.console import out_console
from crispseg.errors import ConfigError

__all__ = ["export"]


def export(
    model: Annotated[str, typer.Argument(help="A model folder, for instance [b]runs/NAME/model[/b].")],
    out: Annotated[Path, typer.Option(help="The file: .onnx, .xml (OpenVINO, with .bin beside it) or .pt2 (PyTorch).")],
    to: Annotated[
        str | None, typer.Option(help="onnx, openvino or torch.", show_default="what the ending of --out says")
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            help="Of logits, probabilities, labels (uint8) and boundaries, with commas between them.",
            show_default="logits, and boundaries if the model has such a branch",
        ),
    ] = None,
) -> None:
    """Export a model for other runtimes, for every batch, height and width.

    Images go in as float32 RGB in [0, 1], of 64 pixels a side or more. The file is run at three sizes and compared with
    the model before it is put in place.
    """
    from crispseg.export import FORMATS, export_model
    from crispseg.models import load_model, saved_card

    if to is not None:
        if to not in FORMATS:
            raise ConfigError(f"--to {to}: {', '.join(FORMATS)} expected")
        if out.suffix.lower() != FORMATS[to]:
            raise ConfigError(f"--out {out}: {to} files end in {FORMATS[to]}")
    wanted = [] if outputs is None else [part.strip() for part in outputs.split(",")]
    done = export_model(load_model(model), out, outputs=wanted, card=saved_card(model))
    found = ", ".join(f"{name} to {difference:.1g}" for name, difference in done.differences.items())
    console = out_console()
    console.print(f"{done.path}: the same as the model at three other sizes ({found})", soft_wrap=True)
    console.print(f"next: crispseg segment {done.path} IMAGES… --out masks", style="dim", soft_wrap=True)
