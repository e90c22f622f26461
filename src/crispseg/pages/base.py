"""What all pages are made of: one base template with its style and policy, parts, and one chart.

A page is one HTML file that holds all it shows. Its content security policy says so to the browser: styles of its own,
pictures inside it, and nothing else, neither scripts nor anything from outside. A page that a person works with has one
script of ours, which the policy names by its fingerprint, and pictures in a folder beside it; see decision 9.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import jinja2
from markupsafe import Markup

from crispseg.labels import LabelSpace
from crispseg.pictures import to_data_uri
from crispseg.pictures.colour import Picture

__all__ = ["bar_values", "class_colours", "css_colour", "fitted", "line_chart", "panel_values", "render_page"]

_POLICY = "default-src 'none'; img-src {images}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_INSIDE, _BESIDE = "data:", "'self' file: data:"  # a browser that opens a file need not take its folder for 'self'
_LINE_COLOURS = ("accent", "base")
_PICTURE_WIDTH = 640


def render_page(
    template: str,
    *,
    script: str | None = None,
    data: Any = None,
    forms: bool = False,
    connects: bool = False,
    **values: Any,
) -> str:
    """Fill a template of this room, which extends ``base.html.j2``; it escapes all that it is given.

    Args:
        template: its file's name.
        script: the file's name of the page's script, which alone may run; the page may then show pictures that lie
            beside it. None: nothing runs.
        data: what the script reads, as plain values: JSON in a block that no browser runs.
        forms: whether the page may send forms to where it comes from.
        connects: whether its script may ask, and send to, where it comes from.
        values: of its names; one that it lacks is an error.

    Returns:
        A whole HTML document.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    policy, code = _POLICY.format(images=_INSIDE), ""
    if script is not None:
        code = (Path(__file__).parent / script).read_text(encoding="utf-8")
        if "</" in code or "<!--" in code:
            raise ValueError(f"{script}: holds what would end it in a page, or begin a comment")
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii")
        # Trusted types: even our own script cannot make elements from text.
        trusted = "require-trusted-types-for 'script'; trusted-types 'none'"
        policy = f"{_POLICY.format(images=_BESIDE)}; script-src 'sha256-{digest}'; {trusted}"
    if forms:
        policy = policy.replace("form-action 'none'", "form-action 'self'")
    if connects:
        policy = f"connect-src 'self'; {policy}"
    return environment.get_template(template).render(
        policy=policy, script=Markup(code), data=_harmless_json(data), **values
    )


def _harmless_json(data: Any) -> Markup:
    """JSON that cannot end the block that it stands in, whatever its texts hold."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII, so that half characters are no matter
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def css_colour(rgb: Iterable[int]) -> str:
    """A colour of 0–255 as CSS writes it.

    Example:
        >>> css_colour((255, 128, 0))
        '#ff8000'
    """
    return "#" + "".join(f"{int(value):02x}" for value in rgb)


def class_colours(label_space: LabelSpace) -> list[dict[str, str]]:
    """Names and colours of the classes, for the legend and the rows of tables."""
    named = zip(label_space.class_names, label_space.palette, strict=False)
    return [{"name": name, "colour": css_colour(rgb)} for name, rgb in named]


def panel_values(picture: Picture, caption: str, note: str = "", *, photo: bool) -> dict[str, Any]:
    """A picture with its caption; whether a browser may smooth it when it enlarges it: label maps keep hard pixels."""
    height, width = picture.shape[:2]
    size = {"width": width, "height": height}
    return {"caption": caption, "note": note, "photo": photo, "uri": to_data_uri(picture), **size}


def bar_values(share: float) -> dict[str, str | None]:
    """A share in words, and as the width of its bar; none where there is no score.

    Example:
        >>> bar_values(0.5), bar_values(math.nan)
        ({'text': '50.0', 'width': '50.0'}, {'text': '–', 'width': None})
    """
    is_known = not math.isnan(share)
    return {"text": f"{100 * share:.1f}" if is_known else "–", "width": f"{100 * share:.1f}" if is_known else None}


def fitted(picture: Picture, smooth: bool) -> Picture:
    """At most as wide as a page shows it; classes keep pure colours, while thin errors must not fall through."""
    height, width = picture.shape[:2]
    if width <= _PICTURE_WIDTH:
        return picture
    size = (_PICTURE_WIDTH, max(1, round(height * _PICTURE_WIDTH / width)))
    resized: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST)
    return resized


def line_chart(
    lines: Mapping[str, Mapping[Any, float]],
    unit: str = "",
    ceiling: float = 1.0,
    percent: bool = True,
) -> dict[str, Any] | None:
    """Shares, or other values from 0, over places as SVG coordinates.

    Args:
        lines: up to two, by their names: place → share, NaN where there is none.
        unit: behind the places.
        ceiling: the share at the top, in (0, 1].
        percent: whether the values are shares, shown in per cent.

    Returns:
        The values of ``chart`` in ``parts.html.j2``; None where there is less than a line to draw.

    Example:
        >>> chart = line_chart({"mean": {1: 0.5, 3: 1.0}}, " px")
        >>> [(point["x"], point["y"], point["text"]) for point in chart["lines"][0]["points"]]
        [(56.0, 115.0, '50.0'), (704.0, 14.0, '100.0')]
        >>> line_chart({"mean": {1: 0.5}}) is None
        True
    """
    places = sorted(set().union(*lines.values()))
    if len(places) < 2:
        return None
    width, height, left, right, top, bottom = 720, 260, 56, 704, 14, 216

    def said(value: float, digits: int) -> str:
        return f"{100 * value:.{digits}f}" if percent else f"{value:.{digits + 2}g}"

    def x(place: float) -> float:
        return float(round(left + (right - left) * (place - places[0]) / (places[-1] - places[0]), 1))

    def y(share: float) -> float:
        return round(bottom - (bottom - top) * share / ceiling, 1)

    drawn = []
    for (name, shares), colour in zip(lines.items(), _LINE_COLOURS, strict=False):
        known = [(place, shares[place]) for place in places if place in shares and not math.isnan(shares[place])]
        points = [{"x": x(place), "y": y(share), "text": said(share, 1)} for place, share in known]
        if points:
            drawn.append({"name": name, "colour": colour, "points": points})
    if not drawn:
        return None
    step = max(1, math.ceil((len(places) - 1) / 8))  # no more ticks than there is room for
    grid = [ceiling * part / 4 for part in range(5)]
    return {
        "width": width,
        "height": height,
        "left": left,
        "right": right,
        "grid": [{"y": y(share), "text": said(share, 0) + (" %" if percent else "")} for share in grid],
        "ticks": [{"x": x(place), "text": f"{place:g}{unit}"} for place in places[::step]],
        "lines": drawn,
        "unit": " %" if percent else "",
    }
