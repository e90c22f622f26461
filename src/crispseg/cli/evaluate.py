"""``crispseg evaluate``: every score of a model on a labelled set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from crispseg.cli.console import print_warning
from crispseg.cli.model import Compile, Device, ScoredPrecision
from crispseg.cli.score import score as score_masks
from crispseg.cli.scoring import (
    AbsentRule,
    Browse,
    CropFactors,
    CropMargin,
    MaxPixels,
    Out,
    Radii,
    Resume,
    ScoreNames,
    SkipBad,
    Workers,
    parse_absent,
    parse_crops,
    parse_radii,
    parse_scores,
    score_and_show,
)
from crispseg.errors import ConfigError
from crispseg.registry import LAYOUTS

if TYPE_CHECKING:
    from crispseg.config import Recipe
    from crispseg.evaluation import Scores
    from crispseg.inference import ExportedModel
    from crispseg.models import Segmenter

__all__ = ["data_recipe", "evaluate"]


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(help="A model folder, as [b]runs/NAME/model[/b], or an exported file.", show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE-or-ROOT", help="A recipe, or a folder of data.", show_default="the model's recipe"
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=f"How the files of ROOT lie: {', '.join(LAYOUTS)}.", show_default="the model's"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, or a folder's name.")] = "val",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="A.B=C", help="Change one value, such as evaluate.flip=true; may be given often."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Instead of a model, masks: what [b]crispseg score[/b] does now."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(hidden=True)] = None,
    label_space: Annotated[str | None, typer.Option(hidden=True)] = None,
    encoding: Annotated[str | None, typer.Option(hidden=True)] = None,
    label_encoding: Annotated[str | None, typer.Option(hidden=True)] = None,
    instances: Annotated[bool | None, typer.Option("--instances/--no-instances", hidden=True)] = None,
    radii: Radii = None,
    scores: ScoreNames = None,
    absent: AbsentRule = None,
    crop_factors: CropFactors = None,
    crop_margin: CropMargin = None,
    out: Out = None,
    browse: Browse = False,
    resume: Resume = False,
    skip_bad: SkipBad = False,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
    device: Device = None,
    precision: ScoredPrecision = None,
    compile: Compile = False,
) -> None:
    """Score a model, and print the table. For masks of any tool see [b]crispseg score[/b].

    Networks compute in float32, whatever is fast here, so that scores are the same on every machine.
    """
    if (model is None) == (predictions is None):
        raise ConfigError("what to score: name a model, or give --predictions with --labels and --label-space")
    of_masks: dict[str, Any] = {"encoding": encoding, "label_encoding": label_encoding, "instances": instances}
    options: dict[str, Any] = {"browse": browse, "resume": resume, "skip_bad": skip_bad, "workers": workers}
    if predictions is not None:
        of_models = {"--data": data, "--layout": layout, "--set": set_, "--device": device, "--precision": precision}
        _refuse(of_models | {"--compile": compile or None}, "a model")
        if labels is None or label_space is None:
            missing = [name for name, value in (("--labels", labels), ("--label-space", label_space)) if value is None]
            raise ConfigError(f"--predictions needs {' and '.join(missing)} as well")
        options |= {"radii": radii, "crop_factors": crop_factors, "crop_margin": crop_margin, "max_pixels": max_pixels}
        options |= {"absent": absent, "scores": scores}
        score_masks(predictions, labels, label_space, out=out, **of_masks, **options)
        return
    assert model is not None
    of_masks |= {"labels": labels, "label_space": label_space}
    _refuse({f"--{name.replace('_', '-')}": value for name, value in of_masks.items()}, "--predictions")
    crops = parse_crops(crop_factors, crop_margin)
    radii_px = None if radii is None else parse_radii(radii)
    changes = [*(set_ or []), *([] if max_pixels is None else [f"data.max_pixels={max_pixels}"])]
    if absent is not None:
        changes.append(f"evaluate.absent={parse_absent(absent)}")
    if scores is not None:
        changes.append(f"evaluate.scores=[{','.join(parse_scores(scores))}]")
    computing = _Computing(device, precision or "float32", compile)
    title, score = _of_model(model, data, layout, split, changes, computing, radii_px, recorded=out is not None)
    score_and_show(score, title, out, **options, **crops)


class _Computing(NamedTuple):
    """Where and how a network computes."""

    device: str | None
    precision: str
    compile: bool


def _refuse(options: dict[str, Any], belong_to: str) -> None:
    """Options that would be ignored are errors."""
    if given := [name for name, value in options.items() if value is not None]:
        raise ConfigError(f"{' and '.join(given)}: of use with {belong_to} only; leave out what does not belong")


def _of_model(
    model: str,
    data: str | None,
    layout: str | None,
    split: str,
    overrides: Sequence[str],
    computing: _Computing,
    radii_px: tuple[float, ...] | None,
    recorded: bool,
) -> tuple[str, Callable[..., Scores]]:
    from dataclasses import replace
    from functools import partial

    from crispseg.cli.model import open_model
    from crispseg.data.labelled import open_labelled
    from crispseg.data.plausible import odd_samples
    from crispseg.data.records import FileSource
    from crispseg.evaluation import evaluate as score
    from crispseg.inference import Predictor
    from crispseg.inference.fingerprint import fingerprint
    from crispseg.inference.images import reading_of

    network = open_model(model, computing.device, computing.precision)
    recipe = data_recipe(model, _trained_recipe(model, network), data, layout, overrides)
    dataset = open_labelled(recipe.data, split)
    own = reading_of(network)
    if isinstance(dataset.source, FileSource) and recipe.data.bands is None and recipe.data.stored_range is None:
        dataset.source.reading = replace(own, upright=dataset.source.reading.upright)  # as the model was trained
    for odd in odd_samples({recipe.data.own_split(split): dataset.source}, dataset.label_space, recipe.data.exif):
        print_warning(odd.detail)
    options = recipe.evaluate
    predictor = Predictor(
        network,
        scales=options.scales,
        flip=options.flip,
        window_hw=options.window_hw,
        class_bias=options.class_bias,
        precision=computing.precision,
        compile=computing.compile,
    )
    source = {
        "kind": "model",
        "model": model,
        "weights": fingerprint(network) if recorded else None,  # reads all weights, and only records ask for it
        "split": split,
        "data": recipe.data.model_dump(mode="json", exclude={"workers", "cache", "max_pixels"}),
        "scales": list(options.scales),
        "flip": options.flip,
        "window_hw": options.window_hw,
        "precision": predictor.precision,
        **({"class_bias": options.class_bias} if options.class_bias else {}),  # so that earlier runs can go on
    }
    title = f"{model} on {recipe.data.own_split(split)} of {recipe.data.root or recipe.data.layout}"
    radii_px = radii_px or options.radii_px
    return title, partial(
        score, predictor, dataset, radii_px, source=source, absent=options.absent, scores=options.scores
    )


def data_recipe(
    model: str, trained: Recipe | None, data: str | None, layout: str | None, overrides: Sequence[str]
) -> Recipe:
    """The recipe whose sections ``data`` and ``evaluate`` say what to score on and how.

    Args:
        model: as the user named it, for errors.
        trained: the model's own recipe, if it holds one.
        data: a recipe, or a folder of data; None: the model's recipe.
        layout: how the files of that folder lie.
        overrides: of single values, as ``a.b=c``.

    Raises:
        ConfigError: if those do not say what to score on, or do not belong together.
    """
    from crispseg.config import DataConfig, Recipe
    from crispseg.recipes import load_recipe, override

    if data is not None and not Path(data).is_dir() and not data.lower().endswith(".json"):
        if layout is not None:
            raise ConfigError(
                f"--layout {layout}: belongs to a folder of data, but --data {data} is a recipe; leave it out"
            )
        return load_recipe(data, overrides)
    if data is None:
        if trained is None:
            raise ConfigError(f"{model} holds no recipe that names its data; give --data, a recipe or a folder")
        recipe = trained
    elif trained is not None and layout in (None, trained.data.layout):
        recipe = trained.model_copy(update={"data": trained.data.model_copy(update={"root": data})})
    else:
        if layout is None:
            from crispseg.data.recognise import recognise

            layout = recognise(data).layout
        recipe = Recipe(data=DataConfig(layout=layout, root=data))
    return override(recipe, overrides)


def _trained_recipe(model: str, network: Segmenter | ExportedModel) -> Recipe | None:
    """What a model folder on disk, or an exported file, says that it was trained with."""
    from crispseg.config import Recipe
    from crispseg.inference import ExportedModel

    if isinstance(network, ExportedModel):
        values = network.card.model.get("recipe")
        return None if values is None else Recipe.model_validate(values)
    from crispseg.models import saved_recipe

    return saved_recipe(model) if Path(model).exists() else None
