"""A run that was stopped goes on where it was, and what another model left is not mixed with it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import crispseg
from crispseg.bulk import OUTPUTS, Segmented, choose_outputs, collect_images
from crispseg.errors import ConfigError, DataError
from crispseg.io import write_png
from crispseg.io.locks import hold_lock

TWO = crispseg.LabelSpace.from_dict({"name": "two", "classes": ["dark", "bright"]})
LABELS = choose_outputs(["labels"])


class Counting(torch.nn.Module):
    """Counts the images that it sees."""

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = torch.nn.Parameter(torch.tensor(threshold))
        self.seen = 0

    def forward(self, images: torch.Tensor) -> crispseg.SegmentationOutput:
        self.seen += len(images)
        grey = images.mean(dim=1, keepdim=True)
        return crispseg.SegmentationOutput(logits=torch.cat((self.threshold - grey, grey - self.threshold), dim=1))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(10):
        write_png(tmp_path / "photos" / f"{number}.png", rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return tmp_path / "photos"


def segment(model: torch.nn.Module, photos: Path, outputs=LABELS, *, flip: bool = False, **options) -> Segmented:
    out = photos.parent / "out"
    predictor = crispseg.Predictor(model, TWO, flip=flip)
    return crispseg.segment_images(predictor, collect_images([photos], out), out, outputs, **options)


def test_what_is_whole_is_left_alone(photos: Path):
    model = Counting()
    assert segment(model, photos) == Segmented(images=10, done=10, earlier=0, failures=())
    before = {path: path.stat().st_mtime_ns for path in (photos.parent / "out").iterdir()}
    assert segment(model, photos) == Segmented(images=10, done=10, earlier=10, failures=())
    assert model.seen == 10
    assert {path: path.stat().st_mtime_ns for path in (photos.parent / "out").iterdir()} == before


def test_a_run_that_was_killed_goes_on(photos: Path):
    segment(Counting(), photos)
    record = photos.parent / "out/segmented.jsonl"
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(lines[:5]) + lines[5][:20])  # four whole images, and half a line
    model = Counting()
    assert segment(model, photos).earlier == 4
    assert model.seen == 6
    assert segment(model, photos).earlier == 10  # the half line has not swallowed another


def test_changed_images_and_removed_results_are_done_again(photos: Path):
    segment(Counting(), photos)
    (photos.parent / "out/3_labels.png").unlink()
    os.utime(photos / "4.png", ns=(1, 1))
    assert segment(Counting(), photos).earlier == 8


def test_other_outputs_join_those_that_are_there(photos: Path):
    segment(Counting(), photos)
    assert segment(Counting(), photos, OUTPUTS).earlier == 0
    assert segment(Counting(), photos, OUTPUTS).earlier == 10
    assert segment(Counting(), photos).earlier == 10


def test_another_model_or_other_options_are_refused_unless_they_may_overwrite(photos: Path):
    segment(Counting(), photos)
    with pytest.raises(ConfigError, match=r"flip was False, and is True now.*--overwrite"):
        segment(Counting(), photos, flip=True)
    with pytest.raises(ConfigError, match="model was"):
        segment(Counting(0.2), photos)
    assert segment(Counting(0.2), photos, overwrite=True).earlier == 0
    assert segment(Counting(0.2), photos).earlier == 10


def test_shards_share_a_folder(photos: Path):
    segment(Counting(), photos, shard=(2, 3))
    assert sorted(path.name for path in (photos.parent / "out").glob("*.png")) == [f"{i}_labels.png" for i in (1, 4, 7)]
    assert [segment(Counting(), photos, shard=(number, 3)).images for number in (1, 2, 3)] == [4, 3, 3]
    assert segment(Counting(), photos).earlier == 10
    assert segment(Counting(), photos, shard=(11, 11)).images == 0
    with pytest.raises(ConfigError, match="shard 4 of 3"):
        segment(Counting(), photos, shard=(4, 3))


def test_one_run_at_a_time(photos: Path):
    with (
        hold_lock(photos.parent / "out/.segmented.lock", wait=False),
        pytest.raises(ConfigError, match="at work in it"),
    ):
        segment(Counting(), photos)


@pytest.mark.parametrize("content", [b"", b"notes\n", b"[1]\n", json.dumps({"format": "x"}).encode()])
def test_what_is_no_record_is_left_alone(photos: Path, content: bytes):
    (photos.parent / "out").mkdir()
    (photos.parent / "out/segmented.jsonl").write_bytes(content)
    with pytest.raises(DataError, match="its first line"):
        segment(Counting(), photos, overwrite=True)


@pytest.mark.parametrize("line", [b"[]", b"{}", b"\xff", b'{"image": [], "stamp": [1, 2], "files": []}', b"[" * 9999])
def test_lines_that_say_nothing_cost_no_more_than_their_image(photos: Path, line: bytes):
    segment(Counting(), photos)
    with (photos.parent / "out/segmented.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert segment(Counting(), photos).earlier == 10
