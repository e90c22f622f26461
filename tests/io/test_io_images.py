import io
import os
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from crispseg.config import DataConfig
from crispseg.errors import DataError
from crispseg.io import MAX_PIXELS, ImageBytes, image_size_hw, read_image, read_label_ids, write_png
from crispseg.io.opening import NotAnImage, TooManyPixels
from crispseg.io.orientation import is_turned


@pytest.fixture
def photo():
    """Smooth, so that JPEG keeps it within a few levels; its colours tell channels and corners apart."""
    v, u = np.mgrid[0:40, 0:60]
    return np.stack([4 * u, 5 * v, 200 - 2 * u], axis=2).astype(np.uint8)


def test_rgb_png_comes_back_exactly(tmp_path, photo):
    write_png(tmp_path / "a.png", photo)
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, photo)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], photo)


def test_grey_becomes_three_equal_channels(tmp_path, photo):
    Image.fromarray(photo[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(photo[..., :1], 3, axis=2))


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(np.eye(5, dtype=bool)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 1], np.eye(5) * 255)


def test_palette_is_looked_up(tmp_path):
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[:3] = [[10, 20, 30], [200, 0, 7], [1, 2, 255]]
    ids = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    write_png(tmp_path / "a.png", ids, palette)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), palette[ids])


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, photo, channels):
    wide = photo[..., 0].astype(np.uint16) * 257 if channels == 1 else photo.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "a.png"), wide if channels == 1 else wide[..., ::-1])
    expected = np.repeat(photo[..., :1], 3, axis=2) if channels == 1 else photo
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_transparency_is_laid_over_white(tmp_path):
    colours = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [0, 100, 200, 51]]], dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    expected = [[[200, 100, 0], [255, 255, 255], [204, 224, 244]]]
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), expected, atol=1)


def test_transparent_grey_and_palette_are_laid_over_white(tmp_path):
    Image.fromarray(np.array([[[9, 255], [9, 0]]], dtype=np.uint8), mode=None).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[0, :, 0], [9, 255])
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([5, 6, 7, 90, 91, 92])
    image.save(tmp_path / "palette.png", transparency=1)
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), [[[5, 6, 7], [255, 255, 255]]])


def test_cmyk_jpeg_has_the_right_colours(tmp_path, photo):
    Image.fromarray(photo).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "CMYK"
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - photo).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, photo, orientation):
    # How the upright picture lies in the file, by the EXIF standard's description of each orientation.
    stored = {
        1: photo, 2: photo[:, ::-1], 3: photo[::-1, ::-1], 4: photo[::-1], 5: photo.transpose(1, 0, 2),
        6: np.rot90(photo, 1), 7: photo[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(photo, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.jpg", quality=98, exif=exif)
    read = read_image(tmp_path / "a.jpg")
    assert read.shape == photo.shape == (*image_size_hw(tmp_path / "a.jpg"), 3)
    assert np.abs(read.astype(int) - photo).mean() < 4


@pytest.mark.parametrize("orientation", [0, 1, 9, 6])
def test_orientation_in_a_png_is_applied_and_a_wrong_one_is_not(tmp_path, photo, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo).save(tmp_path / "a.png", exif=exif)
    expected = np.rot90(photo, -1) if orientation == 6 else photo
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)
    assert image_size_hw(tmp_path / "a.png") == expected.shape[:2]


def test_orientation_that_is_no_number_is_not_applied(tmp_path, photo):
    text = struct.pack("<HHI4s", 0x0112, 2, 4, b"top\0")  # the one entry of a little-endian directory
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + text + bytes(4)
    Image.fromarray(photo).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), photo)
    assert image_size_hw(tmp_path / "a.png") == photo.shape[:2]


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"]),
    st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "WEBP"]),
    st.sampled_from([None, 1, 3, 6]),
    st.integers(0, 2**32),
)
def test_shortcuts_give_what_every_conversion_in_turn_gives(kind, suffix, orientation, seed):
    """Reading leaves out what would change nothing. Here nothing is left out."""
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 7, 4), dtype=np.uint8))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    stored = io.BytesIO()
    try:
        noise.convert("RGB").convert(kind).save(stored, format=suffix, exif=exif)
    except (OSError, ValueError, KeyError):
        assume(False)  # a mode that the format does not know
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix.lower()}"
        path.write_bytes(stored.getvalue())
        read = read_image(path)
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
            upright = Image.alpha_composite(white, upright.convert("RGBA"))
        np.testing.assert_array_equal(read, np.array(upright.convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused_by_name(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, format={"png": "PNG", "jpg": "JPEG"}[suffix])
    path = tmp_path / f"street.{suffix}"
    path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])
    with pytest.raises(DataError, match=rf"street\.{suffix}.*(truncated|not an image)"):
        read_image(path)
    if suffix == "png":
        Image.fromarray(noise[..., 0]).save(whole := io.BytesIO(), format="PNG")
        path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])
        with pytest.raises(DataError, match=r"street\.png"):
            read_label_ids(path)


def test_every_cut_of_a_png_is_refused_or_loses_nothing(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (5, 6), dtype=np.uint8)
    Image.fromarray(noise).save(whole := io.BytesIO(), format="PNG")
    path = tmp_path / "a.png"
    refused = 0
    for length in range(len(whole.getvalue())):
        path.write_bytes(whole.getvalue()[:length])
        try:
            read = read_label_ids(path)
        except DataError:
            refused += 1
        else:
            np.testing.assert_array_equal(read, noise)
    assert refused > 60


@pytest.mark.parametrize("content", [b"", b"GIF", b"hello, this is text", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_other_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    for read in (read_image, read_label_ids, image_size_hw):
        with pytest.raises(DataError, match=r"a\.png"):
            read(tmp_path / "a.png")


def test_missing_files_and_folders_are_refused_by_name(tmp_path):
    for read in (read_image, read_label_ids, image_size_hw):
        with pytest.raises(DataError, match=r"nowhere\.png: no such file"):
            read(tmp_path / "nowhere.png")
        with pytest.raises(DataError, match=tmp_path.name):
            read(tmp_path)


def test_float_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((3, 3), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="8 or 16 bits"):
        read_image(tmp_path / "a.tif")
    assert read_label_ids(tmp_path / "a.tif").tolist() == [[1] * 3] * 3  # whole numbers are ids in floats too
    Image.fromarray(np.full((3, 3), 0.5, dtype=np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match="fractions found where whole ids were expected"):
        read_label_ids(tmp_path / "b.tif")


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_label_ids_come_back_exactly(tmp_path, dtype, top):
    ids = np.array([[0, 1, 11], [7, top, 3]], dtype=dtype)
    write_png(tmp_path / "a.png", ids)
    read = read_label_ids(tmp_path / "a.png")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, ids)


def test_palette_labels_give_indices(tmp_path):
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_png(tmp_path / "a.png", ids, palette)
    np.testing.assert_array_equal(read_label_ids(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_are_not_scaled(tmp_path, bits):
    ids = np.arange(8, dtype=np.uint8).reshape(2, 4) % (1 << bits)
    # OpenCV writes 1 bit only and Pillow no grey of 2 or 4, so the file is put together by hand.
    (tmp_path / "a.png").write_bytes(_grey_png(ids, bits))
    np.testing.assert_array_equal(read_label_ids(tmp_path / "a.png"), ids)


def _grey_png(ids, bits):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b""
    for row in ids:
        spelled = "".join(format(value, f"0{bits}b") for value in row)
        spelled += "0" * (-len(spelled) % 8)
        rows += b"\0" + bytes(int(spelled[i : i + 8], 2) for i in range(0, len(spelled), 8))
    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], bits, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def test_colour_labels_are_refused(tmp_path, photo):
    write_png(tmp_path / "a.png", photo)
    with pytest.raises(DataError, match=r"a\.png: colours \(RGB\) found where raw ids were expected"):
        read_label_ids(tmp_path / "a.png")


def test_jpeg_labels_are_refused(tmp_path, photo):
    Image.fromarray(photo[..., 0]).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="JPEG changes label ids"):
        read_label_ids(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("a.jpg", np.zeros((2, 2), np.uint8)),
        ("a.png", np.zeros((2, 2), np.float32)),
        ("a.png", np.zeros((2, 2, 4), np.uint8)),
        ("a.png", np.zeros((0, 2), np.uint8)),
    ],
)
def test_what_cannot_be_a_png_is_not_written(tmp_path, name, array):
    with pytest.raises(ValueError, match="expected"):
        write_png(tmp_path / name, array)
    assert os.listdir(tmp_path) == []


HOSTILE = Path(__file__).resolve().parents[3] / "shared/cases/hostile"
READERS = (read_image, read_label_ids, image_size_hw)


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a.{suffix.lower()}"
    Image.new("L", (30, 20)).save(path, format=suffix)
    assert image_size_hw(path, 600) == (20, 30)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    for read in READERS:
        with pytest.raises(DataError, match=r"a\.\w+: 0\.0 million pixels .* data\.max_pixels or --max-pixels"):
            read(path, 599)


def test_the_callers_limit_counts_and_not_pillows(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (20, 30, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_the_recipes_limit_is_the_readers():
    assert DataConfig().max_pixels == MAX_PIXELS


@pytest.mark.parametrize("suffix", ["DDS", "EPS", "PPM", "TGA", "JPEG2000", "PCX", "ICO"])
def test_other_formats_are_refused_whatever_their_name(tmp_path, suffix):
    path = tmp_path / "a.png"
    Image.new("RGB", (16, 16)).save(path, format=suffix)
    for read in READERS:
        with pytest.raises(DataError, match=r"a\.png: not an image that can be read \(PNG, JPEG, "):
            read(path)


@pytest.mark.parametrize(
    "error", [KeyError("x"), RuntimeError("x"), NotImplementedError(), struct.error("x"), ValueError("a\nb")]
)
def test_whatever_pillow_raises_is_a_data_error_on_one_line(tmp_path, monkeypatch, error):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.bmp")

    def fail(*_):
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(DataError, match=r"a\.bmp: broken or truncated image") as caught:
        read_image(tmp_path / "a.bmp")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_what_the_file_did_not_cause_is_not_swallowed(tmp_path, monkeypatch, error):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.bmp")

    def fail(*_):
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(error):
        read_image(tmp_path / "a.bmp")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for read in READERS:
        with pytest.raises(DataError, match="no regular file"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
@pytest.mark.parametrize("how", ["exif", "xmp"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_the_header_says_the_size_of_what_is_read(tmp_path, suffix, how, orientation):
    options = {}
    if how == "exif":
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"exif": exif}
    else:
        text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>{orientation}</tiff:Orientation></x:xmpmeta>'
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", text)
        options = {"pnginfo": chunks} if suffix == "PNG" else {"xmp": text.encode()}
    path = tmp_path / "a"
    Image.new("RGB", (9, 5)).save(path, format=suffix, **options)
    assert image_size_hw(path) == read_image(path).shape[:2]


def test_header_and_pixels_agree_on_every_mutated_file(tmp_path):
    """What the header's reader refuses, the pixels' reader refuses, and sizes are the same where both read."""
    rng = np.random.default_rng(5)
    noise = Image.fromarray(rng.integers(0, 256, (11, 7), dtype=np.uint8))
    path = tmp_path / "a"
    for suffix in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"):
        noise.save(whole := io.BytesIO(), format=suffix)
        for _ in range(60):
            content = bytearray(whole.getvalue())
            for place in rng.integers(0, min(len(content), 200), rng.integers(1, 4)):
                content[place] = rng.integers(256)
            path.write_bytes(content[: rng.integers(len(content) // 2, len(content) + 1)])
            found = {}
            for read in (read_image, image_size_hw):
                try:
                    found[read] = read(path)
                except DataError as error:
                    assert str(path) in str(error)  # noqa: PT017 # each of the two may be refused
            if read_image in found:
                assert found[image_size_hw] == found[read_image].shape[:2]


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs ../shared/cases/hostile")
@pytest.mark.parametrize("name", sorted(path.name for path in HOSTILE.glob("*.bin")))
def test_files_that_broke_a_reader_once_are_refused(name):
    for read in READERS:
        with pytest.raises(DataError, match=name):
            read(HOSTILE / name)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_bytes_are_read_as_their_file_is(tmp_path, photo, format_name):
    path = tmp_path / "a"
    Image.fromarray(photo).save(path, format=format_name, exif=_turned(6))
    content = ImageBytes(path.read_bytes(), "upload")
    np.testing.assert_array_equal(read_image(content), read_image(path))
    assert image_size_hw(content) == image_size_hw(path) == (60, 40)
    assert is_turned(content)


def test_bytes_that_are_no_image_are_refused_by_name(photo):
    whole = io.BytesIO()
    Image.fromarray(photo).save(whole, format="PNG")
    for data, kind in ((b"", NotAnImage), (b"hello", NotAnImage), (whole.getvalue()[:-20], DataError)):
        with pytest.raises(kind, match="upload: "):
            read_image(ImageBytes(data, "upload"))
    with pytest.raises(TooManyPixels, match=r"upload: 0\.0 million"):
        read_image(ImageBytes(whole.getvalue(), "upload"), max_pixels=99)


def test_a_name_of_bytes_is_not_opened(tmp_path, photo):
    write_png(tmp_path / "a.png", photo)
    with pytest.raises(NotAnImage):
        read_image(ImageBytes(b"", str(tmp_path / "a.png")))


def _turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
