"""What notebooks show of predictions, models and scores: whole HTML, and no name that becomes an element."""

import math
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

import crispseg
from crispseg.evaluation import Comparison, Difference, Scores
from crispseg.inference import Prediction
from crispseg.labels import LabelSpace
from crispseg.notebooks import MOST_CLASSES, html_legend

HOSTILE = "<img src=x onerror=alert(1)>"
SPACE = LabelSpace.from_dict({"name": "<i>three", "classes": ["sky", HOSTILE, {"name": "pole", "colour": [1, 2, 3]}]})


class Outline(HTMLParser):
    """Tags, texts, and whether all that opens closes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def shown(value) -> Outline:
    outline = Outline(value._repr_html_())
    assert outline.open == []
    assert "script" not in outline.tags
    return outline


def prediction(height: int = 4, width: int = 8) -> Prediction:
    labels = np.ones((height, width), np.uint8)
    labels[:, : width // 4] = 2
    image = np.full((height, width, 3), 100, np.uint8)
    return Prediction(labels, np.ones((height, width), np.float32), image, SPACE)


def test_a_prediction_shows_its_overlay_and_the_classes_in_it_the_largest_first():
    outline = shown(prediction())
    assert outline.tags.count("img") == 1
    assert "8×4 pixels, label table <i>three" in outline.text
    assert outline.text.index(f"{HOSTILE} 75.0 %") < outline.text.index("pole 25.0 %")
    assert "sky" not in outline.text


@pytest.mark.parametrize("size_hw", [(4, 8), (1000, 1600), (3000, 1)])
def test_its_picture_is_the_overlay_within_bounds(size_hw):
    value = prediction(*size_hw)
    picture = cv2.imdecode(np.frombuffer(value._repr_png_(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert max(picture.shape) == min(640, max(size_hw))
    assert np.abs(picture[0, -1].astype(int) - value.overlay()[0, -1]).max() <= 1


def test_an_empty_prediction_is_no_error():
    value = prediction(0, 0)
    assert value._repr_png_() is None
    assert "0×0" in shown(value).text


def test_scores_show_their_table():
    by_class = {"sky": 0.625, HOSTILE: math.nan}
    outline = shown(Scores(iou=by_class, pixel_accuracy=0.9, boundary_f={1: by_class}, images=2))
    assert "62.5" in outline.text
    assert f"{HOSTILE}–" in outline.text
    assert "2 images" in outline.text


def test_a_comparison_shows_each_run_against_the_first():
    entries = tuple(Difference(run, "IoU", None, None, HOSTILE, 0.5, 0.75, 0.1, 0.4) for run in ("<b>", "c"))
    outline = shown(Comparison(("a", "<b>", "c"), 5, 0, 100, 0, None, "skip", entries))
    assert outline.tags.count("table") == 2
    assert "<b> against a" in outline.text
    assert outline.text.count("+25.00") == 2


def test_a_model_shows_its_parts_and_classes():
    model = crispseg.create_model("fcn", backbone="test_resnet", label_space=SPACE, channels=8, output_stride=32)
    outline = shown(model)
    assert "plain" in outline.text
    assert "test_resnet" in outline.text
    assert "3 classes" in outline.text
    assert HOSTILE in outline.text


def test_a_long_legend_is_cut():
    legend = html_legend([(f"class {index}", (0, 0, 0), "") for index in range(MOST_CLASSES + 5)])
    assert "and 5 more" in legend
    assert f"class {MOST_CLASSES}" not in legend
