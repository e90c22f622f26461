import json
import re

import pytest
import yaml

from crispseg.config import Recipe
from crispseg.errors import ConfigError
from crispseg.recipes import differing_keys, list_recipes, load_recipe, override, read_saved_recipe, save_recipe


@pytest.fixture
def write(tmp_path):
    def _write(text, name="mine.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def error_of(path, overrides=()):
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", list_recipes())
def test_every_packaged_recipe_loads_and_says_what_it_is(name):
    assert load_recipe(name).description


def test_packaged_recipes_have_names_of_their_own_so_that_runs_do_not_share_a_folder():
    names = [load_recipe(name).name for name in list_recipes()]
    assert len(set(names)) == len(names)
    assert load_recipe("camvid/gff").name == "camvid-gff"


def test_the_packaged_recipes_of_this_issue_are_there():
    toy = {f"toy/{system}" for system in ("plain", "gff", "gscnn", "decoupled")}
    camvid = {f"camvid/{system}" for system in ("pspnet", "deeplabv3plus", "gff", "gscnn", "decoupled")}
    assert toy | camvid <= set(list_recipes())


@pytest.mark.parametrize("spelling", ["camvid/gff", "recipes/camvid/gff.yaml", "./recipes/camvid/gff", "camvid\\gff"])
def test_a_packaged_recipe_has_several_spellings(spelling, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe(spelling) == load_recipe("camvid/gff")


def test_a_file_on_disk_goes_before_the_packaged_recipe(write, tmp_path, monkeypatch):
    write("train: {epochs: 7}", "recipes/camvid/gff.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("recipes/camvid/gff.yaml").train.epochs == 7


def test_a_name_that_is_missing_gets_the_nearest_packaged_one():
    message = error_of("camvid/gsccn")
    assert "no such file" in message
    assert "did you mean 'camvid/gscnn'?" in message


def test_a_folder_is_called_a_folder(tmp_path):
    assert "a folder, not a file" in error_of(tmp_path)


def test_overrides_are_yaml_and_later_ones_win(write):
    path = write("train: {lr: 0.1}")
    recipe = load_recipe(path, ["train.lr=1e-3", "data.crop_hw=[64, 96]", "train.clip_norm=2", "train.lr=5e-3"])
    assert recipe.train.lr == 5e-3
    assert recipe.data.crop_hw == (64, 96)
    assert recipe.train.clip_norm == 2
    assert load_recipe(path, ["train.clip_norm=null"]).train.clip_norm is None
    assert load_recipe(path, ["data.root=a=b"]).data.root == "a=b"


def test_another_layout_leaves_the_options_of_the_bases_behind(write):
    recipe = load_recipe(write("{base: toy/gff, data: {layout: kitti, root: r, folds: 4}}"))
    assert recipe.data.options == {"folds": 4}
    assert load_recipe("toy/gff").data.options == {
        "toy_train_images": 320,
        "toy_val_images": 40,
        "toy_size_hw": [192, 256],
    }
    assert load_recipe("toy/gff", ["data.layout=camvid"]).data.options == {}
    assert load_recipe("toy/gff", ["data.layout=toy_streets"]).data.options["toy_train_images"] == 320


def test_an_unknown_layout_is_said_before_its_options(write):
    path = write("data: {layout: night_streets, streets: 4}")
    with pytest.raises(ConfigError, match=r"data.layout: unknown layout 'night_streets'.*needs --plugin"):
        load_recipe(path)
    with pytest.raises(ConfigError, match=r"override .*: data.layout: unknown layout 'camvit'; did you mean 'camvid'"):
        load_recipe("camvid/gff", ["data.layout=camvit"])


def test_overrides_reach_into_free_options(write):
    path = write("model: {head_options: {auxiliary: true, levels: [0, 1]}}")
    assert load_recipe(path, ["model.head_options.auxiliary=false"]).model.head_options == {
        "auxiliary": False,
        "levels": [0, 1],
    }


@pytest.mark.parametrize("text", ["train.lr", "=3", "train..lr=3", "train.=3"])
def test_an_override_of_another_form_is_refused(write, text):
    assert "a change like 'train.lr=0.005' expected" in error_of(write(""), [text])


def test_an_override_that_is_no_yaml_is_refused(write):
    assert "is not a YAML value" in error_of(write(""), ["train.lr=[1, 2"])


def test_all_unknown_keys_of_a_file_are_listed_with_their_nearest(write):
    message = error_of(write("train: {leraning_rate: 1, epoch: 3}\nlr: 1\ndate: {}\nmodel: {zzz: 1}"))
    assert "unknown key 'train.epoch'; did you mean 'train.epochs'?" in message
    assert "unknown key 'lr'; did you mean 'train.lr'?" in message
    assert "unknown key 'date'; did you mean 'data'?" in message
    assert re.search(r"unknown key 'model.zzz'; known in model: backbone, .*pretrained", message)
    assert "unknown key 'train.leraning_rate'; known in train: accelerator" in message
    assert message.count("mine.yaml") == 5


def test_an_unknown_key_of_an_override_names_the_override(write):
    message = error_of(write("train: {lr: 0.1}"), ["train.momentun=0.5"])
    assert message == "override 'train.momentun=0.5': unknown key 'train.momentun'; did you mean 'train.momentum'?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: {lr: fast}", "train.lr is 'fast', a number expected"),
        ("train: {epochs: 2.5}", "train.epochs is 2.5, an integer"),
        ("train: {epochs: 0}", "train.epochs is 0, greater than 0 expected"),
        ("train: {epochs: true}", "train.epochs is True, which is no number"),
        ("data: {crop_hw: [yes, 3]}", "data.crop_hw is [True, 3], which is no number"),
        ("train: {optimizer: adam}", "train.optimizer is 'adam', 'sgd' or 'adamw' expected"),
        ("train: {devices: many}", "train.devices is 'many', an integer or 'auto' expected"),
        ("train: 5", "train is 5, a mapping of keys to values expected"),
        ("name: 5", "name is 5, a string expected"),
        ("data: {crop_hw: [64, -1]}", "data.crop_hw[1] is -1, greater than 0 expected"),
        ("data: {crop_hw: 64}", "data.crop_hw is 64, a list expected"),
        ("data: {crop_hw: [64]}", "data.crop_hw[1]"),
        ("data: {scale_range: [2, 1]}", "data: scale_range is (2.0, 1.0); two numbers in ascending order"),
        ("train: {lr: .nan}", "train.lr is nan, a finite number expected"),
    ],
)
def test_a_value_that_does_not_fit_is_named_in_one_line(write, text, expected):
    message = error_of(write(text))
    assert "mine.yaml: " in message
    assert expected in message


def test_a_wrong_value_names_the_place_that_set_it(write):
    path = write("train: {lr: 0.1, epochs: x}")
    message = error_of(path, ["train.lr=fast"])
    assert "override 'train.lr=fast': train.lr is 'fast'" in message
    assert f"{path}: train.epochs is 'x'" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: {lr: 1}\ntrain: {lr: 2}", "key 'train' occurs twice, in lines 1 and 2"),
        ("train:\n  lr: 1\n  epochs: 2\n  lr: 2", "key 'lr' occurs twice, in lines 2 and 4"),
        ("- a\n- b", "list found, a mapping of sections"),
        ("train: [", "mine.yaml: "),
        ("train: {lr: 1}\n  epochs: 3", "line 2"),
        ("base: [a, b]", "the name or path of one recipe expected"),
        ("base: nowhere", "base: recipe 'nowhere': no such file"),
    ],
)
def test_a_broken_file_is_explained(write, text, expected):
    assert expected in error_of(write(text))


def test_a_file_that_is_no_text_is_explained(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x9d")
    assert "is not UTF-8 text" in error_of(path)


def test_a_broken_base_is_named_with_the_recipe_that_wants_it(write):
    write("words", "other.yaml")
    message = error_of(path := write("base: other.yaml"))
    assert message.startswith(f"{path}: base: ")
    assert "other.yaml: str found" in message


def test_empty_files_and_sections_mean_the_defaults(write):
    assert load_recipe(write("train:\n")) == Recipe(name="mine")
    assert load_recipe(write("", "other.yaml")) == Recipe(name="other")


def test_a_base_is_changed_section_by_section(write):
    write("name: parent\ndescription: old\ntrain: {lr: 0.1, epochs: 3}\nmodel: {head: gscnn}", "parent.yaml")
    recipe = load_recipe(write("base: parent.yaml\ntrain: {epochs: 4}"))
    assert (recipe.train.lr, recipe.train.epochs, recipe.model.head) == (0.1, 4, "gscnn")
    assert (recipe.name, recipe.description) == ("mine", "")  # not the parent's: runs would share a folder


def test_a_base_may_be_packaged(write):
    recipe = load_recipe(write("base: camvid/gff\ntrain: {epochs: 4}"))
    assert recipe.train == load_recipe("camvid/gff").train.model_copy(update={"epochs": 4})


def test_an_error_in_the_base_names_the_base(write):
    parent = write("train: {lr: fast}", "parent.yaml")
    assert error_of(write("base: parent.yaml")).startswith(f"{parent}: train.lr")


def test_bases_in_a_circle_are_refused(write):
    write("base: b.yaml", "a.yaml")
    path = write("base: a.yaml", "b.yaml")
    assert "bases go in a circle" in error_of(path)


def test_saving_and_loading_give_the_same_recipe(tmp_path):
    recipe = load_recipe("camvid/gscnn", ["data.root=/somewhere/ö", "train.clip_norm=1.5", "train.devices=2"])
    path = tmp_path / "run" / "recipe.yaml"
    save_recipe(recipe, path)
    assert load_recipe(path) == recipe
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["train"]["momentum"] == 0.9  # defaults are written too
    save_recipe(Recipe(), path)
    assert load_recipe(path) == Recipe()
    assert [entry.name for entry in path.parent.iterdir()] == ["recipe.yaml"]


def test_overriding_a_recipe_is_what_overriding_its_file_is(tmp_path):
    changes = ["train.lr=0.5", "model.head_options={levels: [0, 1]}", "paper=null", "name=other", "train.precision=16"]
    recipe = load_recipe("camvid/gscnn", ["model.head_options={auxiliary: false}"])
    save_recipe(recipe, tmp_path / "saved.yaml")
    assert override(recipe, changes[:4]) == load_recipe(tmp_path / "saved.yaml", changes[:4])
    assert override(recipe, []) == recipe
    for wrong in ("train.lrr=1", "train.lr", "train.lr=fast", "train.lr=true", "train.lr=[", changes[4]):
        with pytest.raises(ConfigError) as from_file:
            load_recipe(tmp_path / "saved.yaml", [wrong])
        with pytest.raises(ConfigError) as from_recipe:
            override(recipe, [wrong])
        assert str(from_recipe.value) == str(from_file.value)


def test_differences_have_dotted_paths():
    first = Recipe(model={"head_options": {"levels": [0, 1]}}, train={"lr": 0.1})
    second = Recipe(model={"head_options": {"levels": [0, 2]}}, train={"lr": 0.1})
    assert differing_keys(first, second) == {"model.head_options.levels": ([0, 1], [0, 2])}
    assert differing_keys(first, first) == {}


def test_a_precision_may_be_written_as_a_number():
    assert load_recipe("toy/gff", ["train.precision=32"]).train.precision == "32"
    with pytest.raises(ConfigError, match="precision"):
        load_recipe("toy/gff", ["train.precision=16"])


@pytest.mark.parametrize(
    "change",
    [
        "name=../../x",
        "name=..",
        "name=''",
        r'name="a\nb"',
        "evaluate.radii_px=[]",
        "evaluate.scales=[]",
        "evaluate.scales=[0]",
        "evaluate.scales=[1000]",
        "train.devices=-1",
        "train.devices=0",
        "train.accelerator=tpu",
        "train.seed=4294967296",
    ],
)
def test_what_only_the_end_of_a_run_would_stumble_over_is_refused_at_once(change):
    with pytest.raises(ConfigError, match=change.partition("=")[0]):
        load_recipe("toy/gff", [change])


class TestPlacesBesideTheRecipe:
    def write(self, folder, **data):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mine.yaml").write_text(f"data: {json.dumps(data)}\n")
        return folder / "mine.yaml"

    def test_the_root_is_seen_from_the_recipe(self, tmp_path, monkeypatch):
        recipe = self.write(tmp_path / "project", root="../pictures", labels="table.yaml")
        (tmp_path / "pictures").mkdir()
        (tmp_path / "project" / "table.yaml").write_text("classes: [a, b]")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        found = load_recipe(recipe).data
        assert found.root == str(tmp_path / "pictures")
        assert found.labels == str(tmp_path / "project" / "table.yaml")
        monkeypatch.chdir(tmp_path / "project")
        assert load_recipe("mine.yaml").data.root == "../pictures"
        monkeypatch.chdir(tmp_path)
        assert load_recipe("project/mine.yaml").data.root == "pictures"
        assert load_recipe("project/mine.yaml", ["data.root=x"]).data.root == "x"

    def test_the_network_of_inverse_form_is_seen_from_the_recipe(self, tmp_path, monkeypatch, caplog):
        recipe = tmp_path / "project" / "mine.yaml"
        recipe.parent.mkdir()
        recipe.write_text("loss: {inverse_form_network: form.safetensors}")
        (tmp_path / "form.safetensors").touch()
        monkeypatch.chdir(tmp_path)
        with caplog.at_level("INFO", "crispseg"):
            assert load_recipe(recipe).loss.inverse_form_network == "form.safetensors"
        assert "loss.inverse_form_network form.safetensors is not beside it, taken from" in caplog.text
        (tmp_path / "project" / "form.safetensors").touch()
        assert load_recipe(recipe).loss.inverse_form_network == str(tmp_path / "project" / "form.safetensors")

    def test_the_working_directory_is_next_and_said(self, tmp_path, monkeypatch, caplog):
        recipe = self.write(tmp_path / "recipes", root="pictures", labels="camvid")
        (tmp_path / "pictures").mkdir()
        monkeypatch.chdir(tmp_path)
        with caplog.at_level("INFO", "crispseg"):
            assert load_recipe(recipe).data.root == "pictures"
        assert "data.root pictures is not beside it, taken from the working directory" in caplog.text
        assert load_recipe(recipe).data.labels == "camvid"
        (tmp_path / "recipes" / "pictures").mkdir()
        assert load_recipe(recipe).data.root == str(tmp_path / "recipes" / "pictures")

    def test_a_saved_recipe_means_its_places_as_they_stand_and_says_nothing(self, tmp_path, monkeypatch, caplog):
        recipe = load_recipe(self.write(tmp_path, root="pictures", labels="table.yaml"))
        (tmp_path / "run").mkdir()
        save_recipe(recipe, tmp_path / "run" / "recipe.yaml")
        for place in (tmp_path, tmp_path / "run"):  # what lies in the run's folder by the same name is not meant
            (place / "pictures").mkdir()
            (place / "table.yaml").write_text("classes: [a, b]")
        monkeypatch.chdir(tmp_path)
        with caplog.at_level("INFO", "crispseg"):
            assert read_saved_recipe(tmp_path / "run" / "recipe.yaml") == recipe
        assert not caplog.text
