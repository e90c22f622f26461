"""Plain PNGs are decoded by OpenCV: to the last bit as by Pillow, and refused where Pillow refuses."""

import random
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from crispseg.errors import DataError
from crispseg.io import read_image
from crispseg.io.opening import ImageBytes
from crispseg.io.plain_png import decode_plain_png

SIZE = (13, 17)
SEED = random.SystemRandom().randrange(10**6)


def encoded(image: Image.Image, **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def pixels(mode: str) -> Image.Image:
    channels = {"RGB": 3, "RGBA": 4, "LA": 2}.get(mode)
    rng = np.random.default_rng(0)
    shape = SIZE if channels is None else (*SIZE, channels)
    image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
    return image if image.mode == mode else image.convert(mode)


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes], before: bytes = b"IDAT") -> bytes:
    place = data.index(before) - 4
    return data[:place] + b"".join(map(chunk, chunks)) + data[place:]


def chunk(one: tuple[bytes, bytes]) -> bytes:
    name, content = one
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_plain_files_are_equal_to_pillows(mode: str):
    image = pixels(mode)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "of a camera")
    for data in (
        encoded(image),
        encoded(image, compress_level=0, dpi=(72, 72), pnginfo=texts),
        with_chunks(encoded(image), (b"gAMA", struct.pack(">I", 45455)), (b"sRGB", b"\0")),
    ):
        decoded = decode_plain_png(data)
        assert decoded is not None
        assert np.array_equal(decoded, np.array(image.convert("RGB")))
        assert np.array_equal(read_image(ImageBytes(data)), decoded)


def test_what_is_not_plain_is_left_to_pillow():
    plain, exif = encoded(pixels("RGB")), Image.Exif()
    exif[0x0112] = 6
    for data in (
        *(encoded(pixels(mode)) for mode in ("P", "1", "RGBA", "LA", "I;16")),
        encoded(pixels("RGB"), exif=exif),
        encoded(pixels("RGB"), icc_profile=b"p" * 200),
        encoded(pixels("RGB"), save_all=True, append_images=[pixels("RGB")]),
        with_chunks(plain, (b"tRNS", bytes(6))),
        with_chunks(plain, (b"tEXt", b"Raw profile type exif\0")),
        with_chunks(plain, (b"tEXt", b"a\0b"), before=b"IEND"),
        plain[:16] + b"x" + plain[17:],
        plain[:-12],
        plain[: len(plain) // 2],
        b"",
    ):
        assert decode_plain_png(data) is None


def test_a_turned_file_is_still_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(ImageBytes(encoded(pixels("RGB"), exif=exif))).shape == (*SIZE[::-1], 3)


def test_what_pillow_refuses_is_refused_and_what_it_takes_is_equal(monkeypatch: pytest.MonkeyPatch):
    """Pixels that were changed under right checksums, which is all that comes as far as OpenCV."""
    draw = random.Random(SEED)
    sound = encoded(pixels("RGB"))
    raw = zlib.decompress(sound[sound.index(b"IDAT") + 4 : sound.index(b"IEND") - 8])
    head, tail = sound[: sound.index(b"IDAT") - 4], chunk((b"IEND", b""))
    for _ in range(300):
        changed = bytearray(draw.choice([raw, zlib.compress(raw)]))
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        content = bytes(changed[: draw.choice([len(changed), draw.randrange(len(changed))])])
        data = head + chunk((b"IDAT", zlib.compress(content) if len(changed) == len(raw) else content)) + tail
        found = outcome(data)
        with monkeypatch.context() as context:
            context.setattr("crispseg.io.plain_png.decode_plain_png", lambda data: None)
            assert np.array_equal(found, outcome(data)), SEED


def outcome(data: bytes) -> np.ndarray:
    try:
        return read_image(ImageBytes(data))
    except DataError:
        return np.zeros(0)
