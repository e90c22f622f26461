"""``crispseg explain``: the papers' figures, of any model and image."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.console import make_progress, out_console, print_error, print_table
from crispseg.errors import ConfigError
from crispseg.stopping import StopSignals

if TYPE_CHECKING:
    from rich.table import Table

    from crispseg.explanation import Available, GateStatistics
    from crispseg.explanation.looks import AnyModel

__all__ = ["explain"]


class Format(StrEnum):
    """What the pictures are written as."""

    png = "png"
    pdf = "pdf"
    svg = "svg"


def explain(
    model: Annotated[str, typer.Argument(help="A model folder, as [b]runs/NAME/model[/b], or an exported file.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Image files, folders, globs, and lists (.txt, a path a line).", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the pictures go; made if need be.")] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Draw these alone, as in gates,knockout; see --list.", show_default="all it can give"
        ),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Say which pictures the model can give, and draw none.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="DIR|FILE", help="The true label images, paired by name as [b]crispseg score[/b] does."),
    ] = None,
    encoding: Annotated[
        str,
        typer.Option(metavar="raw-ids|train-ids|colours", help="What their pixels hold; see [b]crispseg score[/b]."),
    ] = "raw-ids",
    beside: Annotated[
        list[str] | None,
        typer.Option(metavar="[TITLE=]MODEL", help="Another model to show beside this one; up to three times."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Of MODEL beside the others.", show_default="its name")] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="For the screen, or for print with sharp words and lines.")
    ] = Format.png,
    width: Annotated[
        int | None,
        typer.Option(help="Pixels of each picture in a sheet.", show_default="the image's, 480 at most; 320 of many"),
    ] = None,
    edge_threshold: Annotated[float, typer.Option(help="t_b, above which a boundary probability is an edge.")] = 0.8,
    crop_factors: Annotated[
        str | None,
        typer.Option(metavar="PX,…", help="Of the distance crops.", show_default="0,100,…,400, scaled to the height"),
    ] = None,
    crop_margin: Annotated[
        int | None, typer.Option(min=0, help="Pixels that they leave out.", show_default="100, scaled to the height")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Of an image; larger ones are refused.", show_default="40 million")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …", show_default="a GPU where there is one")] = None,
) -> None:
    """Draw what a model does: gates, flow, features, boundaries, errors, and models beside each other.

    Writes NAME_PICTURE.png for each image, and statistics of the gates over all of them. What each picture shows, and
    which figures of the papers it redraws: docs/explain.md.
    """
    if not list_ and (out is None or not images):
        raise ConfigError("what to draw, and where: name images and give --out, or ask by --list what can be drawn")
    from crispseg.bulk import collect_images
    from crispseg.cli.scoring import parse_crops
    from crispseg.data.encodings import ENCODINGS
    from crispseg.explanation import Available, Options, explain_images, find_labels, shown_by
    from crispseg.io import MAX_PIXELS
    from crispseg.wording import nearest_name

    if (chosen := next((one for one in ENCODINGS if one == encoding), None)) is None:
        raise ConfigError(f"--encoding {encoding}: {nearest_name(encoding, ENCODINGS)}")
    factors = None if crop_factors is None else parse_crops(crop_factors, None)["crop_factors_px"]
    options = Options(edge_threshold, factors, crop_margin, width)
    if list_:
        models = _open_models(model, title, beside or [], device)
        available = Available(shown_by(next(iter(models.values()))), labels is not None, len(models))
        print_table(out_console(), _table(model, available))
        return
    assert out is not None
    assert images
    targets = collect_images(images, out)
    truths = None if labels is None else find_labels(targets, labels, chosen)
    models = _open_models(model, title, beside or [], device)
    done = 0

    def what_stands() -> str:
        return f"{done} of {len(targets)} images are drawn into {out}; the same command does all again"

    with StopSignals(what_stands), make_progress() as bar:
        task = bar.add_task("drawing", total=len(targets))

        def show(whole: int, seen: int) -> None:
            nonlocal done
            done = whole
            bar.update(task, completed=seen)

        explained = explain_images(
            models,
            targets,
            out,
            labels=truths,
            encoding=chosen,
            only=None if only is None else [name.strip() for name in only.split(",")],
            options=options,
            format=format_.value,
            max_pixels=max_pixels or MAX_PIXELS,
            progress=show,
        )
    console = out_console()
    drawn = f": {', '.join(explained.pictures)}" if explained.pictures else ""
    console.print(f"{explained.done} of {len(targets)} images drawn into {out}{drawn}", soft_wrap=True)
    if explained.statistics is not None and explained.done:
        print_table(console, _gate_table(explained.statistics))
    if explained.failures:
        for failure in explained.failures:
            print_error(failure.message)
        raise typer.Exit(1)


def _open_models(model: str, title: str | None, beside: Sequence[str], device: str | None) -> dict[str, AnyModel]:
    """By title, in order."""
    from crispseg.cli.model import open_model
    from crispseg.explanation.run import MOST_MODELS

    named = [(title or _title(model), model)]
    for text in beside:
        before, equals, after = text.partition("=")
        named.append((before, after) if equals and not Path(text).exists() else (_title(text), text))
    if len(named) > MOST_MODELS:
        raise ConfigError(f"--beside: {len(beside)} models found, {MOST_MODELS - 1} at most expected")
    titles = [one for one, _ in named]
    if len(set(titles)) < len(titles):
        raise ConfigError(f"models with the titles {', '.join(titles)}; give each its own by --title and TITLE=MODEL")
    return {one: open_model(path, device) for one, path in named}


def _title(model: str) -> str:
    """The run's name of runs/NAME/model, and the last part of any other path."""
    path = Path(model)
    return path.parent.name if path.name == "model" and path.parent.name else path.name or model


def _table(model: str, available: Available) -> Table:
    from rich.table import Table

    from crispseg.explanation import FIGURES, figures_of

    table = Table(
        title=f"Pictures of {model}", caption="With --labels there are errors, with --beside models beside each other."
    )
    for heading in ("--only", "what it shows", "figures of the papers", "lacks"):
        table.add_column(heading)
    can = figures_of(available)
    lacking = [figure for figure in FIGURES if figure.name not in can]
    for figure in (*can.values(), *lacking):
        table.add_row(figure.name, figure.sentence, figure.papers, figure.lacks(available) or "")
    return table


def _gate_table(statistics: GateStatistics) -> Table:
    from rich.table import Table

    values = statistics.to_dict()
    gates = list(values["gates"].values())
    is_closed = any(gate["closed"]["changes"] is not None for gate in gates)
    closing = " Closed: how many of the pixels change, in %." if is_closed else ""
    table = Table(
        title=f"Gates over {values['images']} image{'' if values['images'] == 1 else 's'}",
        caption=f"Near outlines: within {values['near_px']} px.{closing}",
    )
    table.add_column("gate")
    closed_headings = ("closed: changes", "wrong then", "right then") if is_closed else ()
    for heading in ("mean", "near outlines", "elsewhere", *closed_headings):
        table.add_column(heading, justify="right")
    for gate in gates:
        shares = (gate["mean"], gate["mean_near_outlines"], gate["mean_elsewhere"])
        closed = [gate["closed"][name] for name in ("changes", "becomes_wrong", "becomes_right")] if is_closed else []
        table.add_row(
            gate["title"],
            *("" if share is None else f"{share:.2f}" for share in shares),
            *("" if share is None else f"{100 * share:.2f}" for share in closed),
        )
    return table
