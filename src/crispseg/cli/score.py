"""``crispseg score``: every score of any tool's label images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

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
from crispseg.wording import nearest_name

__all__ = ["score"]


def score(
    predictions: Annotated[Path, typer.Argument(metavar="MASKS", help="A folder of predicted label images.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="The folder of the true ones.")],
    label_space: Annotated[
        str, typer.Option(metavar="NAME-or-YAML", help="Their classes: a packaged table, or a file.")
    ],
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="raw-ids|train-ids|colours",
            help="What their pixels hold: ids of the label table, train ids (0 to K - 1), or the table's colours.",
            show_default="raw-ids",
        ),
    ] = None,
    label_encoding: Annotated[
        str | None, typer.Option(help="The same of LABELS alone.", show_default="by their names, else as --encoding")
    ] = None,
    radii: Radii = None,
    scores: ScoreNames = None,
    absent: AbsentRule = None,
    crop_factors: CropFactors = None,
    crop_margin: CropMargin = None,
    instances: Annotated[
        bool | None,
        typer.Option(
            "--instances/--no-instances",
            help="Score instance-weighted IoU as Cityscapes does, from the instance files of LABELS.",
            show_default="if there are any",
        ),
    ] = None,
    out: Out = None,
    browse: Browse = False,
    resume: Resume = False,
    skip_bad: SkipBad = False,
    workers: Workers = None,
    max_pixels: MaxPixels = None,
) -> None:
    """Score any tool's masks against labels, and print the table.

    Files pair by their names, in sub-folders as well. All that is wrong with them is said at once.
    """
    from crispseg.data.encodings import ENCODINGS
    from crispseg.evaluation import evaluate_folders

    for name, asked in (("--encoding", encoding), ("--label-encoding", label_encoding)):
        if asked is not None and asked not in ENCODINGS:
            raise ConfigError(f"{name} {asked}: {nearest_name(asked, ENCODINGS)}")
    chosen: dict[str, Any] = {
        "encoding": encoding,
        "label_encoding": label_encoding,
        "radii_px": None if radii is None else parse_radii(radii),
        "scores": None if scores is None else parse_scores(scores),
        "absent": None if absent is None else parse_absent(absent),
        "max_pixels": max_pixels,
        **parse_crops(crop_factors, crop_margin),
    }
    score_and_show(
        partial(evaluate_folders, predictions, labels, label_space, instances=instances),
        f"{predictions} against {labels}",
        out,
        browse=browse,
        resume=resume,
        skip_bad=skip_bad,
        workers=workers,
        **{name: value for name, value in chosen.items() if value is not None},
    )
