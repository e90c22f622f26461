"""The page of ``crispseg serve``: what it has, a form to try it, and how programs ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crispseg.labels import LabelSpace
from crispseg.pages.base import class_colours, render_page

__all__ = ["render_service_page"]


def render_service_page(
    address: str,
    label_spaces: Mapping[str, LabelSpace],
    outputs: Mapping[str, Sequence[str]],
    max_bytes: int,
    max_pixels: int,
) -> str:
    """A whole HTML document, without scripts and without anything from outside.

    Args:
        address: of the service, as it was asked; ends with a slash.
        label_spaces: by the models' names.
        outputs: what can be asked for, and the formats of each.
        max_bytes: of an upload.
        max_pixels: of an image.
    """
    models = [
        {"name": name, "label_space": space.name, "classes": class_colours(space)}
        for name, space in label_spaces.items()
    ]
    return render_page(
        "service.html.j2",
        forms=True,
        address=address,
        models=models,
        outputs=outputs,
        megabytes=f"{max_bytes / 1e6:g}",
        megapixels=f"{max_pixels / 1e6:g}",
    )
