"""Opening what a command is told to run: a model folder, or an exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crispseg.cli.device import choose_device
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    from crispseg.inference import ExportedModel
    from crispseg.models import Segmenter

__all__ = ["open_model"]


def open_model(model: str, device: str | None) -> Segmenter | ExportedModel:
    """A network of a model folder, on a device, or an exported file, for which PyTorch is not imported.

    Args:
        model: as the user named it.
        device: as the user named it; None: no wish.

    Raises:
        ConfigError: if the device cannot be had, or the model is a file and the device no CPU.
        WeightsError: if there is no such model, or it cannot be opened.
    """
    from crispseg.inference import ExportedModel
    from crispseg.inference.exported import is_exported

    if is_exported(model):
        if device not in (None, "cpu"):
            raise ConfigError(f"--device {device}: exported files run on the CPU; leave it out")
        return ExportedModel(model)
    from crispseg.models import load_model

    return load_model(model, device=choose_device(device))
