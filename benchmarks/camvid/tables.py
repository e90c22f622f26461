"""From the results of run.py to the tables and curves of docs/results/camvid.md, between its marks.

    python benchmarks/camvid/tables.py [--results docs/results/camvid/results] [--page docs/results/camvid.md]

Rows without a result say "not run". Results of another recipe than the row's are refused.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from curves import Curve, plot_curves
from rows import PROTOCOLS, RESULTS, ROWS, THIN_CLASSES, jobs_of, other_values, recipe_of

from crispseg.config import Recipe
from crispseg.errors import CrispsegError, DataError
from crispseg.evaluation import compare
from crispseg.io import atomic_write, write_png

MARKS = ("<!-- tables -->", "<!-- /tables -->")
NOT_RUN = "not run"
RADII_PX = ("1", "2", "3", "5")
BLOCK = 10  # neighbouring images that are drawn together: they show the same street

Result = dict[str, Any]
Results = dict[str, dict[int, Result]]
"""By row and seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=Path("docs/results/camvid.md"))
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as it was given to run.py")
    arguments = parser.parse_args()
    try:
        text = all_sections(arguments.results, arguments.page, arguments.resamples, arguments.set)
        put_between_marks(arguments.page, text)
    except CrispsegError as error:
        sys.exit(f"error: {error}")


def all_sections(folder: Path, page: Path, resamples: int = 2000, overrides: Sequence[str] = ()) -> str:
    """The Markdown of every protocol and backbone; curves are drawn into a folder beside the page."""
    parts = [f"**Trial with changed values, not the protocol: {', '.join(overrides)}.**\n"] if overrides else []
    sections = [
        (name, backbone, load_results(folder, name, backbone, overrides))
        for name, protocol in PROTOCOLS.items()
        for backbone in protocol.backbones
    ]
    for name, backbone, results in sorted(sections, key=lambda section: not section[2]):  # what was run comes first
        protocol = PROTOCOLS[name]
        parts.append(f"### {protocol.title}: {backbone}\n\nIn all rows {protocol.start}. {_run_on(results)}\n")
        parts.append(score_table(results, protocol.rows))
        if not results:
            continue
        parts.append(f"IoU of the thin classes, {protocol.start}, in %:\n\n{thin_table(results, protocol.rows)}")
        parts.append(f"Against the baseline:\n\n{difference_table(results, protocol.rows, resamples)}")
        if curves := _curves(results):
            picture = page.with_suffix("") / f"curves_{name}_{backbone}.png"
            write_png(picture, plot_curves(curves))
            caption = "Validation mean IoU over epochs, the mean over seeds; single seeds are fainter"
            parts.append(f"![{caption}]({picture.parent.name}/{picture.name})\n")
    return "\n".join(parts)


def load_results(folder: Path, protocol: str, backbone: str, overrides: Sequence[str] = ()) -> Results:
    """What there is of one protocol and backbone.

    Raises:
        DataError: if a result is broken, or of another recipe or other images than the rest.
    """
    results: Results = {}
    images: dict[str, Path] = {}
    for path in sorted((folder / protocol / backbone).glob("*/seed*/result.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            row, seed, found = result["row"], int(result["seed"]), Recipe.model_validate(result["recipe"])
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}: no result of run.py ({error}); remove it and run the row again") from error
        if row not in PROTOCOLS[protocol].rows:
            raise DataError(f"{path}: row {row!r} is not one of the protocol's; remove it")
        job = jobs_of(protocol, [backbone], [row], [seed])[0]
        if different := other_values(found, recipe_of(job, "", overrides)):
            listed = "; ".join(f"{key} is {was!r}, {now!r} expected" for key, (was, now) in different.items())
            raise DataError(f"{path}: trained otherwise than its row says: {listed}; remove it and run the row again")
        images.setdefault(json.dumps(result["images"]), path)
        results.setdefault(row, {})[seed] = {**result, "path": path.parent}
    if len(images) > 1:
        first, second, *_ = images.values()
        raise DataError(f"{first} and {second}: trained on different image files; run all rows on the same ones")
    return results


def score_table(results: Results, rows: Sequence[str]) -> str:
    """Mean IoU and boundary F with their deviation over seeds, and what a row costs."""
    columns: dict[str, Callable[[Result], float | None]] = {"mIoU": lambda result: result["scores"]["mean_iou"]}
    for radius in RADII_PX:
        columns[f"F {radius} px"] = lambda result, radius=radius: result["scores"]["mean_boundary_f"].get(radius)
    costs: dict[str, Callable[[Sequence[Result]], str]] = {
        "parameters, M": lambda runs: f"{runs[0]['parameters'] / 1e6:.2f}",
        "GMACs": lambda runs: f"{runs[0]['gmacs']:.1f}",
        "s a step": lambda runs: _median_of(runs, lambda run: run["seconds_per_step"]["median"], "{:.3f}"),
        "peak memory, GB": lambda runs: _median_of(runs, lambda run: run["peak_memory"]["bytes"] / 1e9, "{:.2f}"),
    }
    table = [["row", "seeds", *columns, *costs]]
    for row in rows:
        runs = _finished(results, row)
        if not runs:
            table.append([ROWS[row].title, *_instead(results, row, len(columns) + len(costs) + 1)])
            continue
        values = [spread([column(run) for run in runs]) for column in columns.values()]
        seeds = str(len(runs)) + (f" + {failed} failed" if (failed := len(results[row]) - len(runs)) else "")
        table.append([ROWS[row].title, seeds, *values, *(cost(runs) for cost in costs.values())])
    return _markdown(table)


def thin_table(results: Results, rows: Sequence[str]) -> str:
    """IoU of the classes that are a few pixels wide."""
    table = [["row", *THIN_CLASSES]]
    for row in rows:
        runs = _finished(results, row)
        values = [spread([run["scores"]["iou"][name] for run in runs]) for name in THIN_CLASSES]
        table.append([ROWS[row].title, *(values if runs else _instead(results, row, len(THIN_CLASSES)))])
    return _markdown(table)


def difference_table(results: Results, rows: Sequence[str], resamples: int) -> str:
    """What a row adds to its baseline: for each seed with its paired interval over images, then over the seeds."""
    table = [["row", "against", "seed", "mIoU", *(f"F {radius} px" for radius in RADII_PX)]]
    for row in rows:
        baseline = ROWS[row].baseline
        if baseline is None or baseline not in rows:
            continue
        names = [ROWS[row].title, ROWS[baseline].title]
        ours, theirs = (_finished(results, name) for name in (row, baseline))
        pairs = [(one, other) for one in ours for other in theirs if one["seed"] == other["seed"]]
        if not pairs:
            table.append([*names, NOT_RUN, *[""] * (1 + len(RADII_PX))])
            continue
        found: list[list[float]] = []
        for one, other in pairs:
            block = BLOCK if one["scores"]["images"] >= 2 * BLOCK else None  # a trial of the chain has few images
            entries = [
                entry
                for entry in compare([other["path"], one["path"]], resamples, group_by=block).differences
                if entry.class_name is None and entry.crop_factor_px is None
            ]
            found.append([entry.difference for entry in entries])
            cells = [
                f"{_signed(entry.difference)} ({_signed(entry.low)} to {_signed(entry.high)})"
                + ("*" if entry.excludes_zero else "")
                for entry in entries
            ]
            table.append([*names, str(one["seed"]), *cells])
        if len(pairs) > 1:
            over_seeds = [spread(list(values), _signed) for values in zip(*found, strict=True)]
            table.append([*names, f"mean of {len(pairs)}", *over_seeds])
    return _markdown(table)


def spread(shares: Sequence[float | None], show: Callable[[float], str] = lambda share: f"{100 * share:.1f}") -> str:
    """Mean ± sample standard deviation in per cent; the value alone where there is one.

    Example:
        >>> spread([0.5, 0.52]), spread([0.5]), spread([None, 0.5])
        ('51.0 ± 1.4', '50.0', '–')
    """
    known = [share for share in shares if share is not None and not math.isnan(share)]
    if not known or len(known) < len(shares):
        return "–"
    if len(known) == 1:
        return show(known[0])
    return f"{show(statistics.mean(known))} ± {100 * statistics.stdev(known):.1f}"


def put_between_marks(page: Path, text: str) -> None:
    """Replace what stands between the page's marks.

    Raises:
        DataError: if the page does not have both, once and in order.
    """
    whole = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, first, rest = whole.partition(MARKS[0])
    _, second, after = rest.partition(MARKS[1])
    if not first or not second or any(whole.count(mark) != 1 for mark in MARKS):
        raise DataError(
            f"{page}: the marks {MARKS[0]} and {MARKS[1]}, once each, expected; put them where tables belong"
        )
    with atomic_write(page) as temporary:
        temporary.write_text(f"{before}{MARKS[0]}\n{text.strip()}\n{MARKS[1]}{after}", encoding="utf-8")


def _finished(results: Results, row: str) -> list[Result]:
    return [run for _, run in sorted(results.get(row, {}).items()) if "failed" not in run]


def _instead(results: Results, row: str, cells: int) -> list[str]:
    """Of a row without scores."""
    failed = [f"seed {seed}: {run['failed']}" for seed, run in sorted(results.get(row, {}).items())]
    return [f"failed: {'; '.join(failed)}" if failed else NOT_RUN, *[""] * (cells - 1)]


def _median_of(runs: Sequence[Result], of: Callable[[Result], float | None], form: str) -> str:
    known = [value for run in runs if (value := of(run)) is not None]
    return form.format(statistics.median(known)) if known else "–"


def _run_on(results: Results) -> str:
    """Machines, versions, sources and hours, each once."""
    runs = [run for by_seed in results.values() for run in by_seed.values()]
    if not runs:
        return "No row has been run yet."
    machines = {
        f"{(on := run['hardware'])['gpu'] or on['cpu']}, {on['threads']} thread{'s' * (on['threads'] != 1)}": None
        for run in runs
    }
    memory = {run["peak_memory"]["of"]: None for run in runs if "peak_memory" in run}
    torches = {f"torch {run['versions']['torch']}": None for run in runs}
    commits = {_short(run["commit"] or "unknown"): None for run in runs}
    images = runs[0]["images"]
    form = images if isinstance(images, str) else f"{images['image_format']}, PSNR {images['psnr_db_mean']} dB"
    hours = sum(run.get("seconds", 0) for run in runs) / 3600
    return (
        f"{'; '.join(machines)}; {', '.join(torches)}; sources {', '.join(commits)}; images: {form}; {hours:.1f} hours "
        f"in all. Peak memory: {', '.join(memory) or '–'}."
    )


def _short(commit: str) -> str:
    return commit[:12] + "-dirty" * commit.endswith("-dirty")


def _curves(results: Results) -> Mapping[str, list[Curve]]:
    """Validation mean IoU by epoch, of each seed of each row."""
    curves = {}
    for row in ROWS:
        runs = [
            {line["epoch"]: line["mean_iou"] for line in run["curve"] if line.get("mean_iou") is not None}
            for run in _finished(results, row)
        ]
        if runs := [run for run in runs if run]:
            curves[ROWS[row].title] = runs
    return curves


def _signed(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:+.1f}".replace("-", "−")


def _markdown(table: Sequence[Sequence[str]]) -> str:
    """The first column stands left, the others right."""
    head, *rest = [[cell.replace("|", "\\|") for cell in line] for line in table]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rest]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
