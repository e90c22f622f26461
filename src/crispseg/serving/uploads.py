"""The image of a request: its body, or the one file of a form, read within bounds and in memory alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from crispseg.io import ImageBytes
from crispseg.serving.limits import Limits, Refusal
from crispseg.wording import printable

__all__ = ["drain", "read_upload"]

_DRAIN_SECONDS = 2.0
_LONGEST_NAME = 200


async def read_upload(request: Request, limits: Limits) -> ImageBytes:
    """Read the image that a request brings.

    Args:
        request: with the image as its body, or as the one file of a form (``multipart/form-data``).
        limits: of bytes and seconds.

    Raises:
        Refusal: 408, 413 or 422.
        ClientDisconnect: if the connection ends before the image does.
    """
    too_large = Refusal(
        413, f"the upload is larger than {limits.max_bytes} bytes, which this service takes; send a smaller file"
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limits.max_bytes:
        raise too_large
    try:
        async with asyncio.timeout(limits.read_seconds):
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
                return await _of_form(request, limits, too_large)
            data = bytearray()
            async for chunk in _within(request, limits, too_large):
                data += chunk
    except TimeoutError:
        raise Refusal(408, f"the upload took longer than {limits.read_seconds:g} seconds; send it again") from None
    if not data:
        raise Refusal(422, "the request has no body; send an image file as the body, or as the file of a form")
    return ImageBytes(bytes(data), "the image")


async def drain(request: Request, limits: Limits) -> bool:
    """Take a little more and throw it away: who is still sending would not hear the answer otherwise.

    Args:
        request: whose body may have been read in part.
        limits: no more bytes than an upload may have are taken, for no more than two seconds.

    Returns:
        Whether that was the end of it; else the connection must be closed.
    """
    left = limits.max_bytes
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return False
    except (TimeoutError, ClientDisconnect):
        return False
    except RuntimeError:  # all had been read
        return True
    return True


async def _within(request: Request, limits: Limits, too_large: Refusal) -> AsyncGenerator[bytes, None]:
    """The body, by what arrives of it and not by what it declares."""
    found = 0
    async for chunk in request.stream():
        found += len(chunk)
        if found > limits.max_bytes:
            raise too_large
        yield chunk


async def _of_form(request: Request, limits: Limits, too_large: Refusal) -> ImageBytes:
    parser = _InMemory(request.headers, _within(request, limits, too_large), max_files=1, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(422, f"the form cannot be read ({error.message}); one file and nothing else expected") from error
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if len(files) != 1:
        raise Refusal(422, "the form has no file; one expected, as in curl --form image=@street.jpg")
    data, name = await files[0].read(), files[0].filename or "the image"
    await form.close()
    if not data:
        raise Refusal(422, "the file of the form is empty; choose an image file")
    return ImageBytes(data, printable(name.replace("\\", "/").rpartition("/")[2])[:_LONGEST_NAME] or "the image")


class _InMemory(MultiPartParser):
    spool_max_size = 2**62  # bytes that stay in memory, as the service writes nothing to disk; `_within` bounds them
