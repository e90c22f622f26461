"""What the commands of ``crispseg data`` share: the options that say which data, and the section that they make."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.console import out_console
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    from crispseg.config import DataConfig

__all__ = ["Changes", "Labels", "LayoutName", "RecipeName", "Root", "data_section"]

Root = Annotated[
    str | None, typer.Argument(help="The data set's folder.", show_default="the recipe's; toy_streets needs none")
]
LayoutName = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="NAME",
        help="How the files lie: folder, coco, camvid, …; see docs/datasets.md.",
        show_default="recognised",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(metavar="NAME-or-YAML", help="Another label table.", show_default="the layout's own"),
]
RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", metavar="RECIPE", help="Take the data section of a recipe.", show_default=False),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change a value, such as data.val=0.2; may be given often."),
]


def data_section(
    root: str | None, layout: str | None, labels: str | None, recipe: str | None, changes: list[str] | None
) -> DataConfig:
    """The section that the options describe: a recipe's, or the defaults, with what was given put in.

    Without layout and recipe the layout is the one that the root fits, which is printed.

    Raises:
        ConfigError, DataError: if they do not say how the files lie, or a value is wrong.
    """
    from crispseg.config import Recipe
    from crispseg.recipes import load_recipe, override

    if recipe is None and layout is None:
        from crispseg.data.recognise import recognise

        if root is None:
            raise ConfigError("which data? Name its folder, or give --recipe RECIPE")
        found = recognise(root)
        layout = found.layout
        out_console().print(
            f"layout {found.layout}: {found.why}; splits {', '.join(found.splits)}", style="dim", soft_wrap=True
        )
    values = Recipe() if recipe is None else load_recipe(recipe)
    given = {"layout": layout, "root": root, "labels": labels}
    said = [f"data.{key}={json.dumps(value)}" for key, value in given.items() if value]
    return override(values, [*said, *(changes or [])]).data
