"""``crispseg recipes``: what can be trained by name, and what a name means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.console import out_console, print_table
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from crispseg.recipes.catalogue import CatalogueEntry

__all__ = ["recipes"]

_WIDTH_OF_FILES = 200  # a row is a line there, for grep


def recipes(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME | WORDS…]",
            help="A recipe's name or file, to see all its values; or words, such as [b]gff ade20k[/b] or "
            "[b]'table 3'[/b], to list the recipes that have them all.",
            show_default="all recipes",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="With NAME: change one value first; may be given often."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The whole list, as docs/recipes.md has it.")] = False,
) -> None:
    """List the packaged recipes, or print one with every value and where it comes from."""
    from crispseg.recipes import list_recipes
    from crispseg.recipes.catalogue import annotated_yaml, catalogue, markdown_catalogue

    wanted = words or []
    if markdown:
        typer.echo(markdown_catalogue())
        return
    if len(wanted) == 1 and (set_ or wanted[0] in list_recipes() or wanted[0].endswith((".yaml", ".yml"))):
        typer.echo(annotated_yaml(wanted[0], set_ or []), nl=False)
        return
    if set_:
        raise ConfigError(f"--set changes the values of one recipe, but {len(wanted)} names were given; name one")
    found = catalogue(wanted)
    if not found:
        raise ConfigError(f"no recipe has {' and '.join(map(repr, wanted))}; crispseg recipes lists all that there are")
    console = out_console()
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    print_table(console, _table(found))
    console.print("mIoU: the paper's, in %; nothing here was measured by crispseg", style="dim", soft_wrap=True)
    console.print("next: crispseg recipes NAME, or crispseg fit NAME --set data.root=…", style="dim", soft_wrap=True)


def _table(entries: Sequence[CatalogueEntry]) -> Table:
    from rich.table import Table

    table = Table(title=f"{len(entries)} recipes", title_justify="left")
    table.add_column("name", overflow="fold")
    for column in ("data", "head", "context", "backbone"):
        table.add_column(column)
    table.add_column("mIoU", justify="right", no_wrap=True)
    table.add_column("the paper's row")
    for entry in entries:
        row = f"{entry.paper.table}: {entry.paper.row}" if entry.paper.table else ""
        table.add_row(*entry.columns, entry.mean_iou, row)
    return table
