"""Masks damaged on purpose: each damage does what its name says, and nothing that no tool would."""

import numpy as np
import pytest

from crispseg.data.damage import (
    DAMAGES,
    blurred,
    damaged,
    dilated,
    downsampled,
    eroded,
    filled,
    shifted,
    simplified,
    warped,
)

SQUARE = np.zeros((40, 40), dtype=np.uint8)
SQUARE[10:30, 12:28] = 5


def streets(seed=0):
    """A map of smooth regions of four labels, some of it void."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (6, 8), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    labels[20:24, 10:30] = 255
    return labels


def test_void_takes_the_nearest_label_and_the_rest_stays():
    labels = streets()
    found = filled(labels)
    assert (found[labels != 255] == labels[labels != 255]).all()
    assert 255 not in found
    assert (found[20, 12:28] == labels[19, 12:28]).all()  # the row above is the nearest
    assert (filled(np.full((3, 4), 255, dtype=np.uint8)) == 0).all()


def test_a_shift_moves_everything_alike():
    assert (shifted(SQUARE, 3, -2) == np.roll(SQUARE, (3, -2), axis=(0, 1))).all()
    assert (shifted(streets(), 0, 0) == streets()).all()


def test_a_warp_moves_outlines_by_about_as_much_as_was_asked():
    edge = np.zeros((200, 200), dtype=np.uint8)
    edge[:, 100:] = 1
    off = 100 - (warped(edge, 2.0, 20, np.random.default_rng(0)) == 0).sum(axis=1)
    assert 1 < np.sqrt(np.mean(np.square(off.astype(float)))) < 3.5
    assert np.abs(np.diff(off)).max() <= 2  # neighbours go together
    assert len(np.unique(off)) > 3  # and others elsewhere


def test_blur_rounds_corners_loses_lines_and_leaves_straight_edges():
    found = blurred(SQUARE, 3.0)
    assert found[10, 12] == 0
    assert found[10, 20] == found[11, 20] == 5
    assert found[9, 20] == 0
    line = np.zeros((20, 20), dtype=np.uint8)
    line[:, 10] = 1
    assert not blurred(line, 2.0).any()


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_smaller_mask_enlarged_keeps_the_size_and_what_is_large(factor):
    labels = np.zeros((41, 53), dtype=np.uint8)
    labels[7:30, 9:40] = 3
    labels[35, :] = 9  # a line of one pixel
    found = downsampled(labels, factor)
    assert found.shape == labels.shape
    assert (found[12:25, 14:35] == 3).all()
    assert 9 not in found
    assert 0 < (found != labels).mean() < 0.12


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_erosion_and_dilation_move_an_edge_by_their_radius(radius):
    assert (eroded(SQUARE, 5, radius)[20] == 5).sum() == 16 - 2 * radius
    assert (dilated(SQUARE, 5, radius)[20] == 5).sum() == 16 + 2 * radius
    assert (eroded(SQUARE, 0, radius) == dilated(SQUARE, 5, radius)).all()


def test_erosion_gives_its_rim_to_the_nearest_neighbours_and_leaves_what_would_vanish():
    three = np.repeat([1, 5, 2], 6).astype(np.uint8)[None].repeat(9, axis=0)
    assert eroded(three, 5, 2)[4].tolist() == [1] * 8 + [5] * 2 + [2] * 8
    assert (eroded(three, 5, 3) == three).all()
    assert (eroded(np.full((5, 5), 4, dtype=np.uint8), 4, 1) == 4).all()


def test_polygons_keep_corners_cut_bends_and_do_not_cover_what_lies_within():
    rows, columns = np.mgrid[:60, :60]
    disk = ((rows - 30) ** 2 + (columns - 30) ** 2 < 400).astype(np.uint8) * 3
    disk[26:34, 26:34] = 7
    found = simplified(disk, 3.0)
    assert 0.005 < (found != disk).mean() < 0.1
    assert (found[26:34, 26:34] == 7).all()
    assert (simplified(SQUARE, 1.5) == SQUARE).all()


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_drawn_from_the_generator_invents_no_label_and_leaves_its_input(name):
    labels = filled(streets())
    before = labels.copy()
    changed = 0
    for seed in range(8):
        once = DAMAGES[name](labels, np.random.default_rng(seed))
        again = DAMAGES[name](labels, np.random.default_rng(seed))
        assert (once == again).all()
        assert once.dtype == np.uint8
        assert once.shape == labels.shape
        assert set(np.unique(once)) <= set(np.unique(labels))
        changed += (once != labels).any()
    assert (labels == before).all()
    assert changed >= 1 if name == "simplification" else changed >= 5  # of rectangles polygons take little
    one = np.full((1, 1), 2, dtype=np.uint8)
    assert DAMAGES[name](one, np.random.default_rng(0)).tolist() == [[2]]


def test_damaged_masks_have_no_void_and_are_sometimes_right():
    labels = streets()
    shares = [(damaged(labels, np.random.default_rng(seed)) != filled(labels)).mean() for seed in range(60)]
    assert 2 <= sum(share == 0 for share in shares) <= 15
    assert 0.02 < np.mean(shares) < 0.3
    assert all(255 not in damaged(labels, np.random.default_rng(seed)) for seed in range(5))
