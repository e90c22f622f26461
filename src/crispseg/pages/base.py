"""HTML pages from templates that stand beside the code that fills them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import jinja2

__all__ = ["css_colour", "page_template"]


def page_template(path: Path) -> jinja2.Template:
    """A template that escapes all that it is given; a value that it lacks is an error.

    Args:
        path: of the file; others in its folder may be included.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(path.name)


def css_colour(rgb: Iterable[int]) -> str:
    """A colour of 0–255 as CSS writes it.

    Example:
        >>> css_colour((255, 128, 0))
        '#ff8000'
    """
    return "#" + "".join(f"{int(value):02x}" for value in rgb)
