"""The page of all images: what it holds, that nothing in it is hostile, and whose pictures it shows."""

import base64
import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from crispseg import evaluation
from crispseg.errors import DataError
from crispseg.evaluation.journal import RecordFile
from crispseg.evaluation.per_image import image_columns, image_confusions, image_rows
from crispseg.io import write_png
from crispseg.labels import LabelSpace
from crispseg.pages import browse
from crispseg.pages.browse import BrowsePage, write_comparison
from crispseg.pages.thumbnails import LONGEST_SIDE_PX, Thumbnails

HOSTILE = '</script><img src=x onerror="alert(1)">&amp;\u2028'
SPACE = LabelSpace.from_dict({"name": "three", "classes": ["sky", HOSTILE.replace("\u2028", " "), "pole"]})


def write_set(folder: Path, images: int = 3, size_hw: tuple[int, int] = (12, 20)) -> Path:
    """``labels``, ``ours`` and ``theirs`` of train ids that are raw ids as well; a name that is hostile."""
    rng = np.random.default_rng(0)
    for index in range(images):
        labels = np.zeros(size_hw, np.uint8)
        labels[:, size_hw[1] // 2 :] = 1
        labels[0, 0] = 255
        name = f"{index}'\"<b>&.png"
        write_png(folder / "labels" / name, labels)
        for other in ("ours", "theirs"):
            noise = rng.random(size_hw) < 0.4 * ((index + 0.5) / images) ** 4  # of some images hardly any
            write_png(folder / other / name, np.where(noise, rng.integers(0, 3, size_hw), labels).astype(np.uint8))
    return folder


def evaluate(folder: Path, name: str = "ours", *, draw: bool = True, **options) -> Path:
    out = folder / f"{name}_scores"
    page = BrowsePage(out)
    watch = page.draw if draw else None
    pages = {"watch": watch, "report": page.write if draw else None}
    evaluation.evaluate_folders(folder / name, folder / "labels", SPACE, (1, 2), out=out, **pages, **options)
    return out


def data_of(folder: Path) -> dict:
    html = (folder / "browse.html").read_text(encoding="utf-8")
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(text)


def test_the_page_holds_the_rows_and_confusions_of_every_image(tmp_path: Path):
    out = evaluate(write_set(tmp_path))
    data, file = data_of(out), RecordFile(out)
    assert [column["title"] for column in data["columns"]] == [entry.title for entry in image_columns(file.settings)]
    assert [entry["name"] for entry in data["classes"]] == list(SPACE.class_names)
    assert (data["runs"], data["photos"]) == ([""], False)
    records = list(file)
    assert len(data["images"]) == len(records) == 3
    for (name, height, width, judged, (key, rows, confusions)), record in zip(data["images"], records, strict=True):
        assert (name, height, width, judged) == (record.name, 12, 20, 12 * 20 - 1)
        assert rows == image_rows(record, file.settings).ravel().tolist()
        assert confusions == image_confusions(record).ravel().tolist()
        assert {path.name for path in out.glob(f"browse/*/{key}.*")} == {f"{key}.png"}


def test_the_policy_allows_the_one_script_and_pictures_beside_the_page(tmp_path: Path):
    html = (evaluate(write_set(tmp_path)) / "browse.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', html)
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert len(scripts) == 1
    assert rules == {
        "default-src": "'none'",  # connections, frames, fonts
        "img-src": "'self' file: data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "script-src": f"'sha256-{digest}'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|Function\(|https?:", scripts[0])


def test_names_can_neither_end_their_block_nor_become_elements(tmp_path: Path):
    out = evaluate(write_set(tmp_path))
    html = (out / "browse.html").read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert "<b>" not in html
    assert html.count("</script") == html.count("<script") == 2
    assert data_of(out)["classes"][1]["name"] == SPACE.class_names[1]
    assert data_of(out)["images"][0][0] == "0'\"<b>&"
    assert all(re.fullmatch("[0-9a-f]{16}.png", path.name) for path in (out / "browse").rglob("*.*"))


def test_pictures_show_the_maps_and_where_they_differ(tmp_path: Path):
    out = evaluate(write_set(tmp_path, 1))
    key = data_of(out)["images"][0][4][0]
    pictures = {kind: np.array(Image.open(out / f"browse/{kind}/{key}.png").convert("RGBA")) for kind in
                ("truth", "prediction", "errors")}  # fmt: skip
    labels, ours = (np.array(Image.open(next((tmp_path / name).iterdir()))) for name in ("labels", "ours"))
    for kind, ids in (("truth", labels), ("prediction", ours)):
        assert (pictures[kind][..., :3][ids != 255] == SPACE.palette[ids[ids != 255]]).all()
        assert (pictures[kind][..., 3] == np.where(ids == 255, 0, 255)).all()  # void lets the photo through
    wrong = (labels != ours) & (labels != 255)
    assert ((pictures["errors"][..., 3] == 255) == wrong).all()
    assert ((pictures["errors"][..., 3] == 0) == ((labels == ours) & (labels != 255))).all()


def test_photos_of_a_data_set_stand_below(tmp_path: Path):
    class OfStreets:
        label_space = SPACE
        names = ("a",)

        def __len__(self):
            return 1

        def sample(self, index):
            return np.full((6, 8, 3), (200, 100, 0), np.uint8), np.zeros((6, 8), np.uint8), "a"

        def __call__(self, image):
            return SimpleNamespace(labels=np.zeros((6, 8), np.uint8))

    streets, page = OfStreets(), BrowsePage(tmp_path)
    evaluation.evaluate(streets, streets, out=tmp_path, watch=page.draw, report=page.write)
    data = data_of(tmp_path)
    assert data["photos"] is True
    photo = np.array(Image.open(tmp_path / f"browse/photo/{data['images'][0][4][0]}.jpg")).astype(int)
    assert photo.shape == (6, 8, 3)
    assert np.abs(photo - (200, 100, 0)).max() < 8


def test_pictures_are_bounded_and_thin_errors_do_not_fall_through(tmp_path: Path):
    labels = np.zeros((40, 5 * LONGEST_SIDE_PX), np.uint8)
    masks = labels.copy()
    masks[:, 1002] = 1  # a line of one pixel, in a fifth of the size
    write_png(tmp_path / "labels/a.png", labels)
    write_png(tmp_path / "ours/a.png", masks)
    out = evaluate(tmp_path)
    picture = np.array(Image.open(next((out / "browse/errors").iterdir())).convert("RGBA"))
    assert picture.shape == (8, LONGEST_SIDE_PX, 4)
    assert np.flatnonzero(picture[4, :, 3]).tolist() == [1002 // 5]


def test_a_run_that_goes_on_draws_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_set(tmp_path)
    out = evaluate(tmp_path, draw=False)
    drawn: list[str] = []
    draw = Thumbnails.draw

    def counted(self, record, example):
        drawn.append(record.name)
        draw(self, record, example)

    monkeypatch.setattr(Thumbnails, "draw", counted)
    evaluate(tmp_path, resume=True)  # nothing is scored anew, all is drawn
    assert len(drawn) == 3
    evaluate(tmp_path, resume=True)
    assert len(drawn) == 3
    next((out / "browse/errors").iterdir()).unlink()
    evaluate(tmp_path, resume=True)
    assert len(drawn) == 4


def test_pictures_of_an_earlier_run_are_neither_shown_nor_kept_and_what_is_none_stays(tmp_path: Path):
    out = evaluate(write_set(tmp_path))
    (before,) = {frozenset(path.name for path in (out / "browse/truth").iterdir())}
    (out / "browse/truth/mine.png").touch()
    for path in (tmp_path / "ours").iterdir():
        write_png(path, np.zeros((12, 20), np.uint8))
    evaluate(tmp_path)
    after = {path.name for path in (out / "browse/truth").iterdir()}
    assert "mine.png" in after
    assert not after & before
    evaluate(tmp_path, draw=False)
    assert not (out / "browse.html").exists()  # a page of other scores must not stand beside these


def test_two_runs_beside_each_other(tmp_path: Path):
    runs = [evaluate(write_set(tmp_path), name) for name in ("ours", "theirs")]
    write_comparison(runs, tmp_path / "both")
    data, alone = data_of(tmp_path / "both"), [data_of(run) for run in runs]
    assert data["runs"] == [str(run) for run in runs]
    for image, first, second in zip(data["images"], alone[0]["images"], alone[1]["images"], strict=True):
        assert image == [*first, second[4]]
        kinds = {(path.parent.name, path.stem) for path in (tmp_path / "both/browse").rglob("*.png")}
        assert {kind for kind, key in kinds if key == image[4][0]} == {"truth", "prediction", "errors"}
        assert {kind for kind, key in kinds if key == image[5][0]} == {"prediction", "errors"}
    (runs[1] / "browse.html").unlink()
    next((runs[1] / "browse/errors").iterdir()).unlink()
    with pytest.raises(DataError, match=r"theirs_scores: no pictures of .*--browse"):
        write_comparison(runs, tmp_path / "both")


def test_a_failure_to_draw_is_no_fault_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self, record, example):
        raise OSError(28, "No space left on device", "browse")

    monkeypatch.setattr(browse.Thumbnails, "draw", full)
    with pytest.raises(OSError, match="No space left"):
        evaluate(write_set(tmp_path), skip_bad=True)
