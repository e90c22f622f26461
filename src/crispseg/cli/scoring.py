"""What ``crispseg evaluate`` and ``crispseg score`` share: their options, and the showing and writing of scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crispseg.cli.console import make_progress, out_console, print_error, print_table
from crispseg.errors import ConfigError
from crispseg.wording import nearest_name

if TYPE_CHECKING:
    from crispseg.evaluation import Scores

__all__ = [
    "CropFactors",
    "CropMargin",
    "MaxPixels",
    "Out",
    "Radii",
    "Resume",
    "SkipBad",
    "Workers",
    "parse_crops",
    "parse_radii",
    "score_and_show",
    "score_folders",
]

_WRITTEN = ("images.jsonl", "scores.json", "scores.md", "report.html")
_RADII_PX = (1, 2, 3, 5)

Radii = Annotated[
    str | None, typer.Option(help="Radii of the boundary scores in pixels.", show_default="1,2,3,5, or the recipe's")
]
CropFactors = Annotated[
    str | None,
    typer.Option(
        metavar="PX,…",
        help="Score IoU at distance as well, by these crops; 0,100,200,300,400 fit 1024×2048.",
        show_default="not scored",
    ),
]
CropMargin = Annotated[
    int | None,
    typer.Option(min=0, help="Pixels that those crops leave out at the sides and below.", show_default="100"),
]
Out = Annotated[Path | None, typer.Option(help=f"Write {', '.join(_WRITTEN[:-1])} and {_WRITTEN[-1]} here.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run in --out that was stopped.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be scored, and say how many.")]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1, help="Of an image; larger ones are refused.", show_default="40 million, or the recipe's data.max_pixels"
    ),
]
Workers = Annotated[int | None, typer.Option(help="Threads that score.", show_default="one per core, four at most")]


def score_folders(
    predictions: Path,
    labels: Path,
    label_space: str,
    encoding: str | None,
    label_encoding: str | None,
    instances: bool | None,
    radii: str | None,
    crops: dict[str, Any],
    max_pixels: int | None,
    **options: Any,
) -> None:
    """Score the masks of a folder and show it; `crops` and `options` are those of `score_and_show`."""
    from crispseg.data.encodings import ENCODINGS
    from crispseg.evaluation import evaluate_folders

    for name, asked in (("--encoding", encoding), ("--label-encoding", label_encoding)):
        if asked is not None and asked not in ENCODINGS:
            raise ConfigError(f"{name} {asked}: {nearest_name(asked, ENCODINGS)}")
    chosen: Any = {"encoding": encoding or ENCODINGS[0], "label_encoding": label_encoding, "instances": instances}
    if max_pixels is not None:
        chosen["max_pixels"] = max_pixels
    radii_px = _RADII_PX if radii is None else parse_radii(radii)
    score = partial(evaluate_folders, predictions, labels, label_space, radii_px, **chosen)
    score_and_show(score, f"{predictions} against {labels}", crops, **options)


def score_and_show(
    score: Callable[..., Scores],
    title: str,
    crops: dict[str, Any],
    *,
    out: Path | None,
    resume: bool,
    skip_bad: bool,
    workers: int | None,
) -> None:
    """Run an evaluation behind a progress bar, print its tables, and write its pages.

    Args:
        score: `evaluate` or `evaluate_folders` with what is scored.
        title: of the table.
        crops: of `parse_crops`.
        out: as typed, and so the others; see the options above.
        resume: see there.
        skip_bad: see there.
        workers: see there.
    """
    from crispseg.cli.scores import extra_tables, scores_table

    options: dict[str, Any] = {"out": out, "resume": resume, "skip_bad": skip_bad, "workers": workers}
    options |= crops
    if out is not None:
        options["report"] = partial(_write_pages, out)
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


def _write_pages(out: Path, evaluation: Any) -> None:
    from crispseg.pages.evaluation import write_pages

    write_pages(evaluation, out)


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


def parse_crops(factors: str | None, margin_px: int | None) -> dict[str, Any]:
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
