"""``crispseg data``: look at a data set before training does."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crispseg.cli.console import make_progress, out_console, print_table, print_warning
from crispseg.cli.data_files import export, import_
from crispseg.cli.data_options import Changes, Labels, LayoutName, RecipeName, Root, data_section
from crispseg.cli.inverse_form import inverse_form
from crispseg.cli.plugin import with_plugins
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from crispseg.data import DataReport, SegmentationDataset
    from crispseg.pictures import Picture

__all__ = ["data_app"]

EXIT_UNSOUND = 2
_LISTED = 20  # problems of a kind that are printed; --out has all

data_app = typer.Typer(
    no_args_is_help=True,
    help="Look at a data set before training does: check its files, preview its samples; write it for other tools.",
)


@data_app.command()
@with_plugins
def check(
    root: Root = None,
    layout: LayoutName = None,
    labels: Labels = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="May be given often.", show_default="those for training and validation"),
    ] = None,
    recipe: RecipeName = None,
    set_: Changes = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as JSON, problems in full.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="That read files.", show_default="one per core, eight at most")
    ] = None,
) -> None:
    """Read every file, count what is in it, and list all that is wrong; then the exit status is 2."""
    from crispseg.data import data_check
    from crispseg.data.recognise import splits_of
    from crispseg.io import atomic_write

    config = data_section(root, layout, labels, recipe, set_)
    if layout is None and recipe is None and not split:
        split = list(splits_of(config))
    with make_progress() as progress:
        task = progress.add_task("reading", total=None)
        report = data_check(
            config,
            split,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
            threads=threads,
        )
    console = out_console()
    if report.splits:
        print_table(console, _splits_table(report))
    if any(any(split.class_pixels) for split in report.splits):
        print_table(console, _classes_table(report))
    if report.band_mean:
        console.print(
            f"bands, of 1: mean {list(report.band_mean)}, deviation {list(report.band_std)}; fit measures the same "
            "(model.mean, model.std)",
            soft_wrap=True,
        )
    _print_problems(report)
    if report.sound and layout is None and recipe is None:
        drawn = (
            "" if "train" in {one.split for one in report.splits} and len(report.splits) > 1 else " --set data.val=0.2"
        )
        said = "".join(f" --set {shlex.quote(change)}" for change in set_ or [])
        console.print(f"next: crispseg fit {root} --starter fast{said}{drawn}", style="dim", soft_wrap=True)
    if out is not None:
        with atomic_write(out) as temporary:
            temporary.write_text(json.dumps(report.to_dict(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        console.print(f"written: {out}", soft_wrap=True)
    if not report.sound:
        raise typer.Exit(EXIT_UNSOUND)


@data_app.command()
@with_plugins
def preview(
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The sheet to write.")],
    root: Root = None,
    layout: LayoutName = None,
    labels: Labels = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Whose samples.")] = "train",
    count: Annotated[int, typer.Option(min=1, max=200, help="Samples on the sheet, evenly spaced over the split.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of the augmentation.")] = 0,
    recipe: RecipeName = None,
    set_: Changes = None,
) -> None:
    """Write a sheet of samples: as stored, and after augmentation with their labels and boundaries."""
    from crispseg.data import build_dataset
    from crispseg.io import write_png

    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: a name that ends in .png was expected")
    config = data_section(root, layout, labels, recipe, set_).model_copy(update={"cache": False})
    dataset = build_dataset(config, split, augment=True, seed=seed)
    from crispseg.data.plausible import odd_samples

    for odd in odd_samples({split: dataset.source}, dataset.label_space, config.exif):
        print_warning(odd.detail)
    shown = min(count, len(dataset))
    indices = [round(step * (len(dataset) - 1) / max(shown - 1, 1)) for step in range(shown)]
    write_png(out, _sheet(dataset, indices))
    out_console().print(
        f"{out}: {len(indices)} of {len(dataset)} samples of {split}, crops of "
        f"{config.crop_hw[0]}×{config.crop_hw[1]} (height × width)",
        soft_wrap=True,
    )


data_app.command("import")(with_plugins(import_))
data_app.command()(with_plugins(export))
data_app.command("inverse-form")(with_plugins(inverse_form))


def _splits_table(report: DataReport) -> Table:
    """A row per split: how many samples, and their sizes."""
    from rich.table import Table

    where = f"{report.root}, " if report.root else ""
    table = Table(title=f"{where}layout {report.layout}, label table {report.label_table}", title_justify="left")
    table.add_column("split")
    for name in ("images", "readable", "smallest", "median", "largest", "sizes", "ignored"):
        table.add_column(name, justify="right")
    for split in report.splits:
        sizes = ("–" if size is None else f"{size[0]}×{size[1]}" for size in _sizes(split))
        pixels = split.ignored_pixels + sum(split.class_pixels)
        ignored = f"{100 * split.ignored_pixels / pixels:.1f} %" if pixels else "–"
        table.add_row(split.split, str(split.images), str(split.readable), *sizes, str(split.sizes), ignored)
    return table


def _sizes(split: Any) -> tuple[tuple[int, int] | None, ...]:
    return split.smallest_hw, split.median_hw, split.largest_hw


def _classes_table(report: DataReport) -> Table:
    """A row per class: its share of the labelled pixels, and the samples that hold it, split by split."""
    from rich.table import Table

    table = Table(title="classes: share of the labelled pixels, images that hold it", title_justify="left")
    table.add_column("class")
    for split in report.splits:
        table.add_column(f"{split.split} %", justify="right")
        table.add_column("images", justify="right")
    for index, name in enumerate(report.class_names):
        cells: list[str] = []
        for split in report.splits:
            share = 100 * split.class_pixels[index] / max(sum(split.class_pixels), 1)
            cells += [f"{share:.3f}" if split.class_pixels[index] else "–", str(split.class_images[index])]
        table.add_row(name, *cells, style=None if any(cell != "–" for cell in cells[::2]) else "dim")
    return table


def _print_problems(report: DataReport) -> None:
    console = out_console()
    for warning in report.warnings:
        print_warning(warning.detail)
    if report.sound:
        console.print("nothing is wrong" + ", but see above" * bool(report.warnings), style="green")
        return
    details: dict[str, list[str]] = {}
    for problem in report.problems:
        details.setdefault(problem.kind, []).append(problem.detail)
    for kind, lines in details.items():
        console.print(f"{len(lines)} × {kind}", style="bold red")
        for line in lines[:_LISTED]:
            console.print(f"  {line}", soft_wrap=True)
        if len(lines) > _LISTED:
            console.print(f"  and {len(lines) - _LISTED} more; --out FILE has all", style="dim")
    for split in report.splits:
        listed = ", ".join(f"{raw} ({pixels} px in {images})" for raw, (pixels, images) in split.unknown_ids.items())
        if listed:
            console.print(f"{split.split}: unknown ids, pixels and images: {listed}", soft_wrap=True)


def _sheet(dataset: SegmentationDataset, indices: list[int]) -> Picture:
    """A row per sample, and a legend of the classes on the sheet."""
    import numpy as np

    from crispseg import pictures
    from crispseg.io.bands import as_picture

    space = dataset.label_space
    rows: list[list[Picture]] = []
    captions: list[list[str]] = []
    seen: set[int] = set()
    for index in indices:
        item = dataset[index]
        image = as_picture((item["image"].numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8))
        labels = item["labels"].numpy()
        seen |= {*np.unique(labels).tolist()}
        stored = dataset.sample(index)
        rows.append(
            [
                pictures.overlay(as_picture(stored.image), stored.labels, space.palette),
                image,
                pictures.overlay(image, labels, space.palette),
                pictures.boundary_picture(labels),
            ]
        )
        captions.append([item["name"], "augmented", "labels", "boundaries"])
    grid = pictures.sheet(rows, captions, cell_width=_CELL_WIDTH)
    legend = pictures.legend(space, only=sorted(seen), columns=min(len(seen), 6))
    return pictures.sheet([[grid], [legend]], gap=0)


_CELL_WIDTH = 320
