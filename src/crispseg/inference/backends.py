"""What computes for a `Predictor`: PyTorch for networks and functions, NumPy for exported files."""

from __future__ import annotations

import os
from typing import Any

from crispseg.errors import ConfigError
from crispseg.inference.exported import ExportedModel, FileBackend
from crispseg.inference.precision import checked_precision

__all__ = ["backend_of"]


def backend_of(model: Any, device: Any, precision: str, compile: bool) -> Any:
    """Numbers of the model's own kind, and what is done with them."""
    checked_precision(precision)
    if isinstance(model, (str, os.PathLike)):
        raise ConfigError(
            f"{os.fspath(model)}: no exported file by its ending; for a model folder give crispseg.load_model(folder)"
        )
    if isinstance(model, ExportedModel):
        if device is not None and str(device) != "cpu":
            raise ConfigError(f"device is {device}; exported files run on the CPU: leave it out")
        if compile:
            raise ConfigError(f"compile: {model.path} is an exported file, which is compiled already; leave it out")
        if precision not in ("auto", model.precision):
            raise ConfigError(
                f"precision is {precision!r}, but {model.path} was opened for {model.precision}; "
                f"leave it out, or open it by ExportedModel(path, precision={precision!r})"
            )
        return FileBackend(model)
    from crispseg.inference.network import NetworkBackend  # PyTorch is there: the model is made with it

    return NetworkBackend(model, device, precision, compile)
