"""What a run survives: being killed at any moment, a full disk, a checkpoint that broke."""

import errno
import os
import random
import resource
import shutil
import time
from contextlib import suppress
from signal import SIGKILL, SIGTERM

import pytest
import torch
from train_runs import assert_same_run, checkpoint_of, clean_processes, log_of, send

from crispseg.errors import ConfigError, TrainingError, TrainingInterrupted, WeightsError
from crispseg.train import fit
from crispseg.train.checkpoint_files import AtomicCheckpointIO, is_whole
from crispseg.train.checkpoints import Checkpoints

pytestmark = pytest.mark.slow  # whole trainings: seconds each


def files_in(folder):
    return sorted(entry.name for entry in (folder / "checkpoints").iterdir())


def test_a_run_that_is_killed_ten_times_ends_as_if_it_had_not_been(tiny, tmp_path):
    recipe = tiny("train.epochs=40", "train.save_every_steps=3", "train.validate_every=8")
    fit(recipe, tmp_path / "whole", progress=False)
    context = clean_processes()

    def start(resume):
        process = context.Process(
            target=fit, args=(recipe, tmp_path / "run"), kwargs={"resume": resume, "progress": False}
        )
        process.start()
        return process

    draw = random.Random(0)
    kills = 0
    while kills < 10:
        process = start(resume=(tmp_path / "run" / "recipe.yaml").exists())
        if kills % 2:  # after a while, wherever that is
            time.sleep(draw.uniform(0.1, 0.7))
        else:  # while a checkpoint is being written, if it comes to that
            deadline = time.monotonic() + 2
            while not list((tmp_path / "run").glob("checkpoints/.*.new-*")) and time.monotonic() < deadline:
                time.sleep(0.001)
        with suppress(ProcessLookupError):  # it may end just now
            if process.is_alive():
                os.kill(process.pid, SIGKILL)
                kills += 1
        process.join()
        assert process.exitcode in (-SIGKILL, 0)
        if process.exitcode == 0:
            break
    assert kills >= 5  # a fast machine may come to the end before the tenth
    last = start(resume=True)
    last.join()
    assert last.exitcode == 0
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


def test_what_stands_in_the_folder_in_the_middle_of_an_epoch_is_enough(tiny, tmp_path, monkeypatch):
    """A copy of the folder, taken between two steps, is what a power cut leaves."""
    recipe = tiny("train.save_every_steps=1")
    save = Checkpoints._save_last

    def save_and_copy(self, trainer):
        save(self, trainer)
        if trainer.global_step == 3:
            shutil.copytree(tmp_path / "whole", tmp_path / "run")

    monkeypatch.setattr(Checkpoints, "_save_last", save_and_copy)
    fit(recipe, tmp_path / "whole", progress=False)
    monkeypatch.undo()
    assert checkpoint_of(tmp_path / "run")["global_step"] == 3
    assert checkpoint_of(tmp_path / "run", "previous")["global_step"] == 2
    fit(recipe, tmp_path / "run", resume=True, progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_broken_checkpoint_is_noticed_and_the_one_before_it_offered(tiny, tmp_path, at_loss, damage):
    recipe, run = tiny(), tmp_path / "run"
    at_loss(7, send(SIGTERM))  # in the second epoch
    with pytest.raises(TrainingInterrupted):
        fit(recipe, run, progress=False)
    last = run / "checkpoints" / "last.ckpt"
    assert is_whole(last)
    content = bytearray(last.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    last.write_bytes({"cut": content[: len(content) // 2], "flipped": content, "empty": b""}[damage])
    with pytest.raises(
        WeightsError, match=r"last\.ckpt: not a whole checkpoint.*previous\.ckpt, the one before it, is whole"
    ):
        fit(recipe, run, resume=True, progress=False)
    fit(recipe, run, resume=True, from_previous=True, progress=False)
    fit(recipe, tmp_path / "whole", progress=False)
    assert_same_run(tmp_path / "whole", run)
    with pytest.raises(ConfigError, match="--resume --previous"):
        fit(recipe, tmp_path / "new", from_previous=True, progress=False)


def test_a_broken_checkpoint_does_not_take_the_place_of_the_whole_one_before_it(tiny, tmp_path, at_loss, monkeypatch):
    recipe, run = tiny(), tmp_path / "run"
    at_loss(7, send(SIGTERM))
    with pytest.raises(TrainingInterrupted):
        fit(recipe, run, progress=False)
    (run / "checkpoints" / "last.ckpt").write_bytes(b"PK")

    save = torch.save

    def full_for_the_last(checkpoint, path):
        if "last" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(checkpoint, path)

    monkeypatch.setattr(torch, "save", full_for_the_last)  # the first write after going on fails as well
    with pytest.raises(TrainingError, match="could not be written"):
        fit(recipe, run, resume=True, from_previous=True, progress=False)
    monkeypatch.undo()
    assert is_whole(run / "checkpoints" / "previous.ckpt")
    fit(recipe, run, resume=True, from_previous=True, progress=False)
    fit(recipe, tmp_path / "whole", progress=False)
    assert_same_run(tmp_path / "whole", run)


def test_without_a_whole_checkpoint_nothing_is_offered(tiny, tmp_path, at_loss):
    recipe, run = tiny(), tmp_path / "run"
    at_loss(7, send(SIGTERM))
    with pytest.raises(TrainingInterrupted):
        fit(recipe, run, progress=False)
    for name in ("last", "previous"):
        (run / "checkpoints" / f"{name}.ckpt").write_bytes(b"PK")
    with pytest.raises(WeightsError, match="remove it to begin the run anew"):
        fit(recipe, run, resume=True, progress=False)
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(WeightsError, match=r"missing, but previous\.ckpt is there"):
        fit(recipe, run, resume=True, progress=False)


def test_a_full_disk_is_said_and_the_last_checkpoint_stays_whole(tiny, tmp_path, monkeypatch):
    recipe, run = tiny(), tmp_path / "run"
    save, calls = torch.save, []

    def full(checkpoint, path):
        calls.append(path)
        save(checkpoint, path)
        if len(calls) == 3:  # best and last of the first epoch are there
            path.write_bytes(path.read_bytes()[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"could not be written \(No space left on device; \d+ MiB are free"):
        fit(recipe, run, progress=False)
    assert all(is_whole(run / "checkpoints" / name) for name in files_in(run))
    assert set(files_in(run)) <= {"best.ckpt", "last.ckpt", "previous.ckpt"}
    monkeypatch.undo()
    fit(recipe, run, resume=True, progress=False)
    assert [line["epoch"] for line in log_of(run)] == [1, 2]


def test_a_limit_on_file_sizes_is_a_full_disk_too(tmp_path):
    """PyTorch's writer reports what the system refuses as an error of its own."""
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.zeros(10)}}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            TrainingError, match=r"last\.ckpt: could not be written .* the checkpoint that stands there is whole"
        ):
            AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.zeros(1_000_000)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_whole(path)
    assert torch.load(path, weights_only=True)["state_dict"]["a"].shape == (10,)
    assert os.listdir(tmp_path) == ["last.ckpt"]
