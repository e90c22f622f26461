"""Overlays as JPEG beside those without loss."""

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from crispseg import LabelSpace, Predictor, SegmentationOutput
from crispseg.bulk import choose_outputs, collect_images, overlay_output, segment_images
from crispseg.cli import app
from crispseg.errors import ConfigError
from crispseg.io import write_png

SPACE = LabelSpace.from_dict({"name": "two", "classes": ["bright", "dark"]})


def _dark(images: torch.Tensor) -> SegmentationOutput:
    return SegmentationOutput(logits=torch.cat((images[:, :1], 1 - images[:, :1]), dim=1))


@pytest.fixture
def photo(tmp_path):
    picture = np.kron(
        np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)
    )
    write_png(tmp_path / "a.png", picture)
    return tmp_path / "a.png"


def test_an_overlay_in_jpeg_shows_the_same_and_another_quality_is_done_anew(photo):
    out, predictor = photo.parent / "out", Predictor(_dark, SPACE)
    images = collect_images([photo], out)
    sizes = {}
    for quality in (95, 20):
        assert segment_images(predictor, images, out, [overlay_output("jpg", quality)]).earlier == 0
        sizes[quality] = (out / "a_overlay.jpg").stat().st_size
    assert segment_images(predictor, images, out, [overlay_output("jpg", 20)]).earlier == 1
    assert sizes[20] < 0.7 * sizes[95]
    segment_images(predictor, images, out, [overlay_output("jpg"), overlay_output("png")])
    jpeg, exact = (np.asarray(Image.open(out / f"a_overlay.{kind}")).astype(int) for kind in ("jpg", "png"))
    assert np.abs(jpeg - exact).mean() < 10  # coloured blocks, of which JPEG halves the colours
    assert overlay_output("png") is choose_outputs(["overlay"])[0]


def test_formats_and_qualities_that_do_not_exist_are_named():
    for wrong, message in [(("gif",), "png or jpg expected"), (("jpg", 0), "1 to 100"), (("jpg", 101), "1 to 100")]:
        with pytest.raises(ConfigError, match=message):
            overlay_output(*wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--overlay-format", "webp"], "png or jpg expected"),
        (["--overlay-quality", "80"], "give --overlay-format jpg as well"),
        (["--overlay-format", "jpg", "--only", "labels"], "no overlay is written"),
        (["--overlay-format", "jpg", "--tiled"], "not with --tiled"),
    ],
)
def test_options_that_would_be_ignored_are_errors(photo, options, message):
    done = CliRunner().invoke(app, ["segment", "nowhere", str(photo), "--out", str(photo.parent / "out"), *options])
    assert done.exit_code == 2
    assert message in " ".join((done.output + str(done.exception)).split())
