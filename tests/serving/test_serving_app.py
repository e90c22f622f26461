"""What a service answers, in process: each output, each refusal, and nothing on the disk."""

import io
import json
import tempfile
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from crispseg import LabelSpace, Predictor, SegmentationOutput
from crispseg.errors import ConfigError
from crispseg.io import ImageBytes, read_image
from crispseg.io.png_writing import encode_png
from crispseg.serving import Limits, make_app
from crispseg.vectors import geojson_document, polygons

SPACE = LabelSpace.from_dict(
    {
        "name": "two",
        "classes": [{"name": "bright", "ids": [4]}, {"name": "<b>dark</b>", "ids": [9], "colour": [9, 0, 99]}],
    }
)


def _dark(images: torch.Tensor) -> SegmentationOutput:
    return SegmentationOutput(logits=torch.cat((images[:, :1], 1 - images[:, :1]), dim=1))


def _bright(images: torch.Tensor) -> SegmentationOutput:
    return SegmentationOutput(logits=_dark(images).logits.flip(1), boundary_logits=images[:, :1])


PICTURE = np.zeros((30, 40, 3), np.uint8)
PICTURE[5:20, 10:30] = 255
PNG = encode_png(PICTURE)


@contextmanager
def _client(predictors=None, **limits):
    predictors = predictors or {"dark": Predictor(_dark, SPACE), "bright": Predictor(_bright, SPACE)}
    with TestClient(make_app(predictors, Limits(**limits))) as client:
        yield client


@pytest.fixture(scope="module")
def client():
    with _client(max_bytes=50_000, max_pixels=5000) as client:
        yield client


def _read(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array(Image.open(io.BytesIO(answer.content)))


def test_a_mask_is_what_segment_writes(client, tmp_path):
    prediction = Predictor(_dark, SPACE)(PICTURE)
    prediction.save(tmp_path / "a.png")
    answer = client.post("/mask", content=PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content == (tmp_path / "a.png").read_bytes()
    assert set(np.unique(_read(answer))) == {4, 9}


def test_the_image_may_be_the_file_of_a_form(client):
    answer = client.post("/mask", files={"anything": ("street.png", PNG, "image/png")})
    assert answer.content == client.post("/mask", content=PNG).content


def test_overlay_and_boundaries(client):
    overlay = Predictor(_dark, SPACE)(PICTURE).overlay()
    assert np.array_equal(_read(client.post("/overlay", content=PNG)), overlay)
    jpeg = client.post("/overlay", content=PNG, headers={"accept": "image/jpeg, */*;q=0.5"})
    assert jpeg.headers["content-type"] == "image/jpeg"
    assert np.abs(_read(jpeg).astype(int) - overlay).mean() < 8
    assert client.post("/overlay?format=jpeg", content=PNG).content == jpeg.content
    edges = _read(client.post("/boundaries", content=PNG))
    assert np.array_equal(edges == 255, Predictor(_dark, SPACE)(PICTURE).mask_boundaries() == 1)
    assert _read(client.post("/boundaries?model=bright", content=PNG)).min() == 128  # its branch: sigmoid(0) elsewhere


def test_polygons_in_every_format(client):
    expected = geojson_document(polygons(Predictor(_dark, SPACE)(PICTURE).labels, SPACE))
    answer = client.post("/polygons", content=PNG)
    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.json() == json.loads(json.dumps(expected))
    form = {"image": ("../../é\\x<y>.png", PNG)}
    assert client.post("/polygons?format=coco", files=form).json()["images"][0]["file_name"] == "x<y>.png"
    assert client.post("/polygons?format=labelme", files=form).json()["imagePath"] == "x<y>.png"
    svg = client.post("/polygons?simplify=2", files=form, headers={"accept": "image/svg+xml"})
    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert svg.text.startswith("<svg")
    assert "&lt;b&gt;dark" in svg.text


def test_models_are_chosen_by_name(client):
    dark, bright = (_read(client.post(f"/mask?model={name}", content=PNG)) for name in ("dark", "bright"))
    assert np.array_equal(dark == 4, bright == 9)
    found = client.get("/models").json()
    assert [one["name"] for one in found["models"]] == ["dark", "bright"]
    assert found["models"][0]["classes"][1] == {"name": "<b>dark</b>", "id": 9, "colour": [9, 0, 99]}


def _png_that_says(height, width) -> bytes:
    """A small file of a large image."""
    image = io.BytesIO()
    Image.new("1", (width, height)).save(image, format="PNG")
    return image.getvalue()


@pytest.mark.parametrize(
    ("path", "content", "status", "words"),
    [
        ("/mask", b"", 422, "no body"),
        ("/mask", b"hello", 415, "not an image"),
        ("/mask", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not an image"),
        ("/mask", PNG[:-20], 422, "ends early"),
        ("/mask", PNG[:60], 422, "ends early"),
        ("/mask", b"x" * 50_001, 413, "larger than 50000 bytes"),
        ("/mask", _png_that_says(100, 100), 413, "0.0 million"),
        ("/mask", _png_that_says(9000, 9000), 413, "81.0 million pixels"),
        ("/mask?model=drak", PNG, 404, "did you mean 'dark'"),
        ("/mask?model=", PNG, 404, "no model is called ''"),
        ("/mask?format=jpeg", PNG, 422, "Known: png"),
        ("/mask?simplify=1", PNG, 422, "nothing in the query is called 'simplify'"),
        ("/polygons?simplify=-1", PNG, 422, "simplify is '-1'"),
        ("/polygons?simplify=nan", PNG, 422, "simplify is 'nan'"),
        ("/polygons?simplify=x", PNG, 422, "simplify is 'x'"),
        ("/polygons?format=kml", PNG, 422, "coco, geojson, labelme, svg"),
        ("/masks", PNG, 404, "there are POST /mask"),
        ("/%1b[31m", PNG, 404, r"/\x1b[31m: Not Found"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(client, path, content, status, words):
    answer = client.post(path, content=content)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"files": {"a": ("a.png", PNG), "b": ("b.png", PNG)}}, "Maximum number of files is 1"),
        ({"files": {"a": ("a.png", PNG)}, "data": {"simplify": "2"}}, "Maximum number of fields is 0"),
        ({"files": {"a": ("a.png", b"")}}, "the file of the form is empty"),
        ({"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}}, "has no file"),
        ({"content": PNG, "headers": {"content-type": "multipart/form-data; boundary=x"}}, "cannot be read"),
        ({"content": PNG, "headers": {"content-type": "multipart/form-data"}}, "cannot be read"),
    ],
)
def test_odd_forms_are_refused(client, form, words):
    answer = client.post("/mask", **form)
    assert answer.status_code == 422
    assert words in answer.json()["error"]


@pytest.mark.parametrize("declared", [True, False])
def test_too_many_bytes_are_refused_declared_or_not(client, declared):
    chunks = [b"x" * 10_000] * 6
    answer = client.post("/mask", content=b"".join(chunks) if declared else iter(chunks))
    assert answer.status_code == 413
    assert client.post("/mask", files={"a": ("a.png", b"x" * 60_000)}).status_code == 413
    assert client.post("/mask", content=iter([PNG[:50], PNG[50:]])).status_code == 200


def test_one_pixel_and_other_formats(client):
    for format_name in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"):
        encoded = io.BytesIO()
        Image.new("RGB", (1, 1)).save(encoded, format=format_name)
        mask = _read(client.post("/mask", content=encoded.getvalue()))
        assert mask.tolist() == [[9]]


def test_nothing_is_written_to_disk(client, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a file")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    with _client() as roomy:
        answer = roomy.post("/overlay", files={"a": ("a.png", encode_png(noise))})
        assert _read(answer).shape == noise.shape


def test_openapi_and_the_page_need_nothing_from_outside(client):
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/mask",
        "/overlay",
        "/boundaries",
        "/polygons",
        "/",
        "/models",
        "/healthz",
        "/metrics",
    }
    polygons_of = document["paths"]["/polygons"]["post"]
    assert [one["name"] for one in polygons_of["parameters"]] == ["model", "format", "simplify"]
    assert set(polygons_of["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}
    assert set(polygons_of["responses"]["200"]["content"]) == {
        "application/geo+json",
        "application/json",
        "image/svg+xml",
    }
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    page = client.get("/").text
    assert "<script" not in page
    assert "&lt;b&gt;dark" in page
    assert "form-action &#39;self&#39;" in page
    assert "http://testserver/mask" in page
    assert not [part for part in page.split('"') if part.startswith(("http:", "https:", "//"))]


def test_health_and_metrics():
    with _client() as client:
        client.post("/mask", content=PNG)
        client.post("/mask?model=bright", content=PNG)
        client.post("/overlay", content=b"no image")
        assert client.get("/healthz").json() == {"status": "ok", "waiting": 0}
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'crispseg_requests_total{model="dark",output="mask",status="200"} 1' in lines
    assert 'crispseg_requests_total{model="dark",output="overlay",status="415"} 1' in lines
    assert 'crispseg_images_total{model="bright"} 1' in lines
    assert 'crispseg_request_seconds_bucket{output="mask",le="+Inf"} 2' in lines
    assert all(line.startswith("# TYPE ") or line.rpartition(" ")[2].replace(".", "").isdigit() for line in lines)


class _Gate:
    """A model that waits until it may go on."""

    def __init__(self):
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.batches = []

    def __call__(self, images: torch.Tensor) -> SegmentationOutput:
        self.batches.append(tuple(images.shape[:1] + images.shape[2:]))
        self.entered.set()
        assert self.go_on.wait(20)
        return _dark(images)


def _in_threads(client, requests):
    answers = [None] * len(requests)

    def ask(index, path, content):
        answers[index] = client.post(path, content=content)

    threads = [threading.Thread(target=ask, args=(index, *request)) for index, request in enumerate(requests)]
    return threads, answers


def test_what_arrives_together_is_segmented_together_and_too_many_come_later():
    gate = _Gate()
    small = encode_png(PICTURE[:10])
    with _client({"gate": Predictor(gate, SPACE)}, queue=5, batch_size=3) as client:
        requests = [("/mask", PNG), ("/mask", PNG), ("/mask", small), ("/mask", PNG), ("/mask", PNG)]
        threads, answers = _in_threads(client, requests)
        threads[0].start()
        assert gate.entered.wait(20)
        for thread in threads[1:]:
            thread.start()
        _until(lambda: client.get("/healthz").json()["waiting"] == 5)
        time.sleep(0.1)  # decoded and queued
        refused = client.post("/mask", content=PNG)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert "5 requests are here" in refused.json()["error"]
        gate.go_on.set()
        for thread in threads:
            thread.join(20)
        assert [answer.status_code for answer in answers] == [200] * 5
        assert {_read(answer).shape for answer in answers} == {(30, 40), (10, 40)}
    assert gate.batches[0] == (1, 30, 40)
    assert sorted(gate.batches[1:]) == [(1, 10, 40), (3, 30, 40)]


def _until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_image_that_fails_does_not_spoil_its_batch():
    def picky(images: torch.Tensor) -> SegmentationOutput:
        if images.max() > 0.5 and len(images) > 1:
            raise RuntimeError("all of you")
        if images.min() == images.max():
            return SegmentationOutput(logits=torch.full((len(images), 2, *images.shape[2:]), torch.nan))
        return _dark(images)

    blank = encode_png(np.full_like(PICTURE, 255))
    with _client({"picky": Predictor(picky, SPACE)}, batch_wait_ms=200) as client:
        threads, answers = _in_threads(client, [("/mask", PNG), ("/mask", blank), ("/mask", PNG)])
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [answer.status_code for answer in answers] == [200, 500, 200]
        assert "not finite" in answers[1].json()["error"]
        assert client.post("/mask", content=PNG).status_code == 200


def test_a_bug_is_an_answer_and_a_log_and_the_service_lives(caplog):
    def broken(images: torch.Tensor) -> SegmentationOutput:
        if len(calls) == 0:
            calls.append(1)
            raise ZeroDivisionError("secret of the house")
        return _dark(images)

    calls = []
    with _client({"broken": Predictor(broken, SPACE)}) as client:
        answer = client.post("/mask", content=PNG)
        assert answer.status_code == 500
        assert answer.json() == {"error": "the service failed (ZeroDivisionError); its log says more"}
        assert "secret of the house" in caplog.text
        assert client.post("/mask", content=PNG).status_code == 200


def test_a_class_without_ids_is_said(client):
    no_ids = LabelSpace.from_dict({"name": "none", "classes": [{"name": "a", "ids": []}, {"name": "b", "ids": []}]})
    with _client({"none": Predictor(_dark, no_ids)}) as client:
        answer = client.post("/mask", content=PNG)
    assert answer.status_code == 500
    assert "has no ids" in answer.json()["error"]


@pytest.mark.parametrize("name", ["max_bytes", "max_pixels", "queue", "batch_size", "batch_wait_ms", "read_seconds"])
def test_odd_limits_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name} is -1"):
        Limits(**{name: -1})


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_mutated_images_are_answered_or_refused(client, format_name):
    encoded = io.BytesIO()
    Image.fromarray(PICTURE).save(encoded, format=format_name)
    random = np.random.default_rng(3)
    for _ in range(12):
        data = bytearray(encoded.getvalue())
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(256)
        data = bytes(data[: random.integers(1, len(data) + 1)])
        answer = client.post("/overlay", content=data)
        assert answer.status_code in (200, 413, 415, 422), answer.text
        if answer.status_code == 200:
            assert _read(answer).shape == read_image(ImageBytes(data)).shape
