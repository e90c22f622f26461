"""How values show themselves in notebooks: small pieces of HTML, whatever the names in them hold.

Jupyter asks a value for ``_repr_html_``. Colours of texts and borders are the notebook's own, so both its themes do.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from crispseg.wording import printable

__all__ = ["MOST_CLASSES", "html_legend", "html_table", "html_text"]

MOST_CLASSES = 30
"""That a legend lists; of more it says how many there are."""

_CELL = "padding:.15em .8em .15em 0;text-align:{align};border-bottom:1px solid rgba(128,128,128,.3)"


def html_text(text: str) -> str:
    """Any text as HTML shows it: neither an element nor a control character.

    Example:
        >>> html_text("<b>sky & sea</b>")
        '&lt;b&gt;sky &amp; sea&lt;/b&gt;'
    """
    return html.escape(printable(text))


def html_table(rows: Sequence[Sequence[str]], title: str = "", note: str = "", first: int = 1) -> str:
    """Cells as a table: the first row is the heading, the first columns stand left, the others right.

    Args:
        rows: texts, of equal number in each.
        title: above it.
        note: below it.
        first: how many columns stand left.

    Example:
        >>> table = html_table([["class", "IoU"], ["<sky>", "93.8"]])
        >>> "&lt;sky&gt;" in table, "<sky>" in table
        (True, False)
    """

    def line(cells: Sequence[str], tag: str) -> str:
        aligned = [_CELL.format(align="left" if place < first else "right") for place in range(len(cells))]
        inside = (
            f'<{tag} style="{style}">{html_text(cell)}</{tag}>' for cell, style in zip(cells, aligned, strict=True)
        )
        return f"<tr>{''.join(inside)}</tr>"

    head, *rest = rows
    body = f"<thead>{line(head, 'th')}</thead><tbody>{''.join(line(row, 'td') for row in rest)}</tbody>"
    return (
        f"<div><b>{html_text(title)}</b>"
        f'<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">{body}</table>'
        f'<div style="opacity:.75;max-width:50em">{html_text(note)}</div></div>'
    )


def html_legend(entries: Iterable[tuple[str, Sequence[int], str]]) -> str:
    """Which colour means what.

    Args:
        entries: name, colour of 0–255, and what is said behind the name.

    Example:
        >>> legend = html_legend([("a < b", (255, 0, 0), "12.5 %")])
        >>> "rgb(255,0,0)" in legend, "a &lt; b 12.5 %" in legend
        (True, True)
    """
    listed = list(entries)
    items = [
        '<span style="white-space:nowrap;margin-right:1em"><span style="display:inline-block;width:.9em;height:.9em;'
        f"border:1px solid rgba(128,128,128,.6);background:rgb({','.join(str(int(value)) for value in colour)});"
        f'vertical-align:-.1em;margin-right:.35em"></span>{html_text(f"{name} {said}".rstrip())}</span>'
        for name, colour, said in listed[:MOST_CLASSES]
    ]
    more = f"and {len(listed) - MOST_CLASSES} more" if len(listed) > MOST_CLASSES else ""
    return f'<div style="line-height:1.8">{" ".join(items)}{more}</div>'
