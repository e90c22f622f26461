"""GSCNN's gated convolution against eq. 1 and 2 in NumPy."""

import numpy as np
import torch

from crispseg.layers.gates import GatedConvolution, LevelGate


def test_gated_convolution_is_equations_1_and_2():
    layer = GatedConvolution(3, 5).eval()
    norm = layer.attention[1]
    with torch.no_grad():
        norm.running_mean.fill_(0.3)
        norm.running_var.fill_(2.0)
        norm.weight.fill_(1.5)
        norm.bias.fill_(-0.2)
    generator = torch.Generator().manual_seed(0)
    shape = torch.randn(2, 3, 4, 6, generator=generator)
    regular = torch.randn(2, 5, 4, 6, generator=generator)
    gated, alpha = layer(shape, regular)

    s, r = shape.numpy(), regular.numpy()
    side = np.einsum("c,nchw->nhw", layer.side.weight.detach().numpy()[0, :, 0, 0], r) + layer.side.bias.item()
    both = np.concatenate([s, side[:, None]], axis=1)
    z = np.einsum("c,nchw->nhw", layer.attention[0].weight.detach().numpy()[0, :, 0, 0], both)
    z = (z - 0.3) / np.sqrt(2.0 + norm.eps) * 1.5 - 0.2
    expected_alpha = 1 / (1 + np.exp(-z))
    weight = layer.weight.weight.detach().numpy()[:, :, 0, 0]
    expected = np.einsum("oc,nchw->nohw", weight, s * expected_alpha[:, None] + s)
    np.testing.assert_allclose(alpha.detach().numpy()[:, 0], expected_alpha, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gated.detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_regular_stream_reaches_the_shape_streams_resolution():
    gated, alpha = GatedConvolution(4, 7)(torch.randn(2, 4, 9, 11), torch.randn(2, 7, 3, 4))
    assert gated.shape == (2, 4, 9, 11)
    assert alpha.shape == (2, 1, 9, 11)
    assert 0 <= alpha.min() <= alpha.max() <= 1


def test_closed_gate_leaves_the_channel_weighting():
    layer = GatedConvolution(2, 2).eval()
    torch.nn.init.constant_(layer.attention[1].bias, -200.0)
    shape = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(layer(shape, torch.randn(1, 2, 3, 3))[0], layer.weight(shape))


def test_level_gate_is_one_map_in_zero_one():
    gate = LevelGate(6)(torch.randn(2, 6, 3, 5))
    assert gate.shape == (2, 1, 3, 5)
    assert 0 <= gate.min() <= gate.max() <= 1
