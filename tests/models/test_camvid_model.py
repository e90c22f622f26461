"""The trained network in models/camvid, as a user finds it."""

from pathlib import Path

import numpy as np
import pytest

from crispseg import Predictor, load_model
from crispseg.labels import label_space
from crispseg.models import saved_card

FOLDER = Path(__file__).parents[2] / "models" / "camvid"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="models/ is in the repository only")


def test_the_folder_is_small_and_its_card_says_how_it_was_trained():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 25e6
    card = saved_card(FOLDER)
    assert card["stored_bits"] == 16
    assert card["recipe"]["data"]["layout"] == "camvid"
    assert not card["recipe"]["model"]["pretrained"]
    assert "../" not in (FOLDER / "card.json").read_text(encoding="utf-8")
    assert 0.5 < card["metrics"]["mean_iou"] < 1
    assert set(card["metrics"]["iou"]) == set(label_space("camvid").class_names)


def test_it_tells_sky_from_road():
    """Blue above grey, as in any street."""
    image = np.zeros((180, 240, 3), dtype=np.uint8)
    image[:90] = (150, 190, 230)
    image[90:] = (90, 90, 95)
    prediction = Predictor(load_model(FOLDER))(image)
    names = label_space("camvid").class_names
    labels = prediction.labels
    assert names[np.bincount(labels[:40].ravel()).argmax()] == "sky"
    assert names[np.bincount(labels[140:].ravel()).argmax()] == "road"
