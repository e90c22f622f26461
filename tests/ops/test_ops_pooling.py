import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from crispseg.ops.pooling import _by_products, pool_regions


@settings(deadline=None, max_examples=60)
@given(size=st.tuples(st.integers(1, 70), st.integers(1, 70)), count=st.sampled_from([1, 2, 3, 6, 8]))
def test_products_equal_adaptive_pooling(size, count):
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(size[0] * 71 + size[1]))
    expected = functional.adaptive_avg_pool2d(maps, count)
    assert torch.equal(pool_regions(maps, count), expected)
    torch.testing.assert_close(_by_products(maps, count), expected, rtol=0, atol=2e-6)


def test_half_precision_does_not_overflow():
    maps = torch.full((1, 1, 300, 300), 500.0, dtype=torch.float16)
    assert abs(_by_products(maps, 1).item() - 500) <= 1


@pytest.mark.parametrize("count", [1, 3])
def test_a_graph_takes_the_regions_from_each_size(count):
    class Pool(torch.nn.Module):
        def forward(self, maps):
            return pool_regions(maps, count)

    sides = {axis: torch.export.Dim(f"side_{axis}", min=2) for axis in (2, 3)}
    program = torch.export.export(Pool(), (torch.rand(1, 2, 12, 18),), dynamic_shapes=(sides,)).module()
    for size in [(13, 7), (2, 31), (45, 60)]:
        maps = torch.rand(1, 2, *size)
        torch.testing.assert_close(program(maps), functional.adaptive_avg_pool2d(maps, count), rtol=0, atol=2e-6)
