"""Many images into a folder: every one in its place, failures at the end, and nothing half written."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

import crispseg
from crispseg.bulk import OUTPUTS, Output, choose_outputs, collect_images
from crispseg.errors import ConfigError
from crispseg.io import read_image, read_label_ids, write_png

TWO = crispseg.LabelSpace.from_dict(
    {"name": "two", "classes": [{"name": "dark", "ids": [3]}, {"name": "bright", "ids": [5]}]}
)


def by_brightness(images: torch.Tensor) -> crispseg.SegmentationOutput:
    grey = images.mean(dim=1, keepdim=True)
    return crispseg.SegmentationOutput(logits=torch.cat((0.5 - grey, grey - 0.5), dim=1))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(24):
        size = (8, 10) if number % 5 else (6, 9)
        write_png(
            tmp_path / "photos" / str(number % 3) / f"{number}.png", rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        )
    return tmp_path / "photos"


def test_every_image_has_its_own_files(photos: Path, tmp_path: Path):
    predictor = crispseg.Predictor(by_brightness, TWO)
    images, out = collect_images([photos], tmp_path / "out"), tmp_path / "out"
    seen = []
    result = crispseg.segment_images(predictor, images, out, progress=lambda *numbers: seen.append(numbers))
    assert (result.done, result.failures) == (24, ())
    assert seen == [(number, number, 24) for number in range(1, 25)]
    assert len(list(out.rglob("*.png"))) == 24 * len(OUTPUTS)
    for target, source in images.items():
        alone = predictor(source)
        labels = np.array([3, 5])[alone.labels]
        assert np.array_equal(read_label_ids(out / f"{target}_labels.png"), labels)
        assert np.array_equal(read_image(out / f"{target}_overlay.png"), alone.overlay())


def test_broken_images_are_listed_in_order_and_the_others_are_done(photos: Path, tmp_path: Path):
    for name in ("0/0.png", "1/7.png", "2/23.png"):
        (photos / name).write_bytes(b"nothing")
    images = collect_images([photos], tmp_path / "out")
    result = crispseg.segment_images(crispseg.Predictor(by_brightness, TWO), images, tmp_path / "out")
    assert result.done == 21
    assert [str(failure.source.relative_to(photos)) for failure in result.failures] == [
        "0/0.png",
        "1/7.png",
        "2/23.png",
    ]
    assert all(str(failure.source) in failure.message for failure in result.failures)


def test_an_image_that_the_model_refuses_is_one_of_the_failures(photos: Path, tmp_path: Path):
    def large_enough(images: torch.Tensor) -> crispseg.SegmentationOutput:
        if images.shape[-1] < 10:
            raise crispseg.DataError("the image has 6×9 pixels")
        return by_brightness(images)

    images = collect_images([photos], tmp_path / "out")
    result = crispseg.segment_images(crispseg.Predictor(large_enough, TWO), images, tmp_path / "out")
    assert (result.done, len(result.failures)) == (19, 5)
    assert all(str(failure.source) in failure.message for failure in result.failures)


def test_a_writer_that_fails_ends_the_work(photos: Path, tmp_path: Path):
    def full(prediction: object, source: Path, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    images = collect_images([photos], tmp_path / "out")
    outputs = (*choose_outputs(["labels"]), Output("full", "_full.png", full))
    with pytest.raises(OSError, match="No space left"):
        crispseg.segment_images(crispseg.Predictor(by_brightness, TWO), images, tmp_path / "out", outputs)
    assert not list((tmp_path / "out").rglob(".*"))
    assert (tmp_path / "out/segmented.jsonl").read_text().count("\n") == 1


def test_an_unknown_output_is_named():
    with pytest.raises(ConfigError, match="did you mean 'overlay'"):
        choose_outputs(["labels", "overlays"])
