import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispseg.data.transforms import (
    JointTransform,
    colour_matrix,
    jitter_colours,
    random_crop,
    rotated_centre,
    shift_colours,
)

FILL = (124, 116, 104)


def coded_sample(height, width, seed=0):
    """Every pixel's colour says where it comes from and what its label is."""
    labels = np.random.default_rng(seed).integers(0, 11, (height, width)).astype(np.uint8)
    v, u = np.mgrid[0:height, 0:width]
    return np.stack([labels * 20, v, u], axis=2).astype(np.uint8), labels


sizes = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, sizes, sizes, st.booleans(), st.integers(0, 2**32))
def test_a_crop_without_scaling_keeps_pixels_and_labels_together(height, width, crop_h, crop_w, flip, seed):
    image, labels = coded_sample(height, width)
    before = image.copy(), labels.copy()
    transform = JointTransform((crop_h, crop_w), flip_probability=float(flip))
    new_image, new_labels = transform(image, labels, np.random.default_rng(seed))

    assert new_image.shape == (crop_h, crop_w, 3)
    assert new_labels.shape == (crop_h, crop_w)
    inside = new_labels != 255
    assert inside.sum() == min(height, crop_h) * min(width, crop_w)
    np.testing.assert_array_equal(new_image[inside][:, 0], new_labels[inside] * 20)
    np.testing.assert_array_equal(new_image[~inside], np.broadcast_to(FILL, ((~inside).sum(), 3)))
    rows, columns = np.nonzero(inside)
    step = -1 if flip else 1
    np.testing.assert_array_equal(np.diff(new_image[inside][:, 1].astype(int)), np.diff(rows))
    same_row = np.diff(rows) == 0
    np.testing.assert_array_equal(
        np.diff(new_image[inside][:, 2].astype(int))[same_row], step * np.diff(columns)[same_row]
    )
    np.testing.assert_array_equal(image, before[0], err_msg="the source was changed")
    np.testing.assert_array_equal(labels, before[1], err_msg="the source was changed")


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, sizes, sizes, st.floats(0.3, 3), st.integers(0, 2**32))
def test_everything_at_once_stays_in_the_table(height, width, crop_h, crop_w, scale, seed):
    image, labels = coded_sample(height, width)
    labels[0, 0] = 255
    transform = JointTransform((crop_h, crop_w), (scale, 1.5 * scale), 0.5, 0.3, 0.2, 1.0)
    new_image, new_labels = transform(image, labels, np.random.default_rng(seed))
    assert new_image.shape == (crop_h, crop_w, 3)
    assert new_image.dtype == new_labels.dtype == np.uint8
    assert set(np.unique(new_labels)) <= set(np.unique(labels)) | {255}


@pytest.mark.parametrize("scale", [0.4, 0.8, 1.3, 2.0, 3.0])
def test_labels_stay_on_their_image_when_scaled(scale):
    """A vertical and a horizontal edge lie, in image and labels, at one place to a fraction of a pixel."""
    labels = np.zeros((90, 90), np.uint8)
    labels[37:, :] += 1
    labels[:, 53:] += 2
    image = np.stack([(labels & 1) * 200, (labels >> 1) * 200, labels * 0], axis=2).astype(np.uint8)
    offsets = []
    for seed in range(20):
        crop = (round(80 * scale), round(80 * scale))
        new_image, new_labels = random_crop(image, labels, crop, scale, np.random.default_rng(seed))
        for channel in (0, 1):
            by_image = (new_image[..., channel].astype(float) / 200).sum()
            by_labels = ((new_labels >> channel) & 1).sum()
            offsets.append((by_labels - by_image) / crop[0])
    assert abs(np.mean(offsets)) < 0.15, "labels lie beside their image"
    assert np.abs(offsets).max() < 0.8


def test_scale_means_output_pixels_per_input_pixel():
    image = np.zeros((200, 200, 3), np.uint8)
    image[95:105] = 255  # ten rows
    labels = image[..., 0] // 255
    _, half = random_crop(image, labels, (100, 100), 0.5, np.random.default_rng(0))
    _, double = random_crop(image, labels, (400, 400), 2.0, np.random.default_rng(0))
    assert half[:, 0].sum() == 5
    assert double[:, 0].sum() == 20


def test_crops_reach_every_corner_with_equal_chance():
    image, labels = coded_sample(8, 8)
    rng = np.random.default_rng(0)
    tops = [int(random_crop(image, labels, (6, 6), 1.0, rng)[0][0, 0, 1]) for _ in range(600)]
    counts = np.bincount(tops, minlength=3)
    assert len(counts) == 3
    assert counts.min() > 150


@settings(deadline=None, max_examples=100)
@given(sizes, sizes, sizes, sizes, st.data())
def test_a_crop_around_a_pixel_has_it_in_its_middle_or_ends_at_the_frame(height, width, crop_h, crop_w, data):
    image, labels = coded_sample(height, width)
    centre = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    new_image, new_labels = random_crop(image, labels, (crop_h, crop_w), 1.0, rng, centre)
    rows, columns = np.nonzero(new_labels != 255)
    assert len(rows) == min(height, crop_h) * min(width, crop_w), "padding although the image is large enough"
    np.testing.assert_array_equal(new_image[rows, columns][:, 0], new_labels[rows, columns] * 20)
    for axis, (size, crop, wanted) in enumerate(((height, crop_h, centre[0]), (width, crop_w, centre[1]))):
        sources = np.unique(new_image[rows, columns][:, axis + 1])
        assert sources[0] <= wanted <= sources[-1]
        if crop <= size and sources[0] > 0 and sources[-1] < size - 1:
            assert sources[crop // 2] == wanted


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.7, 3.0])
def test_a_crop_around_a_pixel_has_it_in_its_middle_when_scaled(scale):
    labels = np.zeros((200, 300), np.uint8)
    labels[88:93, 148:153] = 1
    image = np.repeat(labels[..., None], 3, axis=2) * 200
    _, new_labels = random_crop(image, labels, (41, 61), scale, np.random.default_rng(0), (90, 150))
    rows, columns = np.nonzero(new_labels)
    assert rows.mean() == pytest.approx(20, abs=0.6 * max(scale, 1))
    assert columns.mean() == pytest.approx(30, abs=0.6 * max(scale, 1))


def test_the_same_generator_state_gives_the_same_picture():
    image, labels = coded_sample(50, 70)
    transform = JointTransform((32, 32), (0.5, 2.0), 0.5, 0.2, 0.1, 0.5)
    one, two, other = (transform(image, labels, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(one[0], other[0])


class TestColours:
    image = np.random.default_rng(0).integers(40, 200, (16, 16, 3)).astype(np.uint8)

    def test_neutral_factors_change_nothing(self):
        np.testing.assert_array_equal(jitter_colours(self.image, 1, 1, 1, 0), self.image)

    def test_brightness(self):
        expected = self.image * 1.2
        np.testing.assert_allclose(jitter_colours(self.image, 1.2, 1, 1, 0), expected, atol=0.51)

    def test_contrast_is_about_the_mean_grey(self):
        grey = (self.image @ [0.299, 0.587, 0.114]).mean()
        expected = grey + 0.7 * (self.image - grey)
        np.testing.assert_allclose(jitter_colours(self.image, 1, 0.7, 1, 0), expected, atol=0.51)

    def test_saturation_is_about_each_pixels_grey(self):
        grey = (self.image @ [0.299, 0.587, 0.114])[..., None]
        expected = grey + 0.6 * (self.image - grey)
        np.testing.assert_allclose(jitter_colours(self.image, 1, 1, 0.6, 0), expected, atol=1.0)

    def test_hue_turns_and_keeps_luma(self):
        turned = jitter_colours(self.image, 1, 1, 1, 0.05).astype(float)
        inside = (turned > 0).all(2) & (turned < 255).all(2)
        luma = [0.299, 0.587, 0.114]
        np.testing.assert_allclose((turned @ luma)[inside], (self.image @ luma)[inside], atol=1.0)
        assert np.abs(turned - self.image).mean() > 3
        np.testing.assert_allclose(colour_matrix(1, 0.2) @ colour_matrix(1, -0.2), np.eye(3), atol=1e-9)
        red_to = colour_matrix(1, 1 / 3) @ [0.6, 0.4, 0.4]
        assert 0.25 < colorsys.rgb_to_hsv(*red_to)[0] < 0.75, "a third of the circle leads from red to green or blue"

    def test_values_are_clipped_not_wrapped(self):
        white = np.full((2, 2, 3), 250, np.uint8)
        assert jitter_colours(white, 1.5, 1, 1, 0).min() == 255

    def test_a_shift_is_added_to_each_channel_and_clipped(self):
        shifted = shift_colours(self.image, np.array([10.0, -3.0, 0.0]))
        np.testing.assert_array_equal(shifted, self.image + np.array([10, -3, 0]))
        assert shift_colours(np.full((2, 2, 3), 250, np.uint8), np.full(3, 10.0)).min() == 255
        assert shift_colours(np.full((2, 2, 3), 5, np.uint8), np.full(3, -10.0)).max() == 0

    def test_the_shift_is_drawn_within_its_range_for_each_channel(self):
        transform = JointTransform((16, 16), colour_shift=10)
        labels = np.zeros((16, 16), np.uint8)
        moved = [
            transform(self.image, labels, np.random.default_rng(seed))[0].astype(int) - self.image for seed in range(40)
        ]
        shifts = np.array([one[0, 0] for one in moved])
        assert all((one == one[0, 0]).all() for one in moved)  # the same everywhere: added, not multiplied
        assert -10 <= shifts.min() < -7
        assert 7 < shifts.max() <= 10
        assert np.abs(np.corrcoef(shifts.T)[np.triu_indices(3, 1)]).max() < 0.6

    def test_blur_leaves_labels_alone(self):
        image, labels = coded_sample(20, 20)
        new_image, new_labels = JointTransform((20, 20), blur_probability=1.0)(image, labels, np.random.default_rng(1))
        np.testing.assert_array_equal(new_labels, labels)
        assert not np.array_equal(new_image, image)


def test_a_quarter_turn_is_exact_and_no_turn_draws_nothing():
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 255, (9, 9, 3), dtype=np.uint8), rng.integers(0, 4, (9, 9), dtype=np.uint8)
    for degrees, turns in ((90, 1), (180, 2), (-90, 3)):
        turned, turned_labels = rotated_centre(image, labels, (9, 9), degrees)
        np.testing.assert_array_equal(turned, np.rot90(image, turns))
        np.testing.assert_array_equal(turned_labels, np.rot90(labels, turns))
    plain = JointTransform((6, 6), (0.8, 1.2), 0.5)(image, labels, np.random.default_rng(3))
    again = JointTransform((6, 6), (0.8, 1.2), 0.5, rotate_degrees=0.0)(image, labels, np.random.default_rng(3))
    np.testing.assert_array_equal(plain[0], again[0])


@pytest.mark.parametrize("degrees", [10.0, 45.0, 180.0])
def test_a_turned_window_is_full_and_labels_stay_on_their_image(degrees):
    rows, columns = np.mgrid[:120, :160]
    inside = ((rows - 60) ** 2 + (columns - 80) ** 2 < 15**2) | (columns > 90)
    image = np.repeat((inside * 200).astype(np.uint8)[..., None], 3, 2)
    labels = inside.astype(np.uint8)
    for seed in range(5):
        turned, turned_labels = JointTransform((40, 60), rotate_degrees=degrees)(
            image, labels, np.random.default_rng(seed)
        )
        assert turned.shape == (40, 60, 3)
        assert (turned_labels != 255).all()  # the image around fills the corners
        differing = (turned[..., 0] > 100) != (turned_labels == 1)
        assert differing.mean() < 0.02
