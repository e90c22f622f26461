"""What the heads of a PNG's chunks say, without decoding a pixel."""

from __future__ import annotations

import os
import struct
import zlib
from io import BufferedReader, BytesIO

__all__ = ["PNG_SIGNATURE", "walk_png"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def walk_png(file: BufferedReader | BytesIO) -> tuple[tuple[int, int], bool]:
    """Height and width, and whether an orientation may be told, from the heads of the chunks up to the last.

    Raises:
        ValueError: if the PNG ends early, or its header is broken.
    """
    width, height, may_be_turned, start = 0, 0, False, 8
    end = file.seek(0, os.SEEK_END)
    while start + 12 <= end:  # a chunk's length, name and checksum
        # Chunks of one image lie close together in files that are written in small ones, hence no unbuffered reads.
        file.seek(start)
        head = file.read(16)
        length, name = struct.unpack(">I4s", head[:8])
        if start == 8:
            header = head[4:] + file.read(13)
            if name != b"IHDR" or length != 13 or zlib.crc32(header[:17]) != int.from_bytes(header[17:21]):
                raise ValueError("the PNG has no sound header")
            width, height = struct.unpack(">II", head[8:16])
        may_be_turned |= name == b"eXIf" or head[8:16] in _TEXTS_WITH_ORIENTATION
        start += 12 + length
        if name == b"IEND" and start <= end:
            return (height, width), may_be_turned
    raise ValueError("the PNG ends early")


_TEXTS_WITH_ORIENTATION = (b"XML:com.", b"Raw prof")  # …adobe.xmp, and …ile type exif, of a PNG's text chunks
