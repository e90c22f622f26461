"""Scores and comparisons as tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from crispseg.evaluation import Scores

if TYPE_CHECKING:
    from crispseg.evaluation import Comparison

__all__ = ["comparison_table", "extra_tables", "scores_table"]


def scores_table(scores: Scores, title: str) -> Table:
    """The main scores in per cent: a row per class, and the mean above them; below them what has one value."""
    table = _table(title, scores.table_rows())
    table.caption = f"{scores.summary()}.{scores.rules()}"
    return table


def extra_tables(scores: Scores) -> list[Table]:
    """What was scored because it was asked for: categories, if there are instances, and IoU at distance."""
    tables = []
    if scores.category_iiou or (scores.chosen is not None and scores.category_iou):
        tables.append(_table("categories, in %", scores.category_rows()))
    if scores.distance_iou:
        table = _table("IoU at distance by crop factor in pixels, in %", scores.distance_rows())
        table.caption = f"IoU: {scores.averaging['distance_iou']}."
        tables.append(table)
    return tables


def comparison_table(comparison: Comparison, run: str) -> Table:
    """The differences of a run to the first, a section per score, those whose interval excludes 0 in bold."""
    head, *rows = comparison.table_rows(run)
    table = Table(title=f"{run} against {comparison.runs[0]}", title_justify="left", caption_justify="left")
    table.caption = comparison.note()
    for position, name in enumerate(head):
        table.add_column(name, justify="left" if position < 2 else "right", no_wrap=name.endswith("interval"))
    for index, row in enumerate(rows):
        if index and row[0] != rows[index - 1][0]:
            table.add_section()
        table.add_row(*row, style="bold" if row[-1] else None)
    return table


def _table(title: str, rows: list[list[str]]) -> Table:
    """A heading, the mean in bold, and a row per class; nothing between title and caption where there are no rows."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    if not rows:
        return table
    head, mean, *classes = rows
    for position, name in enumerate(head):
        table.add_column(name, justify="right" if position else "left")
    table.add_row(*mean, style="bold")
    table.add_section()
    for row in classes:
        table.add_row(*row)
    return table
