import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crispseg.ops.warp import flow_warp

sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 70), st.integers(1, 70))


@settings(deadline=None, max_examples=60)
@given(
    shape=sizes, seed=st.integers(0, 2**31 - 1), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16])
)
def test_zero_flow_is_the_identity_bit_for_bit(shape, seed, dtype):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    warped = flow_warp(features, torch.zeros(shape[0], 2, *shape[2:]))
    assert warped.dtype == dtype
    assert torch.equal(warped, features)


@settings(deadline=None, max_examples=40)
@given(shape=sizes, seed=st.integers(0, 2**31 - 1), reach=st.sampled_from([0.7, 3.0, 200.0]))
def test_matches_scipy_at_any_flow(shape, seed, reach):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(shape, generator=generator)
    flow = torch.randn((shape[0], 2, *shape[2:]), generator=generator) * reach
    warped = flow_warp(features, flow).numpy()
    rows, columns = np.mgrid[: shape[2], : shape[3]].astype(np.float64)
    for image in range(shape[0]):
        # "nearest" reads the frame's cell beyond the frame
        positions = [rows + flow[image, 1].numpy(), columns + flow[image, 0].numpy()]
        for channel in range(shape[1]):
            expected = ndimage.map_coordinates(
                features[image, channel].numpy().astype(np.float64), positions, order=1, mode="nearest"
            )
            np.testing.assert_allclose(warped[image, channel], expected, atol=2e-4)


def test_flow_is_x_then_y_and_positive_x_reads_from_the_right():
    features = torch.arange(12.0).view(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0] = 1
    assert flow_warp(features, flow)[0, 0].tolist() == [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]]
    flow[:, 0], flow[:, 1] = 0, 1
    assert flow_warp(features, flow)[0, 0].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11], [8, 9, 10, 11]]


def test_whole_cells_stay_exact_where_half_precision_cannot_count():
    features = torch.randn(1, 2, 1, 3001).bfloat16()
    flow = torch.zeros(1, 2, 1, 3001, dtype=torch.bfloat16)
    flow[:, 0] = 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        warped = flow_warp(features, flow)
    assert torch.equal(warped[..., :-3], features[..., 3:])


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    # away from whole cells, where the slope of a bilinear surface jumps
    flow = torch.rand(2, 2, 4, 5, dtype=torch.float64, generator=generator) * 0.8 + 0.1
    flow += torch.randint(-2, 2, flow.shape, generator=generator)
    assert torch.autograd.gradcheck(flow_warp, (features, flow.requires_grad_()))


def test_zero_flow_has_a_gradient_at_every_cell_frame_included():
    features = torch.arange(20.0).view(1, 1, 4, 5)
    flow = torch.zeros(1, 2, 4, 5, requires_grad=True)
    flow_warp(features, flow).sum().backward()
    assert flow.grad is not None
    assert torch.equal(flow.grad[0, 0], torch.full((4, 5), 1.0))
    assert torch.equal(flow.grad[0, 1], torch.full((4, 5), 5.0))


def test_non_finite_flow_gives_nan_and_no_crash():
    flow = torch.zeros(1, 2, 2, 3)
    flow[0, 0, 0, 0], flow[0, 1, 1, 1] = float("nan"), float("inf")
    warped = flow_warp(torch.ones(1, 2, 2, 3), flow)
    assert warped[0, :, 0, 0].isnan().all()
    assert warped.isnan().sum() == 2


def test_memory_format_does_not_change_the_result():
    features, flow = torch.randn(2, 8, 6, 7), torch.randn(2, 2, 6, 7)
    channels_last = features.contiguous(memory_format=torch.channels_last)
    assert torch.equal(flow_warp(features, flow), flow_warp(channels_last, flow))


@pytest.mark.parametrize(
    ("features", "flow"),
    [((2, 3, 4, 4), (1, 2, 4, 4)), ((1, 3, 4, 4), (1, 2, 4, 5)), ((1, 3, 4, 4), (1, 3, 4, 4)), ((3, 4, 4), (2, 4, 4))],
)
def test_shapes_that_do_not_belong_together_are_named(features, flow):
    with pytest.raises(ValueError, match=str(features).replace("(", r"\(").replace(")", r"\)")):
        flow_warp(torch.zeros(features), torch.zeros(flow))


class Warp(torch.nn.Module):
    def forward(self, features, flow_px):
        return flow_warp(features, flow_px)


def test_exports_with_free_batch_and_size():
    features, flow = torch.randn(2, 3, 6, 7), torch.randn(2, 2, 6, 7)
    sizes = {0: torch.export.Dim("n"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    program = torch.export.export(Warp(), (features, flow), dynamic_shapes=(sizes, sizes))
    other, other_flow = torch.randn(3, 3, 9, 5), torch.randn(3, 2, 9, 5)
    expected = flow_warp(other, other_flow)
    torch.testing.assert_close(program.module()(other, other_flow), expected, rtol=0, atol=2e-6)
