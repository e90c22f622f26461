"""Body generators: the learned flow, and the operators that table 1f compares it with."""

import numpy as np
import pytest
import torch

from crispseg.errors import ConfigError
from crispseg.layers.body import DeformableBody, FlowBody, PropagatedBody

SIZES = [(8, 8), (7, 13), (1, 1), (2, 33)]


@pytest.mark.parametrize("downsample", ["depthwise", "conv", "bilinear"])
@pytest.mark.parametrize("upsample", ["bilinear", "nearest", "deconv"])
@pytest.mark.parametrize("count", [1, 4])
def test_flow_body_keeps_shape_and_trains(downsample, upsample, count):
    body = FlowBody(6, downsample=downsample, upsample=upsample, downsample_count=count)
    features = torch.randn(2, 6, 9, 14, requires_grad=True)
    warped, shown = body(features)
    assert warped.shape == features.shape
    assert shown["flow"].shape == (2, 2, 9, 14)
    warped.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in body.parameters())
    assert body.flow.weight.grad.abs().sum() > 0


def test_zero_flow_is_exactly_the_identity():
    body = FlowBody(5).eval()
    torch.nn.init.zeros_(body.flow.weight)
    features = torch.randn(1, 5, 11, 17)
    assert torch.equal(body(features)[0], features)


def test_constant_flow_moves_the_features():
    """F_body(p) = F(p + δ): a flow of one cell to the right shows each cell its right neighbour."""
    body = FlowBody(1, downsample_count=1).eval()
    torch.nn.init.zeros_(body.flow.weight)
    body.flow.bias = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
    features = torch.arange(12.0).view(1, 1, 3, 4)
    torch.testing.assert_close(body(features)[0][..., :-1], features[..., 1:])


def test_paper_default_has_two_depthwise_steps_of_stride_two():
    body = FlowBody(8)
    convolutions = [m for m in body.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.groups, c.stride) for c in convolutions] == [(8, (2, 2))] * 2


@pytest.mark.parametrize(
    "options", [{"downsample": "max"}, {"upsample": "cubic"}, {"downsample_count": 0}, {"downsample_count": 5}]
)
def test_unknown_choices_are_named(options):
    key = next(iter(options))
    with pytest.raises(ConfigError, match=f"{key}.*found.*expected"):
        FlowBody(4, **options)


@pytest.mark.parametrize("body_class", [DeformableBody, PropagatedBody])
@pytest.mark.parametrize("size", SIZES)
def test_related_operators_keep_shape_and_train(body_class, size):
    body = body_class(6)
    features = torch.randn(2, 6, *size, requires_grad=True)
    out, _ = body(features)
    assert out.shape == features.shape
    out.square().sum().backward()
    # A single cell has nobody to propagate to.
    idle = {"affinity.weight", "affinity.bias"} if size == (1, 1) else set()
    for name, parameter in body.named_parameters():
        assert name in idle or torch.isfinite(parameter.grad).all()


def test_deformable_body_with_zero_offsets_is_a_convolution():
    body = DeformableBody(3)
    torch.nn.init.zeros_(body.offsets.weight)
    features = torch.randn(1, 3, 6, 7)
    expected = torch.nn.functional.conv2d(features, body.convolution.weight, padding=1)
    torch.testing.assert_close(body(features)[0], expected, rtol=1e-4, atol=1e-5)


def test_propagation_follows_its_recurrence():
    """h_t = (1 − Σ p_k) x_t + Σ p_k h_{t−1,k} in four directions, merged by the maximum: written out with loops."""
    body = PropagatedBody(4, propagated_channels=2)
    features = torch.randn(1, 4, 5, 6)
    out, shown = body(features)
    x = body.squeeze(features)[0].detach().numpy()
    affinity = shown["affinity"][0].detach().numpy().reshape(4, 3, 5, 6)

    def scan(values, weights):
        _, rows, columns = values.shape
        hidden = np.zeros_like(values)
        hidden[:, 0] = values[:, 0]
        for row in range(1, rows):
            for column in range(columns):
                w = weights[:, row, column]
                total = (1 - w.sum()) * values[:, row, column]
                for k in (-1, 0, 1):
                    if 0 <= column + k < columns:
                        total = total + w[k + 1] * hidden[:, row - 1, column + k]
                hidden[:, row, column] = total
        return hidden

    def turned(array):
        return array.transpose(0, 2, 1)

    down = scan(x, affinity[0])
    up = scan(x[:, ::-1], affinity[1][:, ::-1])[:, ::-1]
    right = turned(scan(turned(x), turned(affinity[2])))
    left = turned(scan(turned(x)[:, ::-1], turned(affinity[3])[:, ::-1])[:, ::-1])
    merged = torch.tensor(np.max([down, up, right, left], axis=0)[None].copy())
    torch.testing.assert_close(out, body.expand(merged), rtol=1e-4, atol=1e-5)
    assert (np.abs(affinity).sum(axis=1) <= 1 + 1e-5).all()
