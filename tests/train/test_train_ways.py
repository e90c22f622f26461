"""Beginnings and ends of runs that would otherwise need somebody beside them."""

import copy
import csv
import dataclasses
import signal
import sys

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from train_runs import assert_same_run, checkpoint_of, log_of, send

from crispseg.data import build_dataset
from crispseg.errors import ConfigError, CrispsegError, TrainingError, TrainingInterrupted
from crispseg.losses import build_loss
from crispseg.models import build_model, create_model, load_model, load_weights
from crispseg.recipes import load_recipe, override
from crispseg.train import fit, settle
from crispseg.train.task import SegmentationTask


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of one epoch with one image a step, and its recipe."""
    from train_runs import TINY

    from crispseg.recipes import load_recipe

    recipe = load_recipe("toy/gff", [*TINY, "train.epochs=1", "train.batch_size=1", "model.context=ppm"])
    folder = tmp_path_factory.mktemp("finished") / "run"
    fit(recipe, folder, progress=False)
    return recipe, folder


def test_a_pooled_context_trains_on_one_image_a_step(finished):
    branches = [
        value
        for name, value in checkpoint_of(finished[1])["state_dict"].items()
        if "head.context.branches.0" in name and name.endswith("running_mean")
    ]
    assert [value.abs().sum().item() for value in branches] == [0.0]  # of one cell: as it began


def test_a_crop_of_one_cell_is_refused_before_anything_is_written(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"data.crop_hw 32×32 is one cell .* train.batch_size 2 leaves one image"):
        fit(tiny("data.crop_hw=[32,32]", "train.accumulate=2"), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_given_as_weights_is_taken_for_its_model(finished, caplog):
    _, folder = finished
    model = load_model(folder)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    with caplog.at_level("INFO", logger="crispseg"):
        load_weights(model, folder / "checkpoints" / "best.ckpt")
    assert "a checkpoint of a training run; its model is taken" in caplog.text
    expected = load_model(folder).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_resuming_with_more_epochs_says_how(finished, tiny):
    recipe, folder = finished
    longer = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 5})})
    with pytest.raises(ConfigError, match=r"train.epochs was 1 and is now 5; .*crispseg fit … --model .*run --out"):
        fit(longer, folder, resume=True, progress=False)


def test_a_run_that_diverges_says_so_at_its_validation(tiny, tmp_path, monkeypatch):
    before = SegmentationTask.on_validation_epoch_start

    def spoil(self):
        before(self)
        next(self.model.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(SegmentationTask, "on_validation_epoch_start", spoil)
    expected = (
        r"has diverged: the logits of validation image toy_val_00000 are not finite after step 4 of 8 .*lower train"
    )
    with pytest.raises(TrainingError, match=expected):
        fit(tiny("train.picture_count=2"), tmp_path / "run", progress=False)


# ── what a run finds for itself, and when it ends ──


def test_auto_is_counted_kept_and_taken_again_when_resumed(tiny, tmp_path, caplog):
    changes = ["loss.class_weights=auto", "train.batch_size=auto", "train.epochs=1", "data.toy_train_images=32"]
    recipe = tiny(*changes)
    with caplog.at_level("INFO", logger="crispseg"):
        fit(recipe, tmp_path / "run", progress=False)
    kept = load_recipe(tmp_path / "run" / "recipe.yaml")
    dataset = build_dataset(recipe.data, "train", augment=False)
    pixels = sum(np.bincount(dataset.sample(i).labels.ravel(), minlength=256)[:10] for i in range(32))
    shares = pixels / pixels.sum()
    expected = np.where(shares > 0, np.maximum(shares, 1e-12) ** -0.5, np.nan)
    expected = np.nan_to_num(expected / np.nanmean(expected), nan=1.0)
    assert kept.loss.class_weights == pytest.approx(expected, rel=1e-3)
    assert kept.train.batch_size == 4  # of 32 images: eight steps an epoch
    assert "train.batch_size auto: 4 images a step" in caplog.text
    fit(recipe, tmp_path / "run", resume=True, progress=False)  # as typed before, auto and all


def test_a_batch_is_found_by_trial_and_what_does_not_fit_is_said(tiny, monkeypatch):
    recipe = tiny("train.batch_size=auto", "train.accumulate=2")
    dataset = build_dataset(recipe.data, "train", augment=False)
    model = build_model(recipe.model, dataset.label_space)
    loss = build_loss(model.head.system, recipe.loss, model.num_classes)
    settle._try_steps(recipe, model, loss, 2, torch.device("cpu"))  # what is tried on a GPU can be done
    monkeypatch.setattr(settle, "uses_gpu", lambda values: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(settle, "_fits", lambda recipe, model, loss, size: size <= 5)
    assert settle.with_batch_size(recipe, model, loss, 1000).train.batch_size == 8  # two times four
    monkeypatch.setattr(settle, "_fits", lambda *arguments: False)
    with pytest.raises(ConfigError, match="not even one crop"):
        settle.with_batch_size(recipe, model, loss, 1000)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(ConfigError, match=r"start once with train.devices=1"):
        settle.with_batch_size(recipe, model, loss, 1000)


@pytest.fixture
def scores(monkeypatch):
    """Let the validations of epochs 1, 2, … have these mean IoUs."""

    def arrange(*values):
        before = SegmentationTask.on_validation_epoch_end

        def replace_score(self):
            before(self)
            self.last_scores = dataclasses.replace(self.last_scores, mean_iou=values[self.current_epoch])

        monkeypatch.setattr(SegmentationTask, "on_validation_epoch_end", replace_score)

    return arrange


@pytest.mark.slow
def test_patience_ends_a_run_where_it_would_have_ended_without_a_stop(tiny, tmp_path, scores, at_loss):
    scores(0.1, 0.3, 0.2, 0.25, 0.9, 0.9)
    recipe = tiny("train.epochs=6", "train.patience=2")
    fit(recipe, tmp_path / "whole", progress=False)
    assert [line["epoch"] for line in log_of(tmp_path / "whole")] == [1, 2, 3, 4]
    at_loss(14, send(signal.SIGTERM))  # in the fourth epoch
    with pytest.raises(TrainingInterrupted):
        fit(recipe, tmp_path / "run", progress=False)
    assert fit(recipe, tmp_path / "run", resume=True, progress=False).best_epoch == 2
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    fit(recipe, tmp_path / "run", resume=True, progress=False)  # it has ended: nothing is trained
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    patient = override(recipe, ["train.patience=5"])
    fit(override(patient, ["train.patience=null"]), tmp_path / "unending", progress=False)
    fit(patient, tmp_path / "run", resume=True, progress=False)  # goes on as if it had never ended
    assert_same_run(tmp_path / "unending", tmp_path / "run")


@pytest.fixture
def clock(monkeypatch):
    """Every training step takes ten minutes."""
    hours = [0.0]
    step = SegmentationTask.training_step

    def slow(self, batch, batch_idx):
        hours[0] += 1 / 6
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "training_step", slow)
    monkeypatch.setattr("crispseg.train.records.time.monotonic", lambda: 3600 * hours[0])


def test_time_ends_a_run_after_the_last_epoch_that_fits_over_all_sittings(tiny, tmp_path, clock, at_loss):
    recipe = tiny("train.epochs=9", "train.max_hours=2.5", "train.validate_every=5")  # an epoch takes 40 minutes
    fit(recipe, tmp_path / "whole", progress=False)
    lines = log_of(tmp_path / "whole")
    assert [(line["epoch"], "mean_iou" in line) for line in lines] == [(1, False), (2, False), (3, True)]
    at_loss(6, send(signal.SIGTERM))
    with pytest.raises(TrainingInterrupted):
        fit(recipe, tmp_path / "run", progress=False)
    fit(recipe, tmp_path / "run", resume=True, progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_time_ends_a_run_within_its_first_epoch(tiny, tmp_path, clock):
    fit(tiny("train.max_hours=0.3"), tmp_path / "run", progress=False)
    assert [(line["epoch"], line["step"]) for line in log_of(tmp_path / "run")] == [(1, 2)]


def test_a_frozen_backbone_stays_as_it_was(tiny, tmp_path):
    recipe = tiny("train.freeze_backbone=true", "train.epochs=1", "data.rotate_degrees=10", "loss.dice_weight=0.5")
    fit(recipe, tmp_path / "run", progress=False)
    dataset = build_dataset(recipe.data, "val", augment=False)
    torch.manual_seed(0)
    lightning.seed_everything(recipe.train.seed, workers=True, verbose=False)
    begun = build_model(recipe.model, dataset.label_space).state_dict()
    trained = load_model(tmp_path / "run").state_dict()
    differing = {key.partition(".")[0] for key, value in trained.items() if not torch.equal(value, begun[key])}
    assert differing == {"head"}
    assert "loss_dice" in log_of(tmp_path / "run")[0]


def test_curves_go_to_the_logger_of_choice_and_a_missing_one_is_said(tiny, tmp_path, monkeypatch):
    fit(tiny("train.logger=csv", "train.epochs=1"), tmp_path / "run", progress=False)
    rows = list(csv.DictReader((tmp_path / "run" / "csv" / "version_0" / "metrics.csv").open(encoding="utf-8")))
    assert float(rows[0]["train/loss"]) > 0
    assert not (tmp_path / "run" / "tensorboard").exists()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"^train.logger wandb needs wandb .*pip install 'crispseg\[wandb\]'"):
        fit(tiny("train.logger=wandb"), tmp_path / "other", progress=False)
    assert not (tmp_path / "other").exists()


# ── parts of one's own ──


class Boxes:
    """Eight bright boxes on a dark floor, whose raw ids are 7 and 9."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        labels = np.full((40, 48), 7, np.int64)
        labels[index : index + 20, 10:30] = 9
        return np.repeat((labels[..., None] == 9).astype(np.uint8) * 200, 3, 2), labels


@pytest.fixture
def own(tmp_path):
    table = tmp_path / "labels.yaml"
    table.write_text("classes:\n- {name: floor, ids: [7]}\n- {name: box, ids: [9]}\n", encoding="utf-8")
    return {
        "model": {"backbone": "test_resnet", "channels": 8, "output_stride": 32},
        "data": {"labels": str(table), "crop_hw": [32, 48], "workers": 0},
        "train": {"epochs": 1, "batch_size": 4, "picture_count": 0},
        "evaluate": {"radii_px": [1]},
    }


def test_values_own_data_loss_and_model_train_and_resume(own, tmp_path, at_loss):
    def half(output, labels):
        return 0.5 * torch.nn.functional.cross_entropy(output.logits, labels, ignore_index=255)

    parts = {"train_set": Boxes(), "val_set": Boxes(), "loss": half}
    result = fit(own, tmp_path / "run", progress=False, **parts)
    assert list(result.scores.iou) == ["floor", "box"]
    (line,) = log_of(tmp_path / "run")
    assert line["loss"] == line["loss_own"]
    model = load_model(result.model_folder)
    again = fit(own, tmp_path / "again", progress=False, model=model, **parts)
    assert load_recipe(tmp_path / "again" / "recipe.yaml").model == model.config
    trained = load_model(again.model_folder).state_dict()
    assert all(torch.equal(trained[key], value) for key, value in model.state_dict().items())  # the very model


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train_set": Boxes()}, "val_set is missing: give both"),
        ({"train_set": Boxes(), "val_set": []}, "val_set is empty"),
        ({"train_set": [1] * 8, "val_set": Boxes()}, r"sample \d: int found, \(image, labels\) expected"),
        ({"train_set": [(np.zeros((4, 4)), 0)] * 8, "val_set": Boxes()}, "an image of float64"),
        ({"train_set": [(Boxes()[0][0], np.zeros((2, 2), int))] * 8, "val_set": Boxes()}, r"labels of int64 \(2, 2\)"),
        ({"train_set": [(Boxes()[0][0], Boxes()[0][1] + 1)] * 8, "val_set": Boxes()}, r"sample \d: .* 8"),
        ({"train_set": Boxes(), "val_set": Boxes(), "model": "other"}, "the model has the classes class_0"),
    ],
)
def test_own_parts_that_do_not_fit_are_said(own, tmp_path, parts, message):
    if parts.get("model"):
        parts = {**parts, "model": create_model("gff", backbone="test_resnet", channels=8, num_classes=3)}
    with pytest.raises(CrispsegError, match=message):
        fit(own, tmp_path / "run", progress=False, **parts)


def test_a_range_that_is_no_image_is_said_once(caplog):
    model = create_model("gff", backbone="test_resnet", channels=8, num_classes=3).eval()
    images = torch.rand(1, 3, 32, 32)
    for given, words in ((images * 255, "divide 8-bit images by 255"), (images * 4 - 2, "the model normalises itself")):
        caplog.clear()
        fresh = copy.deepcopy(model)
        for _ in range(5):
            fresh(given)
        (record,) = caplog.records
        assert words in record.message
    caplog.clear()
    model(images * 1.2 - 0.1)
    model.train()(images[:, :, :, :] * 255)
    assert caplog.records == []


@pytest.mark.parametrize("head", ["gff", "gscnn", "decoupled"])
def test_crops_that_the_stride_does_not_divide_are_filled_up(tiny, head):
    """The loss is that of the filled crop's output, cut by hand."""
    recipe = tiny(f"model.head={head}", "data.crop_hw=[40,56]")
    dataset = build_dataset(recipe.data, "train", augment=True, seed=0)
    model = build_model(recipe.model, dataset.label_space)
    task = SegmentationTask(model, build_loss(model.head.system, recipe.loss, model.num_classes), recipe)
    model.eval()  # batch normalisation and dropout at rest
    images = torch.rand(2, 3, 40, 56)
    stride = model.backbone.info.top.stride
    assert 40 % stride
    canvas = model.mean.expand(2, 3, -(-40 // stride) * stride, -(-56 // stride) * stride).clone()
    canvas[..., :40, :56] = images
    expected = model(canvas).logits[..., :40, :56]
    output = task._output(images)
    torch.testing.assert_close(output.logits, expected, atol=1e-4, rtol=1e-4)
    model.train()
    labels = torch.randint(0, model.num_classes, (2, 40, 56))
    torch.stack(list(task.loss(task._output(images), labels).values())).sum().backward()
    assert all(torch.isfinite(values.grad).all() for values in model.parameters() if values.grad is not None)
