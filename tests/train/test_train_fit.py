import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from signal import SIGINT, SIGTERM

import numpy as np
import pytest
import torch
import yaml
from train_runs import TINY, assert_same_run, checkpoint_of, log_of

from crispseg.data import build_dataset
from crispseg.errors import ConfigError, DataError, TrainingError
from crispseg.evaluation import evaluate
from crispseg.inference import Predictor
from crispseg.io import write_png
from crispseg.losses import build_loss
from crispseg.models import build_model, load_model
from crispseg.recipes import load_recipe, save_recipe
from crispseg.train import SegmentationTask, build_optimizer, fit
from crispseg.train import run as run_module
from crispseg.train.batches import collate
from crispseg.train.complete import completed


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run with everything on, and its result."""
    recipe = load_recipe(
        "toy/decoupled",
        [
            *TINY,
            "model.output_stride=16",  # at 32 PyTorch's bf16 kernel meets 1×1 maps, whose weight gradient it gets wrong
            "train.epochs=3",
            "train.validate_every=2",
            "train.picture_count=2",
            "train.precision=bf16",
        ],
    )
    folder = tmp_path_factory.mktemp("finished") / "run"
    return recipe, folder, fit(recipe, folder, progress=True)  # no terminal here, hence no bar


def test_a_run_leaves_everything_that_its_folder_promises(finished):
    recipe, folder, result = finished
    assert completed(load_recipe(folder / "recipe.yaml")) == completed(recipe)
    assert result.best_checkpoint == folder / "checkpoints" / "best.ckpt"
    assert sorted(entry.name for entry in (folder / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]
    assert result.model_folder == folder / "model"
    card = json.loads((folder / "model" / "card.json").read_text(encoding="utf-8"))
    assert card["recipe"] == completed(recipe).model_dump(mode="json")
    assert card["metrics"]["mean_iou"] == result.scores.mean_iou
    assert result.seconds > 0


def test_the_log_has_a_line_per_epoch_with_losses_and_scores(finished):
    _, folder, result = finished
    log = log_of(folder)
    assert [(line["epoch"], line["step"]) for line in log] == [(1, 4), (2, 8), (3, 12)]
    assert ["mean_iou" in line for line in log] == [False, True, True]  # every second, and after the last in any case
    for line in log:
        terms = {key: value for key, value in line.items() if key.startswith("loss_")}
        assert {"loss_segmentation", "loss_body", "loss_edge"} <= set(terms)
        assert line["loss"] == pytest.approx(sum(terms.values()), rel=1e-5)
    assert max(line.get("mean_iou", -1) for line in log) == pytest.approx(log[result.best_epoch - 1]["mean_iou"])


def test_the_exported_model_is_the_best_one_and_scores_what_the_card_says(finished):
    recipe, folder, result = finished
    model = load_model(folder / "model")
    best = checkpoint_of(folder, "best")["state_dict"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, best[f"model.{name}"]), name
    scores = evaluate(
        Predictor(model, precision="float32"),
        build_dataset(recipe.data, "val", augment=False),
        recipe.evaluate.radii_px,
    )
    assert scores.to_dict() == result.scores.to_dict()
    # the loop's own validation of that epoch runs in bf16, the export in float32
    assert log_of(folder)[result.best_epoch - 1]["mean_iou"] == pytest.approx(result.scores.mean_iou, abs=0.02)


def test_tensorboard_has_scalars_and_pictures(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, folder, _ = finished
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/edge", "train/lr", "train/gradient_norm", "val/mean_iou", "val/boundary_f_1px"} <= set(
        tags["scalars"]
    )
    assert any(tag.startswith("val_iou/") for tag in tags["scalars"])
    assert len(events.Images("validation")) == 2  # of the two validations
    assert events.Images("validation")[0].width > 4 * 64
    assert len(events.Images("validation_maps")) == 2  # what the head declares of its inside
    assert events.Images("validation_maps")[0].width > 3 * 480
    drawn = {tag for tag in events.Tags()["images"] if tag.startswith("explain/")}
    figures = ("outlines", "errors", "edge_prior", "flow", "features")  # what crispseg explain has of this head
    assert drawn == {f"explain/{name}" for name in figures}
    assert len(events.Images("explain/errors")) == 2


def test_checkpoints_hold_tensors_and_plain_values_only(finished):
    _, folder, _ = finished
    for name in ("best", "last"):
        checkpoint_of(folder, name)  # refuses anything else


@pytest.mark.parametrize("system", ["plain", "gff", "gscnn", "decoupled"])
def test_one_step_on_a_fixed_batch_lowers_every_systems_loss(tiny, system):
    recipe = tiny("model.output_stride=16", "train.optimizer=sgd", "train.lr=0.001", system=system)
    torch.manual_seed(0)
    dataset = build_dataset(recipe.data, "train", augment=True)
    batch = collate([dataset[index] for index in range(2)])
    model = build_model(recipe.model, dataset.label_space)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0  # the same loss function at both ends of the step
    task = SegmentationTask(model, build_loss(model.head.system, recipe.loss, model.num_classes), recipe)
    optimizer = build_optimizer(model, recipe.train)

    def loss():
        torch.manual_seed(0)  # as above, for Gumbel noise
        return torch.stack(list(task.loss(model(batch["image"]), batch["labels"]).values())).sum()

    before = loss()
    before.backward()
    optimizer.step()
    assert loss().item() < before.item()


def test_every_epoch_is_augmented_anew(tiny, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(run_module, "build_dataset", lambda *a, **k: made.append(build_dataset(*a, **k)) or made[-1])
    epochs = []
    original = SegmentationTask.training_step

    def step(self, batch, batch_idx):
        epochs.append(made[0].epoch)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "training_step", step)
    fit(tiny(), tmp_path / "run", progress=False)
    assert epochs == [0] * 4 + [1] * 4


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_non_finite_value_stops_the_run_and_leaves_the_last_good_checkpoint(tiny, tmp_path, at_loss, broken):
    def poison(terms):
        terms = dict(terms)
        if broken == "loss":
            terms["segmentation"] = terms["segmentation"] * float("nan")
        else:
            terms["segmentation"].register_hook(lambda gradient: gradient * float("inf"))
        return terms

    recipe = tiny()
    at_loss(6, poison)  # the second batch of the second epoch
    with pytest.raises(TrainingError) as caught:
        fit(recipe, tmp_path / "run", progress=False)
    message = str(caught.value)
    assert ("the loss is nan, segmentation nan" if broken == "loss" else "the gradient's norm is") in message
    assert "at step 6 of 8 (epoch 2)" in message
    named = re.findall(r"toy_train_\d+", message)
    assert len(set(named)) == recipe.train.batch_size
    saved = checkpoint_of(tmp_path / "run")
    assert saved["global_step"] == 4
    assert all(torch.isfinite(value).all() for value in saved["state_dict"].values())
    assert checkpoint_of(tmp_path / "run", "best")["global_step"] == 4


def test_weights_that_are_not_finite_are_never_saved(tiny, tmp_path, monkeypatch):
    original = SegmentationTask.on_validation_epoch_end

    def spoil(self):
        original(self)
        if self.current_epoch == 1:
            next(self.model.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(SegmentationTask, "on_validation_epoch_end", spoil)
    expected = r"diverged: the weights are not finite after step 8 of 8 \(backbone[.\w]+\); .* stay as they were"
    with pytest.raises(TrainingError, match=expected):
        fit(tiny(), tmp_path / "run", progress=False)
    assert checkpoint_of(tmp_path / "run")["global_step"] == 4


def test_the_mean_and_deviation_of_an_averaged_model_are_exact(tiny, tmp_path):
    result = fit(tiny("train.ema_decay=0.9", "train.epochs=1"), tmp_path / "run", progress=False)
    model = load_model(result.model_folder)
    fresh = build_model(tiny().model, model.label_space)
    assert torch.equal(model.mean, fresh.mean)
    assert torch.equal(model.std, fresh.std)
    last = checkpoint_of(tmp_path / "run")
    key = "model.backbone." + next(iter(fresh.backbone.state_dict()))
    assert not torch.equal(last["state_dict"][key], last["current_model_state"][key])


def test_signal_handlers_are_put_back(tiny, tmp_path):
    before = signal.getsignal(SIGINT), signal.getsignal(SIGTERM)
    with pytest.raises(ConfigError):
        fit(tiny("train.batch_size=9"), tmp_path / "run", progress=False)
    assert (signal.getsignal(SIGINT), signal.getsignal(SIGTERM)) == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("train.batch_size=9", ConfigError, "train.batch_size is 9, but the training set has only 8 images"),
        ("train.precision=fp16", ConfigError, "train.precision is fp16, which needs a CUDA GPU"),
        ("train.accelerator=mps", ConfigError, "train.accelerator 'mps'"),
        ("loss.class_weights=[1, 2]", ConfigError, "class"),
        ("model.head=gffe", ConfigError, "did you mean 'gff'"),
        ("data.layout=toy", ConfigError, "data.layout"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_step(tiny, tmp_path, change, error, message):
    if "fp16" in change and torch.cuda.is_available():
        pytest.skip("this machine can do fp16")
    with pytest.raises(error, match=re.escape(message)):
        fit(tiny(change), tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "recipe.yaml").exists()  # so that the mended recipe can go there


def make_folder(root, broken=False):
    """Two splits of four 32×32 images with two classes; one label value of training outside the table."""
    (root / "labels.yaml").parent.mkdir(parents=True)
    (root / "labels.yaml").write_text(yaml.safe_dump({"classes": ["left", "right"]}))
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(4):
            labels = np.zeros((32, 32), np.uint8)
            labels[:, 8 + 4 * number :] = 1
            if broken and split == "train" and number == 2:
                labels[3, 3] = 77
            image = (rng.integers(0, 60, (32, 32, 3)) + 180 * labels[..., None]).astype(np.uint8)
            write_png(root / "images" / split / f"{number}.png", image)
            write_png(root / "labels" / split / f"{number}.png", labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_data_is_named_without_a_traceback_of_workers(tiny, tmp_path, workers):
    root = tmp_path / "data"
    make_folder(root, broken=True)
    recipe = tiny(
        "data.layout=folder",
        f"data.root={root}",
        f"data.labels={root / 'labels.yaml'}",
        f"data.workers={workers}",
        "data.check=none",
    )
    with pytest.raises(DataError, match="77") as caught:
        fit(recipe, tmp_path / "run", progress=False)
    assert "Traceback" not in str(caught.value)
    assert "2.png" in str(caught.value)


def test_nothing_is_warned_of_and_progress_is_logged(tiny, tmp_path, caplog, recwarn):
    with caplog.at_level(logging.INFO, logger="crispseg"):
        fit(tiny("train.epochs=1"), tmp_path / "run", progress=True)
    assert any("epoch 1 of 1: loss" in record.message for record in caplog.records)
    assert not [record for record in caplog.records if record.name.startswith("lightning")]
    assert [str(warning.message) for warning in recwarn] == []


SCRIPT = """
import sys
from crispseg.errors import TrainingInterrupted
from crispseg.recipes import load_recipe
from crispseg.train import fit
try:
    fit(load_recipe(sys.argv[1]), sys.argv[2], resume=len(sys.argv) > 3, progress=False)
except TrainingInterrupted as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(SIGTERM, 1), (SIGINT, 0)], ids=["kill, with a worker", "Ctrl-C"])
def test_a_process_that_is_told_to_stop_leaves_a_run_that_resumes(tiny, tmp_path, number, workers):
    recipe = tiny("train.epochs=20", f"data.workers={workers}", "train.validate_every=5")
    save_recipe(recipe, tmp_path / "recipe.yaml")

    def start(folder, *more):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.yaml"), str(folder), *more]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)

    whole = start(tmp_path / "whole")
    assert whole.wait(timeout=600) == 0
    run = start(tmp_path / "run")
    log = tmp_path / "run" / "log.jsonl"
    deadline = time.monotonic() + 600
    while not (log.exists() and len(log.read_text().splitlines()) >= 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(run.pid, number)  # as terminals and job schedulers do: workers get it too
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 128 + number, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert 2 <= len(log_of(tmp_path / "run")) < 20
    assert start(tmp_path / "run", "resume").wait(timeout=600) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
def test_two_processes_train_one_model_and_stop_together(tiny, tmp_path):
    changes = [
        "train.devices=2",
        "train.accelerator=cpu",
        "train.batch_size=4",
        "train.epochs=8",
        "data.toy_val_images=3",
    ]
    save_recipe(tiny(*changes, "model.output_stride=16"), tmp_path / "recipe.yaml")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "run"

    def start(*more):
        command = [sys.executable, str(script), str(tmp_path / "recipe.yaml"), str(folder), *more]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)

    run = start()
    log = folder / "log.jsonl"
    deadline = time.monotonic() + 600
    while not (log.exists() and len(log.read_text().splitlines()) >= 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(run.pid, SIGTERM)  # the first process alone
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 128 + SIGTERM, errors
    assert 2 <= len(log_of(folder)) < 8
    run = start("resume")
    _, errors = run.communicate(timeout=600)
    assert run.returncode == 0, errors
    lines = log_of(folder)
    assert [(line["epoch"], line["step"]) for line in lines] == [(epoch, 2 * epoch) for epoch in range(1, 9)]
    # three images on two processes: none is counted twice, or the scores would not be those of one process
    metrics = json.loads((folder / "model" / "card.json").read_text(encoding="utf-8"))["metrics"]
    assert max(line["mean_iou"] for line in lines) == pytest.approx(metrics["mean_iou"], abs=1e-5)
