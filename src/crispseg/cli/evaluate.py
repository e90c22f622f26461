"""``crispseg evaluate``: every score of a model, or of any tool's label images, on a labelled set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crispseg.cli.console import make_progress, out_console, print_error, print_table
from crispseg.cli.device import choose_device
from crispseg.errors import ConfigError
from crispseg.wording import nearest_name

if TYPE_CHECKING:
    from crispseg.config import Recipe
    from crispseg.evaluation import Scores
    from crispseg.models import Segmenter

__all__ = ["evaluate"]

_ENCODINGS = ("raw-ids", "train-ids", "colours")
_WRITTEN = ("images.jsonl", "scores.json", "scores.md", "report.html")


def evaluate(
    model: Annotated[
        str | None, typer.Argument(help="A model folder, for instance [b]runs/NAME/model[/b].", show_default=False)
    ] = None,
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
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead of a model: a folder of predicted label images.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="DIR", help="The true label images of --predictions.")] = None,
    label_space: Annotated[
        str | None, typer.Option(metavar="NAME-or-YAML", help="The classes of --predictions and --labels.")
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(_ENCODINGS),
            help="What their pixels hold: ids of the label table, train ids (0 to K - 1), or the table's colours.",
            show_default=_ENCODINGS[0],
        ),
    ] = None,
    label_encoding: Annotated[
        str | None, typer.Option(help="The same of --labels alone.", show_default="as --encoding")
    ] = None,
    radii: Annotated[
        str | None,
        typer.Option(help="Radii of the boundary scores in pixels.", show_default="1,2,3,5, or the recipe's"),
    ] = None,
    crop_factors: Annotated[
        str | None,
        typer.Option(
            metavar="PX,…",
            help="Score IoU at distance as well, by these crops; 0,100,200,300,400 fit 1024×2048.",
            show_default="not scored",
        ),
    ] = None,
    crop_margin: Annotated[
        int | None,
        typer.Option(min=0, help="Pixels that those crops leave out at the sides and below.", show_default="100"),
    ] = None,
    instances: Annotated[
        bool | None,
        typer.Option(
            "--instances/--no-instances",
            help="Score instance-weighted IoU as Cityscapes does, from the instance files of --labels.",
            show_default="if there are any",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write images.jsonl, scores.json, scores.md and report.html here.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run in --out that was stopped.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what cannot be scored, and say how many.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="Threads that score.", show_default="one per core, four at most")
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of an image; larger ones are refused.",
            show_default="40 million, or the recipe's data.max_pixels",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …", show_default="a GPU where there is one")] = None,
) -> None:
    """Score a model, or any tool's label images, and print the table.

    With --predictions files pair by their names, in sub-folders as well. All that is wrong with them is said at once.
    """
    from crispseg.cli.scores import extra_tables, scores_table

    radii_px = None if radii is None else parse_radii(radii)
    if (model is None) == (predictions is None):
        raise ConfigError("what to score: name a model, or give --predictions with --labels and --label-space")
    of_folders: dict[str, Any] = {"--labels": labels, "--label-space": label_space}
    optional: dict[str, Any] = {"--encoding": encoding, "--label-encoding": label_encoding, "--instances": instances}
    options: dict[str, Any] = {"out": out, "resume": resume, "skip_bad": skip_bad, "workers": workers}
    options |= _crops(crop_factors, crop_margin)
    if predictions is not None:
        _refuse({"--data": data, "--layout": layout, "--set": set_, "--device": device}, "a model")
        if missing := [name for name, value in of_folders.items() if value is None]:
            raise ConfigError(f"--predictions needs {' and '.join(missing)} as well")
        title = f"{predictions} against {labels}"
        options |= {} if max_pixels is None else {"max_pixels": max_pixels}
        score = _of_folders(predictions, labels, label_space, encoding, label_encoding, radii_px)
        options["instances"] = instances
    else:
        assert model is not None
        _refuse(of_folders | optional, "--predictions")
        changes = [*(set_ or []), *([] if max_pixels is None else [f"data.max_pixels={max_pixels}"])]
        title, score = _of_model(model, data, layout, split, changes, device, radii_px, recorded=out is not None)

    with make_progress() as progress:
        task = progress.add_task("scoring", total=None)
        reached: list[tuple[int, int]] = []

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)
            reached[:] = [(done, total)]

        try:
            scores = score(progress=show, **options)
        except KeyboardInterrupt:
            if out is not None and reached:
                print_error(
                    f"stopped after {reached[0][0]} of {reached[0][1]} images; the same command with --resume goes on"
                )
            raise

    console = out_console()
    for table in (scores_table(scores, f"{title}, in %"), *extra_tables(scores)):
        print_table(console, table)
    if scores.skipped:
        console.print(
            f"{scores.skipped} images skipped" + (f", see {out / 'problems.txt'}" if out else ""), soft_wrap=True
        )
    if out is not None:
        console.print(f"written: {', '.join(str(out / name) for name in _WRITTEN)}", soft_wrap=True)


def parse_radii(text: str) -> tuple[float, ...]:
    """Read ``"1,2.5"``; whole numbers stay whole.

    Raises:
        ConfigError: unless every part is a number that is not negative.

    Example:
        >>> parse_radii("3,2.5")
        (3, 2.5)
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 <= value < float("inf") for value in values):
        raise ConfigError(f"--radii {text}: numbers ≥ 0 with commas between them expected, as in 3,5,9,12")
    return tuple(int(value) if value.is_integer() else value for value in values)


def _crops(factors: str | None, margin_px: int | None) -> dict[str, Any]:
    """The arguments of IoU at distance; none where it is not asked for."""
    if factors is None:
        if margin_px is not None:
            raise ConfigError(f"--crop-margin {margin_px}: of use with --crop-factors only; give both, or leave it out")
        return {}
    parts = [part.strip() for part in factors.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(
            f"--crop-factors {factors}: whole pixels ≥ 0 with commas between them expected, as in 0,100,200,300,400"
        )
    margin = {} if margin_px is None else {"crop_margin_px": margin_px}
    return {"crop_factors_px": tuple(int(part) for part in parts), **margin}


def _refuse(options: dict[str, Any], belong_to: str) -> None:
    """Options that would be ignored are errors."""
    if given := [name for name, value in options.items() if value is not None]:
        raise ConfigError(f"{' and '.join(given)}: of use with {belong_to} only; leave out what does not belong")


def _of_folders(
    predictions: Path,
    labels: Path | None,
    label_space: str | None,
    encoding: str | None,
    label_encoding: str | None,
    radii_px: tuple[float, ...] | None,
) -> Callable[..., Scores]:
    from functools import partial

    from crispseg.evaluation import evaluate_folders

    assert labels is not None
    assert label_space is not None
    for name, asked in (("--encoding", encoding), ("--label-encoding", label_encoding)):
        if asked is not None and asked not in _ENCODINGS:
            raise ConfigError(f"{name} {asked}: {nearest_name(asked, _ENCODINGS)}")
    chosen: Any = {"encoding": encoding or _ENCODINGS[0], "label_encoding": label_encoding}
    return partial(evaluate_folders, predictions, labels, label_space, radii_px or (1, 2, 3, 5), **chosen)


def _of_model(
    model: str,
    data: str | None,
    layout: str | None,
    split: str,
    overrides: Sequence[str],
    device: str | None,
    radii_px: tuple[float, ...] | None,
    recorded: bool,
) -> tuple[str, Callable[..., Scores]]:
    from functools import partial

    from crispseg.data import build_dataset
    from crispseg.evaluation import evaluate as score
    from crispseg.inference import Predictor
    from crispseg.models import load_model

    network = load_model(model, device=choose_device(device))
    recipe = _recipe(model, data, layout, overrides)
    dataset = build_dataset(recipe.data, split, augment=False)
    options = recipe.evaluate
    predictor = Predictor(network, scales=options.scales, flip=options.flip, window_hw=options.window_hw)
    source = {
        "kind": "model",
        "model": model,
        "weights": _fingerprint(network) if recorded else None,  # reads all weights, and only records ask for it
        "split": split,
        "data": recipe.data.model_dump(mode="json", exclude={"workers", "cache", "max_pixels"}),
        "scales": list(options.scales),
        "flip": options.flip,
        "window_hw": options.window_hw,
    }
    title = f"{model} on {recipe.data.own_split(split)} of {recipe.data.root or recipe.data.layout}"
    return title, partial(score, predictor, dataset, radii_px or options.radii_px, source=source)


def _fingerprint(network: Segmenter) -> str:
    """Of all weights, so that a run does not go on with others."""
    import hashlib

    import torch

    digest = hashlib.blake2b(digest_size=8)
    for name, values in network.state_dict().items():
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _recipe(model: str, data: str | None, layout: str | None, overrides: Sequence[str]) -> Recipe:
    """The recipe whose sections ``data`` and ``evaluate`` say what to score on and how."""
    from crispseg.config import DataConfig, Recipe
    from crispseg.recipes import load_recipe, override

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
    return override(recipe, overrides)


def _trained_recipe(model: str) -> Recipe | None:
    """What a model folder on disk says that it was trained with."""
    from crispseg.config import Recipe
    from crispseg.models import saved_card

    values = saved_card(model)["recipe"] if Path(model).exists() else None
    return None if values is None else Recipe.model_validate(values)
