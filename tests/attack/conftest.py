"""What attacks share: a seed that is printed, the real command line in this process, and a small world to attack."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

SEED = os.environ["CRISPSEG_ATTACK_SEED"]  # set by the project's conftest.py where nobody else did
CLIENT_LEFT = 499
LONGEST = 2000  # characters of what an application says
SECONDS_APART = 240  # of one case with its processes' imports
SECONDS = 30  # of one case; a shared machine is slow now and then, a hang is not over then either


class Hang(BaseException):
    """Raised by an alarm; no handler of errors takes it."""


@dataclass
class Attack:
    """Runs cases and holds each to the promise: done, or one line that names what is wrong, and exit status 2."""

    seed: str
    rng: random.Random
    cases: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self, arguments: Sequence[object], names: Sequence[str] = (), exits: Sequence[int] = (0, 2)) -> bool:
        """One command line.

        Args:
            arguments: of the command.
            names: one of which a refusal must name; none: any.
            exits: the statuses that keep the promise.

        Returns:
            Whether it was done.
        """
        from crispseg.cli import app

        self.cases += 1
        texts = [str(argument) for argument in arguments]
        try:
            with alarm():
                result = CliRunner().invoke(app, texts)
        except Hang:
            return self._fail(texts, f"not over in {SECONDS} s")
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            where = "".join(traceback.format_exception(error)[-3:])
            return self._fail(texts, f"traceback: {where}")
        return self._judge(texts, result.exit_code, result.stdout, result.stderr, names, exits)

    def run_apart(self, arguments: Sequence[object], exits: Sequence[int] = (0, 2)) -> bool:
        """As `run`, in a process of its own: for what starts others, or ends the one that it is in."""
        self.cases += 1
        texts = [str(argument) for argument in arguments]
        command = [sys.executable, "-m", "crispseg", *texts]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_APART, check=False)
        except subprocess.TimeoutExpired:
            return self._fail(texts, f"not over in {SECONDS_APART} s")
        if "Traceback" in done.stderr:
            return self._fail(texts, f"traceback: {done.stderr[-1000:]}")
        return self._judge(texts, done.returncode, done.stdout, done.stderr, (), exits)

    def _judge(
        self,
        texts: Sequence[str],
        status: int,
        stdout: str,
        stderr: str,
        names: Sequence[str],
        exits: Sequence[int],
    ) -> bool:
        output = stdout + stderr
        if status not in exits:
            return self._fail(texts, f"exit status {status}: {output[-500:]!r}")
        if odd := [c for c in output if not c.isprintable() and c != "\n"]:
            return self._fail(texts, f"{odd[0]!r} reaches the terminal")
        if status == 0:
            return True
        self.refused += 1
        if "Usage:" in stderr:  # typer's own refusal of an option
            return False
        errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
        listed = "×" in stdout  # `data check` lists what is wrong with the data on stdout
        if not errors and not listed:
            return self._fail(texts, f"refused without a word: {output[-300:]!r}")
        if len(errors) > 1 and 1 not in exits:
            return self._fail(texts, f"{len(errors)} errors: {errors[:3]}")
        if names and not any(name in output for name in names):
            return self._fail(texts, f"does not name {names}: {output[-300:]!r}")
        if any(re.match(r"error: \[Errno", line) for line in errors):
            return self._fail(texts, f"a bare system error: {errors[0]}")
        return False

    def ask(self, what: str, answer: Callable[[float], tuple[int, bytes]], kinds: Collection[int]) -> bool:
        """One request to an application in this process: answered, or refused in one line of JSON.

        Args:
            what: is asked, for the report.
            answer: gives the status and the body within so many seconds, or raises `TimeoutError`.
            kinds: the statuses that a refusal may have.

        Returns:
            Whether it was answered.
        """
        self.cases += 1
        try:
            status, body = answer(SECONDS)
        except TimeoutError:
            return self._fail([what], f"not over in {SECONDS} s")
        except Exception as error:
            return self._fail([what], f"traceback: {''.join(traceback.format_exception(error)[-3:])}")
        if status == 200:
            return True
        self.refused += 1
        if status not in kinds:
            return self._fail([what], f"status {status}: {body[:500]!r}")
        if status == CLIENT_LEFT:
            return False  # nobody reads it
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if not isinstance(told, dict) or list(told) != ["error"] or not isinstance(told["error"], str):
            return self._fail([what], f"status {status} without an error: {body[:300]!r}")
        if not told["error"].strip() or not told["error"].isprintable():
            return self._fail([what], f"no line that can be read: {told['error'][:300]!r}")
        if re.search(r"\[Errno|Traceback", told["error"]) or len(told["error"]) > LONGEST:
            return self._fail([what], f"no sentence for who asked: {told['error'][:300]!r}")
        return False

    def _fail(self, texts: Sequence[str], what: str) -> bool:
        self.failures.append(f"crispseg {' '.join(text[:200] for text in texts)!a}\n    {what}")
        return False


class alarm:  # reads as a statement
    def __enter__(self) -> None:
        def ring(*_: object) -> None:
            raise Hang

        self.before = signal.signal(signal.SIGALRM, ring)
        signal.alarm(SECONDS)

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)


@pytest.fixture
def attack(request, record_property, tmp_path, monkeypatch):
    """Cases of one test, in a folder of its own, where odd names may be made; all that broke the promise is said."""
    monkeypatch.chdir(tmp_path)
    made = Attack(SEED, random.Random(f"{SEED} {request.node.name}"))
    yield made
    record_property("cases", made.cases)
    record_property("refused", made.refused)
    if made.failures:
        shown = "\n".join(made.failures[:8])
        pytest.fail(f"CRISPSEG_ATTACK_SEED={SEED}: {len(made.failures)} of {made.cases} cases:\n{shown}", pytrace=False)


@dataclass(frozen=True)
class World:
    """Sound files, to be copied and broken."""

    root: Path
    data: Path
    model: Path
    runs: tuple[Path, Path]
    recipe: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    import crispseg
    from crispseg.evaluation import evaluate_folders
    from crispseg.io import write_png
    from crispseg.labels import label_space
    from crispseg.recipes import load_recipe

    root = tmp_path_factory.mktemp("world")
    data = root / "data"
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(2):
            write_png(data / "images" / split / f"{number}.png", rng.integers(0, 256, (16, 20, 3), dtype=np.uint8))
            write_png(data / "labels" / split / f"{number}.png", rng.integers(0, 3, (16, 20), dtype=np.uint8))
    (data / "labels.yaml").write_text("classes: [sky, road, car]\nignore_ids: [9]\n")
    space = label_space(data / "labels.yaml")
    model = crispseg.create_model("fcn", backbone="test_resnet", channels=8, label_space=space)
    recipe = root / "recipe.yaml"
    recipe.write_text(
        f"model: {{head: fcn, backbone: test_resnet, channels: 8}}\ndata: {{layout: folder, root: {data}, "
        "crop_hw: [16, 16], workers: 0}\ntrain: {epochs: 1, batch_size: 2}\n"
    )
    crispseg.save_model(model, root / "model", recipe=load_recipe(recipe))
    runs = []
    for name in ("one", "two"):
        masks = root / f"masks_{name}"
        for number in range(2):
            write_png(masks / f"{number}.png", rng.integers(0, 3, (16, 20), dtype=np.uint8))
        evaluate_folders(masks, data / "labels" / "val", space, (1, 2), out=root / name)
        runs.append(root / name)
    return World(root, data, root / "model", (runs[0], runs[1]), recipe)
