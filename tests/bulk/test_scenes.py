"""Scenes in tiles: the labels of the whole image, in place on Earth, and gone on with after a kill."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crispseg import Predictor, SegmentationOutput
from crispseg.bulk import SCENE_MAPS, choose_scene_maps, rasters, scenes, segment_scenes
from crispseg.errors import ConfigError
from crispseg.io import read_label_ids
from crispseg.labels import LabelSpace

rasterio = pytest.importorskip("rasterio")
from rasterio.enums import ColorInterp  # noqa: E402
from rasterio.transform import Affine  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SPACE = LabelSpace.from_dict(
    {
        "name": "land",
        "classes": [
            {"name": "water", "colour": [0, 0, 200], "ids": [7]},
            {"name": "field", "colour": [0, 200, 0], "ids": [3]},
            {"name": "road", "colour": [90, 90, 90], "ids": [9]},
        ],
    }
)
PLACE = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 412000, 0, -0.5, 5318000)}
ROTATED = Affine(0.5, 0.1, 412000, 0.1, -0.5, 5318000)
WEIGHT = torch.randn((4, 3, 5, 5), generator=torch.Generator().manual_seed(0))


def network(images: torch.Tensor) -> SegmentationOutput:
    maps = torch.nn.functional.conv2d(images - 0.5, WEIGHT, padding=2)
    return SegmentationOutput(logits=maps[:, :3], boundary_logits=maps[:, 3:])


def predictor(**options) -> Predictor:
    return Predictor(network, SPACE, **{"window_hw": (48, 64), **options})


def picture(height: int = 150, width: int = 210, bands: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, bands), dtype=np.uint8)


def write_scene(path: Path, values: np.ndarray, **profile) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, count = values.shape
    kind = {"height": height, "width": width, "count": count, "dtype": values.dtype, "driver": "GTiff"}
    with rasterio.open(path, "w", **kind, **{"tiled": True, "blockxsize": 64, "blockysize": 64, **profile}) as file:
        file.write(values.transpose(2, 0, 1))
    return path


@pytest.fixture(autouse=True)
def _low_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "STRIP_ROWS", 64)


def segment(source: Path, out: Path, maps=SCENE_MAPS[:1], **options):
    segmented = segment_scenes(options.pop("by", predictor()), {Path("scene"): source}, out, maps, **options)
    assert not segmented.failures, segmented.failures
    return segmented


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


@pytest.mark.parametrize("size", [(150, 210), (30, 40), (48, 64), (64, 300), (200, 10), (1, 1)])
def test_labels_are_those_of_the_whole_image_through_the_same_windows(size, tmp_path: Path):
    values = picture(*size)
    source = write_scene(tmp_path / "scene.tif", values)
    segment(source, tmp_path / "out", SCENE_MAPS)
    whole = predictor()(values)
    whole.save(tmp_path / "whole.png")
    np.testing.assert_array_equal(
        read_label_ids(tmp_path / "out/scene_labels.tif"), read_label_ids(tmp_path / "whole.png")
    )
    np.testing.assert_array_equal(read(tmp_path / "out/scene_confidence.tif"), np.rint(255 * whole.confidence))
    np.testing.assert_array_equal(read(tmp_path / "out/scene_boundaries.tif"), np.rint(255 * whole.boundaries()))
    assert not (tmp_path / "out/scene.parts").exists()
    with rasterio.open(tmp_path / "out/scene_labels.tif") as file:
        assert file.colormap(1)[7][:3] == (0, 0, 200)
        assert file.nodata is None
        assert file.crs is None
        assert file.compression.name == "deflate"
        assert file.block_shapes == [(512, 512)]


@pytest.mark.parametrize("place", [PLACE, {**PLACE, "transform": ROTATED}])
def test_maps_lie_where_the_scene_lies(place, tmp_path: Path):
    source = write_scene(tmp_path / "scene.tif", picture(), **place)
    segment(source, tmp_path / "out")
    with rasterio.open(tmp_path / "out/scene_labels.tif") as file:
        assert file.crs == place["crs"]
        assert file.transform == place["transform"]


def test_points_on_the_ground_are_kept(tmp_path: Path):
    points = [rasterio.control.GroundControlPoint(r, c, c / 2, -r / 2) for r, c in ((0, 0), (0, 99), (99, 0), (99, 99))]
    source = write_scene(tmp_path / "scene.tif", picture(), crs="EPSG:32633", gcps=points)
    segment(source, tmp_path / "out")
    with rasterio.open(tmp_path / "out/scene_labels.tif") as file:
        assert len(file.gcps[0]) == 4
        assert file.gcps[1] == "EPSG:32633"


def test_what_the_scene_says_nothing_of_is_ignored(tmp_path: Path):
    values = picture()
    values[20:70, 30:90] = 0
    source = write_scene(tmp_path / "scene.tif", values, nodata=0)
    segment(source, tmp_path / "out", choose_scene_maps(["labels", "confidence"]))
    labels = read(tmp_path / "out/scene_labels.tif")
    assert (labels[20:70, 30:90] == 255).all()
    assert (labels == 255).sum() == 50 * 60
    assert (read(tmp_path / "out/scene_confidence.tif")[20:70, 30:90] == 0).all()
    with rasterio.open(tmp_path / "out/scene_labels.tif") as file:
        assert file.nodata == 255


def test_transparency_is_ignored_and_no_band(tmp_path: Path):
    values = picture(bands=4)
    values[..., 3] = 255
    values[:10, :, 3] = 0
    source = write_scene(tmp_path / "scene.tif", values, photometric="RGB", alpha="unspecified")
    with rasterio.open(source, "r+") as file:
        file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    segment(source, tmp_path / "out")
    labels = read(tmp_path / "out/scene_labels.tif")
    assert (labels[:10] == 255).all()
    whole = predictor()(np.ascontiguousarray(values[..., :3])).labels
    np.testing.assert_array_equal(labels[10:], np.array([7, 3, 9])[whole[10:]])


def test_bands_are_chosen_and_grey_is_three_times_itself(tmp_path: Path):
    values = picture(bands=5)
    source = write_scene(tmp_path / "five.tif", values)
    segment(source, tmp_path / "five", bands=(5, 3, 1))
    whole = predictor()(np.ascontiguousarray(values[..., [4, 2, 0]])).labels
    np.testing.assert_array_equal(read(tmp_path / "five/scene_labels.tif"), np.array([7, 3, 9])[whole])
    grey = write_scene(tmp_path / "grey.tif", values[..., :1])
    segment(grey, tmp_path / "grey")
    whole = predictor()(np.repeat(values[..., :1], 3, axis=2)).labels
    np.testing.assert_array_equal(read(tmp_path / "grey/scene_labels.tif"), np.array([7, 3, 9])[whole])


def test_ids_above_255_make_16_bits(tmp_path: Path):
    space = LabelSpace.from_dict(
        {
            "name": "wide",
            "classes": [{"name": name, "ids": [number]} for name, number in (("a", 300), ("b", 1), ("c", 2))],
        }
    )
    values = picture()
    source = write_scene(tmp_path / "scene.tif", values)
    by = Predictor(network, space, window_hw=(48, 64))
    segment(source, tmp_path / "out", by=by)
    np.testing.assert_array_equal(read(tmp_path / "out/scene_labels.tif"), np.array([300, 1, 2])[by(values).labels])


def test_overviews_are_halved_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rasters, "_TILE", 64)
    segment(write_scene(tmp_path / "scene.tif", picture(), **PLACE), tmp_path / "out", SCENE_MAPS, overviews=True)
    for name in ("labels", "confidence"):
        with rasterio.open(tmp_path / f"out/scene_{name}.tif") as file:
            assert file.overviews(1) == [2]
            small = file.read(1, out_shape=(75, 105))
    assert small.shape == (75, 105)
    with rasterio.open(tmp_path / "out/scene_labels.tif") as file:
        assert set(np.unique(file.read(1, out_shape=(75, 105)))) <= {3, 7, 9}


class Stopped(BaseException):
    """As Ctrl-C is."""


def stop_at(row: int):
    def progress(source: Path, rows: int, total: int) -> None:
        if rows >= row:
            raise Stopped

    return progress


def test_a_run_that_was_stopped_goes_on_from_its_last_strip(tmp_path: Path):
    source, out = write_scene(tmp_path / "scene.tif", picture(), **PLACE), tmp_path / "out"
    with pytest.raises(Stopped):
        segment(source, out, progress=stop_at(64))
    assert sorted(path.name for path in out.iterdir()) == ["scene.parts", "segmented.jsonl"]
    reached: list[int] = []
    segment(source, out, progress=lambda source, rows, total: reached.append(rows))
    assert reached == [64, 128, 150]
    segment(source, tmp_path / "whole")
    assert (out / "scene_labels.tif").read_bytes() == (tmp_path / "whole/scene_labels.tif").read_bytes()
    assert segment(source, out).earlier == 1


def test_strips_of_a_file_that_has_changed_are_not_used(tmp_path: Path):
    source, out = write_scene(tmp_path / "scene.tif", picture()), tmp_path / "out"
    with pytest.raises(Stopped):
        segment(source, out, progress=stop_at(64))
    values = picture()[::-1]
    write_scene(source, values)
    os.utime(source, ns=(1, 1))
    segment(source, out)
    np.testing.assert_array_equal(
        read(out / "scene_labels.tif"), np.array([7, 3, 9])[predictor()(values.copy()).labels]
    )


def test_strips_of_other_options_are_not_mixed(tmp_path: Path):
    source, out = write_scene(tmp_path / "scene.tif", picture()), tmp_path / "out"
    with pytest.raises(Stopped):
        segment(source, out, progress=stop_at(64))
    with pytest.raises(ConfigError, match="results of other options: bands was None"):
        segment(source, out, bands=(3, 2, 1))
    segment(source, out, bands=(3, 2, 1), overwrite=True)
    whole = predictor()(np.ascontiguousarray(picture()[..., ::-1])).labels
    np.testing.assert_array_equal(read(out / "scene_labels.tif"), np.array([7, 3, 9])[whole])


def test_a_broken_strip_is_done_again(tmp_path: Path):
    source, out = write_scene(tmp_path / "scene.tif", picture()), tmp_path / "out"
    with pytest.raises(Stopped):
        segment(source, out, progress=stop_at(128))
    strip = out / "scene.parts" / "labels_000000000.png"
    strip.write_bytes(strip.read_bytes()[:100])
    segmented = segment_scenes(predictor(), {Path("scene"): source}, out)
    assert "a finished part is broken" in segmented.failures[0].message
    segment(source, out)
    assert (out / "scene_labels.tif").exists()


def failure(source: Path, tmp_path: Path, **options) -> str:
    segmented = segment_scenes(predictor(), {Path("scene"): source}, tmp_path / "out", **options)
    assert segmented.done == 0
    assert not list((tmp_path / "out").glob("*.tif"))
    (found,) = segmented.failures
    return found.message


def test_a_scene_that_is_cut_is_named_and_nothing_of_its_name_is_left(tmp_path: Path):
    source = write_scene(tmp_path / "scene.tif", picture(), compress="deflate")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    assert "scene.tif: " in (message := failure(source, tmp_path))
    assert "broken or truncated TIFF" in message or "no TIFF that can be read" in message


def test_a_scene_whose_pixels_are_cut_is_named(tmp_path: Path):
    Image.fromarray(picture(400, 210)).save(tmp_path / "scene.tif")
    data = (tmp_path / "scene.tif").read_bytes()
    source = write_scene(tmp_path / "head_first.tif", picture(400, 210), copy_src_overviews=False)
    source.write_bytes(source.read_bytes()[:-9000])
    assert len(data) > 9000
    assert "broken or truncated TIFF" in failure(source, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", None, "no TIFF that can be read"),
        ("a.tif", b"", "no TIFF that can be read"),
        ("a.tif", b"II*\0\x08\0\0\0\0\0\0\0\0\0", "no TIFF that can be read"),
        ("gone.tif", "gone", "no such file"),
    ],
)
def test_what_is_no_tiff_is_named(name: str, content, message: str, tmp_path: Path):
    if content is None:
        Image.fromarray(picture()).save(tmp_path / name)
    elif content != "gone":
        (tmp_path / name).write_bytes(content)
    assert message in failure(tmp_path / name, tmp_path)


def test_other_kinds_of_samples_are_refused_with_what_to_do(tmp_path: Path):
    wide = write_scene(tmp_path / "wide.tif", picture().astype(np.uint16) * 200)
    assert "samples of uint16 found, 8 bits expected; scale them" in failure(wide, tmp_path)
    two = write_scene(tmp_path / "two.tif", picture(bands=2))
    assert "2 bands found; say which" in failure(two, tmp_path)
    three = write_scene(tmp_path / "three.tif", picture())
    assert "bands 1, 2, 4 asked for; three of its 3" in failure(three, tmp_path, bands=(1, 2, 4), overwrite=True)
    palette = Image.fromarray(picture()[..., 0]).convert("P")
    palette.save(tmp_path / "palette.tif")
    assert "a palette found" in failure(tmp_path / "palette.tif", tmp_path, overwrite=True)
    turned = Image.fromarray(picture())
    turned.save(tmp_path / "turned.tif", tiffinfo={274: 6})
    assert "turned by its orientation" in failure(tmp_path / "turned.tif", tmp_path)


def test_options_that_do_not_fit_are_named(tmp_path: Path):
    source = write_scene(tmp_path / "scene.tif", picture())
    images = {Path("scene"): source}
    with pytest.raises(ConfigError, match="window_hw"):
        segment_scenes(Predictor(network, SPACE), images, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"scale 1\.0 alone"):
        segment_scenes(predictor(scales=(1.0, 2.0)), images, tmp_path / "out")
    with pytest.raises(ConfigError, match="did you mean 'labels'"):
        choose_scene_maps(["label"])
    no_ids = LabelSpace.from_dict({"name": "n", "classes": [{"name": "a", "ids": []}, "b", "c"]})
    with pytest.raises(ConfigError, match="has no ids"):
        segment_scenes(Predictor(network, no_ids, window_hw=(48, 64)), images, tmp_path / "out")

    def without_branch(images: torch.Tensor) -> SegmentationOutput:
        return SegmentationOutput(logits=network(images).logits)

    with pytest.raises(ConfigError, match="no boundary branch"):
        segment(source, tmp_path / "other", SCENE_MAPS, by=Predictor(without_branch, SPACE, window_hw=(48, 64)))


@pytest.mark.parametrize("full", [0, 2**30])
def test_a_disk_that_is_full_leaves_nothing_whole_and_the_strips(full: int, tmp_path: Path, monkeypatch):
    source, out = write_scene(tmp_path / "scene.tif", picture()), tmp_path / "out"
    open_file = rasterio.open

    def failing(path, mode="r", **options):
        if mode == "w":
            raise rasterio.errors.RasterioIOError("write failed")
        return open_file(path, mode, **options)

    monkeypatch.setattr(rasterio, "open", failing)
    monkeypatch.setattr(rasters.shutil, "disk_usage", lambda folder: os.statvfs_result((0,) * 10) and FakeUsage(full))
    with pytest.raises(OSError, match="write failed") as raised:
        segment(source, out)
    assert raised.value.errno == (errno.EIO if full else errno.ENOSPC)
    assert not list(out.glob("*.tif"))
    monkeypatch.undo()
    monkeypatch.setattr(scenes, "STRIP_ROWS", 64)
    monkeypatch.setattr(Predictor, "stream", None)  # all strips are there
    segment(source, out)
    assert (out / "scene_labels.tif").exists()


class FakeUsage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_what_gdal_wrote_wrong_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = write_scene(tmp_path / "scene.tif", picture())
    numbers = iter(range(100))
    monkeypatch.setattr(rasters, "_checksum", lambda values: next(numbers))
    with pytest.raises(OSError, match="are not what was written"):
        segment(source, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tif"))


KILLED = """
import sys; sys.path.insert(0, {tests!r})
import os, signal
import test_scenes
from pathlib import Path
test_scenes.scenes.STRIP_ROWS = 64
def progress(source, rows, total):
    if rows >= 128: os.kill(os.getpid(), signal.SIGKILL)
test_scenes.segment(Path({source!r}), Path({out!r}), progress=progress)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(tmp_path: Path):
    source, out = write_scene(tmp_path / "scene.tif", picture(), **PLACE), tmp_path / "out"
    program = KILLED.format(tests=str(Path(__file__).parent), source=str(source), out=str(out))
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not list(out.glob("*.tif"))
    assert json.loads((out / "scene.parts/scene.json").read_text())["size_hw"] == [150, 210]
    reached: list[int] = []
    segment(source, out, progress=lambda source, rows, total: reached.append(rows))
    assert reached[0] == 128
    segment(source, tmp_path / "whole")
    assert (out / "scene_labels.tif").read_bytes() == (tmp_path / "whole/scene_labels.tif").read_bytes()
