"""Cards of format 1: heads that mean another network today compute what they computed then."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from crispseg.models import create_model, load_model, save_model
from crispseg.models.upgrade import upgraded

# Logits of these heads at every 8th pixel, computed by crispseg 0.1, with the weights below.
LOGITS = np.load(Path(__file__).parent / "golden" / "format_1_logits.npz")
NETWORK = {"backbone": "resnet10t", "num_classes": 3, "channels": 8, "output_stride": 16}


def weight(key, shape):
    """A tensor that depends on its name alone."""
    r = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = r.uniform(0.5, 1.5, shape)
    elif key.endswith(("running_mean", "bias")):
        values = r.normal(0, 0.1, shape)
    elif len(shape) == 4:
        values = r.normal(0, 1, shape) * np.sqrt(2 / np.prod(shape[1:]))
    else:
        values = r.uniform(0.3, 0.8, shape)
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize("head", list(LOGITS))
def test_a_model_of_format_1_gives_the_logits_that_it_gave(head, tmp_path):
    config = upgraded(create_model(head, **NETWORK).config, 1)
    then = create_model(head, **NETWORK, head_options=config.head_options)
    for key, value in then.state_dict().items():
        if value.is_floating_point() and key not in ("mean", "std"):
            value.copy_(weight(key, tuple(value.shape)))
    save_model(then, tmp_path / "model")
    card_file = tmp_path / "model" / "card.json"
    card = json.loads(card_file.read_text())
    card["format_version"] = 1
    card["model"]["head_options"] = {}  # which 0.1 did not know
    card_file.write_text(json.dumps(card))

    model = load_model(tmp_path / "model")
    images = torch.tensor(np.random.default_rng(0).random((1, 3, 64, 96)), dtype=torch.float32)
    with torch.inference_mode():
        found = model(images).logits[0, :, ::8, ::8].numpy()
    np.testing.assert_allclose(found, LOGITS[head], atol=1e-5)

    save_model(model, tmp_path / "again")  # as a card of today
    with torch.inference_mode():
        again = load_model(tmp_path / "again")(images).logits[0, :, ::8, ::8].numpy()
    np.testing.assert_allclose(again, found, atol=1e-6)


def test_cards_of_today_and_other_heads_stay_as_they_are():
    for head, version in (("concat", 2), ("gff", 1), ("gscnn", 1)):
        config = create_model(head, **NETWORK).config
        assert upgraded(config, version) == config


def test_densenets_of_format_1_were_not_dilated():
    config = create_model("fcn", **{**NETWORK, "backbone": "densenet121"}).config
    assert config.output_stride == 16
    assert upgraded(config, 1).output_stride == 32
    assert upgraded(config, 2) == config
