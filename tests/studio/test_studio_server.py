"""The command and its server: one line for what cannot be had, uploads that break off, the end."""

import socket
from pathlib import Path

import pytest
from tiny import Server
from typer.testing import CliRunner

from crispseg.cli.app import app
from crispseg.io.png_writing import encode_png


def _refused(*arguments) -> str:
    done = CliRunner().invoke(app, ["app", *map(str, arguments)])
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_what_cannot_be_had_is_one_line(tmp_path: Path):
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"nonsense")
    assert "cannot be opened" in _refused(broken, "--port", 0)
    assert "no such file" in _refused(tmp_path / "none.onnx", "--port", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} (Address already in use): something listens there already" in _refused(
            broken, "--port", port
        )


def test_what_does_not_fit_together_is_one_line(tmp_path: Path):
    assert "--labels are those of --examples" in _refused("a.onnx", "--labels", tmp_path)
    assert "did you mean 'colours'" in _refused("a.onnx", "--encoding", "colors")
    assert "no such file or folder" in _refused("a.onnx", "--examples", tmp_path / "none")
    assert "4 models; 1 to 3 expected" in _refused("a.onnx", "b.onnx", "c.onnx", "d.onnx", "--port", 0)
    assert "both called 'a'" in _refused("a.onnx", "x/a.onnx")
    assert "no name or address" in _refused("a.onnx", "--host", "*")


@pytest.mark.slow
def test_an_upload_that_breaks_off_is_one_line_and_the_server_ends_well():
    import httpx2 as httpx

    server = Server()
    png = encode_png((255 * (server.picture > 0)).astype("uint8"))
    for sent in (png[:40], b""):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            head = f"POST /images HTTP/1.1\r\nHost: x\r\nContent-Length: {len(png)}\r\n\r\n"
            connection.sendall(head.encode() + sent)
    answer = httpx.post(f"{server.url}/images", content=png, timeout=60)
    assert answer.status_code == 200
    status, _, errors = server.end()
    assert status == 143
    lines = errors.splitlines()
    assert lines[:-1] == ["warning: an upload broke off; nothing was kept of it"] * 2
    assert "stopped by SIGTERM; 3 images were looked at, and what ran was finished" in lines[-1]
