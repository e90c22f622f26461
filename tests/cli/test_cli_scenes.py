"""``crispseg segment --tiled`` through the real command line: what it writes, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import crispseg
from crispseg.cli import app
from crispseg.config import ModelConfig
from crispseg.models import build_model

rasterio = pytest.importorskip("rasterio")
from rasterio.transform import Affine  # noqa: E402

PLACE = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 412000, 0, -0.5, 5318000)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    space = crispseg.LabelSpace.from_dict({"name": "two", "classes": ["sky", "road"]})
    config = ModelConfig(head="deeplabv3plus", backbone="resnet10t", output_stride=16, channels=16)
    crispseg.save_model(build_model(config, space), folder)
    return folder


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    values = np.random.default_rng(0).integers(0, 256, (3, 70, 90), dtype=np.uint8)
    with rasterio.open(path, "w", driver="GTiff", height=70, width=90, count=3, dtype="uint8", **PLACE) as file:
        file.write(values)
    return path


def segment(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["segment", *map(str, arguments)], env={"COLUMNS": "200"})


def test_maps_are_written_and_the_same_command_does_nothing_again(model: Path, scene: Path, tmp_path: Path):
    command = (model, scene, "--tiled", "--window", 32, 32, "--only", "labels,confidence", "--out", tmp_path / "maps")
    first, again = segment(*command), segment(*command)
    assert "1 of 1 scenes segmented" in first.output, first.output
    assert "earlier, by this model and these options" in again.output
    names = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert names == ["scene_confidence.tif", "scene_labels.tif", "segmented.jsonl"]
    assert segment(model, scene, "--window", 32, 32, "--only", "labels", "--out", tmp_path / "whole").exit_code == 0
    with rasterio.open(tmp_path / "maps/scene_labels.tif") as file:
        assert file.transform == PLACE["transform"]
        np.testing.assert_array_equal(file.read(1), crispseg.io.read_label_ids(tmp_path / "whole/scene_labels.png"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tiled", "--polygons", "geojson"), "--polygons: not with --tiled"),
        (("--tiled", "--max-pixels", 5), "--max-pixels: not with --tiled"),
        (("--tiled", "--bands", "1,2"), "three numbers from 1"),
        (("--tiled", "--scales", "0.5,1"), "scale 1.0 alone"),
        (("--tiled", "--only", "overlay"), "no map of a scene is called 'overlay'"),
        (("--tiled", "--precision", "eight"), "precision"),
        (("--bands", "1,2,3"), "give --tiled as well"),
        (("--overviews",), "give --tiled as well"),
    ],
)
def test_options_that_do_not_go_together_are_named(options, message: str, model: Path, scene: Path, tmp_path: Path):
    result = segment(model, scene, *options, "--out", tmp_path / "maps")
    assert result.exit_code == 2
    assert message in result.output


def test_what_is_no_tiff_is_reported_and_the_others_are_done(model: Path, scene: Path, tmp_path: Path):
    (tmp_path / "broken.tif").write_bytes(b"II*\0nothing")
    result = segment(model, tmp_path / "broken.tif", scene, "--tiled", "--out", tmp_path / "maps")
    assert result.exit_code == 1
    assert "1 of 2 scenes segmented" in result.output
    assert "no TIFF that can be read" in result.output
