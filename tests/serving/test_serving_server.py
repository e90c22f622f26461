"""The server itself: a socket, many at once, those who break off, and signals. Its networks are stand-ins."""

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from crispseg.cli.app import app
from crispseg.cli.serve import named_models
from crispseg.errors import ConfigError
from crispseg.io.png_writing import encode_png
from crispseg.serving import serve

_PROGRAM = """
import sys, time
from crispseg.stopping import leave_on_signals
leave_on_signals()
import numpy as np
from crispseg.errors import Interrupted
from crispseg.inference import Prediction
from crispseg.labels import label_space
from crispseg.serving import Limits, serve

class Slow:
    label_space, batch_pixels = label_space("camvid"), 2**20
    def __call__(self, image):
        height, width, _ = image.shape
        labels = (image[..., 0] // 128).astype(np.uint8)
        return Prediction(labels, np.ones((height, width), np.float32), image, self.label_space)
    def predict_many(self, images, batch_size):
        time.sleep(float(sys.argv[1]))
        return [(index, self(image)) for index, image in enumerate(images)]

try:
    serve({"slow": Slow()}, port=0, limits=Limits(max_bytes=200_000, queue=8, read_seconds=2),
          on_start=lambda address, is_open: print(address, is_open, flush=True))
except Interrupted as error:
    print(error, flush=True)
    sys.exit(error.exit_status)
"""


class _Server:
    def __init__(self, seconds: float):
        command = [sys.executable, "-c", _PROGRAM, str(seconds)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.url, is_open = self.process.stdout.readline().split()
        assert is_open == "False"
        self.port = int(self.url.rpartition(":")[2])

    def post(self, data, path="/mask"):
        return httpx.post(self.url + path, content=data, timeout=30)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def waiting(self) -> int:
        return httpx.get(self.url + "/healthz", timeout=20).json()["waiting"]

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=30)
        return self.process.returncode, output, errors


@pytest.fixture(scope="module")
def server():
    server = _Server(0.01)
    yield server
    server.end()


PICTURE = np.zeros((30, 40, 3), np.uint8)
PICTURE[5:20, 10:30] = 255
PNG = encode_png(PICTURE)
HEAD = "POST /mask HTTP/1.1\r\nHost: x\r\n"


def _until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_at_once_each_get_their_own_answer(server):
    pictures = [np.full((20 + index % 3, 30, 3), 255 * (index % 2), np.uint8) for index in range(24)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda picture: server.post(encode_png(picture)), pictures))
    for picture, answer in zip(pictures, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert np.array_equal(np.array(Image.open(io.BytesIO(answer.content))), picture[..., 0] // 128)
    text = httpx.get(server.url + "/metrics").text
    batches = int(re.search(r'batches_total\{model="slow"\} (\d+)', text)[1])
    assert batches < int(re.search(r'images_total\{model="slow"\} (\d+)', text)[1])


@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_too_much_hears_why(server, chunked):
    data = b"x" * 250_000
    answer = server.post(iter([data[:100_000], data[100_000:]]) if chunked else data)
    assert answer.status_code == 413
    assert "200000 bytes" in answer.json()["error"]


def test_an_upload_without_end_is_cut_off(server):
    with server.connect() as connection:
        connection.sendall((HEAD + "Transfer-Encoding: chunked\r\n\r\n").encode())
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 200_000_000:
                connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                sent += 0x10000
        assert sent < 20_000_000
    assert server.post(PNG).status_code == 200


def test_an_upload_that_stalls_is_ended(server):
    with server.connect() as connection:
        connection.sendall((HEAD + f"Content-Length: {len(PNG)}\r\n\r\n").encode() + PNG[:40])
        assert b"408" in connection.recv(4096).partition(b"\r\n")[0]
    _until(lambda: server.waiting() == 0)


def test_who_breaks_off_leaves_nothing_behind(server):
    for sent in (PNG[:40], PNG):  # in the upload, and while it waits for the answer
        with server.connect() as connection:
            connection.sendall((HEAD + f"Content-Length: {len(PNG)}\r\n\r\n").encode() + sent)
    _until(lambda: server.waiting() == 0)
    assert server.post(PNG).status_code == 200


@pytest.mark.parametrize(
    "request_text", ["nonsense\r\n\r\n", HEAD + "Content-Length: -1\r\n\r\n", HEAD + "Content-Length: x\r\n\r\n"]
)
def test_broken_http_is_refused(server, request_text):
    with server.connect() as connection:
        connection.sendall(request_text.encode())
        assert b" 400 " in connection.recv(4096).partition(b"\r\n")[0]


def test_a_signal_finishes_what_runs():
    number = signal.SIGTERM
    server = _Server(1.0)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.post(PNG)))
    thread.start()
    _until(lambda: server.waiting() == 1)
    status, output, errors = server.end(number)
    thread.join(20)
    assert answers[0].status_code == 200
    assert status == 128 + number
    assert f"stopped by {number.name}; 1 images were segmented, and what ran was finished" in output
    assert errors == ""


def test_a_second_signal_ends_at_once():
    server = _Server(30.0)

    def ask():
        with contextlib.suppress(httpx.HTTPError):  # or an answer of 500, by the moment
            server.post(PNG)

    thread = threading.Thread(target=ask)
    thread.start()
    _until(lambda: server.waiting() == 1)
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    started = time.monotonic()
    status, output, errors = server.end(signal.SIGINT)
    thread.join(20)
    assert (status, errors) == (130, "")
    assert output == "stopped by SIGINT; 0 images were segmented, and what ran was left\n"
    assert time.monotonic() - started < 10


def test_an_address_that_cannot_be_had_is_one_sentence(server):
    with pytest.raises(ConfigError, match=rf"port {server.port} .*: something listens there already"):
        serve({}, port=server.port)
    with pytest.raises(ConfigError, match=r"host is 'nowhere\.invalid'"):
        serve({}, host="nowhere.invalid", port=0)
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 is every address"):
        serve({}, host="*", port=0)
    with pytest.raises(ConfigError, match="host is"):
        serve({}, host="a\0b", port=0)
    with pytest.raises(ConfigError, match="not an address of this machine"):
        serve({}, host="203.0.113.7", port=0)


def test_names_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    os.makedirs("runs/streets/model")
    assert named_models(["runs/streets/model", "x=a=b", "fast.onnx"]) == {
        "streets": "runs/streets/model",
        "x": "a=b",
        "fast": "fast.onnx",
    }
    for wrong, words in (
        (["a=b"], "no name"),
        (["x y=m"], "no name"),
        (["m", "n/m"], "both called 'm'"),
        (["=m"], "no name"),
    ):
        with pytest.raises(ConfigError, match=words):
            named_models(wrong)


def test_what_cannot_be_served_is_one_line(tmp_path: Path):
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"nonsense")
    for arguments, words in (([str(broken)], "cannot be opened"), ([str(tmp_path / "none.onnx")], "no such file")):
        done = CliRunner().invoke(app, ["serve", *arguments])
        assert done.exit_code == 2
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_json_of_errors_is_json(server):
    answer = server.post(b"", "/mask?model=" + "%22%3Cb%3E%00")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["error"].startswith("no model is called")
