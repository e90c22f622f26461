from signal import SIGINT, SIGTERM

import pytest
from train_runs import assert_same_run, checkpoint_of, log_of, send

from crispseg.errors import ConfigError, TrainingInterrupted, WeightsError
from crispseg.train import fit
from crispseg.train.task import SegmentationTask

pytestmark = pytest.mark.slow  # whole trainings: seconds each

# 4 batches and 2 validation images per epoch, 2 epochs
VARIANTS = {
    "plain": [],
    "averaged and accumulated": [
        "train.ema_decay=0.9",
        "train.batch_size=4",
        "train.accumulate=2",
        "train.optimizer=sgd",
    ],
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Folder of a whole run per variant, made when first asked for."""
    folders = {}

    def folder_of(variant, recipe):
        if variant not in folders:
            folders[variant] = tmp_path_factory.mktemp("whole") / "run"
            fit(recipe, folders[variant], progress=False)
        return folders[variant]

    return folder_of


@pytest.mark.parametrize(
    ("variant", "batch", "saved_step", "changes"),
    [
        ("plain", 2, 2, []),
        ("averaged and accumulated", 1, 1, []),
        ("averaged and accumulated", 4, 2, []),
        ("averaged and accumulated", 5, 3, ["data.workers=1"]),
    ],
    ids=["in the first epoch", "before the gradients are used", "in an epoch's last batch", "with workers"],
)
def test_a_run_stopped_by_a_signal_ends_as_if_it_had_not_been(
    tiny, tmp_path, at_loss, uninterrupted, variant, batch, saved_step, changes
):
    whole = uninterrupted(variant, tiny(*VARIANTS[variant]))
    recipe = tiny(*VARIANTS[variant], *changes)
    at_loss(batch, send(SIGTERM))
    with pytest.raises(TrainingInterrupted, match=r"SIGTERM.*last\.ckpt holds.*--resume") as caught:
        fit(recipe, tmp_path / "run", progress=False)
    assert caught.value.exit_status == 143
    assert checkpoint_of(tmp_path / "run")["global_step"] == saved_step
    assert not (tmp_path / "run" / "model").exists()
    fit(recipe, tmp_path / "run", resume=True, progress=False)
    assert_same_run(whole, tmp_path / "run")


@pytest.mark.parametrize("image", [2, 4], ids=["in the first validation", "in the last validation"])
def test_a_run_stopped_in_validation_repeats_the_validation(tiny, tmp_path, monkeypatch, uninterrupted, image):
    variant = "averaged and accumulated"  # the averaged weights are in the model's place meanwhile
    recipe = tiny(*VARIANTS[variant])
    whole = uninterrupted(variant, recipe)
    seen = 0
    original = SegmentationTask.validation_step

    def step(self, batch, batch_idx):
        nonlocal seen
        seen += 1
        if seen == image:
            send(SIGINT)()
        return original(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "validation_step", step)
    with pytest.raises(TrainingInterrupted, match="the state before this validation") as caught:
        fit(recipe, tmp_path / "run", progress=False)
    assert caught.value.exit_status == 130
    assert len(log_of(tmp_path / "run")) == image // 2 - 1
    fit(recipe, tmp_path / "run", resume=True, progress=False)
    assert_same_run(whole, tmp_path / "run")


def test_a_second_signal_stops_at_once_and_the_last_save_counts(tiny, tmp_path, at_loss, uninterrupted):
    def send_twice(_):
        send(SIGTERM)()
        send(SIGINT)()

    recipe = tiny()
    whole = uninterrupted("plain", recipe)
    at_loss(6, send_twice)
    with pytest.raises(TrainingInterrupted, match=r"last\.ckpt is what was saved last"):
        fit(recipe, tmp_path / "run", progress=False)
    assert checkpoint_of(tmp_path / "run")["global_step"] == 4
    fit(recipe, tmp_path / "run", resume=True, progress=False)
    assert_same_run(whole, tmp_path / "run")


def test_a_run_that_died_goes_on_from_its_last_epoch(tiny, tmp_path, at_loss, uninterrupted):
    recipe = tiny()
    whole = uninterrupted("plain", recipe)
    at_loss(7, lambda terms: (_ for _ in ()).throw(MemoryError("as when killed")))
    with pytest.raises(MemoryError):
        fit(recipe, tmp_path / "run", progress=False)
    fit(recipe, tmp_path / "run", resume=True, progress=False)
    assert_same_run(whole, tmp_path / "run")


def test_a_run_that_died_before_its_first_checkpoint_begins_anew(tiny, tmp_path, at_loss, uninterrupted):
    recipe = tiny()
    whole = uninterrupted("plain", recipe)
    at_loss(2, lambda terms: (_ for _ in ()).throw(MemoryError("as when killed")))
    with pytest.raises(MemoryError):
        fit(recipe, tmp_path / "run", progress=False)
    fit(recipe, tmp_path / "run", resume=True, progress=False)
    assert_same_run(whole, tmp_path / "run")


def test_a_finished_run_is_resumed_by_scoring_it_again(tiny, tmp_path):
    recipe = tiny("train.max_steps=6")
    first = fit(recipe, tmp_path / "run", progress=False)
    log = log_of(tmp_path / "run")
    assert [line["step"] for line in log] == [4, 6]
    assert log[-1]["lr"] == 0  # the schedule ends with the run
    second = fit(recipe, tmp_path / "run", resume=True, progress=False)
    assert log_of(tmp_path / "run") == log
    assert (second.scores, second.best_epoch) == (first.scores, first.best_epoch)


def test_a_run_is_never_overwritten(tiny, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds a run already \(log.jsonl\).*--resume"):
        fit(tiny(), folder, progress=False)
    assert (folder / "log.jsonl").read_text() == "mine"


def test_resuming_checks_what_is_there(tiny, tmp_path, at_loss):
    folder, recipe = tmp_path / "run", tiny()
    at_loss(1, send(SIGTERM))
    with pytest.raises(TrainingInterrupted):
        fit(recipe, folder, resume=True, progress=False)  # there is none yet, and so it begins
    with pytest.raises(ConfigError, match="the recipe differs from the run's") as caught:
        fit(tiny("train.lr=0.02", "train.epochs=3", "data.workers=1"), folder, resume=True, progress=False)
    assert "train.lr was 0.01 and is now 0.02" in str(caught.value)
    assert "train.epochs was 2 and is now 3" in str(caught.value)
    assert "workers" not in str(caught.value)  # this may change
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"PK half a file")
    with pytest.raises(WeightsError, match="not a whole checkpoint"):
        fit(recipe, folder, resume=True, progress=False)
