"""``crispseg data import`` and ``export``: data sets from other tools as plain folders, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crispseg.cli.console import make_progress, out_console
from crispseg.cli.data_options import Changes, Labels, LayoutName, RecipeName, Root, data_section
from crispseg.errors import ConfigError
from crispseg.wording import nearest_name

__all__ = ["export", "import_"]

Out = Annotated[Path, typer.Option(metavar="DIR", help="The folder to write; it must not hold anything yet.")]
Splits = Annotated[
    list[str] | None,
    typer.Option("--split", metavar="NAME", help="May be given often.", show_default="all that it has"),
]


def import_(
    out: Out,
    root: Root = None,
    layout: LayoutName = None,
    labels: Labels = None,
    split: Splits = None,
    recipe: RecipeName = None,
    set_: Changes = None,
) -> None:
    """Write a data set of any layout as images, masks of ids and a label table, which layout folder reads.

    Training needs no import: it reads every layout as it is. This is for those who want the masks as files.
    """
    from crispseg.data.converting import import_data
    from crispseg.data.recognise import splits_of

    config = data_section(root, layout, labels, recipe, set_)
    with make_progress() as progress:
        task = progress.add_task("writing", total=None)
        counts = import_data(
            config,
            split or splits_of(config),
            out,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    out_console().print(f"{out}: images, labels and labels.yaml; {said}", soft_wrap=True)
    out_console().print(f"next: crispseg data check {out}", style="dim", soft_wrap=True)


def export(
    out: Out,
    to: Annotated[str, typer.Option("--to", metavar="coco|labelme|voc", help="Whose files to write.")],
    root: Root = None,
    layout: LayoutName = None,
    labels: Labels = None,
    split: Splits = None,
    recipe: RecipeName = None,
    set_: Changes = None,
) -> None:
    """Write a data set of any layout as COCO, LabelMe or VOC files with their images, for other tools."""
    from crispseg.data.converting import KINDS, export_data
    from crispseg.data.recognise import splits_of

    if to not in KINDS:
        raise ConfigError(f"--to {to}: {nearest_name(to, KINDS)}")
    config = data_section(root, layout, labels, recipe, set_)
    with make_progress() as progress:
        task = progress.add_task("writing", total=None)
        counts = export_data(
            config,
            split or splits_of(config),
            out,
            to,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    out_console().print(f"{out}: {to}; {said}", soft_wrap=True)
