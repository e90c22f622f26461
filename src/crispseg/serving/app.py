"""The application: an image in; a mask, an overlay, boundaries or polygons out."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from crispseg import __version__
from crispseg.inference import Predictor
from crispseg.io.images import read_image
from crispseg.io.opening import ImageBytes
from crispseg.pages.service import render_service_page
from crispseg.pictures.colour import Picture
from crispseg.serving.batching import Batcher
from crispseg.serving.description import describe_output
from crispseg.serving.desk import CLIENT_LEFT, HEADERS, Desk, refusal_of, refused, unless_client_leaves
from crispseg.serving.limits import Limits, Refusal
from crispseg.serving.measures import Measures
from crispseg.serving.results import OUTPUTS, choose_format
from crispseg.serving.uploads import drain, read_upload
from crispseg.wording import nearest_name, printable

__all__ = ["make_app"]


def make_app(
    predictors: Mapping[str, Predictor], limits: Limits | None = None, measures: Measures | None = None
) -> FastAPI:
    """Make an application that segments images, for any ASGI server that runs its lifespan.

    Args:
        predictors: by the names that requests choose them by; the first is asked where a request names none.
        limits: of uploads and of the queue. None: as `Limits` has them.
        measures: that ``/metrics`` shows. None: new ones.
    """
    service = _Service(predictors, limits or Limits(), measures or Measures())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with service.batcher.running():
            yield

    app = FastAPI(
        title="crispseg",
        version=__version__,
        description='Segments images. An error is JSON: {"error": "what was found, what was expected, what to do"}.',
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere; ours is at /
        redoc_url=None,
    )
    for output in OUTPUTS:
        app.post(f"/{output}", **describe_output(output, list(predictors)))(service.endpoint(output))
    app.get("/", response_class=HTMLResponse, summary="This service as a page")(service.page)
    app.get("/models", summary="Models, their classes, and what can be asked of them")(service.models)
    app.get("/healthz", summary="Whether the service lives")(service.health)
    app.get("/metrics", response_class=PlainTextResponse, summary="Counts, as Prometheus reads them")(service.metrics)
    app.add_exception_handler(HTTPException, _of_http)
    return app


class _Wishes(NamedTuple):
    """What the query of a request asks for."""

    model: str | None
    format: str | None
    simplify_px: float


class _Service:
    """What the answers share."""

    def __init__(self, predictors: Mapping[str, Predictor], limits: Limits, measures: Measures) -> None:
        self.batcher = Batcher(predictors, limits, measures)
        self._predictors, self._limits, self._measures = predictors, limits, measures
        self._desk = Desk(limits, measures)

    def endpoint(self, output: str) -> Callable[[Request], Awaitable[Response]]:
        """What is called with a request for an output."""

        async def answer(request: Request) -> Response:
            return await self._answer(output, request)

        return answer

    async def page(self, request: Request) -> HTMLResponse:
        spaces = {name: predictor.label_space for name, predictor in self._predictors.items()}
        page = render_service_page(
            str(request.base_url), spaces, _formats(), self._limits.max_bytes, self._limits.max_pixels
        )
        return HTMLResponse(page)

    async def models(self) -> JSONResponse:
        found = [
            {
                "name": name,
                "label_space": predictor.label_space.name,
                "classes": [
                    {"name": entry.name, "id": entry.ids[0] if entry.ids else None, "colour": list(entry.colour)}
                    for entry in predictor.label_space.classes
                ],
            }
            for name, predictor in self._predictors.items()
        ]
        return JSONResponse({"models": found, "outputs": _formats()})

    async def health(self) -> JSONResponse:
        return JSONResponse({"status": "ok", "waiting": self._desk.waiting})

    async def metrics(self) -> PlainTextResponse:
        return PlainTextResponse(self._measures.to_text(self._desk.waiting), media_type="text/plain; version=0.0.4")

    async def _answer(self, output: str, request: Request) -> Response:
        started, model = time.perf_counter(), ""
        try:
            wishes = _wishes(request, output)
            model = self._chosen(wishes.model)
            with self._desk.admitted():
                response = await self._segmented(output, request, model, wishes)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_LEFT)
        except Exception as error:
            response = refused(refusal_of(error))
            if not await drain(request, self._limits):
                response.headers["Connection"] = "close"
        self._measures.answered(output, model, response.status_code, time.perf_counter() - started)
        return response

    async def _segmented(self, output: str, request: Request, model: str, wishes: _Wishes) -> Response:
        format = choose_format(output, wishes.format, request.headers.get("accept", ""))
        with self.batcher.expecting():
            upload = await read_upload(request, self._limits)
            image = await self._desk.in_thread(_decoded, upload, self._limits.max_pixels)
            answer = self.batcher.submit(model, image)
        prediction = await unless_client_leaves(request, asyncio.wrap_future(answer))
        data = await self._desk.in_thread(format.make, prediction, upload.name, wishes.simplify_px)
        return Response(data, media_type=format.media_type, headers=HEADERS)

    def _chosen(self, model: str | None) -> str:
        if model is None:
            return next(iter(self._predictors))
        if model not in self._predictors:
            raise Refusal(404, f"no model is called {model[:100]!r}; {nearest_name(model[:100], self._predictors)}")
        return model


def _formats() -> dict[str, list[str]]:
    return {output: [one.name for one in formats] for output, formats in OUTPUTS.items()}


def _wishes(request: Request, output: str) -> _Wishes:
    known = ("model", "format", *(("simplify",) if output == "polygons" else ()))
    query = dict(request.query_params)
    for name in query:
        if name not in known:
            raise Refusal(422, f"nothing in the query is called {name[:100]!r}; {nearest_name(name[:100], known)}")
    try:
        simplify_px = float(query.get("simplify", "0"))
    except ValueError:
        simplify_px = -1.0
    if not 0 <= simplify_px < math.inf:
        raise Refusal(422, f"simplify is {query['simplify']!r:.100}; pixels expected, 0 or more")
    return _Wishes(query.get("model"), query.get("format"), simplify_px)


def _decoded(upload: ImageBytes, max_pixels: int) -> Picture:
    return read_image(upload, max_pixels)


async def _of_http(request: Request, error: Exception) -> Response:
    """Paths and methods that are not there, in the form of all other errors."""
    assert isinstance(error, HTTPException)  # as it was registered
    asked = printable(f"{request.method} {request.url.path}"[:200])
    there = ", ".join(f"POST /{output}" for output in OUTPUTS)
    return JSONResponse(
        {"error": f"{asked}: {error.detail}; there are {there}, GET /models, /healthz, /metrics, /openapi.json and /"},
        error.status_code,
        headers={**HEADERS, **(error.headers or {})},
    )
