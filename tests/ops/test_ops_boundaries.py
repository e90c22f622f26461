import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crispseg.ops.boundaries import boundary_targets, label_boundaries, labels_within, soft_boundaries

label_maps = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9),
    elements=st.sampled_from([0, 1, 2, 254, 255]),
)


def labels_in_reach(labels, radius):
    """Pixel by pixel, from the definition: the set of labels in the square around each pixel."""
    count, height, width = labels.shape
    found = np.empty(labels.shape, dtype=object)
    for n in range(count):
        for y in range(height):
            for x in range(width):
                square = labels[n, max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
                found[n, y, x] = set(square.flatten().tolist()) - {255}
    return found


@settings(deadline=None, max_examples=60)
@given(labels=label_maps, radius=st.integers(1, 4))
def test_boundaries_in_a_disk_follow_casenets_definition(labels, radius):
    """√(x² + y²) ≤ radius, pixel by pixel."""
    count, height, width = labels.shape
    expected = np.zeros(labels.shape, dtype=bool)
    for n, y, x in np.ndindex(count, height, width):
        for other_y, other_x in np.ndindex(height, width):
            near = (other_y - y) ** 2 + (other_x - x) ** 2 <= radius**2
            differs = labels[n, other_y, other_x] not in (255, labels[n, y, x])
            expected[n, y, x] |= near and differs and labels[n, y, x] != 255
    found = label_boundaries(torch.from_numpy(labels), radius, shape="disk")
    np.testing.assert_array_equal(found.numpy(), expected)


def test_an_unknown_shape_is_an_error():
    with pytest.raises(ValueError, match="shape is 'diamond', one of"):
        label_boundaries(torch.zeros(1, 2, 2, dtype=torch.uint8), shape="diamond")


@settings(deadline=None, max_examples=80)
@given(labels=label_maps, radius=st.integers(1, 4))
def test_boundaries_follow_the_definition(labels, radius):
    found = labels_in_reach(labels, radius)
    expected = np.vectorize(lambda own, near: own != 255 and len(near) > 1, otypes=[bool])(labels, found)
    for dtype in (torch.uint8, torch.int64, torch.int32):
        target, valid = boundary_targets(torch.from_numpy(labels).to(dtype), radius)
        assert target.dtype == torch.float32
        assert valid.dtype == torch.bool
        np.testing.assert_array_equal(target[:, 0].numpy(), expected)
        np.testing.assert_array_equal(valid[:, 0].numpy(), labels != 255)


@settings(deadline=None, max_examples=50)
@given(labels=label_maps, radius=st.integers(1, 3))
def test_labels_within_follow_the_definition(labels, radius):
    within = labels_within(torch.from_numpy(labels), 255, radius)
    found = labels_in_reach(labels, radius)
    assert within.shape == (labels.shape[0], 255, *labels.shape[1:])
    for n, y, x in np.ndindex(labels.shape):
        assert set(within[n, :, y, x].nonzero().flatten().tolist()) == found[n, y, x]


@settings(deadline=None, max_examples=30)
@given(labels=label_maps, seed=st.integers(0, 2**31 - 1))
def test_boundaries_do_not_depend_on_how_classes_are_numbered(labels, seed):
    renumbered = np.append(np.random.default_rng(seed).permutation(255), 255).astype(np.uint8)
    original = label_boundaries(torch.from_numpy(labels))
    assert torch.equal(original, label_boundaries(torch.from_numpy(renumbered[labels])))


@settings(deadline=None, max_examples=30)
@given(labels=label_maps)
def test_boundaries_flip_with_the_labels(labels):
    labels = torch.from_numpy(labels)
    for dims in ([1], [2], [1, 2]):
        assert torch.equal(label_boundaries(labels.flip(dims), 2), label_boundaries(labels, 2).flip(dims))
    assert torch.equal(label_boundaries(labels.mT, 2), label_boundaries(labels, 2).mT)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_a_border_is_marked_on_both_sides_and_the_frame_is_none(radius):
    labels = torch.zeros(1, 12, 20, dtype=torch.int64)
    labels[:, :, 10:] = 7
    marked = label_boundaries(labels, radius)[0, 0].nonzero().flatten().tolist()
    assert marked == list(range(10 - radius, 10 + radius))


def test_void_between_two_classes_is_no_border_and_crossing_it_is():
    labels = torch.tensor([[[0, 0, 255, 1, 1]]])
    assert not label_boundaries(labels, 1).any()
    assert label_boundaries(labels, 2)[0, 0].tolist() == [False, True, False, True, False]


def test_another_ignore_index():
    assert label_boundaries(torch.tensor([[[0, -1, 1, 2]]]), ignore_index=-1)[0, 0].tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert label_boundaries(torch.tensor([[[1, 0, 2, 3]]]), ignore_index=0)[0, 0].tolist() == [False, False, True, True]


def test_an_all_void_map_has_nothing():
    target, valid = boundary_targets(torch.full((2, 5, 6), 255), 2)
    assert not target.any()
    assert not valid.any()
    assert not labels_within(torch.full((2, 5, 6), 255), 4).any()


def test_labels_outside_the_table_are_an_error():
    with pytest.raises((RuntimeError, IndexError)):
        labels_within(torch.tensor([[[0, 5]]]), num_classes=3)


@pytest.mark.parametrize("labels", [torch.zeros(4, 4, dtype=torch.long), torch.zeros(1, 4, 4)])
def test_no_batch_of_integer_maps_is_an_error(labels):
    with pytest.raises(ValueError, match="labels"):
        boundary_targets(labels)


def test_radius_must_be_positive():
    with pytest.raises(ValueError, match="radius_px is 0"):
        boundary_targets(torch.zeros(1, 4, 4, dtype=torch.long), 0)


@settings(deadline=None, max_examples=40)
@given(
    labels=hnp.arrays(
        np.int64, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9), elements=st.integers(0, 4)
    )
)
def test_soft_boundaries_of_sure_classes_are_those_of_their_labels(labels):
    given_labels = torch.from_numpy(labels)
    one_hot = torch.nn.functional.one_hot(given_labels, 5).permute(0, 3, 1, 2).float()
    expected = label_boundaries(given_labels, 1, shape="disk")
    assert torch.equal(soft_boundaries(one_hot)[:, 0], expected.float())


def test_soft_boundaries_have_the_gradient_of_the_total_variation():
    logits = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: soft_boundaries(given.softmax(dim=1)), logits)


def test_soft_boundaries_want_a_batch():
    with pytest.raises(ValueError, match=r"\(N, K, H, W\) expected, \(3, 4, 4\) found"):
        soft_boundaries(torch.zeros(3, 4, 4))
