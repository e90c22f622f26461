"""``crispseg evaluate``: mIoU, accuracy and boundary F of a model on a labelled set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.console import make_progress, out_console
from crispseg.cli.device import choose_device
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    from crispseg.config import Recipe

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[str, typer.Argument(help="A model folder, for instance [b]runs/NAME/model[/b].")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE-or-ROOT", help="A recipe, or a folder of data.", show_default="the model's recipe"
        ),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="How the files of ROOT lie: camvid, folder or toy_streets.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, or a folder's name.")] = "val",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="A.B=C", help="Change one value, such as evaluate.flip=true; may be given often."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write scores.json and scores.md here.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …", show_default="a GPU where there is one")] = None,
) -> None:
    """Score a model on labelled images, and print the table."""
    from crispseg.cli.scores import scores_table
    from crispseg.data import build_dataset
    from crispseg.evaluate import evaluate as score
    from crispseg.inference import Predictor
    from crispseg.io import atomic_write
    from crispseg.models import load_model

    network = load_model(model, device=choose_device(device))
    recipe = _recipe(model, data, layout, set_ or [])
    dataset = build_dataset(recipe.data, split, augment=False)
    options = recipe.evaluate
    predictor = Predictor(network, scales=options.scales, flip=options.flip, window_hw=options.window_hw)
    with make_progress() as progress:
        task = progress.add_task("scoring", total=len(dataset))
        scores = score(
            predictor,
            dataset,
            options.radii_px,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )

    console = out_console()
    console.print(scores_table(scores, f"{model} on {split} of {recipe.data.root or recipe.data.layout}, in %"))
    if out is not None:
        for name, text in (("scores.json", scores.to_json()), ("scores.md", scores.to_markdown())):
            with atomic_write(out / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        console.print(f"written: {out / 'scores.json'}, {out / 'scores.md'}", soft_wrap=True)


def _recipe(model: str, data: str | None, layout: str | None, overrides: Sequence[str]) -> Recipe:
    """The recipe whose sections ``data`` and ``evaluate`` say what to score on and how."""
    from crispseg.config import DataConfig, Recipe
    from crispseg.recipes import load_recipe

    if data is not None and not Path(data).is_dir():
        if layout is not None:
            raise ConfigError(
                f"--layout {layout}: belongs to a folder of data, but --data {data} is a recipe; leave it out"
            )
        return load_recipe(data, overrides)
    trained = _trained_recipe(model)
    if data is None:
        if trained is None:
            raise ConfigError(f"{model} holds no recipe that names its data; give --data, a recipe or a folder")
        recipe = trained
    elif trained is not None and layout in (None, trained.data.layout):
        recipe = trained.model_copy(update={"data": trained.data.model_copy(update={"root": data})})
    elif layout is not None:
        recipe = Recipe(data=DataConfig(layout=layout, root=data))
    else:
        raise ConfigError(
            f"--data {data}: {model} holds no recipe that says how files lie there; give --layout as well"
        )
    return _with_overrides(recipe, overrides)


def _trained_recipe(model: str) -> Recipe | None:
    """What a model folder on disk says that it was trained with."""
    from crispseg.config import Recipe
    from crispseg.models.weights import read_card

    folder = next((path for path in (Path(model), Path(model) / "model") if (path / "card.json").is_file()), None)
    values = read_card(folder)["recipe"] if folder is not None else None
    return None if values is None else Recipe.model_validate(values)


def _with_overrides(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Change values as ``--set`` does, with the same checks: recipes are read from files, so through one."""
    from crispseg.recipes import load_recipe, save_recipe

    with TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        save_recipe(recipe, path)
        return load_recipe(path, overrides)
