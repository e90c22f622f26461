"""Scores as a table on the terminal."""

from __future__ import annotations

from rich.table import Table

from crispseg.evaluate import Scores

__all__ = ["scores_table"]


def scores_table(scores: Scores, title: str) -> Table:
    """IoU and boundary F in per cent: a row per class, and the mean above them."""
    head, mean, *classes = scores.table_rows()
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = f"{scores.images} images, {100 * scores.pixel_accuracy:.1f} % of the pixels right. F: boundary F."
    for position, name in enumerate(head):
        table.add_column(name, justify="right" if position else "left")
    table.add_row(*mean, style="bold")
    table.add_section()
    for row in classes:
        table.add_row(*row)
    return table
