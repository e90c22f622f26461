"""``crispseg compare``: whether evaluations of the same images differ by more than chance."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crispseg.cli.console import make_progress, out_console, print_table
from crispseg.cli.scoring import AbsentRule, parse_absent, parse_scores
from crispseg.errors import ConfigError

if TYPE_CHECKING:
    from crispseg.evaluation import Comparison
    from crispseg.pictures import Drawn

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more folders of [b]crispseg evaluate … --out[/b]; the others are held against the first."
        ),
    ],
    resamples: Annotated[int, typer.Option(min=1, help="How often images are drawn anew.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    common: Annotated[bool, typer.Option("--common", help="Compare on the images that all runs have.")] = False,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="N|PATTERN",
            help="Draw groups instead of single images: blocks of N neighbours by name, or images in whose names the "
            "regular expression finds the same, e.g. [b]'^[^_]+'[/b].",
        ),
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…", help="Compare only these: iou, boundary_f, distance_iou.", show_default="what all have"
        ),
    ] = None,
    absent: AbsentRule = None,
    out: Annotated[Path | None, typer.Option(help="Write compare.json and compare.md here.")] = None,
    browse: Annotated[
        bool,
        typer.Option(
            "--browse",
            help="Write browse.html here as well: the runs image by image, beside each other; each needs its own.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png|pdf|svg", help="Plot mIoU at distance, of runs with the same [b]--crop-factors[/b]."
        ),
    ] = None,
    plot_f: Annotated[
        Path | None,
        typer.Option("--plot-f", metavar="FILE.png|pdf|svg", help="Plot mean boundary F over its radius."),
    ] = None,
) -> None:
    """Compare scores of the same images: differences per class, with 95 % intervals from a paired bootstrap."""
    from crispseg.cli.scores import comparison_table
    from crispseg.evaluation import compare as compare_runs
    from crispseg.io import atomic_write

    for option, path in (("--plot", plot), ("--plot-f", plot_f)):
        if path is not None and path.suffix.lower() not in _PLOTS:
            raise ConfigError(f"{option} {path}: a name that ends in {', '.join(_PLOTS)} expected")
    if browse and out is None:
        raise ConfigError("--browse writes a page of all images; name a folder for it as well (--out)")

    rule = "skip" if absent is None else parse_absent(absent)
    with make_progress() as progress:
        task = progress.add_task("comparing", total=None)
        comparison = compare_runs(
            runs,
            resamples,
            seed,
            common=common,
            group_by=int(group_by) if group_by is not None and re.fullmatch("[0-9]{1,9}", group_by) else group_by,
            absent=rule,
            scores=None if scores is None else parse_scores(scores),
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    plots = [] if plot is None else [(plot, _distance_plot(comparison, plot))]
    plots += [] if plot_f is None else [(plot_f, _boundary_f_plot(comparison, plot_f))]
    written = ["compare.json", "compare.md"]
    if out is not None and browse:
        from crispseg.pages.browse import BrowsePage, write_comparison

        with make_progress() as progress:
            task = progress.add_task("gathering pictures", total=None)
            write_comparison(runs, out, rule, lambda done, total: progress.update(task, completed=done, total=total))
        written.append(BrowsePage.address)
    console = out_console()
    for run in comparison.runs[1:]:
        print_table(console, comparison_table(comparison, run))
    for path, drawn in plots:
        drawn.write(path)
        console.print(f"written: {path}", soft_wrap=True)
    if out is not None:
        for name, text in (("compare.json", comparison.to_json()), ("compare.md", comparison.to_markdown())):
            with atomic_write(out / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        console.print(f"written: {', '.join(str(out / name) for name in written)}", soft_wrap=True)


_PLOTS = (".png", ".pdf", ".svg")


def _boundary_f_plot(comparison: Comparison, path: Path) -> Drawn:
    from crispseg.pictures.plots import boundary_f_plot

    mean_f = comparison.mean_boundary_f()
    if not any(not math.isnan(share) for by_radius in mean_f.values() for share in by_radius.values()):
        raise ConfigError(f"--plot-f {path}: boundary F was not compared, or no class has any; see --scores")
    return boundary_f_plot(mean_f)


def _distance_plot(comparison: Comparison, path: Path) -> Drawn:
    from crispseg.pictures.plots import distance_plot

    mean_iou = comparison.mean_iou_at_distance()
    shares = [share for by_factor in mean_iou.values() for share in by_factor.values()]
    if not shares:
        raise ConfigError(
            f"--plot {path}: not all runs have IoU at distance with the same crops; evaluate each of them with the "
            "same --crop-factors first"
        )
    if all(math.isnan(share) for share in shares):
        raise ConfigError(
            f"--plot {path}: the images have no room for any of the crops; evaluate with smaller --crop-factors and a "
            "smaller --crop-margin"
        )
    return distance_plot(mean_iou)
