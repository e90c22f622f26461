"""Fences of ```math in pages become MathML, which browsers draw themselves: no script, no font."""

from __future__ import annotations

from typing import Any

from latex2mathml.converter import convert


def block(source: str, language: str, css_class: str, options: Any, md: Any, **kwargs: Any) -> str:
    """A custom fence of pymdownx.superfences: LaTeX, an equation a line, blank lines between them left out."""
    lines = [line for line in source.splitlines() if line.strip()]
    return f'<div class="{css_class}">' + "".join(convert(line, display="block") for line in lines) + "</div>"
