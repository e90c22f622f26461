"""The private copy in 16 bits: what is folded in it, that it says the same, and when it is made again or not at all."""

import pickle

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from crispseg.inference import Predictor
from crispseg.inference.converted import converted
from crispseg.labels import LabelSpace
from crispseg.models import HEADS, create_model
from crispseg.types import SegmentationOutput

SPACE = LabelSpace.from_dict({"name": "three", "classes": ["a", "b", "c"]})
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
OWN_HEADS = [name for name in HEADS if not name.startswith("released_")]


class Net(nn.Module):
    """Convolutions that may be folded and some that may not."""

    def __init__(self):
        super().__init__()
        self.label_space = SPACE
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(8)
        self.act = nn.Sequential(nn.Conv2d(8, 8, 1), BatchNormAct2d(8, act_layer=nn.SiLU))
        self.read_twice, self.read_twice_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.run_twice, self.run_twice_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.looked_at, self.looked_at_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, affine=False)
        self.exact, self.exact_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.mixing = nn.Linear(8, 8)
        self.last = nn.Conv2d(8, 3, 1)
        generator = torch.Generator().manual_seed(0)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.25, generator=generator)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                if module.affine:
                    nn.init.normal_(module.weight, generator=generator)
                    nn.init.normal_(module.bias, generator=generator)

    def forward(self, images):
        x = self.act(self.first_norm(self.first(images)).relu())
        twice = self.read_twice(x)
        x = self.read_twice_norm(twice) + twice
        x = self.run_twice_norm(self.run_twice(x)) + self.run_twice(x)
        x = self.looked_at_norm(self.looked_at(x)) + self.looked_at.weight.mean()
        with torch.autocast(x.device.type, enabled=False):
            x = self.exact_norm(self.exact(x.float()))
        x = self.mixing(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return SegmentationOutput(logits=self.last(x))


def probabilities(predictor):
    return predictor(IMAGE).probability


def bfloat16(model):
    return Predictor(model, precision="bfloat16", keep_probability=True)


def test_what_only_a_norm_reads_is_folded_and_what_only_such_layers_read_is_converted():
    model = Net().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copied = converted(model, torch.bfloat16)
    layers = ("first", "act.0", "read_twice", "run_twice", "mixing", "last")
    named = dict(copied.named_parameters())
    assert {name for name, value in named.items() if value.dtype == torch.bfloat16} == {
        f"{layer}.{part}" for layer in layers for part in ("weight", "bias")
    }
    assert isinstance(copied.first_norm, nn.Identity)
    assert [type(part) for part in copied.act[1]] == [nn.Identity, nn.SiLU]
    for name in ("read_twice_norm", "run_twice_norm", "looked_at_norm", "exact_norm"):
        assert isinstance(getattr(copied, name), nn.BatchNorm2d), name
    assert copied.exact.weight is model.exact.weight  # what stays as it is, is not copied
    assert model.first.bias is None
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_copy_says_what_the_network_says():
    model = Net()
    exact = probabilities(Predictor(model, precision="float32", keep_probability=True))
    with_copy = probabilities(bfloat16(model))
    model.register_forward_hook(lambda *_: None)  # run itself
    by_autocast = probabilities(bfloat16(model))
    assert not np.array_equal(with_copy, by_autocast)
    assert np.abs(with_copy - exact).max() < 2 * np.abs(by_autocast - exact).max() < 0.1


@pytest.mark.parametrize("head", OWN_HEADS)
def test_every_head_has_a_copy_without_a_norm_behind_a_convolution(head):
    torch.manual_seed(0)
    model = create_model(head, backbone="test_resnet", num_classes=3, channels=8, output_stride=32).eval()
    copied = converted(model, torch.bfloat16)
    norms = [sum(isinstance(part, nn.BatchNorm2d) for part in one.modules()) for one in (model, copied)]
    assert norms[1] <= norms[0] / 5
    images = torch.rand(2, 3, 70, 91)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, found = model(images), copied(images)
    scale = float(expected.logits.abs().max())
    assert (found.logits.float() - expected.logits.float()).abs().max() < 0.1 * max(scale, 1)


def change_in_place(model):
    with torch.no_grad():
        model.last.bias.add_(3 * torch.arange(3.0))


def take_a_step(model):
    model.last.bias.grad = torch.tensor([3.0, 0, -3])
    torch.optim.SGD([model.last.bias], lr=1).step()


def load(model):
    model.load_state_dict({name: value + 0.5 for name, value in model.state_dict().items()})


def replace(model):
    model.first_norm = nn.Identity()


def write_statistics(model):
    model.first_norm.running_mean.add_(1)


@pytest.mark.parametrize("change", [change_in_place, take_a_step, load, replace, write_statistics])
def test_a_changed_network_counts_at_once(change):
    model = Net()
    predictor = bfloat16(model)
    before = probabilities(predictor)
    assert np.array_equal(probabilities(predictor), before)
    change(model)
    after = probabilities(predictor)
    assert not np.array_equal(after, before)
    assert np.array_equal(after, probabilities(bfloat16(model)))


def test_the_copy_is_made_once_and_not_sent_to_other_processes(monkeypatch):
    made = []
    monkeypatch.setattr(
        "crispseg.inference.converted.converted", lambda *values: made.append(values) or converted(*values)
    )
    predictor = bfloat16(Net())
    expected = probabilities(predictor)
    probabilities(predictor)
    assert len(made) == 1
    again = pickle.loads(pickle.dumps(predictor))
    assert np.array_equal(probabilities(again), expected)
    assert len(made) == 2


class FixedSize(Net):
    def forward(self, images):
        assert images.shape[-2:] == (24, 20)
        return super().forward(images)


class NoCopy(Net):
    def __deepcopy__(self, memo):
        raise TypeError("cannot pickle '_thread.lock' object")


class NoLayers(nn.Module):
    label_space = SPACE

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return SegmentationOutput(logits=images * self.scale)


class OwnBias(Net):
    """Its convolution does not take the bias that folding gives it."""

    def __init__(self):
        super().__init__()
        self.first.forward = lambda images: nn.functional.conv2d(images, self.first.weight, None, padding=1)


def made_for_inference():
    with torch.inference_mode():
        return Net()


@pytest.mark.parametrize("make", [FixedSize, NoCopy, NoLayers, OwnBias, made_for_inference])
def test_a_network_without_a_copy_runs_itself(make):
    model = make()
    found = probabilities(bfloat16(model))
    model.register_forward_hook(lambda *_: None)  # which would see other values in a copy
    np.testing.assert_array_equal(found, probabilities(bfloat16(model)))


def test_without_bfloat16_processors_predict_in_float32_with_a_folded_copy(monkeypatch):
    monkeypatch.setattr("crispseg.inference.network.computes_bfloat16", lambda device_type: False)
    made = []
    monkeypatch.setattr(
        "crispseg.inference.converted.converted", lambda *values: made.append(converted(*values)) or made[-1]
    )
    model = Net()
    image = np.random.default_rng(0).integers(0, 256, (70, 80, 3), dtype=np.uint8)
    named, unasked = (
        Predictor(model, precision="float32", keep_probability=True),
        Predictor(model, keep_probability=True),
    )
    exact, found = named(image).probability, unasked(image).probability
    assert unasked.precision == "float32"
    assert isinstance(made[0].first_norm, nn.Identity)
    assert {values.dtype for values in made[0].parameters()} == {torch.float32}
    assert len(made) == 1  # by name there is none
    assert np.abs(found - exact).max() < 1e-5
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255).logits
    assert np.array_equal(exact, logits.softmax(dim=1)[0].numpy())
    model.register_forward_hook(lambda *_: None)  # run itself
    assert np.array_equal(unasked(image).probability, exact)
