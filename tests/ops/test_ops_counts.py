import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crispseg.ops.counts import confusion_counts


@settings(deadline=None, max_examples=50)
@given(
    classes=st.sampled_from([2, 11, 150]),
    pixels=st.integers(0, 300),
    cut=st.integers(0, 300),
    seed=st.integers(0, 10**6),
)
def test_counts_match_a_loop_and_add_up_over_any_split(classes, pixels, cut, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, pixels)
    labels[rng.random(pixels) < 0.2] = 255
    prediction = rng.integers(0, classes, pixels)
    expected = np.zeros((classes, classes), np.int64)
    for truth, guess in zip(labels, prediction, strict=True):
        if truth != 255:
            expected[truth, guess] += 1
    labels, prediction = torch.from_numpy(labels), torch.from_numpy(prediction)
    counts = confusion_counts(prediction, labels.byte(), classes)
    assert counts.dtype == torch.int64
    np.testing.assert_array_equal(counts.numpy(), expected)
    parts = confusion_counts(prediction[:cut], labels[:cut], classes) + confusion_counts(
        prediction[cut:], labels[cut:], classes
    )
    assert torch.equal(parts, counts)


def test_shapes_and_values_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(1, 4\).*\(4,\)"):
        confusion_counts(torch.zeros(1, 4).long(), torch.zeros(4).long(), 2)
    with pytest.raises(ValueError, match="labels has values from 0 to 7; 0 to 2 expected"):
        confusion_counts(torch.tensor([0, 0]), torch.tensor([0, 7]), 3)
    with pytest.raises(ValueError, match="prediction has values from 0 to 3; 0 to 2 expected"):
        confusion_counts(torch.tensor([0, 3]), torch.tensor([0, 1]), 3)
    assert confusion_counts(torch.tensor([99]), torch.tensor([255]), 3).sum() == 0  # void is void whatever is predicted
