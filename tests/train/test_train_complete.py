"""What a run makes of its recipe before it begins."""

import pytest
import yaml

from crispseg.config import Recipe
from crispseg.errors import ConfigError
from crispseg.recipes import load_recipe, save_recipe
from crispseg.train import complete as complete_module
from crispseg.train import fit
from crispseg.train.complete import completed
from crispseg.train.folder import claimed_folder
from crispseg.train.settle import with_saved_choices

# The loss and data sections that version 0.1 wrote for every system and layout.
LOSS_0_1 = {
    "segmentation": "cross_entropy",
    "auxiliary_weight": 0.4,
    "class_weights": None,
    "label_smoothing": 0.0,
    "ohem_probability": 0.7,
    "ohem_min_kept": 100000,
    "boundary_radius_px": 1,
    "edge_weight": None,
    "dual_boundary_weight": 1.0,
    "dual_segmentation_weight": 1.0,
    "dual_threshold": 0.8,
    "gumbel_temperature": 1.0,
    "body_weight": 1.0,
    "edge_segmentation_weight": 1.0,
    "hard_fraction": 0.1,
    "hard_boundary_threshold": 0.8,
    "relaxation_radius_px": 1,
}
DATA_0_1 = {
    "folds": 5,
    "fold": 0,
    "toy_train_images": 400,
    "toy_val_images": 40,
    "toy_size_hw": [192, 256],
    "toy_seed": 0,
}


def test_every_option_of_the_chosen_parts_stands_in_it():
    recipe = completed(load_recipe("toy/decoupled", ["loss.body_weight=2"]))
    assert recipe.loss.options["body_weight"] == 2.0
    assert recipe.loss.options["edge_weight"] == 25.0
    assert recipe.data.options == {
        "toy_train_images": 320,
        "toy_val_images": 40,
        "toy_size_hw": (192, 256),
        "toy_seed": 0,
    }
    assert completed(recipe) == recipe


@pytest.mark.parametrize("head", ["gff", "gscnn", "decoupled"])
def test_a_run_of_version_0_1_goes_on(head, tmp_path):
    written = Recipe(model={"head": head}, data={"layout": "camvid"}).model_dump(mode="json")
    del written["loss"]["system"]
    newer = {"active_boundary_weight", "class_weight_power", "dice_weight", "lovasz_weight"}
    newer |= {"inverse_form_network", "inverse_form_weight"}
    assert set(LOSS_0_1) > set(written["loss"]) - newer
    written["loss"], written["data"] = LOSS_0_1, {**written["data"], **DATA_0_1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(written))
    again = completed(load_recipe(tmp_path / "recipe.yaml"))
    assert again.loss.options.get("boundary_radius_px", 1) == 1  # whatever the default is now
    with claimed_folder(tmp_path, again, resume=True, from_previous=False) as checkpoint:
        assert checkpoint is None
    other = completed(load_recipe(tmp_path / "recipe.yaml", ["loss.auxiliary_weight=1"]))
    with (
        pytest.raises(ConfigError, match=r"loss.auxiliary_weight was 0.4 and is now 1.0"),
        claimed_folder(tmp_path, other, resume=True, from_previous=False),
    ):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": {"egde_weight": 1}}, r"loss.egde_weight: loss 'decoupled' takes no such option; did you mean 'edge"),
        ({"loss": {"dual_threshold": 0.5}}, r"loss.dual_threshold: loss 'decoupled' takes no such .*; gscnn does"),
        ({"loss": {"system": "gcsnn"}}, r"loss.system: unknown loss 'gcsnn'; did you mean 'gscnn'"),
        ({"data": {"layout": "camvid", "fold": 2}}, r"data.fold: layout 'camvid' takes no such option; kitti does"),
        ({"model": {"head": "decupled"}}, r"head: unknown 'decupled'; did you mean 'decoupled'"),
        (
            {"model": {"head": "decoupled", "head_options": {"stream_stride": 2}}},
            r"head_options.stream_stride: head 'decoupled' takes no such option; gscnn",
        ),
    ],
)
def test_what_no_part_takes_is_an_error_before_anything_is_read(changes, message, tmp_path):
    values = {"model": {"head": "decoupled"}, "data": {"layout": "camvid", "root": "no such folder"}, **changes}
    with pytest.raises(ConfigError, match=message):
        fit(Recipe.model_validate(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_that_damages_masks_makes_a_model_that_sees_them():
    recipe = completed(load_recipe("camvid/refiner_with_mask"))
    assert recipe.model.sees_mask
    assert recipe.model.image_channels == 6
    assert completed(recipe) == recipe
    assert not completed(load_recipe("camvid/refiner")).model.sees_mask


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("camvid/refiner", ["model.sees_mask=true"], "data.target is 'directions', which has no masks"),
        ("camvid/refiner_with_mask", ["data.bands=[1,2,3,4]"], "red, green, blue and three bands of a mask"),
        ("camvid/refiner_with_mask", ["model.in_channels=6"], "leave out"),
        ("camvid/refiner_with_mask", ["data.bit_depth=12"], "leave out"),
    ],
)
def test_a_model_sees_masks_beside_colours_where_there_are_some(recipe, changes, message):
    with pytest.raises(ConfigError, match=message):
        completed(load_recipe(recipe, changes))


def test_a_saved_recipe_keeps_its_options_under_later_defaults(tmp_path):
    recipe = completed(Recipe(model={"head": "gscnn"}, data={"layout": "kitti"}))
    save_recipe(recipe, tmp_path / "recipe.yaml")
    values = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    assert (values["loss"]["edge_weight"], values["data"]["folds"]) == (20.0, 5)
    assert completed(load_recipe(tmp_path / "recipe.yaml")) == recipe


@pytest.mark.parametrize(("computes", "precision"), [(True, "bf16"), (False, "32")])
def test_precision_auto_becomes_what_the_hardware_computes(computes, precision, monkeypatch):
    monkeypatch.setattr(complete_module, "computes_bfloat16", lambda device: computes)
    recipe = completed(load_recipe("toy/gff", ["train.precision=auto", "train.accelerator=cpu"]))
    assert recipe.train.precision == precision
    assert completed(recipe) == recipe  # what is saved means the same on any machine
    assert completed(load_recipe("toy/gff", ["train.precision=fp16"])).train.precision == "fp16"


def test_a_run_that_goes_on_says_nothing_of_the_places_in_its_own_recipe(tmp_path, monkeypatch, caplog):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "run").mkdir()
    recipe = completed(load_recipe("toy/gff", ["data.layout=camvid", "data.root=pictures"]))
    save_recipe(recipe, tmp_path / "run" / "recipe.yaml")
    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO", "crispseg"):
        assert with_saved_choices(recipe, tmp_path / "run") == recipe
        with claimed_folder(tmp_path / "run", recipe, resume=True, from_previous=False) as checkpoint:
            assert checkpoint is None
    assert not caplog.text
