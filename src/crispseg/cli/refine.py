"""``crispseg refine``: any tool's masks made sharper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crispseg.cli.console import make_progress, out_console, print_error
from crispseg.cli.model import Device, Precision
from crispseg.errors import ConfigError
from crispseg.stopping import StopSignals
from crispseg.wording import nearest_name

__all__ = ["refine"]


def refine(
    masks: Annotated[Path, typer.Argument(metavar="MASKS", help="A folder of masks, of any tool and any encoding.")],
    images: Annotated[Path, typer.Option(metavar="DIR", help="The folder of their images.")],
    out: Annotated[Path, typer.Option(help="Where the refined masks go; made if need be.")],
    model: Annotated[
        str | None, typer.Option(metavar="REFINER", help="A refiner: a model folder, or an exported file.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Without a refiner: guided_filter or mean_field, which need no training."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="How far a label may travel: pixels further from borders stay.",
            show_default="4; a refiner moves masks at their images' size by 2",
        ),
    ] = None,
    keep_thin: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Parts of masks narrower than this stay as they are; 1: all may move.",
            show_default="11, or 7 with --method",
        ),
    ] = None,
    keep_connected: Annotated[
        bool, typer.Option("--keep-connected", help="Let no label fall into more parts than it had: for lines.")
    ] = False,
    label_space: Annotated[
        str | None,
        typer.Option(metavar="NAME-or-YAML", help="Check the masks' values against a label table.", show_default="no"),
    ] = None,
    encoding: Annotated[
        str, typer.Option(metavar="raw-ids|train-ids|colours", help="What the masks' pixels hold, for that check.")
    ] = "raw-ids",
    window: Annotated[
        tuple[int, int] | None, typer.Option(metavar="H W", help="Slide a window of this size over the images.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is there.")] = False,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Of an image; larger ones are refused.", show_default="40 million")
    ] = None,
    device: Device = None,
    precision: Precision = "auto",
) -> None:
    """Move the outlines of masks to the edges of their images.

    Masks and images pair by their names. A mask may be smaller than its image, by a whole factor. What the masks'
    pixels hold is kept, whatever it means: ids, colours, instances. No label appears where the mask has none near by. A
    mask that cannot be refined is reported at the end, and the others are still done. The same command again goes on
    where it was stopped. See docs/refine.md.
    """
    from crispseg.cli.model import open_model
    from crispseg.data.encodings import ENCODINGS, check_encodings
    from crispseg.io import MAX_PIXELS
    from crispseg.labels import label_space as load_label_space
    from crispseg.refinement import METHODS, Refiner, refine_folder

    if encoding not in ENCODINGS:
        raise ConfigError(f"--encoding {encoding}: {nearest_name(encoding, ENCODINGS)}")
    if (model is None) == (method is None):
        raise ConfigError("give a refiner by --model, or a method by --method, and not both")
    if method is not None and method not in METHODS:
        raise ConfigError(f"--method {method}: {nearest_name(method, METHODS)}")
    space = None if label_space is None else load_label_space(label_space)
    if space is not None:
        check_encodings(space, encoding)
    refiner = Refiner(
        open_model(model, device, precision) if model is not None else str(method),
        steps=steps,
        keep_thin_px=keep_thin,
        keep_connected=keep_connected,
        window_hw=window,
        precision=precision,
        max_pixels=max_pixels or MAX_PIXELS,
    )
    reached = f"nothing is new in {out}"
    with StopSignals(lambda: f"{reached}; the same command goes on from there"), make_progress() as bar:
        task = bar.add_task("refining", total=None)

        def show(seen: int, total: int) -> None:
            nonlocal reached
            reached = f"{seen} of {total} masks were looked at, and what is in {out} is whole"
            bar.update(task, completed=seen, total=total)

        refined = refine_folder(
            refiner,
            masks,
            images,
            out,
            show,
            label_space=space,
            encoding=encoding,
            overwrite=overwrite,
        )
    before = f", {refined.earlier} of them earlier" if refined.earlier else ""
    moved = "" if refined.changed != refined.changed else f"; {100 * refined.changed:.1f} % of their pixels changed"
    out_console().print(f"{refined.done} of {refined.masks} masks refined into {out}{before}{moved}", soft_wrap=True)
    if refined.failures:
        for failure in refined.failures:
            print_error(failure.message)
        raise typer.Exit(1)
