"""Generators of hostile files and values. Each draws from the random numbers that it is given, and nothing else."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

ODD_TEXTS = [
    *("", " ", "null", "~", "true", "no", "on", "0", "-1", "-0", "0.0", "1.5", "3.0000000001", "1e400", ".nan", ".inf"),
    *(
        "-.inf",
        "NaN",
        "inf",
        "1e11",
        "99999999999999999999",
        "9" * 5000,
        "0x1F",
        "1_000",
        "1:30",
        "2026-11-21",
        "٣",
        "½",
    ),
    *("²", "[]", "{}", "[1", "}", "[[[[1]]]]", "{a: {b: 1}}", "[/]", "[/b]", "[red]x", "\x1b[31m", "\x1b]0;x\x07"),
    *("a\nb", "a\tb", "\u202ex", "\u0000", "é", "日本", "\U0001f600", "../../x", "/", "/dev/null", "/etc/passwd"),
    *("x" * 300, "x" * 5000, "%s%n", "{0}", "$(id)", "`id`", "'", '"', "\\", "a=b", "--help", "-", "*", "@", "%"),
    *("!!python/object:os.system x", "&a [*a]", "*x", "<<: 1", "!!binary x", "? a", "1,2,3", "1,,2", ",", "1;2"),
    *("train", "cpu", "meta", "cuda:99"),
]


def odd_value(rng: random.Random) -> str:
    """A text for an option or for what stands behind ``key=``."""
    text = rng.choice(ODD_TEXTS)
    return text if rng.random() < 0.8 else text + rng.choice(ODD_TEXTS)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, put in, taken out, or the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        place = rng.randrange(len(changed) or 1)
        kind = rng.random()
        if kind < 0.6 and changed:
            changed[place] = rng.choice((rng.randrange(256), 0, 255, changed[place] ^ 1 << rng.randrange(8)))
        elif kind < 0.75:
            changed[place : place + rng.randint(1, 30)] = b""
        elif kind < 0.9:
            changed[place:place] = rng.randbytes(rng.randint(1, 12))
        else:
            del changed[place:]
    return bytes(changed)


FORMATS = ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"]
OTHERS = ["DDS", "EPS", "PPM", "TGA", "JPEG2000", "PCX", "ICO", "SGI", "XBM", "PDF"]


def stored(image: Image.Image, suffix: str, **options: Any) -> bytes:
    """An image as a file's content."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, format=suffix, **options)
    except (OSError, ValueError, KeyError):
        image.convert("1" if suffix == "XBM" else "RGB").save(buffer, format=suffix)
    return buffer.getvalue()


def images(rng: random.Random, count: int) -> Iterator[bytes]:
    """Contents of files that are said to be images: mutated ones, other formats, and ones that lie about their size."""
    for _ in range(count):
        mode = rng.choice(["L", "RGB", "RGBA", "P", "1", "I;16", "CMYK", "LA"])
        size = rng.choice([(1, 1), (20, 16), (16, 20), (1, 300), (7, 5)])
        channels = {"RGB": 3, "RGBA": 4, "CMYK": 4, "LA": 2}.get(mode, 1)
        pixels = np.frombuffer(rng.randbytes(size[0] * size[1] * channels), np.uint8)
        if mode == "I;16":
            image = Image.fromarray(pixels.reshape(size[1], size[0]).astype(np.uint16))
        elif mode in ("P", "1"):
            image = Image.fromarray(pixels.reshape(size[1], size[0])).convert(mode)
        else:
            image = Image.frombytes(mode, size, pixels.tobytes())
        kind = rng.random()
        if kind < 0.65:
            yield mutated(stored(image, rng.choice(FORMATS)), rng)
        elif kind < 0.75:
            yield stored(image.convert("RGB").resize((32, 32)), rng.choice(OTHERS))  # some have a least size
        elif kind < 0.85:
            yield lying_png(rng)
        elif kind < 0.9:
            yield rng.randbytes(rng.randint(0, 200))
        else:
            yield rng.choice(
                [b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"GIF89a", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"BM"]
            )


def lying_png(rng: random.Random) -> bytes:
    """Sound checksums around a header that promises anything."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    width, height = (rng.choice([0, 1, 20, 40_000, 2**31 - 1, 2**32 - 1]) for _ in range(2))
    depth, colour = rng.choice([0, 1, 8, 16, 99]), rng.choice([0, 2, 3, 4, 6, 7])
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, rng.choice([0, 1, 2]))
    extra = rng.choice(
        [b"", chunk(b"eXIf", rng.randbytes(30)), chunk(b"tRNS", rng.randbytes(3)), chunk(b"PLTE", b"ab")]
    )
    data = chunk(b"IDAT", zlib.compress(bytes(rng.randint(0, 2000))))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + data + chunk(b"IEND", b"")


def odd_json(rng: random.Random, depth: int = 0) -> Any:
    """A value of any kind."""
    simple = [None, True, -1, 0, 3, 10**9, 10**30, 1.5, "", "x", "[/]", "a\nb", "\x1b[31m", [], {}, [1], {"a": 1}, [[]]]
    if depth < 2 and rng.random() < 0.2:
        return {rng.choice("abc"): odd_json(rng, depth + 1)} if rng.random() < 0.5 else [odd_json(rng, depth + 1)]
    return rng.choice(simple)


def changed_json(values: Any, rng: random.Random) -> Any:
    """One value, at any depth, changed to another, left out, or one put in."""
    if isinstance(values, dict) and values and rng.random() < 0.85:
        key = rng.choice(sorted(values))
        kind = rng.random()
        if kind < 0.6:
            return {**values, key: changed_json(values[key], rng)}
        if kind < 0.8:
            return {**values, key: odd_json(rng)}
        if kind < 0.9:
            return {name: value for name, value in values.items() if name != key}
        return {**values, rng.choice(["zzz", key + "s", "[/]"]): odd_json(rng)}
    if isinstance(values, list) and values and rng.random() < 0.85:
        place = rng.randrange(len(values))
        return [*values[:place], changed_json(values[place], rng), *values[place + 1 :]]
    return odd_json(rng)


def json_texts(values: Any, rng: random.Random, count: int) -> Iterator[bytes]:
    """Texts that once were this value's."""
    for _ in range(count):
        kind = rng.random()
        if kind < 0.7:
            yield json.dumps(changed_json(values, rng)).encode()
        elif kind < 0.9:
            yield mutated(json.dumps(values).encode(), rng)
        else:
            yield rng.choice(
                [b"", b"[" * 5000, b'{"a": NaN}', b"\xff\xfe", b'{"a":1,"a":2}', b"null", b"1e999", b'"\\ud800"']
            )


def yaml_texts(text: str, rng: random.Random, count: int) -> Iterator[bytes]:
    """Texts that once were this YAML, bombs and other things."""
    named = "a: &a [x,x]\nb: &b [*a,*a]\nc0: &c0 [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
    named += "".join(f"c{n}: &c{n} [{f'*c{n - 1},' * 9}]\n" for n in range(1, 9))
    bombs = [
        *("[" * 3000, "- " * 3000 + "x", "{" * 500, "x: " + "9" * 6000, "a: |\n  " + "x" * 200_000, named),
        *("a: &a [*a]", "&a : *a", "\x00", "\t", "a: b: c", "? ", "- a\n b", "%YAML 3", "", "a: 1\na: 2", "name: [/]"),
        *("!!set {a}", "a: !!timestamp x", "a: !!int x", '"\\ud800"', "null", "3", "x"),
    ]
    for _ in range(count):
        kind = rng.random()
        if kind < 0.3:
            yield mutated(text.encode(), rng)
        elif kind < 0.75:
            lines = text.splitlines()
            place = rng.randrange(len(lines))
            key = lines[place].partition(":")[0]
            lines[place] = f"{key}: {odd_value(rng)}"
            yield "\n".join(lines).encode("utf-8", "surrogatepass")
        elif kind < 0.9:
            yield rng.choice(bombs).encode("utf-8", "surrogatepass")
        else:
            yield (
                text + f"{rng.choice(['zzz', 'base', 'name', 'classes', 'model', '1', '[x]'])}: {odd_value(rng)}\n"
            ).encode()
