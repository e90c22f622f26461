"""What all pages share: the policy that they give to the browser, and the chart."""

import math
import re
from pathlib import Path

import jinja2
import pytest

from crispseg.pages import base
from crispseg.pages.base import line_chart, render_page

FOLDER = Path(base.__file__).parent
PAGES = sorted(path.name for path in FOLDER.glob("*.j2") if path.name not in ("base.html.j2", "parts.html.j2"))


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_the_base_with_a_content(name: str):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text.startswith('{% extends "base.html.j2" %}\n')
    assert not re.search(r"<script|<style|<meta|\son\w+=|url\(|https?:", text)


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A page of its own beside the base."""
    for name in ("base.html.j2", "parts.html.j2"):
        (tmp_path / name).write_text((FOLDER / name).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(base, "__file__", str(tmp_path / "base.py"))
    path = tmp_path / "page.html.j2"
    path.write_text('{% extends "base.html.j2" %}{% block content %}{{ text }}{% endblock %}', encoding="utf-8")
    return path


def test_the_policy_stands_before_all_that_it_governs_and_allows_no_script(template: Path):
    html = render_page(template.name, text="hello")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', html)
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
    assert rules == {
        "default-src": "'none'",  # scripts, frames, fonts, connections
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_texts_are_escaped_and_a_missing_value_is_an_error(template: Path):
    assert "&lt;b&gt;" in render_page(template.name, text="<b>")
    with pytest.raises(jinja2.UndefinedError):
        render_page(template.name)


def test_a_chart_leaves_out_what_does_not_exist_and_thins_its_ticks():
    chart = line_chart({"a": {place: place / 40 for place in range(1, 21)}, "b": {1: math.nan, 20: 0.25}}, ceiling=0.5)
    assert chart is not None
    first, second = (line["points"] for line in chart["lines"])
    assert (len(first), len(second)) == (20, 1)
    assert second[0] == {"x": 704.0, "y": 115.0, "text": "25.0"}  # half of the ceiling, at the right end
    assert [tick["text"] for tick in chart["ticks"]] == ["1", "4", "7", "10", "13", "16", "19"]
    assert [line["text"] for line in chart["grid"]] == ["0 %", "12 %", "25 %", "38 %", "50 %"]


@pytest.mark.parametrize("lines", [{}, {"a": {1: 0.5}}, {"a": {1: math.nan, 2: math.nan}}])
def test_less_than_a_line_is_no_chart(lines: dict):
    assert line_chart(lines) is None
