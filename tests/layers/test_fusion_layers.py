"""The fusions of GFF against their equations, written out in NumPy."""

import numpy as np
import pytest
import torch

from crispseg.layers.fusion import (
    Addition,
    Concat,
    DenseFeaturePyramid,
    FullFusion,
    GatedTopDown,
    StagedSum,
    TopDown,
)
from crispseg.ops.resize import resize

LEVELS, CHANNELS = 3, 4


def same_size_levels(seed=0, count=LEVELS):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, CHANNELS, 5, 6, generator=generator) for _ in range(count)]


def gates_by_hand(fusion, levels):
    """σ(w ∗ X) of every level, in NumPy."""
    gates = []
    for gate, level in zip(fusion.gates, levels, strict=True):
        weight = gate.convolution.weight.detach().numpy()[0, :, 0, 0]
        z = np.einsum("c,nchw->nhw", weight, level.numpy()) + gate.convolution.bias.item()
        gates.append((1 / (1 + np.exp(-z)))[:, None])
    return gates


def test_addition_is_equation_3():
    levels = same_size_levels()
    fused, gates = Addition(LEVELS, CHANNELS)(levels)
    expected = sum(level.numpy() for level in levels)
    assert gates == []
    for one in fused:
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_fpn_is_equation_4():
    x1, x2, x3 = same_size_levels()
    fused, _ = TopDown(LEVELS, CHANNELS)([x1, x2, x3])
    for one, expected in zip(fused, (x1 + x2 + x3, x2 + x3, x3), strict=True):
        torch.testing.assert_close(one, expected)


def test_full_fusion_is_equation_5():
    fusion = FullFusion(LEVELS, CHANNELS)
    levels = same_size_levels()
    fused, gates = fusion(levels)
    by_hand = gates_by_hand(fusion, levels)
    for index, level in enumerate(levels):
        others = sum(by_hand[i] * levels[i].numpy() for i in range(LEVELS) if i != index)
        expected = (1 + by_hand[index]) * level.numpy() + (1 - by_hand[index]) * others
        np.testing.assert_allclose(fused[index].detach().numpy(), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(gates[index].detach().numpy(), by_hand[index], rtol=1e-5, atol=1e-6)


def test_gated_fpn_sends_downwards_only():
    fusion = GatedTopDown(LEVELS, CHANNELS)
    levels = same_size_levels()
    fused, _ = fusion(levels)
    gates = gates_by_hand(fusion, levels)
    x1, x2, x3 = (level.numpy() for level in levels)
    y3 = x3
    y2 = (1 + gates[1]) * x2 + (1 - gates[1]) * gates[2] * y3
    y1 = (1 + gates[0]) * x1 + (1 - gates[0]) * gates[1] * y2
    for one, expected in zip(fused, (y1, y2, y3), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_full_fusion_with_closed_gates_keeps_every_level():
    fusion = FullFusion(LEVELS, CHANNELS)
    for gate in fusion.gates:
        torch.nn.init.constant_(gate.convolution.bias, -200.0)
    levels = same_size_levels()
    for one, level in zip(fusion(levels)[0], levels, strict=True):
        torch.testing.assert_close(one, level)


def test_levels_of_other_sizes_are_resampled_to_the_receiver():
    generator = torch.Generator().manual_seed(1)
    fine, coarse = (torch.randn(1, CHANNELS, size, size, generator=generator) for size in (8, 4))
    fused, _ = Addition(2, CHANNELS)([fine, coarse])
    torch.testing.assert_close(fused[0], fine + resize(coarse, (8, 8)))
    torch.testing.assert_close(fused[1], coarse + resize(fine, (4, 4)))


def test_concat_reads_every_level():
    fusion = Concat(2, CHANNELS).eval()
    generator = torch.Generator().manual_seed(1)
    levels = [torch.randn(1, CHANNELS, 4, 4, generator=generator, requires_grad=True) for _ in range(2)]
    fused, _ = fusion(levels)
    for one in fused:
        gradients = torch.autograd.grad(one.sum(), levels, retain_graph=True)
        assert all(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize(
    ("fusion", "num_gates"), [(Concat, 0), (Addition, 0), (TopDown, 0), (GatedTopDown, 3), (FullFusion, 3)]
)
def test_every_fusion_keeps_shapes(fusion, num_gates):
    levels = [torch.randn(2, CHANNELS, size, size + 1) for size in (9, 5, 3)]
    fused, gates = fusion(3, CHANNELS)(levels)
    assert [one.shape for one in fused] == [level.shape for level in levels]
    assert len(gates) == num_gates
    assert fusion.gated == (num_gates > 0)
    assert all(gate.min() >= 0 and gate.max() <= 1 and gate.shape[1] == 1 for gate in gates)


@pytest.mark.parametrize("fusion", [Concat, Addition, TopDown, GatedTopDown, FullFusion])
def test_the_finest_level_alone_is_the_first_of_all(fusion):
    levels = [torch.randn(1, CHANNELS, size, size) for size in (9, 5, 3)]
    whole, alone = fusion(3, CHANNELS).eval(), fusion(3, CHANNELS, only_finest=True).eval()
    alone.load_state_dict({key: value for key, value in whole.state_dict().items() if key in alone.state_dict()})
    fused, _ = alone(levels)
    assert len(fused) == alone.num_fused == 1
    torch.testing.assert_close(fused[0], whole(levels)[0][0])


def test_a_staged_sum_doubles_after_each_convolution():
    """Kirillov et al. (2019), figure 3, for strides 4, 8, 16: one convolution, one and a doubling, two and two."""
    ending = StagedSum([4, 8, 16], CHANNELS, 2).eval()
    levels = [torch.randn(1, CHANNELS, size, size) for size in (8, 4, 2)]
    assert [len(way) for way in ending.ways] == [1, 1, 2]
    (first,), (second,), (third, fourth) = ending.ways
    expected = (
        first(levels[0]) + resize(second(levels[1]), (8, 8)) + resize(fourth(resize(third(levels[2]), (4, 4))), (8, 8))
    )
    torch.testing.assert_close(ending(levels), expected)
    odd = [torch.randn(1, CHANNELS, *size) for size in ((9, 7), (5, 4), (3, 2))]
    assert ending(odd).shape == (1, 2, 9, 7)


def test_dense_pyramid_reads_what_equation_6_says():
    """y_i depends on y_0 and on X̃_1 … X̃_{i−1}, counted from the top, and on nothing else."""
    pyramid = DenseFeaturePyramid(2, CHANNELS, at_finest=False).eval()
    context = torch.randn(1, CHANNELS, 3, 3, requires_grad=True)
    low, top = (torch.randn(1, CHANNELS, size, size, requires_grad=True) for size in (6, 3))
    outputs = pyramid(context, [low, top])
    assert [one.shape[-1] for one in outputs] == [3, 3, 6]
    reads = []
    for one in outputs:
        gradients = torch.autograd.grad(one.square().sum(), (context, top, low), retain_graph=True, allow_unused=True)
        reads.append([gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients])
    assert reads == [[True, False, False], [True, True, False], [True, True, True]]
    assert pyramid.convolutions[1][0].in_channels == 2 * CHANNELS


def test_every_convolution_of_the_dense_pyramid_runs_at_the_finest_level():
    """GFF, table 3: 25.4 GFLOPs for 0.8 M parameters are the cells of stride 4."""
    pyramid = DenseFeaturePyramid(2, CHANNELS).eval()
    context, low, top = torch.randn(1, CHANNELS, 3, 3), torch.randn(1, CHANNELS, 6, 6), torch.randn(1, CHANNELS, 3, 3)
    outputs = pyramid(context, [low, top])
    assert [one.shape[-1] for one in outputs] == [6, 6, 6]
    larger = [resize(one, (6, 6)) for one in (context, top)]
    torch.testing.assert_close(outputs[1], pyramid.convolutions[1](torch.cat(larger, dim=1)))
