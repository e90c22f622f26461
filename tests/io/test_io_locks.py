"""One process at a time: locks that end with their process, and files that say who holds them."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from crispseg.io import locks
from crispseg.io.locks import InUse, hold_lock

HOLD = """
import sys, time
from crispseg.io.locks import hold_lock
with hold_lock(sys.argv[1], wait=False):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_the_lock(tmp_path, holder):
    expected = rf"process {holder.pid} on {socket.gethostname()} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d"
    with pytest.raises(InUse, match=expected), hold_lock(tmp_path / ".lock", wait=False):
        pass


def test_a_killed_process_holds_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / ".lock").read_text())["process"] == holder.pid  # its file is still there
    with hold_lock(tmp_path / ".lock", wait=False):
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_can_be_waited_for(tmp_path):
    order = []

    def second():
        with hold_lock(tmp_path / ".lock", wait=True):
            order.append("second")

    thread = threading.Thread(target=second)
    with hold_lock(tmp_path / ".lock", wait=True):
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path):
    with hold_lock(tmp_path / ".lock", wait=False):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        with hold_lock(tmp_path / ".lock", wait=False):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("host", "process", "is_refused"),
    [(socket.gethostname(), os.getpid(), True), (socket.gethostname(), 2**22 + 1, False), ("elsewhere", 1, True)],
    ids=["alive", "ended", "of another host"],
)
def test_without_locks_of_the_system_the_file_counts(tmp_path, monkeypatch, host, process, is_refused):
    def none(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    path = tmp_path / ".lock"
    path.write_text(json.dumps({"host": host, "process": process, "since": 0}))
    if is_refused:
        with pytest.raises(InUse, match=rf"process {process} on {host} .*if it has ended, remove {path}"):
            hold_lock(path, wait=False).__enter__()
        assert path.exists()
    else:
        with hold_lock(path, wait=False):
            pass
        assert not path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,  # deeper than the interpreter's stack
        '{"host": "elsewhere", "process": 1, "since": 1e300}',
        '{"host": "elsewhere", "process": 1, "since": NaN}',
        '{"host": "elsewhere", "process": "' + "9" * 5000 + '", "since": 0}',
        json.dumps({"host": socket.gethostname(), "process": 10**30, "since": 0}),
    ],
    ids=["deep", "late", "never", "long", "no process"],
)
def test_a_file_that_is_no_lock_s_names_no_holder(tmp_path, text):
    (tmp_path / ".lock").write_text(text)
    assert locks._holder(tmp_path / ".lock") is None
