"""The page of an evaluation: whole, self-contained, and with the numbers that it is about."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from label_folders import RAW, SPACE, evaluate_folders, write_folders

from crispseg.io import write_png
from crispseg.labels import LabelSpace

VOID_TAGS = ("meta", "link", "img", "br")


class Outline(HTMLParser):
    """Checks that tags close, and collects addresses and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [values[key] for key in ("src", "href") if key in values]
        assert tag != "img" or values["alt"]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page(tmp_path: Path, images: int = 8, radii=(1, 2, 3), **options) -> str:
    evaluate_folders(*write_folders(tmp_path, images), SPACE, radii, out=tmp_path / "out", **options)
    return (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_needs_nothing_from_outside(tmp_path: Path):
    html = page(tmp_path)
    outline = Outline(html)
    assert outline.open == []
    icon, *pictures = outline.addresses
    assert icon == "data:,", "an empty icon, or browsers ask the server for one"
    assert len(pictures) == 6 * 3  # labels, prediction and errors of the six worst
    assert all(address.startswith("data:image/png;base64,") for address in pictures)
    assert not re.search(r"url\(|@import|https?://|<script", html)


def test_scores_stand_in_the_page(tmp_path: Path):
    html = page(tmp_path)
    scores = evaluate_folders(tmp_path / "masks", tmp_path / "labels", SPACE, (1, 2, 3))
    text = Outline(html).text
    for share in (scores.mean_iou, scores.iou["pole"], scores.mean_boundary_f[3], scores.pixel_accuracy):
        assert f"{100 * share:.1f}" in text
    assert f'<i style="width:{100 * scores.iou["road"]:.1f}%">' in html
    assert "mean over images" in text
    assert "–" in text  # the class that never occurs


def test_the_confusion_rows_are_what_became_of_a_class(tmp_path: Path):
    """Of 8 pixels of sky 4 are right, 2 are road, and of 2 nothing is said."""
    write_png(tmp_path / "labels/a.png", RAW[np.array([[0, 0, 0, 0, 0, 0, 0, 0, 1]], np.uint8)])
    write_png(tmp_path / "masks/a.png", RAW[np.array([[0, 0, 0, 0, 1, 1, 255, 255, 1]], np.uint8)])
    evaluate_folders(tmp_path / "masks", tmp_path / "labels", SPACE, out=tmp_path / "out")
    html = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert re.findall(r"<title>(\w+ → .*?)</title>", html) == [
        "sky → sky: 50.00 %, 4 pixels",
        "sky → road: 25.00 %, 2 pixels",
        "sky → (none): 25.00 %, 2 pixels",
        "road → road: 100.00 %, 1 pixels",
    ]
    cells = re.findall(r'<rect x="(\d+)" y="(\d+)" width="(\d+)".*?fill-opacity="([\d.]+)"', html)
    (x, y, step, first), (right, *_), (silent, *_), (diagonal, below, *_) = [list(map(float, cell)) for cell in cells]
    assert first == 0.5
    assert (right - x, silent - x) == (step, 4 * step)
    assert (diagonal - x, below - y) == (step, step)


def test_the_curve_rises_with_the_radius(tmp_path: Path):
    html = page(tmp_path)
    lines = re.findall(r'<polyline points="([^"]*)"', html)
    assert len(lines) == 2
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        assert len(points) == 3
        assert np.all(np.diff([x for x, _ in points]) > 0)
        assert np.all(np.diff([y for _, y in points]) < 0)  # up the page


def test_one_radius_draws_no_curve(tmp_path: Path):
    assert "<polyline" not in page(tmp_path, images=1, radii=(2,))


def test_the_worst_images_come_first(tmp_path: Path):
    masks, labels = write_folders(tmp_path, 9)
    bad = np.full_like(RAW[np.zeros((9, 9), np.uint8)], RAW[0])
    write_png(masks / "zebra.png", bad)
    write_png(labels / "zebra.png", np.full_like(bad, RAW[2]))
    evaluate_folders(masks, labels, SPACE, out=tmp_path / "out")
    shown = re.findall(r"<h3>(\w+)</h3>", (tmp_path / "out/report.html").read_text(encoding="utf-8"))
    assert len(shown) == 6
    assert shown[0] == "zebra"


def test_names_are_escaped(tmp_path: Path):
    space = LabelSpace.from_dict({"name": "odd", "classes": ["<u>", "a & b"]})
    for name in ("masks", "labels"):
        write_png(tmp_path / name / "x&y.png", np.array([[0, 1]], np.uint8))
    evaluate_folders(tmp_path / "masks", tmp_path / "labels", space, out=tmp_path / "out")
    html = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "<u>" not in html
    assert "&lt;u&gt;" in html
    assert "<h3>x&amp;y</h3>" in html


@pytest.mark.parametrize("classes", [2, 40])
def test_many_classes_leave_no_room_for_numbers_in_the_confusion(classes: int, tmp_path: Path):
    space = LabelSpace.from_dict({"name": "many", "classes": [f"c{index}" for index in range(classes)]})
    for name in ("masks", "labels"):
        write_png(tmp_path / name / "a.png", np.array([[0, 1]], np.uint8))
    evaluate_folders(tmp_path / "masks", tmp_path / "labels", space, out=tmp_path / "out")
    html = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert html.count('class="cell dark"') == (2 if classes == 2 else 0)


def test_what_was_left_out_is_listed(tmp_path: Path):
    masks, _ = write_folders(tmp_path, 120)
    for path in sorted(masks.iterdir())[1:]:
        path.unlink()
    evaluate_folders(masks, tmp_path / "labels", SPACE, skip_bad=True, out=tmp_path / "out")
    text = Outline((tmp_path / "out/report.html").read_text(encoding="utf-8")).text
    assert "119 skipped" in text
    assert "And 19 more" in text
