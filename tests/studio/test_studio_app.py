"""What the page's server answers, in process: images, views, pixels, truth, refusals; nothing on the disk."""

import base64
import hashlib
import io
import json
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tiny import HOSTILE, SPACE, ByBrightness, network

from crispseg import Predictor
from crispseg.errors import ConfigError, WeightsError
from crispseg.evaluation import evaluate_folders
from crispseg.io import write_png
from crispseg.io.png_writing import encode_png
from crispseg.labels import LabelSpace
from crispseg.pictures import colourise, error_map, gate_picture, outline_picture
from crispseg.studio import Bounds, drawn_street, examples_of, make_studio
from crispseg.studio.models import Models

PICTURE = np.zeros((30, 40, 3), np.uint8)
PICTURE[5:20, 10:30] = (255, 180, 90)
PNG = encode_png(PICTURE)
RAW = np.where(PICTURE[..., 0] > 0, 9, 4).astype(np.uint8)
RAW[0, :5] = 77  # ignored
RAW[10, 15] = 11  # a pole of one pixel


@pytest.fixture(scope="module")
def models() -> Models:
    gff = network()
    models = Models({"gff": lambda: gff, "bright": ByBrightness, "decoupled": lambda: network("decoupled")}, "float32")
    models.load()
    return models


@contextmanager
def _client(models, examples=(), **bounds):
    with TestClient(make_studio(models, Bounds(**bounds), examples)) as client:
        yield client


@pytest.fixture(scope="module")
def client(models):
    with _client(models, max_bytes=50_000, max_pixels=5000) as client:
        yield client


@pytest.fixture(scope="module")
def seen(client):
    return _told(client.post("/images", content=PNG))


def _told(answer) -> dict:
    assert answer.status_code == 200, answer.text
    return answer.json()


def _picture(client, path: str) -> np.ndarray:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    return np.array(Image.open(io.BytesIO(answer.content)))


def _view(client, told: dict, model: int, name: str) -> np.ndarray:
    names = [view["name"] for view in told["models"][model]["views"]]
    return _picture(client, f"/images/{told['id']}/models/{model}/views/{names.index(name)}.png")


def test_each_model_has_the_views_that_it_can_give(seen):
    names = {model["name"]: [view["name"] for view in model["views"]] for model in seen["models"]}
    masks = ["overlay", "mask", "outlines", "confidence"]
    assert names["gff"] == [*masks, *(f"map gate_{level}" for level in (1, 2, 3, 4))]
    assert names["bright"] == [*masks, "boundaries"]  # an exported file shows nothing of its inside
    assert names["decoupled"][:6] == [*masks, "boundaries", "map flow"]
    assert (seen["height"], seen["width"], seen["original_hw"], seen["truth"]) == (30, 40, [30, 40], False)


def test_views_are_pictures_of_what_the_model_predicts(client, seen):
    network_prediction = Predictor(network(), precision="float32")(PICTURE)
    file_prediction = Predictor(ByBrightness())(PICTURE)
    assert np.array_equal(_picture(client, f"/images/{seen['id']}/photo.png"), PICTURE)
    for model, prediction in enumerate((network_prediction, file_prediction)):
        labels = prediction.labels
        assert np.array_equal(_view(client, seen, model, "mask"), colourise(labels, SPACE.palette))
        assert np.array_equal(_view(client, seen, model, "overlay"), prediction.overlay())
        assert np.array_equal(_view(client, seen, model, "outlines"), outline_picture(PICTURE, labels, SPACE.palette))
        assert np.array_equal(_view(client, seen, model, "confidence"), gate_picture(prediction.confidence))
        assert client.get(f"/images/{seen['id']}/models/{model}/mask.png").content == prediction.to_png()


def test_maps_are_drawn_as_their_kind_asks_for(client, seen):
    assert _view(client, seen, 0, "map gate_2").shape == PICTURE.shape
    flow = next(view for view in seen["models"][2]["views"] if view["name"] == "map flow")
    assert flow["kind"] == "flow"
    assert "cells" in flow["note"]
    assert _view(client, seen, 2, "map flow").shape == PICTURE.shape
    assert _picture(client, "/flow.png").shape == (96, 96, 3)


def test_a_pixel_has_the_probability_of_every_class(client, seen):
    found = _told(client.get(f"/images/{seen['id']}/pixel?x=12&y=7"))
    assert (found["x"], found["y"], found["rgb"], found["truth"]) == (12, 7, [255, 180, 90], None)
    expected = Predictor(network(), precision="float32", keep_probability=True)(PICTURE)
    assert np.allclose(found["probabilities"][0], expected.probability[:, 7, 12], atol=1e-4)
    assert found["labels"][0] == expected.labels[7, 12]
    assert np.allclose(found["probabilities"][1], [0.1, 0.8, 0.1], atol=1e-3)
    for place in ("x=40&y=0", "x=0&y=30", "x=-1&y=0", "x=1.5&y=0", "y=0", "x=١&y=0"):
        assert client.get(f"/images/{seen['id']}/pixel?{place}").status_code == 404


def test_a_label_file_gives_errors_and_the_scores_of_an_evaluation(client, tmp_path: Path):
    told = _told(client.post("/images", content=PNG))
    judged = _told(client.post(f"/images/{told['id']}/truth", content=encode_png(RAW)))
    truth = SPACE.lookup[RAW].astype(np.uint8)
    mask = Predictor(ByBrightness())(PICTURE)
    assert np.array_equal(_picture(client, f"/images/{told['id']}/truth.png"), colourise(truth, SPACE.palette))
    assert np.array_equal(_view(client, judged, 1, "errors"), error_map(mask.labels, truth))
    assert _told(client.get(f"/images/{told['id']}/pixel?x=15&y=10"))["truth"] == 2
    mask.save(tmp_path / "masks/a.png")
    write_png(tmp_path / "labels/a.png", RAW)
    scores = evaluate_folders(tmp_path / "masks", tmp_path / "labels", SPACE, (1, 3)).to_dict()
    assert judged["scores"][1] == {name: scores[name] for name in judged["scores"][1]}
    assert set(judged["scores"][1]) == {"mean_iou", "pixel_accuracy", "mean_boundary_f", "iou", "boundary_f"}


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [("train-ids", SPACE.lookup[RAW].astype(np.uint8)), ("colours", SPACE.palette[SPACE.lookup[RAW].astype(np.uint8)])],
)
def test_label_files_of_other_encodings(client, seen, encoding, pixels):
    _told(client.post(f"/images/{seen['id']}/truth?encoding={encoding}", content=encode_png(pixels)))
    truth = _picture(client, f"/images/{seen['id']}/truth.png")
    assert np.array_equal(truth, colourise(SPACE.lookup[RAW].astype(np.uint8), SPACE.palette))


def _jpeg(array) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(array).save(encoded, format="JPEG")
    return encoded.getvalue()


@pytest.mark.parametrize(
    ("query", "content", "status", "words"),
    [
        ("", encode_png(RAW[:-1]), 422, "the label file is 29×40, the image 30×40"),
        ("", encode_png(np.full_like(RAW, 5)), 422, "ids outside the label table 'three': 5 (1200 px)"),
        ("", PNG, 422, "colours (RGB) found where raw ids were expected"),
        ("", _jpeg(RAW), 422, "the label file: JPEG changes label ids"),
        ("?encoding=colours", _jpeg(PICTURE), 422, "the label file: JPEG changes label ids"),
        ("?encoding=colors", PNG, 422, "encoding is 'colors'; raw-ids, train-ids, colours expected"),
        ("?model=1", PNG, 422, "nothing in the query is called 'model'"),
        ("", b"", 422, "no body"),
    ],
)
def test_label_files_that_do_not_fit_are_refused(client, seen, query, content, status, words):
    answer = client.post(f"/images/{seen['id']}/truth{query}", content=content)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 422, "no body"),
        (b"hello", 415, "not an image"),
        (PNG[:60], 422, "ends early"),
        (b"x" * 50_001, 413, "larger than 50000 bytes"),
        (encode_png(np.zeros((100, 100), np.uint8)), 413, "0.0 million"),
    ],
)
def test_what_is_no_image_or_too_large_is_refused_in_a_sentence(client, content, status, words):
    answer = client.post("/images", content=content)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert words in answer.json()["error"]


def test_paths_that_are_not_there(client, seen):
    for path in ("/nothing", f"/images/{seen['id']}/models/3/mask.png", f"/images/{seen['id']}/models/0/views/99.png",
                 f"/images/{seen['id']}/models/x/mask.png", "/examples/0.jpg", "/openapi.json", "/docs"):  # fmt: skip
        answer = client.get(path)
        assert (answer.status_code, list(answer.json())) == (404, ["error"]), path
    assert "\x1b" not in client.get("/%1b[31m%0a").json()["error"]
    assert client.get("/images/guessed/photo.png").status_code == 410
    assert "send it again" in client.get("/images/guessed/photo.png").json()["error"]
    assert client.post("/images?example=0").status_code == 404


def test_a_strangers_page_may_not_send(client):
    assert client.post("/images", content=PNG, headers={"origin": "https://stranger.example"}).status_code == 403
    assert client.post("/images", content=PNG, headers={"origin": "null"}).status_code == 403
    assert client.post("/images", content=PNG, headers={"origin": "https://["}).status_code == 403
    assert client.post("/images", content=PNG, headers={"origin": "http://testserver"}).status_code == 200


def test_old_images_go_when_newer_ones_need_the_memory(models):
    with _client(models, keep_bytes=1) as client:
        first, second = (_told(client.post("/images", content=PNG))["id"] for _ in range(2))
        assert first != second
        assert client.get(f"/images/{first}/photo.png").status_code == 410
        assert client.get(f"/images/{second}/photo.png").status_code == 200


def test_large_images_are_made_smaller_and_their_labels_with_them(models):
    with _client(models, shrink_above=300) as client:
        told = _told(client.post("/images", content=PNG))
        assert (told["height"], told["width"], told["original_hw"]) == (15, 20, [30, 40])
        _told(client.post(f"/images/{told['id']}/truth", content=encode_png(RAW)))
        small = _picture(client, f"/images/{told['id']}/truth.png")
        assert (
            np.abs(small.mean((0, 1)) - colourise(SPACE.lookup[RAW].astype(np.uint8), SPACE.palette).mean((0, 1))).max()
            < 9
        )
        assert {tuple(colour) for colour in small.reshape(-1, 3)} <= {tuple(c) for c in SPACE.palette}


def test_examples_come_with_their_labels(models, tmp_path: Path):
    write_png(tmp_path / f"{'n' * 20}<b>.png", PICTURE)
    write_png(tmp_path / "labels.png", RAW)
    write_png(tmp_path / "other.png", RAW[:-2])
    image, one, other = (tmp_path / name for name in (f"{'n' * 20}<b>.png", "labels.png", "other.png"))
    files = [
        *examples_of({Path("a<b>"): image}, {Path("a<b>"): one}),
        *examples_of({Path("b"): image}, {Path("b"): other}),
    ]
    with _client(models, [drawn_street(), *files]) as client:
        assert "a&lt;b&gt;" in client.get("/").text
        drawn = _told(client.post("/images?example=0"))
        assert (drawn["height"], drawn["width"], drawn["truth"]) == (360, 480, False)  # other classes
        told = _told(client.post("/images?example=1"))
        assert told["truth"] is True
        assert told["scores"][1]["pixel_accuracy"] > 0.9
        wrong = client.post("/images?example=2")
        assert wrong.status_code == 422
        assert "is 28×40" in wrong.json()["error"]
        small = client.get("/examples/1.jpg")
        assert Image.open(io.BytesIO(small.content)).size == (40, 30)
        assert max(Image.open(io.BytesIO(client.get("/examples/0.jpg").content)).size) == 160


def test_nothing_is_written_to_disk(models, monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments, **options):
        raise AssertionError("a file")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    opened = io.open

    def only_read(file, mode="r", *arguments, **options):
        assert not set(mode) & set("wax+"), file
        return opened(file, mode, *arguments, **options)

    monkeypatch.setattr("builtins.open", only_read)
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    with _client(models, shrink_above=900) as client:
        told = _told(client.post("/images", files={"image": ("../../x.png", encode_png(noise))}))
        _picture(client, f"/images/{told['id']}/photo.png")


def test_the_page_says_what_may_run_and_be_asked(client):
    answer = client.get("/")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', answer.text)
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules == {
        "connect-src": "'self'",
        "default-src": "'none'",
        "img-src": "'self' file: data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "script-src": f"'sha256-{digest}'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|Function\(|https?:", script)


def test_hostile_class_names_are_data(client):
    state = client.get("/state")
    assert state.json()["classes"][1] == {"name": HOSTILE, "colour": "#c80000"}
    assert state.headers["content-type"] == "application/json"
    assert HOSTILE not in client.get("/").text


def test_the_page_is_there_before_the_models():
    models = Models({"late": lambda: pytest.fail("nobody has asked for it"), "b": ByBrightness})
    with _client(models) as client:
        assert "late" in client.get("/").text
        assert client.get("/state").json() == {
            "ready": False,
            "models": [{"name": "late", "ready": False}, {"name": "b", "ready": False}],
            "classes": [],
        }


def test_who_waits_for_a_model_that_does_not_load_hears_why():
    def broken():
        raise WeightsError("runs/x: broken")

    models, stopped = Models({"a": ByBrightness, "x": broken}), []
    with _client(models) as client:
        models._load(lambda: stopped.append(True))
        answer = client.post("/images", content=PNG)
        assert (answer.status_code, answer.json()) == (500, {"error": "runs/x: broken"})
    assert stopped == [True]
    assert str(models.error) == "runs/x: broken"


def test_models_must_know_the_same_classes_and_be_few():
    class Other(ByBrightness):
        def __init__(self):
            super().__init__()
            space = LabelSpace.from_dict({"name": "other", "classes": ["a", "b", "c"]})
            self.card = type(self.card)(self.card.outputs, space, 1)

    with pytest.raises(ConfigError, match="o predicts 3 classes of the label table 'other', a 3 of 'three'"):
        Models({"a": ByBrightness, "o": Other}).load()
    for openers in ({}, dict.fromkeys("abcd", ByBrightness)):
        with pytest.raises(ConfigError, match="1 to 3 expected"):
            Models(openers)


@pytest.mark.parametrize("name", ["max_bytes", "max_pixels", "shrink_above", "keep_bytes", "queue", "read_seconds"])
def test_odd_bounds_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name} is 0"):
        Bounds(**{name: 0})


def test_answers_are_json_that_pages_can_read(client, seen):
    told = client.post("/images", content=PNG)
    assert json.loads(told.text)["id"] != seen["id"]
    assert re.fullmatch(r"[\w-]{22}", seen["id"])
