"""The page of ``crispseg app``: what is there before an image is; the rest is its script's, ``studio.js``."""

from __future__ import annotations

from collections.abc import Sequence

from crispseg.pages.base import render_page

__all__ = ["render_studio_page"]


def render_studio_page(
    models: Sequence[str], examples: Sequence[str], encodings: Sequence[str], max_bytes: int, max_pixels: int
) -> str:
    """A whole HTML document, for a server that answers as `crispseg.studio.make_studio` does.

    Args:
        models: their names.
        examples: their names.
        encodings: of label files, the most usual first.
        max_bytes: of an upload.
        max_pixels: of an image.
    """
    return render_page(
        "studio.html.j2",
        script="studio.js",
        connects=True,
        data={"models": list(models), "max_bytes": max_bytes},
        models=models,
        examples=examples,
        encodings=encodings,
        megabytes=f"{max_bytes / 1e6:g}",
        megapixels=f"{max_pixels / 1e6:g}",
    )
