"""Masks that must not fall into more parts."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crispseg.refinement import Refiner, parting_changes


def parts_of(mask, label):
    return cv2.connectedComponents((mask == label).astype(np.uint8), connectivity=8)[1]


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.uint16, (7, 9), elements=st.sampled_from([0, 5, 60000])),
    arrays(np.bool_, (7, 9)),
    arrays(np.uint16, (7, 9), elements=st.sampled_from([0, 5, 60000])),
)
def test_no_label_has_more_parts_and_what_was_one_part_is_one_piece(before, moved, others):
    after = np.where(moved, others, before)
    stay = parting_changes(before, after)
    assert not (stay & (before == after)).any()
    found = np.where(stay, before, after)
    for label in (0, 5, 60000):
        parts, pieces = parts_of(before, label), parts_of(found, label)
        assert pieces.max() <= parts.max()
        for number in range(1, parts.max() + 1):
            kept = (parts == number) & (found == label)
            assert len(np.unique(pieces[kept])) <= 1
        assert (np.unique(pieces[(found == label) & (before == label)]) > 0).all()


def test_what_parts_nothing_may_change():
    before = np.zeros((9, 20), dtype=np.uint8)
    before[:, 10:] = 1
    moved = before.copy()
    moved[:, 8:] = 1
    assert not parting_changes(before, moved).any()
    assert not parting_changes(before, before).any()
    assert not parting_changes(before, np.zeros_like(before)).any()  # a part may vanish


@pytest.mark.parametrize("keep", [False, True])
def test_a_refiner_cuts_a_line_unless_it_must_stay_connected(keep, monkeypatch):
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[8:12] = 3
    cut = mask.copy()
    cut[:, 14:16] = 0
    monkeypatch.setitem(Refiner.__call__.__globals__["METHODS"], "guided_filter", lambda image, mask, reach: cut)
    refined = Refiner("guided_filter", keep_thin_px=1, keep_connected=keep)(np.zeros((20, 30, 3), np.uint8), mask)
    assert parts_of(refined, 3).max() == (1 if keep else 2)
    assert np.array_equal(refined, mask if keep else cut)
