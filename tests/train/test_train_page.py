"""The run's page, and the lines that stand in for a bar where there is no terminal."""

import json
import re

import pytest

from crispseg.config import Recipe
from crispseg.train import fit
from crispseg.train import run as run_module
from crispseg.train.complete import completed
from crispseg.train.pace import ProgressBar, ProgressLines
from crispseg.train.page import own_settings
from crispseg.train.task import SegmentationTask


def log_seconds(folder) -> float:
    return json.loads((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])["seconds"]


def texts(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html.partition("<body>")[2]).split())


def test_a_run_has_a_page_after_each_validation_and_at_its_end(tiny, tmp_path, monkeypatch):
    seen = []
    before = SegmentationTask.on_validation_epoch_start

    def look(self):
        page = tmp_path / "run" / "report.html"
        seen.append(page.read_text(encoding="utf-8") if page.exists() else None)
        before(self)

    monkeypatch.setattr(SegmentationTask, "on_validation_epoch_start", look)
    recipe = tiny("train.epochs=3", "train.picture_count=1", "name=<b>streets")
    result = fit(recipe, tmp_path / "run", progress=False)
    first, second, third = seen
    assert first is None
    assert "The run goes on" in second
    assert "left" in texts(second)
    assert '<svg class="curve"' not in second  # one point is no curve
    assert third.count('<svg class="curve"') == 2
    last = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    words = texts(last)
    assert "&lt;b&gt;streets" in last
    assert f"The run has ended. The best model: {result.scores.summary()}" in last
    assert "epochs 3 of 3" in words
    assert int(re.search(r"trained (\d+) s", words)[1]) == pytest.approx(log_seconds(tmp_path / "run"), abs=2)
    assert "model.backbone test_resnet resnet50s" in words
    assert "toy_train_images 8 400" in words
    assert last.count("<img") == 8 + 3  # image, truth, prediction, boundaries; of the worst the errors; and figures
    assert {"The outlines of the mask, by class.", "What each gate lets pass."} <= set(
        re.findall("<summary>(.*?)</summary>", last)
    )
    assert "% of its pixels right" in words
    assert not re.search(r'(src|href)="(?!data:)', last)


def test_only_what_was_chosen_is_an_own_setting():
    assert own_settings(completed(Recipe())) == {}
    recipe = completed(Recipe(model={"head": "gscnn"}, loss={"edge_weight": 3}, train={"epochs": 4}))
    assert own_settings(recipe) == {
        "model.head": ("gscnn", "gff"),
        "loss.edge_weight": ("3.0", "20.0"),
        "train.epochs": ("4", "100"),
    }


def test_without_a_terminal_lines_say_how_far_a_run_is(tiny, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(run_module, "ProgressLines", lambda pace: ProgressLines(pace, every=0.0))
    with caplog.at_level("INFO", logger="crispseg"):
        fit(tiny(), tmp_path / "run", progress=True)
    lines = [record.message for record in caplog.records if record.message.startswith("epoch ")]
    number = r"\d+(\.\d+)?"
    assert re.fullmatch(
        rf"epoch 2 of 2, step 6 of 8: loss {number}, mean IoU {number} %, {number} images/s, .+ left", lines[6]
    )
    assert re.fullmatch(
        rf"epoch 2 of 2: loss {number}, mean IoU {number} %, {number} s, {number} images/s, .+ left", lines[-1]
    )


def test_the_bar_shows_loss_score_speed_and_time_left(tiny, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(run_module.sys.stdout, "isatty", lambda: True, raising=False)

    class Bar(ProgressBar):
        def get_metrics(self, *arguments):
            shown.append(super().get_metrics(*arguments))
            return shown[-1]

    monkeypatch.setattr(run_module, "ProgressBar", Bar)
    fit(tiny(), tmp_path / "run", progress=True)
    assert set(shown[-1]) >= {"train/loss", "mIoU", "images/s", "left"}
