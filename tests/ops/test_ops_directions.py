"""Directions to the inside, against a slow reading of their definition, and where a walk ends."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crispseg.labels import label_space
from crispseg.ops.directions import STEPS, corrections, inward_directions, mask_bands, walk

LABELS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 255]))


def slow_direction(labels, row, column, reach):
    """−Σ o over other labels within reach, pixel by pixel; None where two octants are equally near."""
    down = right = length = 0.0
    for other_row in range(labels.shape[0]):
        for other_column in range(labels.shape[1]):
            distance = math.hypot(other_row - row, other_column - column)
            other = labels[other_row, other_column]
            if distance <= reach and other not in (labels[row, column], 255):
                down, right, length = down - (other_row - row), right - (other_column - column), length + distance
    if math.hypot(down, right) <= 0.15 * length:
        return 0
    octant = math.atan2(down, right) / (math.pi / 4)
    return None if abs(octant % 1 - 0.5) < 1e-6 else round(octant) % 8 + 1


@given(LABELS, st.integers(1, 4))
def test_directions_are_what_their_definition_says(labels, reach):
    found = inward_directions(labels, reach)
    for row, column in np.ndindex(labels.shape):
        if labels[row, column] == 255:
            assert found[row, column] == 255
        elif (expected := slow_direction(labels, row, column, reach)) is not None:
            assert found[row, column] == expected


@pytest.mark.parametrize("angle", range(0, 360, 45))
def test_each_step_is_found_at_an_edge_of_its_slope(angle):
    rows, columns = np.mgrid[-10:11, -10:11]
    inside = rows * math.sin(math.radians(angle)) + columns * math.cos(math.radians(angle)) > 0.1
    found = inward_directions(inside.astype(np.uint8), 4)
    down, right = STEPS[angle // 45 + 1]
    assert found[10 + down, 10 + right] == angle // 45 + 1
    assert found[10 - down, 10 - right] == (angle // 45 + 4) % 8 + 1  # the other side points away


def test_the_axis_of_a_line_stays_and_void_and_frame_are_no_borders():
    line = np.zeros((9, 9), dtype=np.uint8)
    line[:, 4] = 1
    assert (inward_directions(line, 3)[3:6, 4] == 0).all()
    assert (inward_directions(np.full((4, 4), 3, dtype=np.uint8), 3) == 0).all()
    void = np.array([[0, 0, 255, 255, 1, 1]], dtype=np.uint8)
    assert inward_directions(void, 1).tolist() == [[0, 0, 255, 255, 0, 0]]


def test_a_reach_below_one_is_refused():
    with pytest.raises(ValueError, match="reach_px is 0"):
        inward_directions(np.zeros((2, 2), dtype=np.uint8), 0)


@pytest.mark.parametrize("mask", [None, np.arange(35).reshape(5, 7) // 3 % 2])
@given(arrays.arrays(np.uint8, (5, 7), elements=st.integers(0, 8)), st.integers(1, 6))
def test_a_walk_goes_step_by_step_within_the_map(mask, directions, steps):
    arrived = walk(directions, steps, mask)
    for row, column in np.ndindex(5, 7):
        at = row, column
        for _ in range(steps):
            if mask is not None and mask[at] != mask[row, column]:
                break
            down, right = STEPS[directions[at]]
            at = min(max(at[0] + down, 0), 4), min(max(at[1] + right, 0), 6)
        assert divmod(int(arrived[row, column]), 7) == at


def test_following_the_true_directions_restores_what_was_moved_by_a_pixel():
    truth = np.zeros((20, 20), dtype=np.uint8)
    truth[4:16, 4:16] = 1
    moved = np.roll(truth, 1, axis=1)
    assert (moved.ravel()[walk(inward_directions(truth, 4), 8)] == truth).all()


REGIONS = arrays.arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 2, 255]))


@given(REGIONS, arrays.arrays(np.uint8, (7, 9), elements=st.integers(0, 2)), st.integers(1, 4))
def test_a_correction_leads_to_the_nearest_pixel_where_the_mask_has_the_right_label(labels, mask, reach):
    found = corrections(labels, mask, reach)
    for row, column in np.ndindex(labels.shape):
        label = labels[row, column]
        if label == 255 or label == mask[row, column]:
            assert found[row, column] == (255 if label == 255 else 0)
            continue
        goals = [(r - row, c - column) for r, c in zip(*np.nonzero(mask == label), strict=True)]
        nearest = min((math.hypot(*goal) for goal in goals), default=math.inf)
        if nearest > reach + 0.5:
            assert found[row, column] == 0
        elif nearest <= reach:
            octants = {
                round(math.atan2(down, right) / (math.pi / 4) + nudge) % 8 + 1
                for down, right in goals
                for nudge in (-1e-3, 1e-3)  # two octants may be equally near
                if math.hypot(down, right) <= nearest * 1.03
            }
            assert found[row, column] in octants


def test_following_corrections_mends_what_a_mask_has_off_by_up_to_the_reach():
    rows, columns = np.mgrid[:50, :60]
    truth = ((rows - 25) ** 2 + (columns - 30) ** 2 < 200).astype(np.uint8)
    truth[:, 50:53] = 2  # a line, off by its own width
    mask = np.roll(truth, 3, axis=1)
    mended = mask.ravel()[walk(corrections(truth, mask, 4), 4, mask)]
    assert (mended != truth)[:, 3:].mean() < 0.02 * (mask != truth)[:, 3:].mean()
    assert (corrections(truth, truth, 4) == 0).all()
    with pytest.raises(ValueError, match="reach_px is 0"):
        corrections(truth, mask, 0)


@given(arrays.arrays(np.uint8, (6, 8), elements=st.integers(0, 3)))
def test_bands_of_a_mask_do_not_know_its_labels_and_point_away_from_others(mask):
    names = np.array([70000, 3, 12, 5])
    bands = mask_bands(mask)
    assert (mask_bands(names[mask]) == bands).all()
    inside = np.array(
        [
            [len(set(mask[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3].ravel())) == 1 for c in range(8)]
            for r in range(6)
        ]
    )
    assert (bands[inside] == (128, 128, 0)).all()


def test_the_two_sides_of_a_border_have_opposite_bands():
    mask = np.zeros((9, 10), dtype=np.int64)
    mask[:, 5:] = -4
    bands = mask_bands(mask)
    assert bands[4, 4:6, 0].tolist() == [128, 128]
    assert bands[4, 4, 1] < 30
    assert bands[4, 5, 1] > 226
    assert bands[4, 4, 2] == bands[4, 5, 2] > bands[4, 3, 2] > bands[4, 2, 2] == 0
    assert (mask_bands(mask.T)[..., 0] == bands[..., 1].T).all()


def test_the_label_table_names_the_steps_in_their_order():
    words = {(0, 0): "stay"} | {step: " ".join(filter(None, _words(*step))) for step in STEPS[1:]}
    assert label_space("directions").class_names == tuple(words[step] for step in STEPS)


def _words(down, right):
    return {0: "", 1: "down", -1: "up"}[down], {0: "", 1: "right", -1: "left"}[right]
