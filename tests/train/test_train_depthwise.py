"""Depthwise convolutions of a step in bfloat16 compute in float32, and nothing else does."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from train_runs import TINY

from crispseg.recipes import load_recipe
from crispseg.train import fit
from crispseg.train.depthwise import depthwise_in_float32


class Convolutions(TorchDispatchMode):
    """The kind and dtype of each one that is computed, forward and backward."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
            weight, groups = (args[1], args[8]) if func is torch.ops.aten.convolution.default else (args[2], args[9])
            kind = "depthwise" if groups > 1 and weight.shape[1] == 1 else "other"
            self.seen.add((func.overloadpacket._qualified_op_name.split("::")[1], kind, weight.dtype))
        return func(*args, **(kwargs or {}))


def convolutions_of(layers, images, **autocast):
    with Convolutions() as convolutions:
        with torch.autocast("cpu", torch.bfloat16, **autocast), depthwise_in_float32("cpu"):
            out = layers(images)
        out.float().square().sum().backward()
    return out, convolutions.seen


def test_forward_and_backward_of_depthwise_alone():
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(8, 4, 1)
    )
    out, seen = convolutions_of(layers, torch.rand(2, 3, 16, 16))
    assert out.dtype == torch.bfloat16
    assert seen == {
        (name, kind, dtype)
        for name in ("convolution", "convolution_backward")
        for kind, dtype in (("depthwise", torch.float32), ("other", torch.bfloat16))
    }


def test_nothing_changes_without_autocast():
    layers = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3)).double()
    _, seen = convolutions_of(layers, torch.rand(1, 8, 9, 9).double(), enabled=False)
    assert {dtype for _, _, dtype in seen} == {torch.float64}


@pytest.mark.parametrize("dilation", [1, 2])
def test_gradients_are_those_of_float32(dilation):
    torch.manual_seed(0)
    images, weight = torch.randn(2, 6, 12, 12), torch.randn(6, 1, 3, 3, requires_grad=True)
    slope = torch.randn(2, 6, 12, 12).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), depthwise_in_float32("cpu"):
        out = F.conv2d(images, weight, padding=dilation, dilation=dilation, groups=6)
    (found,) = torch.autograd.grad(out, weight, slope)
    padded = F.pad(images, [dilation] * 4)
    expected = torch.stack([
        (padded[:, :, row : row + 12, column : column + 12] * slope.float()).sum(dim=(0, 2, 3))
        for row in range(0, 3 * dilation, dilation) for column in range(0, 3 * dilation, dilation)
    ]).T.reshape(6, 1, 3, 3)  # fmt: skip
    assert out.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_elsewhere_than_on_a_cpu_nothing_is_looked_at():
    with depthwise_in_float32("cuda"), torch.autocast("cpu", torch.bfloat16):
        layer, seen = nn.Conv2d(8, 8, 3, groups=8), Convolutions()
        with seen:
            layer(torch.rand(1, 8, 9, 9))
    assert seen.seen == {("convolution", "depthwise", torch.bfloat16)}


@pytest.mark.slow
def test_fit_trains_so(tmp_path):
    changes = ["model.backbone=test_efficientnet", "train.precision=bf16", "train.epochs=1"]
    with Convolutions() as convolutions:
        fit(load_recipe("toy/gscnn", [*TINY, *changes]), tmp_path / "run", progress=False)
    assert ("convolution_backward", "depthwise", torch.float32) in convolutions.seen
    assert ("convolution_backward", "depthwise", torch.bfloat16) not in convolutions.seen
    assert ("convolution_backward", "other", torch.bfloat16) in convolutions.seen
