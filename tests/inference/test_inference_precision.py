"""How a network is run: in which precision, compiled or not, and that neither shows on the network afterwards."""

import functools
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from crispseg.errors import ConfigError
from crispseg.inference import Predictor
from crispseg.inference.network import NetworkBackend
from crispseg.labels import LabelSpace
from crispseg.types import SegmentationOutput

SPACE = LabelSpace.from_dict({"name": "three", "classes": ["a", "b", "c"]})
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


class Watched(nn.Module):
    """Notes how it, or a copy of it, is run."""

    seen: ClassVar[list[tuple[torch.dtype, bool]]] = []

    def __init__(self):
        super().__init__()
        self.label_space = SPACE
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1))
        self.seen.clear()

    def forward(self, images):
        logits = self.layers(images)
        self.seen.append((logits.dtype, images.is_contiguous(memory_format=torch.channels_last)))
        return SegmentationOutput(logits=logits)


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr("crispseg.inference.network.computes_bfloat16", lambda device: True)


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr("crispseg.inference.network.computes_bfloat16", lambda device: False)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_16_bits_are_autocast_with_channels_last_and_probabilities_are_float32(precision):
    model = Watched()
    predictor = Predictor(model, precision=precision, keep_probability=True)
    found = predictor(IMAGE)
    assert predictor.precision == precision
    assert model.seen[-1] == (getattr(torch, precision), True)
    assert found.probability.dtype == np.float32
    exact = Predictor(model, precision="float32", keep_probability=True)(IMAGE)
    np.testing.assert_allclose(found.probability, exact.probability, atol=0.02)
    assert not np.array_equal(found.probability, exact.probability)


def test_float32_is_the_model_itself_to_the_last_bit():
    model = Watched().eval()
    images = torch.rand(1, 3, 24, 20)
    with torch.no_grad():
        expected = model(images).logits.softmax(1)
    assert torch.equal(Predictor(model, precision="float32").predict_batch(images), expected)
    assert model.seen[-1] == (torch.float32, False)


def test_auto_is_bfloat16_where_the_hardware_multiplies_it(fast):
    assert Predictor(Watched()).precision == "bfloat16"


def test_unasked_small_images_stay_in_float32_whatever_their_batch(fast):
    model = Watched()
    for side, expected in [(63, torch.float32), (64, torch.bfloat16)]:
        Predictor(model).predict_batch(torch.rand(3, 3, 64, side))
        assert model.seen[-1][0] == expected
    Predictor(model, precision="bfloat16").predict_batch(torch.rand(1, 3, 8, 8))
    assert model.seen[-1][0] == torch.bfloat16


def test_auto_is_float32_elsewhere(slow):
    assert Predictor(Watched()).precision == "float32"


def test_auto_leaves_functions_and_modules_of_another_type_as_they_are(fast):
    assert Predictor(lambda images: SegmentationOutput(logits=images)).precision == "float32"
    assert Predictor(Watched().double()).precision == "float32"
    assert Predictor(nn.Identity()).precision == "float32"


def test_this_processor_is_asked_and_not_tried(monkeypatch):
    cpu = torch.device("cpu")
    for has_avx512, has_amx in [(True, False), (False, True), (False, False)]:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has_avx512: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=has_amx: has)
        assert NetworkBackend(Watched(), cpu).precision == ("bfloat16" if has_avx512 or has_amx else "float32")
    assert NetworkBackend(Watched(), torch.device("meta")).precision == "float32"


def test_the_model_is_left_as_it_was_found():
    model = Watched().train()
    before = {name: (value.clone(), value.stride()) for name, value in model.state_dict().items()}
    Predictor(model, precision="bfloat16", flip=True, window_hw=(16, 16))(IMAGE)
    assert model.training
    assert not torch.is_autocast_enabled("cpu")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.stride() == before[name][1]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="precision is 'half'; one of auto, float32, bfloat16, float16 expected"):
        Predictor(Watched(), precision="half")


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_network_says_the_same(backend, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    model = Watched()
    with torch.no_grad():
        model.layers[1].running_mean += 0.1
    plain, compiled = (
        Predictor(model, precision="bfloat16", compile=compile, keep_probability=True) for compile in (False, True)
    )
    for image in (IMAGE, IMAGE[:17, :11]):
        np.testing.assert_allclose(compiled(image).probability, plain(image).probability, atol=1e-2)
    assert not hasattr(model, "_orig_mod")
