"""Context modules: the contract, and the equations of pooling."""

import numpy as np
import pytest
import torch

from crispseg.context import ASPP, CONTEXTS, DenseASPP, PyramidPooling


@pytest.mark.parametrize("name", CONTEXTS)
@pytest.mark.parametrize("extra_channels", [0, 1, 3])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 8)])
def test_shapes_and_gradients(name, extra_channels, size):
    context = CONTEXTS[name](12, 8, 8, extra_channels)
    features = torch.randn(2, 12, *size, requires_grad=True)
    extra = torch.rand(2, extra_channels, 4 * size[0] + 1, 4 * size[1]) if extra_channels else None
    out = context(features, extra)
    assert out.shape == (2, 8, *size)
    assert context.out_channels == 8
    out.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in context.parameters())


@pytest.mark.parametrize("name", CONTEXTS)
def test_extra_map_must_be_as_announced(name):
    with pytest.raises(ValueError, match="without an extra map"):
        CONTEXTS[name](4, 4, 8, 1)(torch.randn(2, 4, 3, 3))
    with pytest.raises(ValueError, match="with an extra map"):
        CONTEXTS[name](4, 4, 8)(torch.randn(2, 4, 3, 3), torch.randn(2, 1, 3, 3))


@pytest.mark.parametrize("name", CONTEXTS)
def test_extra_map_matters(name):
    torch.manual_seed(0)
    context = CONTEXTS[name](4, 32, 8, 1).eval()
    features = torch.randn(1, 4, 6, 6)
    zeros, ones = (context(features, torch.full((1, 1, 12, 12), value)) for value in (0.0, 1.0))
    assert not torch.allclose(zeros, ones)


def test_pyramid_pooling_averages_regions():
    """A bin of 2 sees the means of the four quadrants."""
    context = PyramidPooling(1, 1, 8, bins=(2,)).eval()
    features = torch.arange(16.0).view(1, 1, 4, 4)
    seen = {}
    context.branches[0].register_forward_hook(lambda module, args, result: seen.update(pooled=args[0]))
    context(features)
    quadrants = np.arange(16.0).reshape(2, 2, 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(seen["pooled"][0, 0].numpy(), quadrants)


@pytest.mark.parametrize(("stride", "expected"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_aspp_rates_are_stated_for_stride_8(stride, expected):
    context = ASPP(4, 4, stride)
    assert [branch[0].dilation[0] for branch in context.branches][1:] == expected


def test_dense_aspp_layers_read_all_before_them():
    context = DenseASPP(10, 4, 8, rates=(1, 2, 3), growth_channels=5, bottleneck_channels=6)
    assert [layer[0][0].in_channels for layer in context.layers] == [10, 15, 20]
    assert context.merge[0].in_channels == 25


def test_separable_atrous_branches_are_a_convolution_of_each_channel_and_then_1x1():
    """DeepLabV3+ (2018), section 3.1, composed by hand; rates at stride 16 are half of those at 8."""
    torch.manual_seed(0)
    dense, context = ASPP(12, 8, 16).eval(), ASPP(12, 8, 16, separable=True).eval()
    features = torch.randn(1, 12, 9, 11)
    for branch, rate in zip(context.branches[1:], (6, 12, 18), strict=True):
        depthwise, pointwise, norm, _ = branch
        each = [
            torch.nn.functional.conv2d(features[:, [index]], depthwise.weight[[index]], padding=rate, dilation=rate)
            for index in range(12)
        ]
        mixed = torch.einsum("oi,nihw->nohw", pointwise.weight[:, :, 0, 0], torch.cat(each, dim=1))
        torch.testing.assert_close(branch(features), norm(mixed).relu())
    counts = [sum(p.numel() for p in one.parameters()) for one in (dense, context)]
    assert counts[0] - counts[1] == 3 * (9 * 12 * 8 - (9 * 12 + 12 * 8))
    assert context(features).shape == dense(features).shape
