"""``crispseg app``: a page on which a person looks at what models make of an image."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.console import error_console, out_console
from crispseg.cli.model import Device, Precision, open_model
from crispseg.cli.serve import named_models
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    from crispseg.studio import Example

__all__ = ["studio"]


def studio(
    models: Annotated[
        list[str],
        typer.Argument(help="One to three model folders or exported files, or [b]NAME=PATH[/b], of the same classes."),
    ],
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 is every address of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 7860,
    examples: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGES", help="A file, folder or glob to offer; the first 24.", show_default="a drawn street"
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="DIR|FILE", help="Their true label images, paired by name as [b]crispseg score[/b] does."),
    ] = None,
    encoding: Annotated[
        str,
        typer.Option(metavar="raw-ids|train-ids|colours", help="What their pixels hold; see [b]crispseg score[/b]."),
    ] = "raw-ids",
    max_bytes: Annotated[int, typer.Option(min=1, help="Of an upload.", show_default="32 million")] = 32_000_000,
    max_pixels: Annotated[int, typer.Option(min=1, help="Of an image.", show_default="40 million")] = 40_000_000,
    shrink_above: Annotated[
        int, typer.Option(min=1, metavar="PIXELS", help="Make larger images smaller.", show_default="2.1 million")
    ] = 2_100_000,
    keep_bytes: Annotated[
        int, typer.Option(min=1, help="Memory for what is looked at.", show_default="1 billion")
    ] = 1_000_000_000,
    queue: Annotated[
        int, typer.Option(min=1, help="Requests that are here at a time; more are told to come later.")
    ] = 16,
    device: Device = None,
    precision: Precision = "auto",
) -> None:
    """Look at what models see, in the browser: masks, outlines, gates, flow, errors, side by side, to the pixel.

    The page is there at once, the models as soon as they are loaded. Ctrl-C finishes what runs and ends. Nothing is
    written to disk, and nothing asks who is there: keep it on this machine. What it shows: docs/app.md.
    """
    from crispseg.extras import needed

    for module in ("fastapi", "uvicorn", "python_multipart"):
        needed(module, "serve", "the page")
    from crispseg.studio import Bounds, run_studio

    named = named_models(models)
    offered = _examples(examples or [], labels, encoding)
    bounds = Bounds(max_bytes, max_pixels, shrink_above, keep_bytes, queue)

    def say(address: str, is_open: bool) -> None:
        out_console().print(f"open {address} in a browser (Ctrl-C ends it)", soft_wrap=True)
        if is_open:
            error_console().print(
                "warning: other machines can reach it, and nothing asks who they are", style="yellow", soft_wrap=True
            )

    openers = {name: partial(open_model, path, device, precision) for name, path in named.items()}
    run_studio(openers, host, port, bounds, offered, precision, on_start=say)


def _examples(images: list[str], labels: Path | None, encoding: str) -> list[Example]:
    from crispseg.data.encodings import ENCODINGS
    from crispseg.studio import drawn_street, examples_of
    from crispseg.wording import nearest_name

    if (chosen := next((one for one in ENCODINGS if one == encoding), None)) is None:
        raise ConfigError(f"--encoding {encoding}: {nearest_name(encoding, ENCODINGS)}")
    if not images:
        if labels is not None:
            raise ConfigError("--labels are those of --examples; name them too, or give a label file on the page")
        return [drawn_street()]
    from crispseg.bulk import collect_images
    from crispseg.data.pairing import labels_of

    found = collect_images(images, Path(os.devnull))  # nothing is written
    return examples_of(found, None if labels is None else labels_of(found, labels, chosen), chosen)
