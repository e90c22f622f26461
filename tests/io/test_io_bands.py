"""Bands, ranges and heads of image files."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crispseg.errors import DataError
from crispseg.io import MAX_PIXELS, read_image
from crispseg.io.bands import Reading, as_picture, pixels_size_hw, read_pixels
from crispseg.io.facts import image_facts
from crispseg.io.orientation import is_turned

RNG = np.random.default_rng(0)
GREY16 = RNG.integers(0, 4096, (6, 9)).astype(np.uint16)
RGBA = RNG.integers(0, 256, (6, 9, 4)).astype(np.uint8)


def write_tiff(path: Path, bands: np.ndarray, **options: object) -> Path:
    """(H, W, B), by GDAL."""
    rasterio = pytest.importorskip("rasterio")
    height, width, count = bands.shape
    kind = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": bands.dtype, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it lies nowhere on Earth
        with rasterio.open(path, "w", **kind) as file:
            file.write(bands.transpose(2, 0, 1))
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("options", [{}, {"compress": "lzw", "predictor": 2}, {"interleave": "band", "tiled": True}])
def test_any_bands_of_a_tiff(tmp_path, dtype, options):
    if dtype == "float32" and "predictor" in options:
        options = {**options, "predictor": 3}
    bands = (RNG.random((40, 50, 5)) * (1 if dtype == "float32" else 200)).astype(dtype)
    path = write_tiff(tmp_path / "a.tif", bands, **options)
    facts = image_facts(path)
    assert (facts.bands, facts.size_hw, facts.pages, facts.floats) == (5, (40, 50), 1, dtype == "float32")
    read = read_pixels(path, Reading((5, 1)))
    expected = np.rint(bands * 65535) if dtype == "float32" else bands
    np.testing.assert_array_equal(read, expected[..., [4, 0]])
    assert read.dtype == ("uint8" if dtype == "uint8" else "uint16")
    assert pixels_size_hw(path, Reading((1,))) == (40, 50)


def test_a_range_says_what_is_white(tmp_path):
    Image.fromarray(GREY16).save(tmp_path / "a.png")
    read = read_pixels(tmp_path / "a.png", Reading((1,), (0, 4095)))
    np.testing.assert_array_equal(read[..., 0], np.rint(GREY16 / np.float32(4095) * 65535))
    as_rgb = read_pixels(tmp_path / "a.png", Reading(None, (0, 4095)))
    assert as_rgb.shape == (6, 9, 3)
    assert (as_rgb == read).all()


def test_floats_without_a_range(tmp_path):
    inside = write_tiff(tmp_path / "a.tif", RNG.random((6, 9, 3)).astype(np.float32))
    assert read_pixels(inside).dtype == np.uint16
    assert pixels_size_hw(inside) == (6, 9)
    outside = write_tiff(tmp_path / "b.tif", (RNG.random((6, 9, 3)) * 3000).astype(np.float32))
    with pytest.raises(DataError, match=r"b.tif: float32 from .* found; say .* data.value_range=\[LOW,HIGH\]"):
        read_pixels(outside)
    assert read_pixels(outside, Reading(None, (0, 3000))).max() > 60000


def test_sixteen_bits_of_a_colour_png(tmp_path):
    cv2 = pytest.importorskip("cv2")
    colours = RNG.integers(0, 65536, (6, 9, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), colours[..., ::-1])
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png", Reading((1, 2, 3))), colours)
    assert image_facts(tmp_path / "a.png").bits == 16


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_turning_is_that_of_viewers(tmp_path, orientation, ending):
    path = tmp_path / f"a.{ending}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGBA[..., :3]).save(path, exif=exif)
    assert image_facts(path).orientation == orientation
    np.testing.assert_array_equal(read_pixels(path, Reading((1, 2, 3))), read_image(path))
    stored = Reading((1, 2, 3), upright=False)
    np.testing.assert_array_equal(read_pixels(path, stored), RGBA[..., :3])
    np.testing.assert_array_equal(read_image(path, upright=False), RGBA[..., :3])
    assert pixels_size_hw(path, Reading(upright=False)) == (6, 9)


def test_a_fourth_band_is_transparency_only_if_it_can_be(tmp_path):
    Image.fromarray(RGBA).save(tmp_path / "infrared.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "infrared.tif"), RGBA[..., :3])
    cut = RGBA.copy()
    cut[..., 3] = 255
    cut[:2, :, 3] = 0
    Image.fromarray(cut).save(tmp_path / "cut.tif")
    read = read_image(tmp_path / "cut.tif")
    assert (read[:2] == 255).all()
    np.testing.assert_array_equal(read[2:], cut[2:, :, :3])


def test_pages_and_a_missing_band(tmp_path):
    pages = [Image.fromarray(RGBA[..., band]) for band in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert image_facts(tmp_path / "a.tif").pages == 3
    with pytest.raises(DataError, match="1 band found, and band 2 is asked for"):
        read_pixels(tmp_path / "a.tif", Reading((2,)))


@pytest.mark.parametrize("cut", [4, 8, 9, 20, 60])
def test_broken_heads_are_named(tmp_path, cut):
    Image.fromarray(RGBA).save(tmp_path / "a.tif")
    (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:cut])
    with pytest.raises(DataError, match=r"b\.tif"):
        read_pixels(tmp_path / "b.tif", Reading((1, 2)))


def test_pictures_of_any_bands():
    assert as_picture(RGBA).shape == as_picture(GREY16[..., None]).shape == (6, 9, 3)
    assert as_picture(GREY16[..., None]).dtype == np.uint8


def test_no_pixels_of_a_png_are_decoded_for_its_head_unless_something_may_tell_that_it_is_turned(tmp_path):
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    huge = struct.pack(">IIBBBBB", 2**31 - 1, 1, 16, 6, 0, 0, 0)  # no memory has room for it
    path = tmp_path / "huge.png"
    for between in (b"", chunk(b"eXIf", b"II*\0")):
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", huge) + between + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        )
        facts = image_facts(path)
        assert (facts.size_hw, facts.bits, facts.orientation) == ((1, 2**31 - 1), 16, 1)
        assert between or not is_turned(path)

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 3)).save(path, exif=exif)
    whole = path.read_bytes()
    start, end = whole.index(b"eXIf") - 4, whole.index(b"IDAT") - 4
    behind = whole.index(b"IEND") - 4  # where other tools put it
    path.write_bytes(whole[:start] + whole[end:behind] + whole[start:end] + whole[behind:])
    assert image_facts(path).orientation == 6


def test_the_callers_limit_says_up_to_which_size_a_png_is_asked_for_its_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    path = tmp_path / "wide.png"
    stored = np.zeros((1, MAX_PIXELS + 8), dtype=bool)
    stored[0, 0] = True
    Image.fromarray(stored).save(path, exif=exif)
    assert image_facts(path).orientation == 1
    assert image_facts(path, stored.size).orientation == 3
    assert read_pixels(path, Reading((1,)), stored.size)[0, -1, 0] == 255
