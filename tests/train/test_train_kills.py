"""Runs that are stopped by signals at random moments, and resumed, end as one that was left alone, bit for bit.

``CRISPSEG_KILLS`` says how many signals the slow test sends, ``CRISPSEG_KILL_SEED`` draws others.
"""

import multiprocessing
import os
import random
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from train_runs import assert_same_run, clean_processes

from crispseg.cli.console import print_error
from crispseg.errors import Interrupted
from crispseg.stopping import leave_on_signals
from crispseg.train import fit

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
MOMENTS = (".lock", "recipe.yaml", "log.jsonl", "checkpoints/.last.new-*", "checkpoints/.best.new-*", ".model.new-*")
SEED = int(os.environ.get("CRISPSEG_KILL_SEED", random.SystemRandom().randrange(10**6)))
CHANGES = ["train.epochs=6", "train.save_every_steps=3", "train.ema_decay=0.9", "data.workers=1"]


def sitting(recipe, folder: Path, errors: Path) -> None:
    """What a process does: go on with a run, as the command does, with stderr in a file."""
    leave_on_signals()
    multiprocessing.set_start_method("fork", force=True)  # of its workers: not what made this process
    with errors.with_suffix(".new").open("w") as file:
        os.dup2(file.fileno(), 2)
    os.replace(errors.with_suffix(".new"), errors)  # says that signals are heard, and where stderr goes
    try:
        fit(recipe, folder, resume=True, progress=False)
    except Interrupted as error:
        print_error(str(error))
        sys.exit(error.exit_status)


def wait_for(moment: float | str, folder: Path, is_alive) -> None:
    """For so many seconds, or until such a file appears."""
    deadline = time.monotonic() + (moment if isinstance(moment, float) else 20)
    while time.monotonic() < deadline and is_alive():
        if isinstance(moment, str) and next(folder.glob(moment), None):
            return
        time.sleep(0.002)


def check_end(status: int, number: int, errors: str, folder: Path) -> None:
    """A signal ends a run at once and without a word, or with one line that is true; or it came too late."""
    assert "Traceback" not in errors, errors
    if number == signal.SIGKILL:
        assert status in (0, -number)
        return
    assert status in (0, 128 + number), errors
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == (status != 0), errors
    for line in lines:
        assert re.search(r"stopped by SIG(INT|TERM|HUP); .*--resume|give the same command again", line), errors
        assert ("last.ckpt" not in line) or (folder / "checkpoints" / "last.ckpt").exists()


def survive(recipe, tmp_path: Path, kills: int, seed: int) -> dict[str, int]:
    """Send so many signals to runs, one after another, each resumed until it ends; how often each was sent."""
    draw, context = random.Random(seed), clean_processes()
    whole = tmp_path / "whole"
    started = time.monotonic()
    process = context.Process(target=sitting, args=(recipe, whole, tmp_path / "errors"))
    process.start()
    process.join()
    assert process.exitcode == 0, (tmp_path / "errors").read_text()
    seconds = time.monotonic() - started
    sent: dict[str, int] = {}
    runs = 0
    folder = tmp_path / "run0"
    while True:
        (tmp_path / "errors").unlink(missing_ok=True)
        process = context.Process(target=sitting, args=(recipe, folder, tmp_path / "errors"))
        process.start()
        number = draw.choice(SIGNALS)
        if sum(sent.values()) < kills:
            wait_for("errors", tmp_path, process.is_alive)  # from here on the process hears signals
            moment = draw.choice([draw.uniform(0, seconds), draw.choice(MOMENTS)])
            wait_for(moment, folder, process.is_alive)
            # It may end just now, and the process that forks has asked how.
            with suppress(ProcessLookupError):
                if process.is_alive():
                    os.kill(process.pid, number)
                    key = f"{signal.Signals(number).name} {moment if isinstance(moment, str) else 'at random'}"
                    sent[key] = sent.get(key, 0) + 1
        process.join(120)
        if process.exitcode is None:
            process.kill()
            pytest.fail(f"a run did not end after {signal.Signals(number).name}, {sent}")
        check_end(process.exitcode, number, (tmp_path / "errors").read_text(), folder)
        if process.exitcode == 0:
            assert_same_run(whole, folder)
            assert not [path for path in folder.rglob(".*") if path.name != ".lock"]
            if sum(sent.values()) >= kills:
                break
            runs += 1
            folder = tmp_path / f"run{runs}"
    return sent


@pytest.mark.slow
def test_a_run_that_is_stopped_again_and_again_ends_as_if_it_had_not_been(tiny, tmp_path):
    sys.stdout.write(f"seed {SEED}\n")  # shown with a failure
    survive(tiny(*CHANGES), tmp_path, 4, SEED)


@pytest.mark.slow
@pytest.mark.parametrize("half", range(2))  # one for each core of a small machine
def test_runs_that_are_stopped_many_times(tiny, tmp_path, half):
    sys.stdout.write(f"seed {SEED}\n")
    kills = int(os.environ.get("CRISPSEG_KILLS", "100"))
    sent = survive(tiny(*CHANGES), tmp_path, (kills + half) // 2, SEED + half)
    sys.stdout.write(f"{sent}\n")
