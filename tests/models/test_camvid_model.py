"""The trained network in models/camvid, as a user finds it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crispseg import Predictor, load_model
from crispseg.config import DataConfig
from crispseg.data import build_dataset
from crispseg.inference import ExportedModel
from crispseg.io import read_label_ids
from crispseg.labels import label_space
from crispseg.models import saved_card

GOLDEN = Path(__file__).parent / "golden"
FOLDER = Path(__file__).parents[2] / "models" / "camvid"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="models/ is in the repository only")


def test_the_folder_is_small_and_its_card_says_how_it_was_trained():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10e6
    card = saved_card(FOLDER)
    assert card["stored_bits"] == 16
    assert card["recipe"]["data"]["layout"] == "camvid"
    assert card["recipe"]["model"]["weights"] == "runs/camvid_lite0_further"  # whose weights began from ImageNet
    assert "ImageNet" in card["source"]["backbone"]
    assert "../" not in (FOLDER / "card.json").read_text(encoding="utf-8")
    assert 0.6 < card["metrics"]["mean_iou"] < 1
    assert set(card["metrics"]["iou"]) == set(label_space("camvid").class_names)


def test_the_pages_give_the_card_s_scores():
    metrics = saved_card(FOLDER)["metrics"]
    mean_iou, *boundary_f = (
        f"{100 * score:.1f}" for score in (metrics["mean_iou"], *metrics["mean_boundary_f"].values())
    )
    page = (FOLDER.parents[1] / "docs" / "results" / "camvid_lite0.md").read_text(encoding="utf-8")
    assert "| " + " | ".join(f"**{score}**" for score in (mean_iou, *boundary_f)) + " |" in page
    assert f"{mean_iou} % mean IoU" in (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")


def test_it_segments_a_street_as_well_as_its_card_says(real_camvid):
    image_path = sorted((real_camvid / "val").iterdir())[50]
    truth = read_label_ids(real_camvid / "valannot" / image_path.name)
    prediction = Predictor(load_model(FOLDER))(image_path).labels
    known = truth < len(label_space("camvid").class_names)
    accuracy = (prediction == truth)[known].mean()
    assert accuracy == pytest.approx(saved_card(FOLDER)["metrics"]["pixel_accuracy"], abs=0.08)  # one image of 101


def test_it_gives_the_masks_that_it_gave_when_it_was_saved():
    """Drawn by the version that saved it; a few pixels turn with the processor and the number of threads."""
    street = build_dataset(DataConfig(layout="toy_streets"), "val", augment=False).sample(3).image
    expected = np.array(Image.open(GOLDEN / "camvid_on_toy_street.png"))
    found = Predictor(load_model(FOLDER), precision="float32")(street).labels
    assert len(np.unique(expected)) == 9
    assert (found != expected).mean() < 1e-3


@pytest.mark.parametrize(("name", "may_differ"), [("camvid.onnx", 1e-3), ("camvid.int8.onnx", 0.05)])
def test_its_exported_files_give_its_masks(name, may_differ):
    """On a street that it was not trained on; the card says what 8 bits cost on the validation images."""
    pytest.importorskip("onnxruntime")
    exported = ExportedModel(FOLDER.parent / name)
    assert exported.card.model == saved_card(FOLDER)
    assert b"stack_trace" not in exported.path.read_bytes()
    street = build_dataset(DataConfig(layout="toy_streets"), "val", augment=False).sample(3).image
    found = Predictor(exported)(street).labels
    assert (found != np.array(Image.open(GOLDEN / "camvid_on_toy_street.png"))).mean() < may_differ


def test_its_file_in_8_bits_lost_little_when_it_was_made():
    pytest.importorskip("onnxruntime")
    quantised = ExportedModel(FOLDER.parent / "camvid.int8.onnx").card.quantised
    assert quantised["labelled_images"] == 101
    assert max(quantised[name]["lost_points"] for name in ("mean_iou", "boundary_f_1px")) <= 0.3
    assert sum(path.stat().st_size for path in FOLDER.parent.glob("camvid*.onnx")) < 25e6
