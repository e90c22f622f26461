"""``crispseg export``: a file for other runtimes, compared with the model before it is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crispseg.cli.console import make_progress, out_console
from crispseg.cli.evaluate import data_recipe
from crispseg.errors import ConfigError
from crispseg.stopping import StopSignals

if TYPE_CHECKING:
    from crispseg.data.labelled import LabelledImages

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
    int8: Annotated[
        bool, typer.Option("--int8", help="In 8-bit integers: a third of the time, a quarter of the size.")
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGES",
            help="For --int8: files, folders or globs of images such as the model was trained on; may be given often.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE-or-ROOT",
            help="For --int8: labelled images that the loss is measured on.",
            show_default="the loss is not measured",
        ),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="How the files of ROOT lie, as for evaluate.")] = None,
    split: Annotated[str | None, typer.Option(help="Of the labelled images.", show_default="val")] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            help="Points of mean IoU, and of boundary F at 1 px, that --int8 may lose with --data.", show_default="0.3"
        ),
    ] = None,
) -> None:
    """Export a model for other runtimes, for every batch, height and width.

    Images go in as float32 RGB in [0, 1], of 64 pixels a side or more. The file is run at three sizes and compared with
    the model before it is put in place. With --int8 and --data, layers stay in float until it loses little enough.
    """
    from crispseg.bulk import collect_images
    from crispseg.export import FORMATS, Int8, export_model
    from crispseg.models import load_model, saved_card

    if to is not None:
        if to not in FORMATS:
            raise ConfigError(f"--to {to}: {', '.join(FORMATS)} expected")
        if out.suffix.lower() != FORMATS[to]:
            raise ConfigError(f"--out {out}: {to} files end in {FORMATS[to]}")
    wanted = [] if outputs is None else [part.strip() for part in outputs.split(",")]
    of_data = {"--layout": layout, "--split": split, "--max-loss": max_loss}
    if data is None and (given := [name for name, value in of_data.items() if value is not None]):
        raise ConfigError(f"{' and '.join(given)}: of use with --data only; give it, or leave out what does not belong")
    if not int8 and (given := [name for name, value in {"--calibrate": calibrate, "--data": data}.items() if value]):
        raise ConfigError(f"{' and '.join(given)}: of use with --int8 only; give it, or leave out what does not belong")
    if int8 and not calibrate:
        raise ConfigError("--int8 needs --calibrate IMAGES, such as the model was trained on")
    with StopSignals(lambda: "nothing is written; the same command begins anew"), make_progress() as progress:
        task = progress.add_task("exporting", total=None)
        options = None
        if int8:
            options = Int8(
                list(collect_images(calibrate or [], out).values()),
                None if data is None else _labelled(model, data, layout, split or "val"),
                **({} if max_loss is None else {"max_loss": max_loss}),
                on_step=lambda words: progress.update(task, description=words),
            )
        done = export_model(load_model(model), out, outputs=wanted, card=saved_card(model), int8=options)
    console = out_console()
    if int8:
        for line in _in_words(done.card.quantised):
            console.print(f"{done.path}: {line}", soft_wrap=True)
    else:
        found = ", ".join(f"{name} to {difference:.1g}" for name, difference in done.differences.items())
        console.print(f"{done.path}: the same as the model at three other sizes ({found})", soft_wrap=True)
    console.print(f"next: crispseg segment {done.path} IMAGES… --out masks", style="dim", soft_wrap=True)


def _labelled(model: str, data: str, layout: str | None, split: str) -> LabelledImages:
    from crispseg.data.labelled import open_labelled
    from crispseg.models import saved_recipe

    recipe = data_recipe(model, saved_recipe(model) if Path(model).exists() else None, data, layout, [])
    return open_labelled(recipe.data, split)


def _in_words(quantised: Mapping[str, Any]) -> Iterator[str]:
    """What an 8-bit file's card says of it."""
    in_float = len(quantised["float_layers"])
    yield f"8-bit integers in {quantised['layers'] - in_float} of {quantised['layers']} layers, right at three sizes"
    yield (
        f"{100 * quantised['equal_labels']:.1f} % of pixels have the float file's label, "
        f"on the {quantised['images']} images to calibrate with"
    )
    if "mean_iou" not in quantised:
        yield "what that costs was not measured; give --data with labelled images"
        return
    for name, key in (("mean IoU", "mean_iou"), ("boundary F at 1 px", "boundary_f_1px")):
        values = quantised[key]
        before, after = 100 * values["float"], 100 * values["int8"]
        yield (
            f"{name} {before:.2f} → {after:.2f} on {quantised['labelled_images']} images, "
            f"{values['lost_points']:.2f} points lost, {quantised['max_loss']:g} allowed"
        )
