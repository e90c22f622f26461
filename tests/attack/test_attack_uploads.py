"""Hostile uploads to the applications of `crispseg serve` and `crispseg app`, in process: an answer, or a refusal of a
documented kind in one line; never a traceback, a hang or an error of the server's own."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

import hostile
import numpy as np
import pytest
from starlette.testclient import TestClient

import crispseg
from crispseg.io.png_writing import encode_png
from crispseg.serving import Limits, make_app
from crispseg.serving.results import OUTPUTS
from crispseg.studio import Bounds, make_studio
from crispseg.studio.models import Models

pytestmark = pytest.mark.attack

ROUNDS = range(4)  # of each kind, so that processes share the work
MAX_BYTES, MAX_PIXELS, READ_SECONDS = 50_000, 10_000, 0.3
REFUSALS = (404, 408, 413, 415, 422, 499)  # as docs/serve.md has them; 499 where nobody is there to read
SOUND = encode_png(np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8))
LABELS = encode_png(np.random.default_rng(0).integers(0, 3, (16, 20), dtype=np.uint8))
TYPES = [
    *(b"", b"image/png", b"text/html; charset=\xff", b"application/json", b"application/x-www-form-urlencoded"),
    *(
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary="',
        b"multipart/mixed",
    ),
    *(b"multipart/form-data; boundary=\xff\x00", b"multipart/form-data; boundary=" + b"x" * 100_000, b";;;=", b"\x00"),
]
LENGTHS = [b"", b"0", b"-1", b"1", b"49999", b"50001", b"9" * 5000, b"1e3", b"\xb2", b"0x10", b" 7 ", b"nan", b"1,1"]


@dataclass
class Upload:
    """A request as a server hands it to an application.

    Attributes:
        path: with what of it is quoted.
        query: as it stands in the address.
        headers: names in lower case and values.
        chunks: of the body.
        ends: how: ``"whole"``, by a client that ``"leaves"``, or never, by one that ``"stays"``.
    """

    path: str
    query: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    ends: str = "whole"
    method: str = "POST"


async def _answer(app, upload: Upload, seconds: float) -> tuple[int, bytes]:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": upload.method,
        "scheme": "http",
        "path": upload.path,
        "raw_path": quote(upload.path).encode(),
        "query_string": upload.query,
        "root_path": "",
        "headers": [(b"host", b"testserver"), *upload.headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
    }
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in upload.chunks]
    if upload.ends == "whole":
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    answered, sent = asyncio.Event(), []

    async def receive() -> dict:
        if messages:
            return messages.pop(0)
        if upload.ends != "leaves":
            await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            answered.set()

    async with asyncio.timeout(seconds):
        await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


class Service:
    """An application that runs, without a server before it."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def ask(self, attack, upload: Upload, kinds=REFUSALS) -> bytes | None:
        """The body of the answer; None for a refusal."""
        told: list[bytes] = []

        def answer(seconds: float) -> tuple[int, bytes]:
            status, body = self._client.portal.call(_answer, self._client.app, upload, seconds)
            told.append(body)
            return status, body

        text = f"{upload.method} {upload.path}?{upload.query!r} {upload.headers!r} {upload.ends} {upload.chunks!r}"
        return told[0] if attack.ask(text, answer, kinds) else None


@pytest.fixture(scope="module")
def model(world):
    return crispseg.load_model(world.model)


@pytest.fixture(scope="module")
def service(model) -> Iterator[Service]:
    limits = Limits(MAX_BYTES, MAX_PIXELS, read_seconds=READ_SECONDS)
    with TestClient(make_app({"tiny": crispseg.Predictor(model)}, limits)) as client:
        yield Service(client)


@pytest.fixture(scope="module")
def studio(model) -> Iterator[Service]:
    models = Models({"tiny": lambda: model}, "float32")
    models.load()
    bounds = Bounds(MAX_BYTES, MAX_PIXELS, shrink_above=300, keep_bytes=2_000_000, read_seconds=READ_SECONDS)
    with TestClient(make_studio(models, bounds)) as client:
        yield Service(client)


def in_chunks(body: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(rng.choice([0, 0, 1, 3])))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def odd_bytes(rng: random.Random) -> bytes:
    return hostile.odd_value(rng).encode("utf-8", "surrogatepass") if rng.random() < 0.8 else rng.randbytes(8)


def query_of(rng: random.Random, *keys: str) -> bytes:
    """Keys that are known, or not, with values that nobody expects."""
    pairs = []
    for _ in range(rng.choice([1, 1, 2, 300])):
        value = odd_bytes(rng)
        key = rng.choice([*keys, "zzz", quote(hostile.odd_value(rng).encode("utf-8", "surrogatepass"))]).encode()
        pairs.append(key + b"=" + (quote(value).encode() if rng.random() < 0.8 else value))
    return b"&".join(pairs)


def form_of(content: bytes, rng: random.Random) -> tuple[bytes, bytes]:
    """A form with the content, its parts called anything, and its content type."""
    boundary = b"x" * rng.choice([1, 30, 70])
    parts = b""
    for _ in range(rng.choice([1, 1, 1, 0, 2, 50])):
        name, file_name = (odd_bytes(rng).replace(b'"', b"%22") for _ in range(2))
        more = rng.choice([b"", b"", b"Content-Type: " + odd_bytes(rng) + b"\r\n", b"X-Y: " + b"z" * 20_000 + b"\r\n"])
        parts += b"--" + boundary + b'\r\nContent-Disposition: form-data; name="' + name + b'"'
        parts += rng.choice([b'; filename="' + file_name + b'"', b'; filename="a.png"', b""]) + b"\r\n"
        parts += more + b"\r\n" + content + b"\r\n"
    body = parts + b"--" + boundary + b"--\r\n"
    return (hostile.mutated(body, rng) if rng.random() < 0.4 else body), b"multipart/form-data; boundary=" + boundary


def uploads(path: str, keys: tuple[str, ...], rng: random.Random, count: int) -> Iterator[Upload]:
    """Hostile images, in forms that may be broken, under heads that lie, from clients that leave."""
    for content in hostile.images(rng, count):
        kind = rng.random()
        if kind < 0.5:
            said = rng.choice(TYPES) if rng.random() < 0.3 else b"image/png"
            yield Upload(path, chunks=in_chunks(content, rng), headers=[(b"content-type", said)])
            continue
        body = rng.choice([content, content, SOUND, b"", b"x" * (MAX_BYTES + 1)])
        if kind < 0.75:
            body, content_type = form_of(body, rng)
            yield Upload(path, chunks=in_chunks(body, rng), headers=[(b"content-type", content_type)])
        elif kind < 0.95:
            heads = [(b"content-length", rng.choice(LENGTHS)), (b"content-type", rng.choice(TYPES))]
            heads += [(rng.choice([b"accept", b"content-encoding", b"expect", b"cookie"]), odd_bytes(rng))]
            heads += [(b"x-" + b"y" * 10_000, b"z" * 200_000)] * (rng.random() < 0.1)
            query = query_of(rng, *keys) if rng.random() < 0.5 else b""
            yield Upload(path, query, heads, in_chunks(body, rng))
        else:
            cut = body[: rng.randrange(len(body) + 1)]
            yield Upload(path, chunks=[cut], ends=rng.choice([*["leaves"] * 9, "stays"]))


@pytest.mark.parametrize("_", ROUNDS)
def test_uploads_to_the_service(attack, service, _):
    for output in OUTPUTS:
        for upload in uploads(f"/{output}", ("model", "format", "simplify"), attack.rng, 25):
            service.ask(attack, upload)
        assert service.ask(attack, Upload(f"/{output}", chunks=[SOUND])), "the service does not live any more"


@pytest.mark.parametrize("_", ROUNDS)
def test_uploads_to_the_app_and_what_is_asked_of_them(attack, studio, _):
    for upload in uploads("/images", ("example",), attack.rng, 60):
        if (told := studio.ask(attack, upload)) is None:
            continue
        place = f"/images/{json.loads(told)['id']}"
        views = range(len(json.loads(told)["models"][0]["views"]) + 1)
        asked = ["photo.png", "truth.png", "models/0/mask.png", *(f"models/0/views/{view}.png" for view in views)]
        for name in asked:
            studio.ask(attack, Upload(f"{place}/{name}", method="GET"))
        studio.ask(attack, Upload(f"{place}/pixel", query_of(attack.rng, "x", "y"), method="GET"))
    assert studio.ask(attack, Upload("/images", chunks=[SOUND])), "the app does not live any more"


@pytest.mark.parametrize("_", ROUNDS)
def test_label_files_to_the_app(attack, studio, _):
    place = f"/images/{json.loads(studio.ask(attack, Upload('/images', chunks=[SOUND])))['id']}/truth"
    for upload in uploads(place, ("encoding",), attack.rng, 60):
        studio.ask(attack, upload)
    for encoding in (b"raw-ids", b"train-ids", b"colours"):
        for content in hostile.images(attack.rng, 10):
            studio.ask(attack, Upload(place, b"encoding=" + encoding, chunks=[content]))
    assert studio.ask(attack, Upload(place, chunks=[LABELS])), "the app does not live any more"


def test_paths_and_origins(attack, service, studio):
    for _ in range(60):
        odd = "/" + hostile.odd_value(attack.rng)[:3000]
        for one in (service, studio):
            method = attack.rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "X" * 300, "get"])
            one.ask(attack, Upload(odd, method=method, chunks=[SOUND]), (*REFUSALS, 400, 405))
        place = f"/images/{odd[1:].replace('/', '')}"
        for name in ("photo.png", "models/0/mask.png", f"models/{odd[1:]}/mask.png", f"models/0/views/{odd[1:]}.png"):
            studio.ask(attack, Upload(f"{place}/{name}", method="GET"), (*REFUSALS, 405, 410))
        origin = [
            (b"origin", attack.rng.choice([odd_bytes(attack.rng), b"https://[", b"null", b"http://testserver:x"]))
        ]
        studio.ask(attack, Upload("/images", headers=origin, chunks=[SOUND]), (*REFUSALS, 403))
