"""What ``crispseg evaluate`` and ``crispseg score`` share: their options, and the showing and writing of scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crispseg.cli.console import make_progress, out_console, print_table
from crispseg.errors import ConfigError
from crispseg.stopping import StopSignals

if TYPE_CHECKING:
    from crispseg.evaluation import Scores
    from crispseg.evaluation.scoring import Evaluation
    from crispseg.metrics.functional.arrays import Absent
    from crispseg.pages.browse import BrowsePage

__all__ = [
    "AbsentRule",
    "Browse",
    "CropFactors",
    "CropMargin",
    "MaxPixels",
    "Out",
    "Radii",
    "Resume",
    "ScoreNames",
    "SkipBad",
    "Workers",
    "parse_absent",
    "parse_crops",
    "parse_radii",
    "parse_scores",
    "score_and_show",
]

_WRITTEN = ("images.jsonl", "scores.json", "scores.md", "report.html")

Radii = Annotated[
    str | None, typer.Option(help="Radii of the boundary scores in pixels.", show_default="1,2,3,5, or the recipe's")
]
AbsentRule = Annotated[
    str | None,
    typer.Option(
        "--absent",
        metavar="skip|one",
        help="What boundary F makes of classes that an image lacks: skips them, or counts them 1, as the papers' code.",
        show_default="skip, or the recipe's",
    ),
]
ScoreNames = Annotated[
    str | None,
    typer.Option(
        "--scores",
        metavar="NAME,…",
        help="Only these scores, such as iou,boundary_f: what they do not need is not counted.",
        show_default="all, or the recipe's",
    ),
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
Browse = Annotated[
    bool,
    typer.Option("--browse", help="Write browse.html here as well: all images with their errors, to sort and filter."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run in --out that was stopped.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be scored, and say how many.")]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1, help="Of an image; larger ones are refused.", show_default="40 million, or the recipe's data.max_pixels"
    ),
]
Workers = Annotated[int | None, typer.Option(help="Threads that score.", show_default="one per core, four at most")]


def score_and_show(
    score: Callable[..., Scores], title: str, out: Path | None, *, browse: bool = False, **options: Any
) -> None:
    """Run an evaluation behind a progress bar, print its tables, and write its pages.

    Args:
        score: `evaluate` or `evaluate_folders` with what is scored.
        title: of the table.
        out: where files go; None: nowhere.
        browse: whether the page of all images is written as well.
        options: the other arguments of `score`.
    """
    from crispseg.cli.scores import extra_tables, scores_table

    if out is None and browse:
        raise ConfigError("--browse writes a page of all images; name a folder for it as well (--out)")
    written: tuple[str, ...] = _WRITTEN
    if out is not None:
        options["report"] = partial(_write_pages, out)
    if out is not None and browse:
        from crispseg.pages.browse import BrowsePage

        page = BrowsePage(out)
        options |= {"report": partial(_write_pages, out, page=page), "watch": page.draw}
        written = (*_WRITTEN, page.address)
    reached = "nothing is scored yet"

    def what_stands() -> str:
        can_resume = out is not None and (out / _WRITTEN[0]).exists()
        return f"{reached}; the same command {'with --resume goes on' if can_resume else 'begins anew'}"

    with StopSignals(what_stands), make_progress() as progress:
        task = progress.add_task("scoring", total=None)

        def show(done: int, total: int) -> None:
            nonlocal reached
            progress.update(task, completed=done, total=total)
            reached = f"{done} of {total} images are scored"

        scores = score(progress=show, out=out, **options)

    console = out_console()
    for table in (scores_table(scores, f"{title}, in %"), *extra_tables(scores)):
        print_table(console, table)
    if scores.skipped:
        console.print(
            f"{scores.skipped} images skipped" + (f", see {out / 'problems.txt'}" if out else ""), soft_wrap=True
        )
    if out is not None:
        console.print(f"written: {', '.join(str(out / name) for name in written)}", soft_wrap=True)


def _write_pages(out: Path, evaluation: Evaluation, page: BrowsePage | None = None) -> None:
    from crispseg.pages.evaluation import write_pages

    if page is not None:
        page.write(evaluation)
    write_pages(evaluation, out, all_images=None if page is None else page.address)


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


def parse_scores(text: str) -> tuple[str, ...]:
    """Read ``"iou,boundary_f"``.

    Raises:
        ConfigError: if a name is unknown.

    Example:
        >>> parse_scores("boundary_f,iou")
        ('iou', 'boundary_f')
    """
    from crispseg.metrics.table import choose_scores

    return choose_scores([part.strip() for part in text.split(",")])


def parse_absent(text: str) -> Absent:
    """Read ``"skip"`` or ``"one"``.

    Raises:
        ConfigError: if it is another word.
    """
    if text == "one":
        return "one"
    if text == "skip":
        return "skip"
    raise ConfigError(f"--absent {text}: skip or one expected")


def parse_crops(factors: str | None, margin_px: int | None) -> dict[str, Any]:
    """The arguments of IoU at distance; none where it is not asked for."""
    if factors is None:
        if margin_px is not None:
            raise ConfigError(f"--crop-margin {margin_px}: of use with --crop-factors only; give both, or leave it out")
        return {}
    from crispseg.parsing import parse_whole

    found = [parse_whole(part.strip()) for part in factors.split(",")]
    if None in found:
        raise ConfigError(
            f"--crop-factors {factors:.100}: whole pixels ≥ 0 with commas between them expected, as in "
            "0,100,200,300,400"
        )
    margin = {} if margin_px is None else {"crop_margin_px": margin_px}
    return {"crop_factors_px": tuple(found), **margin}
