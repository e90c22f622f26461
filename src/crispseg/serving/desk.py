"""What endpoints share: places in the queue, threads beside the network, who has left, and how a request is refused."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from crispseg.errors import CrispsegError, DataError
from crispseg.io.opening import NotAnImage, TooManyPixels
from crispseg.serving.limits import Limits, Refusal
from crispseg.serving.measures import Measures

__all__ = ["CLIENT_LEFT", "HEADERS", "Desk", "refusal_of", "refused", "unless_client_leaves"]

Result = TypeVar("Result")

CLIENT_LEFT = 499
"""For the measures, as other servers count it; nobody reads the answer."""

HEADERS = {"X-Content-Type-Options": "nosniff"}
"""Of every answer that holds what somebody sent."""

_LOG = logging.getLogger("crispseg.serving")


class Desk:
    """Where requests are admitted and worked on.

    Args:
        limits: how many at a time.
        measures: by which those who are sent away are told when to come again.

    Attributes:
        waiting: requests that are here and not answered.
    """

    def __init__(self, limits: Limits, measures: Measures) -> None:
        self._limits, self._measures = limits, measures
        self.waiting = 0
        self._threads: anyio.CapacityLimiter | None = None

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place in the queue, from before the upload to the answer.

        Raises:
            Refusal: 503 if there is none.
        """
        if self.waiting >= self._limits.queue:
            seconds = min(max(math.ceil(self.waiting * self._measures.seconds_an_image()), 1), 60)
            message = f"{self.waiting} requests are here, as many as may be; come again in {seconds} s"
            raise Refusal(503, message, seconds)
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Decoding and encoding, beside the network: no more at a time than there are cores."""
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(os.cpu_count() or 1)
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._threads)


async def unless_client_leaves(request: Request, answer: asyncio.Future[Result]) -> Result:
    """The answer; if nobody is there to hear it any more, the work is spared."""
    left = asyncio.ensure_future(request.receive())  # after the body, nothing else comes
    either: set[asyncio.Future[Any]] = {answer, left}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        left.cancel()
        answer.cancel()


def refusal_of(error: Exception) -> Refusal:
    """What is said of an error; those of ours to mend are logged."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, DataError):
        kinds = {TooManyPixels: 413, NotAnImage: 415}
        return Refusal(kinds.get(type(error), 422), str(error))
    if isinstance(error, MemoryError):
        return Refusal(503, "out of memory; send a smaller image, or come again later", 10)
    if isinstance(error, CrispsegError):
        _LOG.error("%s", error)
        return Refusal(500, str(error))
    _LOG.error("a request failed", exc_info=error)  # a bug of ours
    return Refusal(500, f"the service failed ({type(error).__name__}); its log says more")


def refused(refusal: Refusal) -> JSONResponse:
    """The answer that says so: ``{"error": …}``."""
    headers = {} if refusal.retry_seconds is None else {"Retry-After": str(refusal.retry_seconds)}
    return JSONResponse({"error": refusal.message}, refusal.status, headers={**HEADERS, **headers})
