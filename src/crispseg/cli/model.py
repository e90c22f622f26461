"""Opening what a command is told to run: a model folder, or an exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.device import choose_device
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    from crispseg.inference import ExportedModel
    from crispseg.models import Segmenter

__all__ = ["Compile", "Device", "Precision", "ScoredPrecision", "open_model"]

_PRECISION_HELP = "How precisely the network computes: auto, float32, bfloat16 or float16."

Device = Annotated[str | None, typer.Option(help="cpu, cuda, …", show_default="a GPU where there is one")]
Precision = Annotated[str, typer.Option(help=_PRECISION_HELP, show_default="auto: 16 bits where they are fast")]
ScoredPrecision = Annotated[str | None, typer.Option("--precision", help=_PRECISION_HELP, show_default="float32")]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the network first: minutes, and a C++ compiler is needed.")
]


def open_model(model: str, device: str | None, precision: str = "float32") -> Segmenter | ExportedModel:
    """A network of a model folder, on a device, or an exported file, for which PyTorch is not imported.

    Args:
        model: as the user named it.
        device: as the user named it; None: no wish.
        precision: of an exported file; see `ExportedModel`.

    Raises:
        ConfigError: if the device or the precision cannot be had, or the model is a file and the device no CPU.
        WeightsError: if there is no such model, or it cannot be opened.
    """
    from crispseg.inference import ExportedModel
    from crispseg.inference.exported import is_exported
    from crispseg.inference.precision import checked_precision

    checked_precision(precision)
    if is_exported(model):
        if device not in (None, "cpu"):
            raise ConfigError(f"--device {device}: exported files run on the CPU; leave it out")
        return ExportedModel(model, precision)
    from crispseg.models import load_model

    return load_model(model, device=choose_device(device))
