"""Signals: a line and the status that shells expect, at any moment; and nothing that handles errors takes them."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from crispseg.errors import Interrupted, TrainingInterrupted
from crispseg.stopping import StopSignals

SEED = random.SystemRandom().randrange(10**6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_handler_of_errors_takes_a_signal(number, request):
    before = signal.signal(number, signal.SIG_DFL)  # under nohup SIGHUP is ignored, and stays so
    request.addfinalizer(lambda: signal.signal(number, before))

    def work():
        try:
            os.kill(os.getpid(), number)
        except Exception:  # as libraries have it, for whatever may go wrong
            pytest.fail("taken for an error")

    with pytest.raises(TrainingInterrupted) as caught, StopSignals(lambda: "2 of 3 are done", TrainingInterrupted):
        work()
    assert str(caught.value) == f"stopped by {signal.Signals(number).name}; 2 of 3 are done"
    assert caught.value.exit_status == 128 + number


def test_a_loop_is_told_first_and_stopped_by_the_second():
    told, seen = [], []

    def loop(signals):
        with signals.postponed():
            os.kill(os.getpid(), signal.SIGINT)
            seen.append(signals.received)
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append("not stopped")

    with StopSignals(lambda: "", on_note=lambda: told.append(True)) as signals:
        with pytest.raises(Interrupted, match="SIGTERM"):
            loop(signals)
        assert (seen, told) == ([signal.SIGINT], [True])


def test_what_a_loop_did_not_ask_for_is_raised_at_its_end():
    steps = []

    def loop(signals):
        with signals.postponed():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append(1)

    with StopSignals(lambda: "") as signals, pytest.raises(Interrupted):
        loop(signals)
    assert steps == [1]


def test_a_signal_that_got_lost_is_raised_at_the_next_question(monkeypatch):
    """Python reports what is raised in a finaliser, and goes on."""
    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: lost.append(type(report.exc_value)))

    class Finalised:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)

    with StopSignals(lambda: "as it stands now") as signals:
        signals.check()
        Finalised()
        assert lost == [Interrupted]
        with pytest.raises(Interrupted, match="SIGINT; as it stands now"):
            signals.check()


def test_the_handlers_that_were_there_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopSignals(lambda: ""):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_forked_child_leaves_signals_to_its_parent():
    with StopSignals(lambda: "") as signals:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0 if signals.received is None else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_while_it_starts_says_so_in_one_line(tmp_path, number):
    """While it loads its modules, of which PyTorch alone takes a second or more."""
    draw = random.Random(SEED + number)
    command = [sys.executable, "-X", "importtime", "-m", "crispseg", "fit", "toy/gff", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    last = f"| {draw.choice(['typer', 'crispseg.cli.app', 'numpy', 'torch._C', 'torch.nn', 'torch', 'pydantic'])}\n"
    for line in process.stderr:
        if line.endswith(last.replace("| ", " ")):
            break
    process.send_signal(number)
    errors = [line for line in process.communicate(timeout=60)[1].splitlines() if not line.startswith("import time:")]
    assert process.returncode == 128 + number, (SEED, last, errors)
    assert errors == [f"error: stopped by {signal.Signals(number).name}; give the same command again"], (SEED, last)
    assert not (tmp_path / "run").exists()
