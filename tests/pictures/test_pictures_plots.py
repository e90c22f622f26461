"""Plots: that the lines stand where the numbers say."""

import matplotlib as mpl
import numpy as np
import pytest

from crispseg.pictures import plot_iou_at_distance

NAN = float("nan")
TEAL, ORANGE = (11, 110, 117), (194, 87, 26)


def pixels_of(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of exactly this colour, without the key at the top right."""
    height, width = picture.shape[:2]
    found = (picture == colour).all(axis=2)
    found[: height // 3, width // 2 :] = False
    return np.nonzero(found)


def test_each_run_is_a_line_and_the_better_one_lies_above():
    low, high = {0: 0.6, 400: 0.2}, {0: 0.7, 400: 0.4}
    picture = plot_iou_at_distance({"low": low, "high": high}, size_hw=(300, 500))
    assert picture.shape == (300, 500, 3)
    assert picture.dtype == np.uint8
    (rows, columns), (rows_above, _) = (pixels_of(picture, colour) for colour in (TEAL, ORANGE))
    assert np.ptp(columns) > 300  # from the first factor to the last
    left, right = rows[columns < columns.min() + 8].mean(), rows[columns > columns.max() - 8].mean()
    assert right > left + 100  # it falls
    assert rows_above.mean() < rows.mean()


def test_the_line_is_to_scale():
    """Half of the way in x has three quarters of the fall behind it."""
    picture = plot_iou_at_distance({"run": {0: 0.5, 200: 0.2, 400: 0.1}}, size_hw=(400, 600))
    rows, columns = pixels_of(picture, TEAL)
    middle = (columns.min() + columns.max()) / 2
    top, knee = rows[columns < columns.min() + 8].mean(), rows[np.abs(columns - middle) < 4].mean()
    bottom = rows[columns > columns.max() - 8].mean()
    assert (knee - top) / (bottom - top) == pytest.approx(0.75, abs=0.02)


def test_what_has_no_score_is_left_out():
    known = plot_iou_at_distance({"run": {0: 0.5, 100: 0.4, 400: NAN}})
    _, columns = pixels_of(known, TEAL)
    _, to_the_end = pixels_of(plot_iou_at_distance({"run": {0: 0.5, 100: 0.4, 400: 0.3}}), TEAL)
    assert columns.max() < to_the_end.max() - 200


def test_the_same_numbers_give_the_same_picture_whatever_the_users_style_is():
    numbers = {f"scores/of_a_run_with_a_long_name/{index}": {0: 0.5 - index / 20, 10: 0.4} for index in range(9)}
    picture = plot_iou_at_distance(numbers)
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30}):
        np.testing.assert_array_equal(plot_iou_at_distance(numbers), picture)
        assert mpl.rcParams["font.size"] == 30


@pytest.mark.parametrize("numbers", [{}, {"run": {}}, {"run": {0: NAN}}, {"run": {0: 1.5}}, {"run": {0: -0.1, 1: 0.5}}])
def test_numbers_that_are_none_are_refused(numbers: dict):
    with pytest.raises(ValueError, match="mean_iou is"):
        plot_iou_at_distance(numbers)


def test_a_picture_too_small_for_its_words_is_refused():
    with pytest.raises(ValueError, match="240×320 at least"):
        plot_iou_at_distance({"run": {0: 0.5}}, size_hw=(100, 640))
