"""``crispseg fit``: train a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.console import StepProgress, out_console, print_table
from crispseg.errors import ConfigError
from crispseg.wording import nearest_name, seconds_in_words

if TYPE_CHECKING:
    from crispseg.config import Recipe

__all__ = ["fit"]


def fit(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|ROOT",
            help="A recipe file, or the name of a packaged one, such as [b]camvid/quick_cpu[/b]; with --starter the "
            "folder of your pictures.",
        ),
    ],
    starter: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Train on a folder of your own without a recipe: [b]fast[/b] needs no GPU, [b]balanced[/b] one, "
            "[b]accurate[/b] a large one.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change one value of the recipe; may be given often."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder.", show_default="runs/ and the recipe's name")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Fine-tune this saved model (folder or Hub id): its architecture takes the place of the recipe's.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    previous: Annotated[
        bool, typer.Option("--previous", help="With --resume: go on from the checkpoint before, if the last is broken.")
    ] = False,
) -> None:
    """Train a recipe; the best model lands in the run's folder, ready for evaluate and segment."""
    from crispseg.recipes import load_recipe

    values = load_recipe(recipe, set_ or []) if starter is None else _on_folder(starter, Path(recipe), set_ or [])
    if model is not None:
        from crispseg.models import saved_config

        values = values.model_copy(update={"model": saved_config(model).model_copy(update={"weights": model})})
    # These take seconds more to load; a mistyped key should not wait for them.
    from crispseg.cli.scores import scores_table
    from crispseg.train import fit as train

    folder = out if out is not None else Path("runs") / values.name
    preparing = StepProgress()
    try:
        result = train(values, folder, resume=resume, from_previous=previous, preparing=preparing)
    finally:
        preparing.close()
    if not result.is_first:
        return
    console = out_console()
    print_table(console, scores_table(result.scores, f"{values.name}: epoch {result.best_epoch}, the best, in %"))
    console.print(
        f"trained in {seconds_in_words(result.seconds)}; the best model: {result.model_folder}", soft_wrap=True
    )
    console.print(f"next: crispseg segment {result.model_folder} IMAGES… --out masks", style="dim", soft_wrap=True)


def _on_folder(starter: str, root: Path, changes: list[str]) -> Recipe:
    """A packaged starter recipe for a folder of pictures; the run has the names of both."""
    from crispseg.recipes import list_recipes, load_recipe

    known = [name.removeprefix("starter/") for name in list_recipes() if name.startswith("starter/")]
    if starter not in known:
        raise ConfigError(f"--starter: unknown {starter!r}; {nearest_name(starter, known)}")
    if not root.is_dir() and root.suffix.lower() != ".json":
        raise ConfigError(f"{root}: no such folder; --starter trains on a folder of pictures, see docs/datasets.md")
    values = load_recipe(f"starter/{starter}", changes)
    data = values.data.model_copy(update={"root": str(root)})
    if not any(change.startswith("data.layout") for change in changes):
        from crispseg.data.recognise import recognise

        data = data.model_copy(update={"layout": recognise(root).layout})
    return values.model_copy(update={"name": f"{root.resolve().name}_{starter}", "data": data})
