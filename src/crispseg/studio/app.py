"""The application: a page, images that come to it, and the views, probabilities and scores that it asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from crispseg import __version__
from crispseg.data.encodings import ENCODINGS, Encoding, read_labels_and_ids
from crispseg.io.images import read_image
from crispseg.io.opening import ImageBytes
from crispseg.pages.base import class_colours
from crispseg.pages.studio import render_studio_page
from crispseg.pictures import colourise, flow_wheel, to_jpeg_bytes, to_png_bytes
from crispseg.pictures.colour import Picture
from crispseg.serving.batching import Batcher
from crispseg.serving.desk import CLIENT_LEFT, HEADERS, Desk, refusal_of, refused, unless_client_leaves
from crispseg.serving.limits import Refusal
from crispseg.serving.measures import Measures
from crispseg.serving.uploads import drain, read_upload
from crispseg.studio.examples import Example
from crispseg.studio.models import Models
from crispseg.studio.room import Bounds, Kept, Room
from crispseg.studio.scores import score
from crispseg.studio.seen import Ids, Seen, View, views_of
from crispseg.studio.sizes import fitted, shrunk, thumbnail
from crispseg.wording import printable

__all__ = ["make_studio"]

_LOG = logging.getLogger("crispseg.studio")
_PAGE_HEADERS = {"Content-Security-Policy": "frame-ancestors 'none'", "Referrer-Policy": "no-referrer"}
_ANSWER_HEADERS = {**HEADERS, "Cache-Control": "no-store"}  # browsers write what they may keep to disk

Answer = Callable[[Request], Any]


def make_studio(
    models: Models,
    bounds: Bounds | None = None,
    examples: Sequence[Example] = (),
    measures: Measures | None = None,
) -> FastAPI:
    """Make the application, for any ASGI server that runs its lifespan.

    Args:
        models: that look at the images; whoever calls this loads them.
        bounds: of uploads and of memory. None: as `Bounds` has them.
        examples: that the page offers.
        measures: of the work that is done. None: new ones.
    """
    studio = _Studio(models, bounds or Bounds(), examples, measures or Measures())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with studio.batcher.running():
            yield

    app = FastAPI(title="crispseg app", version=__version__, lifespan=lifespan, openapi_url=None)
    app.get("/")(studio.page)
    for path, answer in {
        "/state": studio.state,
        "/examples/{index}.jpg": studio.example,
        "/flow.png": studio.flow,
        "/images/{name}/photo.png": studio.photo,
        "/images/{name}/truth.png": studio.truth,
        "/images/{name}/pixel": studio.pixel,
        "/images/{name}/models/{model}/views/{view}.png": studio.view,
        "/images/{name}/models/{model}/mask.png": studio.mask,
    }.items():
        app.get(path)(_guarded(answer, studio))
    app.post("/images")(_guarded(studio.look, studio))
    app.post("/images/{name}/truth")(_guarded(studio.judge, studio))
    app.add_exception_handler(HTTPException, _of_http)
    return app


class _Studio:
    """What the answers share."""

    def __init__(self, models: Models, bounds: Bounds, examples: Sequence[Example], measures: Measures) -> None:
        self.batcher: Batcher[Seen] = Batcher(models.loaded, bounds.limits, measures)
        self.limits = bounds.limits
        self._models, self._bounds, self._examples, self._measures = models, bounds, examples, measures
        self._room = Room(bounds.keep_bytes)
        self._desk = Desk(bounds.limits, measures)

    # ---- what is there before an image

    async def page(self) -> HTMLResponse:
        html = render_studio_page(
            list(self._models.loaded),
            [one.name for one in self._examples],
            ENCODINGS,
            self._bounds.max_bytes,
            self._bounds.max_pixels,
        )
        return HTMLResponse(html, headers={**_ANSWER_HEADERS, **_PAGE_HEADERS})

    async def state(self, request: Request) -> Response:
        classes = class_colours(self._models.label_space) if self._models.are_ready else []
        models = [{"name": name, "ready": model.is_ready} for name, model in self._models.loaded.items()]
        return _json({"ready": self._models.are_ready, "models": models, "classes": classes})

    async def example(self, request: Request) -> Response:
        chosen = self._example(request.path_params["index"])

        def made() -> bytes:
            picture, _ = chosen.read(self._models.label_space, self._bounds.max_pixels)
            return to_jpeg_bytes(thumbnail(picture), quality=80)

        await self._ready()
        return Response(await self._desk.in_thread(made), media_type="image/jpeg", headers=_ANSWER_HEADERS)

    async def flow(self, request: Request) -> Response:
        return await self._png(lambda: flow_wheel(_WHEEL_PX))

    # ---- images

    async def look(self, request: Request) -> Response:
        """Take an image, or an example, and let all models see it."""
        _check_query(request, "example")
        with self._desk.admitted():
            image, truth = await self._taken(request)
            picture = await self._desk.in_thread(shrunk, image, self._bounds.shrink_above)
            seen = await unless_client_leaves(request, asyncio.ensure_future(self._seen_by_all(picture)))
            kept = Kept(picture, (image.shape[0], image.shape[1]), seen)
            if truth is not None:
                await self._desk.in_thread(self._judged, kept, truth)
        return _json(self._told(self._room.put(kept), kept))

    async def judge(self, request: Request) -> Response:
        """Take the truth of an image that is here."""
        _check_query(request, "encoding")
        kept = self._kept(request)
        encoding = request.query_params.get("encoding", ENCODINGS[0])
        if encoding not in ENCODINGS:
            raise Refusal(422, f"encoding is {encoding[:100]!r}; {', '.join(ENCODINGS)} expected")
        with self._desk.admitted():
            upload = await read_upload(request, self.limits)
            truth = await self._desk.in_thread(self._labels, upload, encoding)
            await self._desk.in_thread(self._judged, kept, truth)
        return _json(self._told(request.path_params["name"], kept))

    async def _taken(self, request: Request) -> tuple[Picture, Ids | None]:
        """The image of a request, and its truth if it is an example that has one."""
        index = request.query_params.get("example")
        if index is None:
            with self.batcher.expecting():
                upload = await read_upload(request, self.limits)
                return await self._desk.in_thread(read_image, upload, self._bounds.max_pixels), None
        chosen = self._example(index)
        await drain(request, self.limits)  # an empty body; behind it, only a leaving comes
        await self._ready()
        return await self._desk.in_thread(chosen.read, self._models.label_space, self._bounds.max_pixels)

    async def _seen_by_all(self, image: Picture) -> list[Seen]:
        answers = [self.batcher.submit(name, image) for name in self._models.loaded]
        return await asyncio.gather(*map(asyncio.wrap_future, answers))

    def _labels(self, upload: ImageBytes, encoding: Encoding) -> Ids:
        file = ImageBytes(upload.data, "the label file")
        return read_labels_and_ids(file, self._models.label_space, encoding, self._bounds.max_pixels)[0]

    def _judged(self, kept: Kept, truth: Ids) -> None:
        """Keep the truth with the image, and what it says of each model."""
        fits = fitted(truth, kept)
        scores = [score(one.prediction, fits) for one in kept.seen]
        kept.truth, kept.scores = fits, scores

    # ---- what is asked of an image

    async def photo(self, request: Request) -> Response:
        kept = self._kept(request)
        return await self._png(lambda: kept.image)

    async def truth(self, request: Request) -> Response:
        truth = self._kept(request).truth
        if truth is None:
            raise Refusal(404, "the truth of this image is unknown; give a label file")
        return await self._png(lambda: colourise(truth, self._models.label_space.palette))

    async def view(self, request: Request) -> Response:
        views = self._views(request)
        view: View = views[_number(request.path_params["view"], len(views), "view")]
        return await self._png(view.draw)

    async def mask(self, request: Request) -> Response:
        seen = self._seen(request)
        data = await self._desk.in_thread(seen.prediction.to_png)
        return Response(data, media_type="image/png", headers=_ANSWER_HEADERS)

    async def pixel(self, request: Request) -> Response:
        kept = self._kept(request)
        height, width = kept.image.shape[:2]
        x = _number(request.query_params.get("x", ""), width, "x")
        y = _number(request.query_params.get("y", ""), height, "y")
        truth = None if kept.truth is None else int(kept.truth[y, x])
        shares = [one.shares(y, x) for one in kept.seen]
        labels = [int(one.prediction.labels[y, x]) for one in kept.seen]
        colour = kept.image[y, x].tolist()
        return _json({"x": x, "y": y, "rgb": colour, "truth": truth, "labels": labels, "probabilities": shares})

    # ---- helpers

    async def _ready(self) -> None:
        """Wait until the label table is known."""
        while not self._models.are_ready:
            if self._models.error is not None:
                raise self._models.error
            await asyncio.sleep(0.1)

    async def _png(self, draw: Callable[[], Picture]) -> Response:
        data = await self._desk.in_thread(lambda: to_png_bytes(draw()))
        return Response(data, media_type="image/png", headers=_ANSWER_HEADERS)

    def _kept(self, request: Request) -> Kept:
        return self._room.get(request.path_params["name"])

    def _seen(self, request: Request) -> Seen:
        kept = self._kept(request)
        return kept.seen[_number(request.path_params["model"], len(kept.seen), "model")]

    def _views(self, request: Request) -> list[View]:
        return views_of(self._seen(request), self._kept(request).truth)

    def _example(self, index: str) -> Example:
        return self._examples[_number(index, len(self._examples), "example")]

    def _told(self, name: str, kept: Kept) -> dict[str, Any]:
        """What the page is told of an image."""
        models = [
            {
                "name": model,
                "views": [
                    {"name": view.name, "title": view.title, "note": view.note, "kind": view.kind}
                    for view in views_of(one, kept.truth)
                ],
            }
            for model, one in zip(self._models.loaded, kept.seen, strict=True)
        ]
        height, width = kept.image.shape[:2]
        told = {"id": name, "height": height, "width": width, "original_hw": kept.original_hw, "models": models}
        return {**told, "truth": kept.truth is not None, "scores": kept.scores}


_WHEEL_PX = 96


def _guarded(answer: Answer, studio: _Studio) -> Answer:
    """The answer, or the reason why there is none; of uploads only those that our own page sends."""

    async def guarded(request: Request) -> Response:
        try:
            if request.method == "POST":
                _check_origin(request)
            response: Response = await answer(request)
            return response
        except ClientDisconnect:
            if request.method == "POST":
                _LOG.warning("an upload broke off; nothing was kept of it")
            return Response(status_code=CLIENT_LEFT)
        except Exception as error:
            response = refused(refusal_of(error))
            if request.method == "POST" and not await drain(request, studio.limits):
                response.headers["Connection"] = "close"
            return response

    return guarded


def _check_origin(request: Request) -> None:
    """Pages of strangers may make a browser send things here; they are not let in."""
    origin = request.headers.get("origin")
    if origin is not None and _place(origin) != request.headers.get("host"):
        raise Refusal(403, f"the page {origin[:100]!r} may not send images here; open this server's own page")


def _place(origin: str) -> str | None:
    """Host and port of an address; None for a text that is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _check_query(request: Request, *known: str) -> None:
    for name in request.query_params:
        if name not in known:
            raise Refusal(422, f"nothing in the query is called {name[:100]!r}; {', '.join(known)} expected")


def _number(text: str, count: int, what: str) -> int:
    """A place among so many."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < count):
        raise Refusal(404, f"{what} is {text[:100]!r}; 0 to {count - 1} expected" if count else f"there is no {what}")
    return int(text)


def _json(values: dict[str, Any]) -> JSONResponse:
    return JSONResponse(values, headers=_ANSWER_HEADERS)


async def _of_http(request: Request, error: Exception) -> Response:
    """Paths and methods that are not there, in the form of all other errors."""
    assert isinstance(error, HTTPException)  # as it was registered
    asked = printable(f"{request.method} {request.url.path}"[:200])
    return refused(Refusal(error.status_code, f"{asked}: {error.detail}; the page is at /"))
