"""Model folders and checkpoints from strangers: one error, and no more memory than the file is large."""

import codecs
import json
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import crispseg
from crispseg.backbones import load_state, read_state
from crispseg.errors import WeightsError
from crispseg.models import saved_config, saved_recipe

HOSTILE = Path(__file__).resolve().parents[3] / "shared/cases/hostile"


class Calls:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def doubled(times):
    call = Calls(codecs.encode, "a", "latin1")
    for _ in range(times):
        call = Calls(codecs.encode, call, "hex")
    return call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        Calls(bytearray, 30_000_000_000),
        Calls(torch.UntypedStorage, 30_000_000_000),
        Calls(torch.FloatTensor, 100_000, 100_000),
        doubled(40),
        Calls(set, [1]),
    ],
    ids=["bytearray", "storage", "tensor", "codec", "set"],
)
def test_calls_that_make_memory_are_refused(value, zipped, tmp_path):
    torch.save({"a": torch.rand(1), "x": value}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"a\.pth: refused, because reading it would run code"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_what_checkpoints_hold_is_read(zipped, tmp_path):
    state = {
        "a": torch.rand(2, 3),
        "half": torch.rand(2).half(),
        "p": torch.nn.Parameter(torch.rand(2)),
        "n": torch.arange(3),
    }
    around = {"state_dict": state, "score": np.float64(0.5), "epoch": 3, "optimizer": {"state": {0: {"step": 1.0}}}}
    torch.save(around, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    read = read_state(tmp_path / "a.pth")
    assert all(torch.equal(read[key], value) for key, value in state.items())


def test_an_archive_that_unpacks_to_more_is_refused(tmp_path):
    torch.save({"a": torch.rand(2)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as whole, zipfile.ZipFile(tmp_path / "b.pth", "w", 8) as packed:
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
        packed.writestr("a/data/1", bytes(50_000_000))
    with pytest.raises(WeightsError, match="compressed"):
        read_state(tmp_path / "b.pth")


def test_a_storage_larger_than_the_file_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pth").read_bytes()
    numbers = pickle.dumps(1000, 2)[2:-1], pickle.dumps(2**31 - 1, 2)[2:-1]
    (tmp_path / "a.pth").write_bytes(content.replace(numbers[0], numbers[1], 1))
    with pytest.raises(WeightsError, match="more values than the file has bytes"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/hostname"])
def test_any_other_file_is_no_checkpoint(path):
    with pytest.raises(WeightsError, match="is no checkpoint"):
        read_state(path)


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs ../shared/cases/hostile")
def test_the_bomb_that_was_found_is_refused():
    with pytest.raises(WeightsError, match="bytearray"):
        read_state(HOSTILE / "membomb_bytearray.pth")


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_mutated_files_are_read_or_refused_on_one_line(kind, tmp_path):
    state, whole = {"a.weight": torch.rand(3, 4), "a.num": torch.arange(3), "h": torch.rand(2).half()}, tmp_path / "w"
    if kind == "safetensors":
        save_file(state, whole)
    else:
        torch.save({"state_dict": state, "x": np.float64(1)}, whole, _use_new_zipfile_serialization=kind == "zip")
    rng, refused = random.Random(kind), 0
    path = tmp_path / f"m.{kind}"
    for _ in range(150):
        content = bytearray(whole.read_bytes())
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(content))
            if rng.random() < 0.7:
                content[place] = rng.randrange(256)
            else:
                content[place : place + rng.randint(0, 20)] = rng.randbytes(rng.randint(0, 8))
        path.write_bytes(content)
        try:
            read_state(path)
        except WeightsError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017 # not every change is one that matters
    assert refused > 50


@pytest.mark.parametrize("values", [torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.complex64)])
def test_tensors_of_another_kind_are_refused_and_not_cast(values):
    module = torch.nn.Linear(3, 2)
    with pytest.raises(WeightsError, match=r"1 of another kind.*weight: (int64|complex64) in the file, float32 in the"):
        load_state(module, {"weight": values, "bias": torch.zeros(2)}, "file")
    load_state(module, {"weight": torch.ones(2, 3).half(), "bias": torch.zeros(2)}, "file")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    model = crispseg.create_model("fcn", backbone="test_resnet", num_classes=3, channels=16)
    crispseg.save_model(model, folder, recipe=crispseg.load_recipe("toy/gff"))
    return folder


def changed(saved, tmp_path, **values):
    card = json.loads((saved / "card.json").read_text())
    for key, value in values.items():
        section, _, inner = key.partition("__")
        card[section] = {**card[section], inner: value} if inner else value
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "weights.safetensors").write_bytes((saved / "weights.safetensors").read_bytes())
    return folder


@pytest.mark.parametrize(
    "values",
    [
        {"model__channels": 1_000_000_000},
        {"model__channels": 8192},
        {"model__backbone": "vit_giant_patch14_dinov2"},
        {"model__channels": None},
        {"model": None},
        {"model__head_options": {"x": 1}},
        {"label_space": None},
        {"format_version": None},
        {"format_version": True},
        {"format_version": 99},
        {"metrics": "x"},
        {"source": [1]},
        {"notes": {}},
        {"model__zzz": 1},
    ],
)
def test_a_card_that_does_not_fit_is_one_line(saved, tmp_path, values):
    folder = changed(saved, tmp_path, **values)
    for load in (crispseg.load_model, saved_config):
        with pytest.raises(WeightsError, match="model") as caught:
            load(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"a": 1, "a": 2}', '{"format_version": NaN}', "\0", "[]", "3"])
def test_a_card_that_is_none_is_one_line(tmp_path, text):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(WeightsError, match=r"card\.json") as caught:
        crispseg.load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_null_where_a_card_may_say_nothing(saved, tmp_path):
    folder = changed(saved, tmp_path, metrics=None, source=None, notes=None, licence=None, recipe=None)
    assert crispseg.load_model(folder).num_classes == 3
    assert saved_recipe(folder) is None


def test_a_newer_recipe_does_not_keep_a_model_from_loading(saved, tmp_path, caplog):
    folder = changed(saved, tmp_path, recipe__newer=1, recipe__model={"head": "gff", "newer_too": 2})
    assert crispseg.load_model(folder).num_classes == 3
    with caplog.at_level("WARNING"):
        recipe = saved_recipe(folder)
    assert recipe is not None
    assert recipe.model.head == "gff"
    assert [record.getMessage().split(" has ")[1].split(",")[0] for record in caplog.records] == [
        "model.newer_too",
        "newer",
    ]
