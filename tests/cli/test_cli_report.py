"""The demo's page, and which folders the demo may overwrite."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from crispseg.demo.run import MARKER, claim_folder
from crispseg.errors import ConfigError
from crispseg.evaluation import Scores
from crispseg.labels import LabelSpace
from crispseg.pages.demo import Panel, Scene, SystemResult, render_report

SPACE = LabelSpace.from_dict({"name": "two", "classes": ["<sky>", "pole & sign"]})


def result(name: str, iou: float, curve: tuple[tuple[int, float], ...] = ((1, 0.2), (2, 0.4))) -> SystemResult:
    by_class = {"<sky>": iou, "pole & sign": math.nan}
    scores = Scores(iou=by_class, pixel_accuracy=0.9, boundary_f={1: by_class, 3: by_class}, images=2)
    return SystemResult(name, f"System {name}", scores, 12.3, 4_560_000, curve, "model: {head: <script>}")


def page(ours: SystemResult, baseline: SystemResult | None) -> str:
    picture = np.zeros((4, 6, 3), dtype=np.uint8)
    return render_report(
        ours,
        baseline,
        lead="lead",
        idea="idea",
        scenes=[Scene("Scene <1>", "", (Panel("image", picture),), (Panel("gate of level 1", picture, "mean 0.50"),))],
        scenes_note="note",
        label_space=SPACE,
        facts={"command": "crispseg demo --out '<x>'"},
    )


class Outline(HTMLParser):
    """Tags that are open, and every address and text of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.images_without_text = 0
        self.text = ""

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [values[key] for key in ("src", "href") if key in values]
        self.images_without_text += tag == "img" and not values.get("alt")
        if tag not in ("meta", "link", "img", "line", "polyline", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("baseline", [None, result("plain", 0.5)])
def test_the_page_is_well_formed_and_needs_nothing_from_outside(baseline: SystemResult | None):
    html = page(result("gff", 0.625), baseline)
    outline = Outline()
    outline.feed(html)
    assert outline.open == []
    assert outline.images_without_text == 0
    icon, *pictures = outline.addresses
    assert icon == "data:,", "an empty icon, or browsers ask the server for one"
    assert len(pictures) == 2
    assert all(address.startswith("data:image/png;base64,") for address in pictures)
    assert not re.search(r"url\(|@import|https?://", html)


def test_names_are_escaped():
    html = page(result("gff", 0.625), None)
    assert "<script>" not in html
    assert "&lt;sky&gt;" in html
    assert "pole &amp; sign" in html
    assert "Scene &lt;1&gt;" in html


def test_scores_and_differences_are_shown():
    outline = Outline()
    outline.feed(page(result("gff", 0.625), result("plain", 0.65)))
    assert "62.5" in outline.text
    assert "−2.5" in outline.text
    assert "4.6" in outline.text  # million parameters
    assert "–" in outline.text  # the class that never occurs


def test_one_validation_draws_no_curve():
    assert "<svg" in page(result("gff", 0.5), None)
    assert "<svg" not in page(result("gff", 0.5, curve=((1, 0.2),)), None)


def test_the_demo_makes_its_folder_and_takes_its_own_over(tmp_path: Path):
    out = tmp_path / "deep" / "demo"
    claim_folder(out, ["gff"])
    (out / "gff").mkdir()
    (out / "gff" / "old").touch()
    (out / "mine.txt").touch()
    claim_folder(out, ["gff"])
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "mine.txt"]


def test_the_demo_leaves_other_folders_alone(tmp_path: Path):
    (tmp_path / "gff").mkdir()
    with pytest.raises(ConfigError, match="holds something else"):
        claim_folder(tmp_path, ["gff"])
    assert [path.name for path in tmp_path.iterdir()] == ["gff"]


def test_the_demo_refuses_a_file(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="a file found"):
        claim_folder(tmp_path / "file", ["gff"])
