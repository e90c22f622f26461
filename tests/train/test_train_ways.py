"""Beginnings and ends of runs that would otherwise need somebody beside them."""

import pytest
import torch
from train_runs import checkpoint_of

from crispseg.errors import ConfigError, TrainingError
from crispseg.models import load_model, load_weights
from crispseg.train import fit
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
