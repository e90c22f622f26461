"""A saved model comes back as it was, and whatever cannot come back says why."""

import json
import math
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.utils import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from crispseg.config import Recipe
from crispseg.errors import WeightsError
from crispseg.labels import LabelSpace
from crispseg.models import create_model, load_model, load_weights, save_model
from crispseg.models.cards import read_card

SPACE = LabelSpace.from_dict(
    {
        "name": "little",
        "classes": [
            {"name": "sky", "colour": [1, 2, 3], "ids": [4]},
            {"name": "pole", "colour": [9, 8, 7], "ids": [0, 2]},
        ],
        "ignore_ids": [11],
    }
)


def make(head="deeplabv3plus", seed=0, **kwargs):
    torch.manual_seed(seed)
    options = {"backbone": "test_resnet", "channels": 8, "output_stride": 16, "label_space": SPACE} | kwargs
    model = create_model(head, **options)
    with torch.no_grad():  # fresh statistics would hide that they are not saved
        model.train()(torch.rand(2, 3, 64, 64))
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture
def folder(model, tmp_path):
    save_model(model, tmp_path / "saved")
    return tmp_path / "saved"


def same_output(one, other):
    images = torch.rand(1, 3, 45, 70)
    with torch.no_grad():
        torch.testing.assert_close(one(images).logits, other(images).logits, rtol=0, atol=0)


@pytest.mark.parametrize("head", ["gff", "gscnn", "decoupled"])
def test_every_system_comes_back_as_it_was(head, tmp_path):
    model = make(head, channels=16)
    save_model(model, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert not loaded.training
    assert loaded.label_space == SPACE
    assert loaded.config == model.config
    same_output(model, loaded)


def test_options_of_head_and_context_come_back(tmp_path):
    model = make("plain", context="ppm", context_options={"bins": [1, 3]})
    save_model(model, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert loaded.config.context_options == model.config.context_options
    same_output(model, loaded)


def test_the_card_says_what_the_weights_are(model, tmp_path):
    recipe = Recipe(name="trial", train={"epochs": 3})
    scores = {"mean_iou": np.float32(0.5), "boundary_f": {1: 0.25, 2: math.nan}, "iou": torch.tensor([0.5, 1.0])}
    save_model(model, tmp_path / "m", recipe=recipe, metrics=scores, licence="CC0-1.0", notes="größer")
    card = read_card(tmp_path / "m")
    assert Recipe.model_validate(card["recipe"]) == recipe
    assert card["metrics"] == {"mean_iou": 0.5, "boundary_f": {"1": 0.25, "2": None}, "iou": [0.5, 1.0]}
    assert (card["licence"], card["notes"]) == ("CC0-1.0", "größer")
    assert card["torch_version"] == torch.__version__
    assert LabelSpace.from_dict(card["label_space"]) == SPACE
    assert (card["mean"], card["std"]) == ([0.5] * 3, [0.5] * 3)  # this backbone's own, not ImageNet's


def test_a_saved_model_asks_for_no_other_weights(model, tmp_path):
    sourced = make()
    sourced.config = sourced.config.model_copy(update={"pretrained": True, "backbone_weights": "gone.pth"})
    save_model(sourced, tmp_path / "m")
    assert read_card(tmp_path / "m")["model"]["pretrained"] is False
    assert load_model(tmp_path / "m").config.backbone_weights is None
    # nor does a card that somebody changed
    edit_card(tmp_path / "m", lambda card: card["model"].update(pretrained=True, backbone_weights="gone.pth"))
    assert load_model(tmp_path / "m").config.pretrained is False


def test_half_precision_takes_half_the_space_and_stays_close(model, folder, tmp_path):
    save_model(model, tmp_path / "half", half=True)
    sizes = [(path / "weights.safetensors").stat().st_size for path in (tmp_path / "half", folder)]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = load_model(tmp_path / "half")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    images = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images).logits, model(images).logits, rtol=0.02, atol=0.02)


def test_values_beyond_half_precision_keep_theirs(tmp_path):
    model = make()
    next(buffer for name, buffer in model.named_buffers() if name.endswith("running_var")).fill_(1e6)
    save_model(model, tmp_path / "half", half=True)
    loaded = load_model(tmp_path / "half")
    assert all(torch.isfinite(value).all() for value in loaded.state_dict().values())
    assert any(bool((value == 1e6).any()) for value in loaded.state_dict().values())


def test_a_run_folder_and_a_file_in_the_folder_lead_to_the_model(model, folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folder, run / "model")
    for path in (run, str(run), run / "model" / "weights.safetensors"):
        same_output(model, load_model(path))


def test_saving_again_replaces_weights_and_card_and_keeps_the_rest(folder):
    (folder / "README.md").write_text("mine")
    other = make(seed=5)
    save_model(other, folder, notes="second")
    assert read_card(folder)["notes"] == "second"
    same_output(other, load_model(folder))
    assert (folder / "README.md").read_text() == "mine"


def test_other_peoples_folders_and_files_are_left_alone(model, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"photos: holds files, but no card\.json"):
        save_model(model, tmp_path / "photos")
    with pytest.raises(WeightsError, match=r"a\.jpg: is a file, a folder was expected"):
        save_model(model, tmp_path / "photos" / "a.jpg")
    assert [entry.name for entry in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_a_failed_save_leaves_the_old_model(model, folder):
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    with pytest.raises(TypeError):
        save_model(make(seed=7), folder, metrics={"mean_iou": object()})
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before
    assert [entry.name for entry in folder.parent.iterdir()] == ["saved"]


def edit_card(folder, change):
    path = folder / "card.json"
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))


def test_weights_of_other_shapes_list_what_differs(folder):
    edit_card(folder, lambda card: card["model"].update(channels=12))
    with pytest.raises(
        WeightsError, match=r"(?s)weights\.safetensors.*head\.\S+: \(8,.* in the file, \(12,.*and \d+ more"
    ):
        load_model(folder)


def test_missing_and_unknown_keys_are_named(folder):
    path = folder / "weights.safetensors"
    state = load_file(path)
    state["head.extra.weight"] = state.pop("head.decoder.classify.weight")
    save_file(state, path)
    with pytest.raises(
        WeightsError, match=r"(?s)1 missing, 1 unknown.*head\.decoder\.classify\.weight.*head\.extra\.weight"
    ):
        load_model(folder)


def test_broken_folders_are_named(folder, tmp_path):
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"weights\.safetensors: cannot be read as weights"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(WeightsError, match=r"weights\.safetensors: no such file"):
        load_model(folder)
    (folder / "card.json").write_text("{")
    with pytest.raises(WeightsError, match=r"card\.json: is not JSON"):
        load_model(folder)
    (folder / "card.json").write_text("[]")
    with pytest.raises(WeightsError, match=r"card\.json: list found"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(format_version=99), "format_version is 99, 1 to 2 expected"),
        (lambda card: card.pop("label_space"), "has no 'label_space'"),
        (lambda card: card["model"].update(depth=3), "describes no model that this version can build"),
        (lambda card: card["model"].update(head="ggf"), "did you mean 'gff'"),
    ],
)
def test_cards_that_do_not_fit_are_named(folder, change, message):
    edit_card(folder, change)
    with pytest.raises(WeightsError, match=rf"(?s)card\.json: .*{message}"):
        load_model(folder)


def test_places_without_a_model_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"holds neither card\.json nor model/card\.json"):
        load_model(tmp_path)
    with pytest.raises(WeightsError, match="no such folder; name a model folder, or a Hub model as user/name"):
        load_model(tmp_path / "absent")
    (tmp_path / "last.ckpt").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"last\.ckpt: a checkpoint of a training run, .*model: name that"):
        load_model(tmp_path / "last.ckpt")


def test_a_hub_id_is_fetched(model, folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda repo, revision, allow_patterns: asked.append((repo, revision, allow_patterns)) or folder,
    )
    same_output(model, load_model("somebody/streets"))
    assert asked == [("somebody/streets", None, ["card.json", "weights.safetensors"])]


def test_a_hub_id_without_network_says_so(monkeypatch):
    def offline(*args, **kwargs):
        raise LocalEntryNotFoundError("cannot reach the Hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        WeightsError, match=r"somebody/streets: no such folder here, and the Hugging Face Hub.*cannot reach"
    ):
        load_model("somebody/streets")


def test_weights_go_into_a_model_that_stands_already(model, folder, tmp_path):
    other = make(seed=9)
    load_weights(other, folder)
    same_output(model, other)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "state.pt")
    third = make(seed=10)
    load_weights(third, tmp_path / "state.pt")
    same_output(model, third)


def test_weights_of_a_network_that_its_name_no_longer_means_are_named(tmp_path, caplog):
    def made(**options):
        return create_model(
            "gff_dfp", backbone="resnet18", num_classes=3, channels=8, output_stride=32, head_options=options
        )

    save_model(made(pyramid_at_finest=False), tmp_path / "old")
    card = json.loads((tmp_path / "old" / "card.json").read_text())
    card["format_version"], card["model"]["head_options"] = 1, {}
    (tmp_path / "old" / "card.json").write_text(json.dumps(card))

    with caplog.at_level("WARNING"):
        load_weights(made(pyramid_at_finest=False), tmp_path / "old")
        assert not caplog.records
        load_weights(made(), tmp_path / "old")
    assert "set model.head_options.pyramid_at_finest=false to keep" in caplog.text
