"""A run's folder: one run at a time, a beginning wherever there is none, and what stands in its way said at once."""

import os
import shutil
import signal
from collections import namedtuple

import pytest
import torch
from train_runs import assert_same_run, clean_processes, log_of, send

from crispseg.config import Recipe
from crispseg.errors import ConfigError, TrainingError, TrainingInterrupted, WeightsError
from crispseg.io.files import atomic_write
from crispseg.train import fit
from crispseg.train import run as run_module
from crispseg.train.checkpoint_files import read_checkpoint
from crispseg.train.folder import claimed_folder, require_room
from crispseg.train.records import _epoch_of


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The recipe and folder of a run that was stopped in its second epoch, and a folder that was not stopped."""
    from train_runs import TINY

    from crispseg.recipes import load_recipe

    recipe = load_recipe("toy/gff", [*TINY, "train.ema_decay=0.9"])
    folder = tmp_path_factory.mktemp("stopped")
    fit(recipe, folder / "whole", progress=False)
    with pytest.MonkeyPatch.context() as patch:
        save = run_module.Checkpoints.on_train_batch_end

        def stop_at_sixth(self, trainer, *arguments):
            if trainer.global_step == 6:
                send(signal.SIGTERM)()
            save(self, trainer, *arguments)

        patch.setattr(run_module.Checkpoints, "on_train_batch_end", stop_at_sixth)
        with pytest.raises(TrainingInterrupted):
            fit(recipe, folder / "run", progress=False)
    return recipe, folder


@pytest.fixture
def run(stopped, tmp_path):
    """A copy of the stopped run."""
    return shutil.copytree(stopped[1] / "run", tmp_path / "run")


def _hold(recipe: Recipe, folder, pipe) -> None:
    def wait(*arguments, **options):
        pipe.send("in it")
        pipe.recv()

    run_module.require_sound = wait
    fit(recipe, folder, resume=True, progress=False)


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_is_refused_and_the_first_undisturbed(tiny, tmp_path):
    recipe, folder = tiny("train.epochs=1"), tmp_path / "run"
    context = clean_processes()
    ours, theirs = context.Pipe()
    first = context.Process(target=_hold, args=(recipe, folder, theirs))
    first.start()
    assert ours.recv() == "in it"
    for resume in (False, True):
        with pytest.raises(ConfigError, match=rf"another run is at work in it \(process {first.pid} on .*\)"):
            fit(recipe, folder, resume=resume, progress=False)
    ours.send("go on")
    first.join()
    assert first.exitcode == 0
    fit(recipe, tmp_path / "whole", progress=False)
    assert_same_run(tmp_path / "whole", folder)
    assert not (folder / ".lock").exists()


@pytest.mark.slow
def test_resume_begins_where_there_is_no_run(stopped, tmp_path):
    """As the line for Slurm has it, for every start; a kill may have left a folder with a lock and half a recipe."""
    recipe, folder = stopped
    run = tmp_path / "runs" / "run"
    run.mkdir(parents=True)
    (run / ".lock").write_text('{"host": "gone", "process": 1, "since": 0}')
    (run / ".recipe.new-x1y2.yaml").write_text("name:")
    fit(recipe, run, resume=True, progress=False)
    assert_same_run(folder / "whole", run)
    assert not list(run.glob(".*"))


def test_a_run_that_is_refused_leaves_no_folder(tiny, tmp_path):
    recipe = tiny("data.layout=camvid", "data.root=/nowhere", "data.toy_size_hw=[192, 256]")
    with pytest.raises(Exception, match="nowhere"):
        fit(recipe, tmp_path / "runs" / "run", progress=False)
    assert not (tmp_path / "runs" / "run").exists()


def test_a_folder_that_cannot_be_written_to_is_named(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"proc/version/run.*"):
        fit(tiny(), "/proc/version/run", progress=False)
    with pytest.raises(ConfigError, match=r"/proc/run: cannot be written to"):
        fit(tiny(), "/proc/run", progress=False)


def test_a_disk_without_room_is_said_before_the_first_step(tiny, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("crispseg.train.folder.shutil.disk_usage", lambda path: usage(2**30, 2**30 - 2**20, 2**20))
    with pytest.raises(ConfigError, match=r"1 MiB are free, .* need about \d+ MiB"):
        fit(tiny(), tmp_path / "run", progress=False)


def test_another_process_of_a_run_needs_no_folder(tmp_path, monkeypatch):
    """The first one makes it, and may be slower."""
    monkeypatch.setattr("crispseg.train.folder.rank_zero_only.rank", 1)
    require_room(tmp_path / "run", torch.nn.Conv2d(1, 1, 1), Recipe().train)
    with claimed_folder(tmp_path / "run", Recipe(), resume=True, from_previous=False) as checkpoint:
        assert checkpoint is None
    assert not (tmp_path / "run").exists()


def test_a_run_without_its_recipe_is_not_overwritten(stopped, run):
    (run / "recipe.yaml").unlink()
    with pytest.raises(ConfigError, match=r"recipe\.yaml is missing, but checkpoints, log\.jsonl"):
        fit(stopped[0], run, resume=True, progress=False)
    assert (run / "checkpoints" / "last.ckpt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["lost", "broken"])
def test_the_best_of_what_follows_counts_where_best_ckpt_is_lost(stopped, run, caplog, damage):
    best = run / "checkpoints" / "best.ckpt"
    best.write_bytes(b"PK") if damage == "broken" else best.unlink()
    result = fit(stopped[0], run, resume=True, progress=False)
    assert "best.ckpt is missing or broken, and the model of epoch 1 with it" in caplog.text
    assert result.best_epoch == 2
    assert read_checkpoint(best)["epoch"] == 1
    assert (run / "model" / "weights.safetensors").exists()


def test_the_best_model_is_exported_though_its_file_goes_at_the_end(stopped, tmp_path, monkeypatch):
    """From memory."""
    best_weights = run_module.Checkpoints.best_weights

    def lose_the_file(self):
        self.best_path.unlink()
        return best_weights(self)

    monkeypatch.setattr(run_module.Checkpoints, "best_weights", lose_the_file)
    fit(stopped[0], tmp_path / "run", progress=False)
    weights = "model/weights.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (stopped[1] / "whole" / weights).read_bytes()


def test_a_finished_run_without_its_best_checkpoint_exports_what_it_ended_with(stopped, tmp_path, caplog):
    run = shutil.copytree(stopped[1] / "whole", tmp_path / "run")
    (run / "checkpoints" / "best.ckpt").unlink()
    result = fit(stopped[0], run, resume=True, progress=False)
    assert "the model of the last epoch is exported instead" in caplog.text
    assert result.best_epoch == 2
    averaged = {
        key.removeprefix("model."): value
        for key, value in read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"].items()
        if key.startswith("model.")
    }
    from crispseg.models import load_model

    exported = load_model(run / "model").state_dict()
    assert all(torch.equal(exported[key], averaged[key]) for key in averaged)


@pytest.mark.slow
def test_a_full_disk_at_the_end_costs_no_training(stopped, run, monkeypatch):
    save = run_module.save_model

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_module, "save_model", full)
    with pytest.raises(TrainingError, match=r"model: .*No space left on device\); make room, then .*--resume"):
        fit(stopped[0], run, resume=True, progress=False)
    monkeypatch.setattr(run_module, "save_model", save)
    fit(stopped[0], run, resume=True, progress=False)
    assert_same_run(stopped[1] / "whole", run)


def test_a_log_that_cannot_be_written_does_not_stop_a_run(tiny, tmp_path, monkeypatch, caplog):
    def full(path):
        if os.fspath(path).endswith("log.jsonl"):
            raise OSError(28, "No space left on device")
        return atomic_write(path)

    monkeypatch.setattr("crispseg.train.records.atomic_write", full)
    monkeypatch.setattr(
        "lightning.pytorch.loggers.TensorBoardLogger.log_metrics",
        lambda *arguments, **options: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    fit(tiny("train.epochs=1", "train.picture_count=1"), tmp_path / "run", progress=False)
    assert "log.jsonl could not be written (No space left on device); the run goes on" in caplog.text
    assert "TensorBoard's files could not be written" in caplog.text


def test_a_log_that_lost_its_end_keeps_the_lines_that_are_whole(stopped, run):
    log = run / "log.jsonl"
    log.write_bytes(log.read_bytes() + b'{"epoch": 1, "st\xff')
    fit(stopped[0], run, resume=True, progress=False)
    assert log_of(run) == log_of(stopped[1] / "whole")


class Payload:
    def __reduce__(self):
        return os.system, ("touch /tmp/crispseg-was-here",)


def without(*keys):
    def change(checkpoint):
        place = checkpoint
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


def with_value(value, *keys):
    def change(checkpoint):
        place = checkpoint
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


CONTENTS = {
    "callbacks": without("callbacks"),
    "callbacks.Checkpoints is missing": without("callbacks", "Checkpoints"),
    "callbacks.EpochLog is missing": without("callbacks", "EpochLog"),
    "callbacks.Checkpoints.best_score is str": with_value("high", "callbacks", "Checkpoints", "best_score"),
    "loops is missing": without("loops"),
    "loops.fit_loop is NoneType": with_value(None, "loops", "fit_loop"),
    "loops.fit_loop.epoch_progress is missing": without("loops", "fit_loop", "epoch_progress"),
    "optimizer_states is dict": with_value({}, "optimizer_states"),
    "optimizer_states has 0 entries": with_value([], "optimizer_states"),
    "does not fit this run": with_value([{"state": {}, "param_groups": []}], "optimizer_states"),
    "state_dict is missing": without("state_dict"),
    "global_step is str": with_value("6", "global_step"),
    "refused, because reading it would run code": with_value(Payload(), "hyper"),
    "current_model_state": without("current_model_state"),
    "averaging_state": without("averaging_state"),
    "last_epoch": without("lr_schedulers", 0, "last_epoch"),
    "no momentum_buffer": with_value({}, "optimizer_states", 0, "state"),
    "size mismatch": with_value(torch.zeros(1), "state_dict", "model.mean"),
    "parameter of": lambda checkpoint: [
        moments.update(exp_avg=moments["exp_avg"][:1])
        for moments in checkpoint["optimizer_states"][0]["state"].values()
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("problem", CONTENTS)
def test_a_whole_file_of_something_else_is_refused_in_one_line(stopped, run, problem):
    last = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    CONTENTS[problem](checkpoint)
    torch.save(checkpoint, last)
    before = last.read_bytes()
    with pytest.raises(WeightsError, match=rf"last\.ckpt: .*{problem}.*restore it from a copy") as caught:
        fit(stopped[0], run, resume=True, progress=False)
    assert "\n" not in str(caught.value)
    assert last.read_bytes() == before
    assert not os.path.exists("/tmp/crispseg-was-here")


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {"state_dict": {}}, {}])
def test_a_file_of_another_tool_is_refused(stopped, run, content):
    torch.save(content, run / "checkpoints" / "last.ckpt")
    with pytest.raises(WeightsError, match=r"last\.ckpt: no checkpoint of a run"):
        fit(stopped[0], run, resume=True, progress=False)


@pytest.mark.parametrize(
    ("set_", "named"),
    [({"TORCHELASTIC_RUN_ID": "x"}, "LOCAL_WORLD_SIZE"), ({"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "2"}, "multiple")],
)
def test_half_an_environment_of_torchrun_is_named(tiny, tmp_path, monkeypatch, set_, named):
    numbers = {} if "WORLD_SIZE" not in set_ else {"RANK": "0", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "x"}
    for key, value in {**numbers, **set_}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError, match=named):
        fit(tiny(), tmp_path / "run", progress=False)


def test_more_machines_than_this_one_are_not_waited_for_where_nothing_names_them(tiny, tmp_path, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"train\.nodes is 2, .*torchrun.* MASTER_ADDR, MASTER_PORT, NODE_RANK"):
        fit(tiny("train.nodes=2"), tmp_path / "run", progress=False)
    monkeypatch.setenv("MASTER_ADDR", "node0")
    monkeypatch.setenv("GROUP_RANK", "0")  # Lightning keeps another one for the tests that follow
    with pytest.raises(ConfigError, match="or set MASTER_PORT on each"):
        fit(tiny("train.nodes=2"), tmp_path / "run", progress=False)


def test_a_cpu_is_not_flooded_with_processes(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"train\.devices is 1000, processes on a CPU, which has \d+ cores"):
        fit(tiny("train.devices=1000", "train.accelerator=cpu"), tmp_path / "run", progress=False)


def test_a_line_of_the_log_that_is_none_is_of_no_epoch():
    assert [_epoch_of(line) for line in ('{"epoch": 3}', '{"epoch"', "[" * 100_000, "[]")] == [3, 0, 0, 0]
