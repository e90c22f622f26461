"""The refiner in models/camvid_refiner, as a user finds it."""

from pathlib import Path

import numpy as np
import pytest

from crispseg import Refiner, load_model
from crispseg.models import saved_card

FOLDER = Path(__file__).parents[2] / "models" / "camvid_refiner"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="models/ is in the repository only")


def test_it_is_small_says_how_it_was_trained_and_sharpens_an_edge_that_is_plain_to_see():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2e6
    card = saved_card(FOLDER)
    assert card["stored_bits"] == 16
    assert card["recipe"]["data"]["target"] == "directions"
    assert "367 training images" in card["notes"]
    image = np.full((96, 128, 3), 90, dtype=np.uint8)
    image[:, 64:] = 200
    truth = np.zeros((96, 128), dtype=np.uint8)
    truth[:, 64:] = 7
    mask = np.roll(truth, 2, axis=1)
    mask[:, :2] = 0
    refined = Refiner(load_model(FOLDER), precision="float32")(image, mask)
    assert set(np.unique(refined)) == {0, 7}
    assert (refined != truth).sum() <= (mask != truth).sum()
