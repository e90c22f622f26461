"""A run that is stopped goes on where it was, and only if it is the same run."""

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from label_folders import RAW, SPACE, evaluate_folders, random_pair, write_folders

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation import evaluate, folders
from crispseg.evaluation.journal import RecordFile
from crispseg.inference import Prediction
from crispseg.io import write_png
from crispseg.labels import LabelSpace
from crispseg.pages.evaluation import write_pages

IMAGES = 8
FILES = ["images.jsonl", "report.html", "scores.json", "scores.md"]


class Stop:
    """Interrupts a run as Ctrl-C does, after some images."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, done: int, total: int) -> None:
        if done == self.after:
            raise KeyboardInterrupt


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are scored from here on."""
    names: list[str] = []
    score_image = folders.score_image

    def watched(prediction, labels, settings, name, *rest):
        names.append(name)
        return score_image(prediction, labels, settings, name, *rest)

    monkeypatch.setattr(folders, "score_image", watched)
    return names


def stopped_run(tmp_path: Path, after: int = 3) -> tuple[tuple[Path, Path], Path]:
    paths, out = write_folders(tmp_path, IMAGES), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate_folders(*paths, SPACE, out=out, workers=1, progress=Stop(after))
    return paths, out


def test_a_stopped_run_goes_on_and_ends_as_if_nothing_had_happened(tmp_path: Path, scored: list[str]):
    paths, out = stopped_run(tmp_path)
    assert sorted(path.name for path in out.iterdir()) == ["images.jsonl"]
    kept = [record.name for record in RecordFile(out)]
    assert kept == ["image_0", "image_1", "image_2"]
    scored.clear()
    calls: list[tuple[int, int]] = []
    resumed = evaluate_folders(
        *paths, SPACE, out=out, resume=True, progress=lambda done, total: calls.append((done, total))
    )
    assert sorted(scored) == [f"image_{index}" for index in range(3, IMAGES)]
    assert calls == [(done, IMAGES) for done in range(4, IMAGES + 1)]
    whole = evaluate_folders(*paths, SPACE, out=tmp_path / "whole")
    assert resumed.to_json() == whole.to_json()
    assert sorted(path.name for path in out.iterdir()) == FILES
    for name in FILES:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_records_are_on_the_disk_as_soon_as_they_are_counted(tmp_path: Path):
    seen = []
    paths, out = write_folders(tmp_path, 3), tmp_path / "out"
    evaluate_folders(*paths, SPACE, out=out, progress=lambda done, _: seen.append((done, len(list(RecordFile(out))))))
    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_half_a_last_line_is_dropped(tmp_path: Path, scored: list[str]):
    paths, out = stopped_run(tmp_path)
    records = out / "images.jsonl"
    records.write_bytes(records.read_bytes()[:-40])
    assert len(list(RecordFile(out))) == 2
    scored.clear()
    resumed = evaluate_folders(*paths, SPACE, out=out, resume=True)
    assert sorted(scored) == [f"image_{index}" for index in range(2, IMAGES)]
    assert resumed.to_json() == evaluate_folders(*paths, SPACE).to_json()


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path):
    paths, out = stopped_run(tmp_path)
    lines = (out / "images.jsonl").read_text().splitlines(keepends=True)
    for broken in ("{oops}\n", '{"name": "x"}\n'):
        (out / "images.jsonl").write_text("".join([*lines[:2], broken, *lines[2:]]))
        with pytest.raises(DataError, match=r"images\.jsonl, line 3"):
            evaluate_folders(*paths, SPACE, out=out, resume=True)


def test_files_that_changed_or_went_are_scored_again_or_left_out(tmp_path: Path, scored: list[str]):
    paths, out = stopped_run(tmp_path, after=4)
    write_png(paths[0] / "image_1.png", RAW[np.maximum(random_pair(1)[1], 1)])
    os.utime(paths[0] / "image_1.png", ns=(1, 1))
    for path in paths:
        (path / "image_2.png").unlink()
    scored.clear()
    resumed = evaluate_folders(*paths, SPACE, out=out, resume=True)
    assert sorted(scored) == [f"image_{index}" for index in (1, *range(4, IMAGES))]
    assert resumed.images == IMAGES - 1
    expected = evaluate_folders(*paths, SPACE).to_dict()
    assert resumed.to_dict()["iou"] == expected["iou"]


def test_a_whole_run_is_replaced_but_a_stopped_one_is_not(tmp_path: Path, scored: list[str]):
    paths, out = stopped_run(tmp_path)
    before = (out / "images.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        evaluate_folders(*paths, SPACE, out=out)
    assert (out / "images.jsonl").read_bytes() == before
    evaluate_folders(*paths, SPACE, out=out, resume=True)
    scored.clear()
    evaluate_folders(*paths, SPACE, out=out)
    assert len(scored) == IMAGES


def test_other_settings_are_refused_by_name(tmp_path: Path):
    (masks, labels), out = stopped_run(tmp_path)
    with pytest.raises(ConfigError, match=r"radii_px was \[1, 2, 3, 5\], and is \[2\] now"):
        evaluate_folders(masks, labels, SPACE, (2,), out=out, resume=True)
    with pytest.raises(ConfigError, match=r"source labels was .*labels, and is .*masks now"):
        evaluate_folders(masks, masks, SPACE, out=out, resume=True)
    renamed = LabelSpace.from_dict(SPACE.to_dict() | {"name": "other"})
    with pytest.raises(ConfigError, match="label_space was four, and is other now"):
        evaluate_folders(masks, labels, renamed, out=out, resume=True)
    (out / "images.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(DataError, match="first line"):
        evaluate_folders(masks, labels, SPACE, out=out)
    assert (out / "images.jsonl").read_text() == '{"mine": 1}\n'


def test_what_was_scored_before_a_problem_is_kept(tmp_path: Path, scored: list[str]):
    paths, out = write_folders(tmp_path, IMAGES), tmp_path / "out"
    good = (paths[0] / "image_4.png").read_bytes()
    for index in (4, 6):
        (paths[0] / f"image_{index}.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"2 images .*image_4.png.*image_6.png.*--resume"):
        evaluate_folders(*paths, SPACE, out=out, workers=1)
    assert scored[:4] == ["image_0", "image_1", "image_2", "image_3"]
    assert "image_7" not in scored  # only checked, once something was wrong
    (paths[0] / "image_4.png").write_bytes(good)
    scored.clear()
    scores = evaluate_folders(*paths, SPACE, out=out, resume=True, skip_bad=True)
    assert "image_0" not in scored
    assert (scores.images, scores.skipped) == (IMAGES - 1, 1)
    assert "image_6" in (out / "problems.txt").read_text()
    assert "image_6" in (out / "report.html").read_text()


def test_scores_of_an_earlier_run_do_not_stand_beside_new_records(tmp_path: Path):
    paths, out = write_folders(tmp_path, IMAGES), tmp_path / "out"
    evaluate_folders(*paths, SPACE, out=out)
    with pytest.raises(KeyboardInterrupt):
        evaluate_folders(*paths, SPACE, out=out, progress=Stop(2))
    assert [path.name for path in out.iterdir()] == ["images.jsonl"]


def test_the_records_are_plain_numbers_with_a_head(tmp_path: Path):
    out = tmp_path / "out"
    evaluate_folders(*write_folders(tmp_path, 2), SPACE, (1, 2.5), out=out)
    head, first, _, last = map(json.loads, (out / "images.jsonl").read_text().splitlines())
    assert head["radii_px"] == [1, 2.5]
    assert LabelSpace.from_dict(head["label_space"]) == SPACE
    assert first["name"] == "image_0"
    prediction, labels = random_pair(0)
    table = np.zeros((4, 5), int)
    for true, predicted, pixels in first["confusion"]:
        table[true, predicted] = pixels
    counted = labels != 255
    assert table.sum() == counted.sum()
    assert table[:, 4].sum() == ((prediction == 255) & counted).sum()  # nothing predicted
    assert last == {"whole": True, "images": 2, "skipped": 0}


class LabelledImages:
    """A data set with names, and a predictor that turns every image's red into labels."""

    label_space = SPACE

    def __init__(self, images: int = 5) -> None:
        self.names = [f"street_{index}" for index in range(images)]
        self.predicted = 0

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, index: int):
        if index == 3:
            raise DataError("street_3.png: broken")
        prediction, labels = random_pair(index, silent=0)
        return np.repeat(prediction[..., None], 3, axis=2), labels, self.names[index]

    def __call__(self, image: np.ndarray) -> Prediction:
        self.predicted += 1
        return Prediction(image[..., 0], np.ones(image.shape[:2], np.float32), image, SPACE)


def test_a_model_resumes_too_and_leaves_bad_images_out(tmp_path: Path):
    images, out = LabelledImages(), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate(images, images, out=out, skip_bad=True, workers=1, progress=Stop(2))
    images.predicted = 0
    with pytest.raises(DataError, match=r"1 image cannot be scored: .*street_3.png: broken"):
        evaluate(images, images, out=out, resume=True)
    assert images.predicted <= 2  # of 2, 3 and 4
    scores = evaluate(images, images, out=out, resume=True, skip_bad=True, report=partial(write_pages, folder=out))
    assert (scores.images, scores.skipped) == (4, 1)
    assert sorted(record.name for record in RecordFile(out)) == [f"street_{index}" for index in (0, 1, 2, 4)]
    assert (out / "report.html").read_text().count('class="photo"') == 4
    with pytest.raises(ConfigError, match="source weights was None, and is new now"):
        evaluate(images, images, out=out, resume=True, skip_bad=True, source={"weights": "new"})


def test_files_need_names(tmp_path: Path):
    images = LabelledImages()
    nameless = type("Nameless", (), {"label_space": SPACE, "__len__": lambda _: 1, "sample": None})()
    with pytest.raises(ConfigError, match="Nameless has none"):
        evaluate(images, nameless, out=tmp_path)
    images.names[1] = images.names[0]
    with pytest.raises(DataError, match="have one name"):
        evaluate(images, images, out=tmp_path)


def test_when_nothing_can_be_scored_it_says_so(tmp_path: Path):
    masks, labels = write_folders(tmp_path, 2)
    for index in range(2):
        (masks / f"image_{index}.png").write_bytes(b"")
    with pytest.raises(DataError, match="no image is left to score: 2 ×"):
        evaluate_folders(masks, labels, SPACE, skip_bad=True)


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path):
    (tmp_path / "out").touch()
    with pytest.raises(ConfigError, match="out: a file found"):
        evaluate_folders(*write_folders(tmp_path, 1), SPACE, out=tmp_path / "out")


def test_a_file_that_goes_while_others_are_scored_is_a_problem_of_its_own(tmp_path: Path):
    masks, labels = write_folders(tmp_path, IMAGES)

    def remove(done: int, total: int) -> None:
        (masks / f"image_{IMAGES - 1}.png").unlink(missing_ok=True)

    scores = evaluate_folders(masks, labels, SPACE, workers=1, skip_bad=True, progress=remove)
    assert (scores.images, scores.skipped) == (IMAGES - 1, 1)
