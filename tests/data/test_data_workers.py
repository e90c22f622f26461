"""Workers end with their parent, however that ends."""

import multiprocessing
import os
import signal
import sys
import time

import pytest

from crispseg.data.workers import end_with_parent


def _work(pipe) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as a loader's workers do
    end_with_parent()
    pipe.send(os.getpid())
    time.sleep(600)


def _main(pipe) -> None:
    multiprocessing.get_context("fork").Process(target=_work, args=(pipe,), daemon=True).start()
    time.sleep(600)


def is_there(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no such order to the kernel")
def test_a_worker_ends_with_its_parent():
    ours, theirs = multiprocessing.Pipe()
    main = multiprocessing.get_context("fork").Process(target=_main, args=(theirs,))
    main.start()
    worker = ours.recv()
    assert is_there(worker)
    main.kill()
    main.join()
    deadline = time.monotonic() + 30
    while is_there(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_there(worker)
