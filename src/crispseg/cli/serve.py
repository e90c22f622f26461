"""``crispseg serve``: models behind HTTP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from crispseg.cli.console import error_console, out_console
from crispseg.cli.model import Device, Precision, open_model
from crispseg.errors import ConfigError

__all__ = ["named_models", "serve"]


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model folders or exported files, or [b]NAME=PATH[/b]. The first answers unless asked otherwise."
        ),
    ],
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 is every address of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    max_bytes: Annotated[int, typer.Option(min=1, help="Of an upload.", show_default="32 million")] = 32_000_000,
    max_pixels: Annotated[int, typer.Option(min=1, help="Of an image.", show_default="16 million")] = 16_000_000,
    queue: Annotated[
        int, typer.Option(min=1, help="Requests that are here at a time; more are told to come later.")
    ] = 16,
    batch_size: Annotated[int, typer.Option(min=1, help="Images of one size that the model sees at once.")] = 8,
    batch_wait: Annotated[
        float, typer.Option(min=0, metavar="MS", help="How long an image waits for others that are on their way.")
    ] = 5.0,
    window: Annotated[
        tuple[int, int] | None, typer.Option(metavar="H W", help="Slide a window of this size over each image.")
    ] = None,
    device: Device = None,
    precision: Precision = "auto",
) -> None:
    """Serve models over HTTP: POST an image to /mask, /overlay, /boundaries or /polygons.

    The page at / says how, and has a form to try it. Ctrl-C finishes what runs and ends. Nothing is written to disk,
    and nothing asks who is there: keep it on this machine, or behind a proxy that does.
    """
    from crispseg.extras import needed
    from crispseg.inference import Predictor
    from crispseg.inference.images import require_rgb

    for module in ("fastapi", "uvicorn", "python_multipart"):
        needed(module, "serve", "serving")
    from crispseg.serving import Limits
    from crispseg.serving import serve as serve_until_stopped

    limits = Limits(max_bytes, max_pixels, queue, batch_size, batch_wait)
    predictors = {
        name: Predictor(open_model(path, device, precision), window_hw=window, precision=precision)
        for name, path in named_models(models).items()
    }
    for predictor in predictors.values():
        require_rgb(predictor.model, "serve")

    def say(address: str, is_open: bool) -> None:
        out_console().print(f"serving {', '.join(predictors)} at {address} (Ctrl-C ends it)", soft_wrap=True)
        if is_open:
            warning = (
                "warning: other machines can reach it, and nothing asks who they are; put a proxy before it that does"
            )
            error_console().print(warning, style="yellow", soft_wrap=True)

    serve_until_stopped(predictors, host, port, limits, on_start=say)


def named_models(arguments: Sequence[str]) -> dict[str, str]:
    """Names and paths of models.

    Args:
        arguments: paths, or names and paths with an equals sign between them.

    Returns:
        Paths by name: as given, else the file's or folder's own, or that of the run whose ``model`` it is.

    Raises:
        ConfigError: if a name is not of letters, digits, dots, dashes and underscores, or is there twice.

    Example:
        >>> named_models(["models/camvid", "runs/streets/model", "fast=model.onnx"])
        {'camvid': 'models/camvid', 'streets': 'runs/streets/model', 'fast': 'model.onnx'}
    """
    found: dict[str, str] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or Path(argument).exists():
            name, path = _own_name(Path(argument)), argument
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{argument}: {name!r} is no name that a request can use; letters, digits, . _ - expected, "
                f"as in streets={path}"
            )
        if name in found:
            raise ConfigError(
                f"{found[name]} and {path} are both called {name!r}; name one otherwise, as in other={path}"
            )
        found[name] = path
    return found


_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def _own_name(path: Path) -> str:
    from crispseg.inference.exported import is_exported

    whole = path.absolute()
    if is_exported(path):
        return whole.stem
    return whole.parent.name if whole.name == "model" else whole.name
