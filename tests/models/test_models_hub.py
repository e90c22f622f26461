"""A model goes to the Hub and comes back as it was; its page says what its card says; refusals are one line each."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import typer
import yaml
from typer.testing import CliRunner

from crispseg.cli.push import push
from crispseg.config import DataConfig, LossConfig, ModelConfig, Recipe
from crispseg.errors import WeightsError
from crispseg.models import create_model, push_to_hub, save_model, share
from crispseg.models.hub import is_hub_id
from crispseg.models.share import model_page

SERVER = Path(__file__).with_name("hub_server.py")
SOURCE_FOLDER = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What came of each step of `hub_server.session`."""
    folder = tmp_path_factory.mktemp("hub")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SOURCE_FOLDER), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, SERVER, folder], check=True, env=environment, timeout=300)
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_pushed_model_comes_back_bit_for_bit(outcome):
    assert outcome["address"] == f"{outcome['hub']}/someone/streets"
    assert outcome["files"] == [".gitattributes", "README.md", "card.json", "weights.safetensors"]
    assert outcome["commits"] == 2, "the Hub's own, and one with everything"
    assert outcome["first_is_same"]
    assert outcome["page"].startswith("---\nlicense: cc-by-nc-sa-4.0\n")


def test_a_second_push_is_what_the_name_means_and_revisions_keep_the_first(outcome):
    assert outcome["models_differ"]
    assert outcome["second_is_same"]
    assert outcome["tag_is_first"]
    assert outcome["commit_is_first"]


def test_without_the_hub_the_cache_serves(outcome):
    assert outcome["cache_is_second"]
    assert outcome["cached_tag_is_first"]


def test_private_is_private_or_refused(outcome):
    assert outcome["private"] == {"someone/streets": False, "someone/secret": True}
    assert "someone/streets: not pushed; it exists and is public" in outcome["private_but_public"]
    assert outcome["commits_after_broken"] == 3, "the refused pushes left no trace"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("no_token", r"someone/streets: not pushed; .* does not know you.*hf auth login.*HF_TOKEN"),
        ("wrong_token", r"someone/streets: not pushed; .* does not know you.*hf auth login.*HF_TOKEN"),
        ("foreign_place", r"else/streets: not pushed; .* does not let you write there.*write access"),
        ("bad_name", r"someone/a--b: not pushed; .* takes no such name .*choose another"),
        ("broken_commit", r"someone/streets: not pushed; .*HTTP status 500: Internal Error"),
        ("push_down", r"someone/streets: not pushed; .*connect to the network and push again"),
        ("load_missing", r"someone/missing: no such folder here, and .* has no model of this name.*check the name"),
        (
            "load_private",
            r"someone/secret: no such folder here, and .* has no model .* that you may see.*hf auth login",
        ),
        ("load_missing_revision", r"someone/streets@v9: .*not this revision.*name a tag, a branch or a commit"),
        ("load_other", r"someone/other: has no card\.json and no weights\.safetensors"),
        ("load_down", r"someone/missing: no such folder here, and .*connect to the network"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(outcome, step, message):
    assert re.fullmatch(rf"WeightsError: {message}.*", outcome[step])  # a dot matches no line break


def test_refused_pushes_make_no_repository(outcome):
    assert outcome["after_refusals"] == []


CARD = {
    "model": {"head": "gscnn", "context": "aspp", "backbone": "wide_resnet38", "output_stride": 8},
    "label_space": {"name": "little", "classes": [{"name": "sky"}, {"name": "pole | post"}]},
    "recipe": {"name": "camvid/gscnn", "model": {"pretrained": True}},
    "metrics": {
        "images": 12,
        "mean_iou": 0.62345,
        "iou": {"sky": 0.9, "pole | post": None},
        "boundary_f": {"1": {"sky": 0.25}, "3": {"sky": 0.5}},
        "averaging": {"mean_iou": "mean over the classes", "boundary_f": "mean over images"},
    },
    "licence": "CC-BY-NC-SA-4.0",
    "notes": "Weak at night.",
    "crispseg_version": "0.1.0",
}


def metadata(page):
    return yaml.safe_load(page.split("---\n")[1])


def test_the_page_tells_what_the_card_tells():
    source = {"network": "gscnn_wrn38", "sha256": "ab12", "url": "https://example.org/x", "reported": "mIoU\n80.8"}
    page = model_page(CARD | {"source": source}, "someone/streets")
    assert metadata(page) == {
        "license": "cc-by-nc-sa-4.0",
        "library_name": "crispseg",
        "pipeline_tag": "image-segmentation",
        "tags": ["crispseg", "semantic-segmentation", "gscnn", "wide_resnet38"],
    }
    for line in (
        "# streets",
        "Semantic segmentation with crisp boundaries into 2 classes (`little`): sky, pole \\| post.",
        "- backbone: `wide_resnet38`, output stride 8",
        "- recipe: `camvid/gscnn`",
        "- pretraining: the backbone began from timm's ImageNet weights",
        "- licence: CC-BY-NC-SA-4.0",
        'model = crispseg.load_model("someone/streets")',
        "- network: gscnn_wrn38",
        "- sha256: ab12",
        "- url: https://example.org/x",
        "- reported: mIoU 80.8",
        "| images | 12 |  |",
        "| mean_iou | 0.6234 | mean over the classes |",
        "| iou | sky: 0.9000, pole \\| post: – |  |",
        "| boundary_f, 1 | sky: 0.2500 | mean over images |",
        "| boundary_f, 3 | sky: 0.5000 | mean over images |",
        "Weak at night.",
    ):
        assert line in page.splitlines()
    assert "averaging |" not in page


def test_a_page_without_scores_source_or_notes_has_no_empty_parts():
    bare = {key: CARD[key] for key in ("model", "label_space")}
    page = model_page(bare | {"metrics": {}, "notes": "", "recipe": None, "licence": ""}, "someone/streets")
    assert "## " not in page
    assert "- licence: unknown" in page.splitlines()
    assert metadata(page)["license"] == "other"
    assert metadata(page)["license_name"] == "unknown"


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", {"license": "mit"}),
        ("MIT License", {"license": "mit"}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("BSD-3-Clause", {"license": "bsd-3-clause"}),
        ("GPL-3.0-or-later", {"license": "gpl-3.0"}),
        ("CC BY-NC-SA 4.0", {"license": "cc-by-nc-sa-4.0"}),
        ("cc-by-nd-3.0", {"license": "other", "license_name": "cc-by-nd-3.0"}),
        ("NVIDIA Source Code License (1-Way Commercial)", None),
        (None, {"license": "other", "license_name": "unknown"}),
    ],
)
def test_licences_are_given_in_the_hubs_identifiers(licence, expected):
    expected = expected or {"license": "other", "license_name": "nvidia-source-code-license-1-way-commercial"}
    found = metadata(model_page(CARD | {"licence": licence}, "someone/streets"))
    assert {key: value for key, value in found.items() if key.startswith("license")} == expected


@pytest.mark.parametrize("text", ["someone/streets@main", "a/b@refs/pr/1", "some-one/gff.v2_x@" + "0" * 40])
def test_ids_with_a_revision(text):
    assert is_hub_id(text)


@pytest.mark.parametrize("text", ["", "streets", "a/b/c", "../streets", "/a/b", "a/b@", "a/b@v 1", "a/b\n", "ä/b"])
def test_what_is_no_id(text):
    assert not is_hub_id(text)


@pytest.fixture
def folder(tmp_path):
    save_model(create_model("fcn", backbone="test_resnet", num_classes=3, channels=16), tmp_path / "saved")
    return tmp_path / "saved"


def test_what_does_not_load_is_not_pushed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: pytest.fail("the Hub was asked"))
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"weights\.safetensors: cannot be read as weights"):
        push_to_hub(folder, "someone/streets")
    with pytest.raises(WeightsError, match="absent: no such folder"):
        push_to_hub(tmp_path / "absent", "someone/streets")
    for bad_id in ("streets", "someone/streets@v1"):
        with pytest.raises(WeightsError, match=f"{bad_id}: is no Hub id to push to"):
            push_to_hub(folder, bad_id)


def test_a_name_on_the_hub_is_no_folder_to_push(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("the Hub was asked"))
    with pytest.raises(WeightsError, match="no such folder"):
        push_to_hub("someone/streets", "someone/else")


def test_a_model_without_a_folder_is_given_no_licence(monkeypatch):
    pushed = {}
    monkeypatch.setattr(share, "_push", lambda contents, *rest: pushed.update(contents) or "address")
    model = create_model("fcn", backbone="test_resnet", num_classes=3, channels=16)
    assert push_to_hub(model, "someone/streets") == "address"
    assert json.loads(pushed["card.json"])["licence"] == ""
    assert metadata(pushed["README.md"].decode())["license"] == "other"


def test_paths_of_this_machine_stay_here(tmp_path, monkeypatch):
    pushed = {}
    monkeypatch.setattr(share, "_push", lambda contents, *rest: pushed.update(contents) or "address")
    model = create_model("fcn", backbone="test_resnet", num_classes=3, channels=16)
    recipe = Recipe(
        data=DataConfig(root="/home/me/streets"),
        model=ModelConfig(backbone_weights="/home/me/r50.pth"),
        loss=LossConfig(inverse_form_network="/home/me/form.safetensors"),
    )
    save_model(model, tmp_path / "model", recipe=recipe)
    push_to_hub(tmp_path / "model", "someone/streets")
    card = json.loads(pushed["card.json"])
    assert "/home/me" not in pushed["card.json"].decode() + pushed["README.md"].decode()
    assert card["recipe"]["data"]["layout"] == recipe.data.layout


def test_the_command_pushes_and_says_where(monkeypatch):
    asked = []

    def pushed(model, hub_id, **options):
        asked.append((model, hub_id, options))
        return "https://hub.example/someone/streets"

    monkeypatch.setattr("crispseg.models.push_to_hub", pushed)
    app = typer.Typer()
    app.command()(push)
    result = CliRunner().invoke(app, ["runs/mine", "someone/streets", "--private", "--token", "hf_x"])
    assert result.exit_code == 0, result.output
    assert asked == [("runs/mine", "someone/streets", {"private": True, "token": "hf_x"})]
    assert "https://hub.example/someone/streets" in result.output
    assert "crispseg segment someone/streets" in result.output
    assert CliRunner().invoke(app, ["runs/mine", "someone/streets"]).exit_code == 0
    assert asked[1][2] == {"private": False, "token": None}
