"""``crispseg push``: share a model on the Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from crispseg.cli.console import out_console

__all__ = ["push"]


def push(
    model: Annotated[str, typer.Argument(help="A model folder, or the folder of a training run.")],
    hub_id: Annotated[
        str, typer.Argument(metavar="USER/NAME", help="Where it goes; made on the Hub if it does not exist.")
    ],
    private: Annotated[bool, typer.Option("--private", help="Show it to nobody else.")] = False,
    token: Annotated[
        str | None,
        typer.Option(help="With write access.", show_default="that of hf auth login, or of HF_TOKEN"),
    ] = None,
) -> None:
    """Share a model on the Hugging Face Hub, with a page made from its card."""
    from crispseg.models import push_to_hub

    address = push_to_hub(model, hub_id, private=private, token=token)
    console = out_console()
    console.print(f"shared: {address}", soft_wrap=True)
    console.print(f"next: crispseg segment {hub_id} IMAGES… --out masks", style="dim", soft_wrap=True)
