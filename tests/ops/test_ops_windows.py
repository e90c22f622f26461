import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crispseg.errors import ConfigError
from crispseg.ops.windows import blend_weights, place_windows, stitch_rows
from crispseg.pictures.colour import blend, colourise

sizes = st.integers(1, 40)


@given(size=st.tuples(sizes, sizes), window=st.tuples(sizes, sizes), overlap=st.floats(0, 0.9))
def test_windows_cover_the_image_and_stay_inside(size, window, overlap):
    covered = np.zeros(size, dtype=int)
    places = place_windows(size, window, overlap)
    inner = tuple(min(s, w) for s, w in zip(size, window, strict=True))
    for top, left in places:
        assert 0 <= top <= size[0] - inner[0]
        assert 0 <= left <= size[1] - inner[1]
        covered[top : top + inner[0], left : left + inner[1]] += 1
    assert covered.min() >= 1
    assert len(set(places)) == len(places)
    for axis in (0, 1):
        starts = sorted({place[axis] for place in places})
        for before, after in itertools.pairwise(starts):
            # A step of at least one pixel is needed to get anywhere, however large the overlap.
            assert after - before <= max(window[axis] * (1 - overlap) + 1e-6, 1)


def test_windows_are_as_few_as_the_overlap_allows():
    assert place_windows((10, 10), (10, 5), overlap=0.0) == [(0, 0), (0, 5)]
    assert [left for _, left in place_windows((4, 100), (4, 10), overlap=0.5)] == list(range(0, 91, 5))
    assert len(place_windows((1024, 2048), (1024, 1024), overlap=1 / 3)) == 3


@given(size=st.integers(1, 50))
def test_blend_weights_are_a_positive_symmetric_tent(size):
    weights = blend_weights((size, 3))[:, 1]
    assert weights.min() > 0
    assert weights.max() == 1
    assert (weights == weights[::-1]).all()
    half = weights[: (size + 1) // 2]
    assert (np.diff(half) > 0).all()


@given(
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    window=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.8]),
    seed=st.integers(0, 99),
)
def test_stitching_the_pieces_of_a_map_gives_the_map(size, window, overlap, seed):
    whole = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed))
    parts = (
        ((top, left), whole[..., top : top + window[0], left : left + window[1]])
        for top, left in place_windows(size, window, overlap)
    )
    seen = 0
    for top, rows in stitch_rows(parts, size):
        assert top == seen
        seen += rows.shape[-2]
        torch.testing.assert_close(rows, whole[..., top:seen, :], atol=1e-6, rtol=0)
    assert seen == size[0]


@given(
    size=st.tuples(st.integers(1, 24), st.integers(1, 12)),
    window=st.tuples(st.integers(1, 12), st.integers(1, 8)),
    overlap=st.sampled_from([0.0, 0.5, 0.8]),
)
def test_rows_are_the_weighted_means_of_all_windows_to_the_last_bit(size, window, overlap):
    """Finished early or at the end: the same sums in the same order, of arrays as of tensors."""
    rng = np.random.default_rng(0)
    hw = tuple(np.minimum(size, window))
    parts = [(place, rng.random((1, 2, *hw), np.float32)) for place in place_windows(size, window, overlap)]
    total, weights = np.zeros((1, 2, *size), np.float32), np.zeros(size, np.float32)
    for (top, left), values in parts:
        total[..., top : top + hw[0], left : left + hw[1]] += values * blend_weights(hw)
        weights[top : top + hw[0], left : left + hw[1]] += blend_weights(hw)
    found = np.concatenate([rows.copy() for _, rows in stitch_rows(parts, size)], axis=-2)
    np.testing.assert_array_equal(found, total / weights)
    tensors = ((place, torch.from_numpy(values)) for place, values in parts)
    np.testing.assert_array_equal(torch.cat([rows.clone() for _, rows in stitch_rows(tensors, size)], dim=-2), found)


def test_rows_come_as_soon_as_no_window_reaches_them():
    taken = []

    def parts():
        for place in place_windows((10, 6), (4, 4), overlap=0.5):
            taken.append(place)
            yield place, np.ones((1, 1, 4, 4))

    rows = stitch_rows(parts(), (10, 6))
    assert [next(rows)[0], len(taken)] == [0, 3]  # two windows beside each other, and the one below that says so
    assert [next(rows)[0], len(taken)] == [2, 5]


def test_overlapping_windows_fade_into_each_other():
    # Two windows of 0 and 1: in the overlap the value rises without a jump larger than a tent's step.
    parts = [((0, 0), torch.zeros(1, 1, 1, 8)), ((0, 4), torch.ones(1, 1, 1, 8))]
    ((_, rows),) = stitch_rows(parts, (1, 12))
    row = rows[0, 0, 0]
    assert row[:4].eq(0).all()
    assert row[8:].eq(1).all()
    expected = [1 / 5, 2 / 5, 3 / 5, 4 / 5]  # tents of 4, 3, 2, 1 against 1, 2, 3, 4
    assert row[4:8].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 2.0])
def test_an_overlap_that_never_moves_on_is_refused(overlap):
    with pytest.raises(ConfigError, match=r"overlap is .* \[0, 1\)"):
        place_windows((8, 8), (4, 4), overlap)


def test_sizes_must_be_positive():
    with pytest.raises(ConfigError, match="must be positive"):
        place_windows((8, 8), (0, 4))


@pytest.mark.parametrize(
    ("places", "size", "message"),
    [
        ([(0, 0)], (2, 3), "uncovered"),
        ([(0, 0)], (3, 2), "uncovered"),
        ([(0, 0), (3, 0)], (5, 2), "uncovered"),
        ([], (2, 3), "uncovered"),
        ([(0, 2)], (2, 3), "leaves the map"),
        ([(0, 0), (1, 0), (0, 0)], (3, 2), "row by row"),
    ],
)
def test_gaps_and_windows_outside_and_out_of_order_are_refused(places, size, message):
    with pytest.raises(ConfigError, match=message):
        list(stitch_rows(((place, torch.ones(1, 1, 2, 2)) for place in places), size))


def test_colours_of_labels():
    palette = np.arange(768, dtype=np.uint8).reshape(256, 3)
    labels = np.array([[0, 255], [7, 8]])
    assert (colourise(labels, palette) == palette[labels]).all()
    with pytest.raises(ValueError, match="0 to 255 expected"):
        colourise(np.array([[-1]]), palette)
    with pytest.raises(ValueError, match="integers expected"):
        colourise(np.array([[0.5]]), palette)


@given(alpha=st.floats(0, 1), below=st.integers(0, 255), above=st.integers(0, 255))
def test_blending_is_the_weighted_mean(alpha, below, above):
    image, colours = np.full((1, 2, 3), below, np.uint8), np.full((1, 2, 3), above, np.uint8)
    mixed = blend(image, colours, alpha, where=np.array([[True, False]]))
    assert abs(mixed[0, 0, 0] - ((1 - alpha) * below + alpha * above)) <= 1.01
    assert mixed[0, 1, 0] == below
