"""Ray Data gives the same files. It takes half a gigabyte, so that dev does without, and these tests too."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

import crispseg
from crispseg.bulk import OnRay, Output, choose_outputs, collect_images
from crispseg.io import write_png

pytest.importorskip("ray", reason="pip install 'ray[data]', which is too large for dev")
pytestmark = pytest.mark.slow  # a cluster takes seconds to start


def by_brightness(images: torch.Tensor) -> crispseg.SegmentationOutput:
    grey = images.mean(dim=1, keepdim=True)
    return crispseg.SegmentationOutput(logits=torch.cat((0.5 - grey, grey - 0.5), dim=1))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(70):
        write_png(tmp_path / "photos" / f"{number}.png", rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    (tmp_path / "photos" / "7.png").write_bytes(b"nothing")
    return tmp_path / "photos"


def test_ray_gives_the_same(photos: Path, tmp_path: Path):
    two = crispseg.LabelSpace.from_dict({"name": "two", "classes": ["dark", "bright"]})
    model = by_brightness  # by value, for Ray's processes do not see this file

    def make() -> crispseg.Predictor:
        return crispseg.Predictor(model, two)

    results, files = [], []
    for engine in (None, OnRay(make, actors=2)):
        out = tmp_path / f"out{len(files)}"
        results.append(crispseg.segment_images(make(), collect_images([photos], out), out, engine=engine))
        files.append({path.name: path.read_bytes() for path in out.glob("*.png")})
    assert results[0] == results[1]
    assert (results[1].done, len(results[1].failures)) == (69, 1)
    assert files[0] == files[1]

    def full(prediction: object, source: Path, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    out = tmp_path / "full"
    images, outputs = collect_images([photos], out), (*choose_outputs(["labels"]), Output("full", "_full", full))
    with pytest.raises(OSError, match="No space left"):
        crispseg.segment_images(make(), images, out, outputs, engine=OnRay(make))
