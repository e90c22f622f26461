"""``crispseg data inverse-form``: the network of the InverseForm loss, from the labels of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.console import make_progress, out_console
from crispseg.cli.data_options import Changes, Labels, LayoutName, RecipeName, Root, data_section
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crispseg.config import DataConfig

__all__ = ["inverse_form"]

_MOST_MAPS = 1000  # of a split that are read: they differ enough, and take 37 MB


def inverse_form(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The safetensors file to write.")],
    root: Root = None,
    layout: LayoutName = None,
    labels: Labels = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Whose labels it learns from.")] = "train",
    test_split: Annotated[str, typer.Option(metavar="NAME", help="Whose labels it is measured on.")] = "val",
    steps: Annotated[int, typer.Option(min=1, help="Of the training, on 64 pairs of tiles each.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    recipe: RecipeName = None,
    set_: Changes = None,
) -> None:
    """Train the network that the InverseForm loss needs, on boundaries of a data set's labels; minutes on a CPU."""
    if out.is_dir():
        raise ConfigError(f"--out {out}: a folder found where the name of a file was expected")
    config = data_section(root, layout, labels, recipe, set_)
    # These take seconds more to load; a mistyped option should not wait for them.
    from crispseg.losses import inverse_form_error, save_inverse_form, train_inverse_form

    with make_progress() as progress:
        reading = progress.add_task("reading", total=None)
        held_out = list(_label_maps(config, test_split))
        maps = list(_label_maps(config, split))
        progress.remove_task(reading)
        training = progress.add_task("training", total=steps)
        network = train_inverse_form(
            maps, seed=seed, steps=steps, progress=lambda done, total: progress.update(training, completed=done)
        )
    error = inverse_form_error(network, held_out, seed=seed)
    settings = {"maps": len(maps), "steps": steps, "seed": seed, "error": error._asdict()}
    save_inverse_form(network, out, settings)
    console = out_console()
    console.print(
        f"{out}: on {len(held_out)} label maps of {test_split} its transforms are {error.network:.3f} from the true "
        f"ones, the identity is {error.identity:.3f}; where nothing has moved it is {error.aligned:.3f} from that",
        soft_wrap=True,
    )
    said = f"--set loss.inverse_form_network={out} --set loss.inverse_form_weight=1"
    console.print(f"next: crispseg fit RECIPE {said}", style="dim", soft_wrap=True)


def _label_maps(config: DataConfig, split: str) -> Iterator[npt.NDArray[np.uint8]]:
    """Those of a split, evenly spaced where it has many."""
    from crispseg.data.labelled import open_labelled

    images = open_labelled(config, split)
    count = min(len(images), _MOST_MAPS)
    for index in range(count):
        yield images.labels(index * len(images) // count)
