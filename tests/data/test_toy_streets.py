import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispseg.config import DataConfig
from crispseg.data import ToyStreets, build_dataset, make_street
from crispseg.errors import DataError
from crispseg.labels import label_space
from crispseg.streets.canvas import Camera, Canvas, Class, Light


@settings(deadline=None, max_examples=25)
@given(st.integers(16, 90), st.integers(16, 90), st.integers(0, 10**6))
def test_any_size_and_seed(height, width, seed):
    image, labels = make_street(seed, (height, width))
    assert image.shape == (height, width, 3)
    assert labels.shape == (height, width)
    assert image.dtype == labels.dtype == np.uint8
    assert labels.max() < label_space("toy_streets").num_classes


def test_every_class_occurs_and_none_rules():
    counts = np.zeros(10)
    present = np.zeros(10)
    for seed in range(20):
        found = np.bincount(make_street((0, 0, seed), (96, 128))[1].ravel(), minlength=10)
        counts += found
        present += found > 0
    share = counts / counts.sum()
    assert (present >= 15).all()
    assert share.max() < 0.5
    assert (share > 0.003).all()
    assert share[[Class.POLE, Class.SIGN, Class.FENCE, Class.PERSON]].max() < 0.06, "thin things are thin"


def test_the_same_seed_gives_the_same_street_and_others_differ():
    image, labels = make_street((1, 2), (48, 64))
    again, labels_again = make_street((1, 2), (48, 64))
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert (make_street((1, 3), (48, 64))[1] != labels).any()


def test_splits_never_share_a_street():
    config = DataConfig(layout="toy_streets", toy_size_hw=(32, 40), toy_train_images=5, toy_val_images=5)
    seen = set()
    for split in ("train", "val", "test"):
        data = build_dataset(config, split, augment=False)
        assert len(data) == 5
        assert data.names[0] == f"toy_{split}_00000"
        seen |= {data.sample(index).image.tobytes() for index in range(5)}
    other = build_dataset(config.model_copy(update={"toy_seed": 1}), "train", augment=False)
    seen |= {other.sample(index).image.tobytes() for index in range(5)}
    assert len(seen) == 20
    with pytest.raises(DataError, match="no split 'valid'; did you mean 'val'"):
        build_dataset(config, "valid", augment=False)


def test_source_says_its_sizes():
    source = ToyStreets(2, (20, 30), (0,))
    assert source.size_hw(1) == source.sample(1).labels.shape == (20, 30)


@pytest.mark.parametrize("size_hw", [(15, 64), (64, 8)])
def test_too_small(size_hw):
    with pytest.raises(ValueError, match="at least 16"):
        make_street(0, size_hw)


@pytest.fixture
def canvas():
    return Canvas(Camera((40, 60), 50.0, 30.0, 20.0, 1.5), Light(1, 1.0, (0.5, 0.1), (200, 200, 200), 0.01))


class TestCanvas:
    """Image and labels must be painted at the very same pixels."""

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.tuples(st.floats(-30, 90), st.floats(-30, 70)), min_size=3, max_size=7))
    def test_polygon(self, corners):
        canvas = Canvas(Camera((40, 60), 50.0, 30.0, 20.0, 1.5), Light(1, 1.0, (0.5, 0.1), (200, 200, 200), 0.01))
        canvas.polygon(corners, (250, 250, 250), Class.CAR)
        np.testing.assert_array_equal(canvas.image.any(axis=2), canvas.labels == Class.CAR)

    def test_polygon_covers_the_pixels_whose_centres_it_holds(self, canvas):
        canvas.polygon([(10, 5), (20, 5), (20, 15), (10, 15)], (9, 9, 9), Class.SIGN)
        assert (canvas.labels[5:15, 10:20] == Class.SIGN).all()
        assert 100 <= (canvas.labels == Class.SIGN).sum() <= 121  # OpenCV fills the outline's pixels too

    @pytest.mark.parametrize("z", [3.0, 10.0, 60.0])
    @pytest.mark.parametrize("x", [-40.0, -2.0, 0.0, 2.0, 40.0])
    def test_bar_is_never_thinner_than_a_pixel(self, canvas, x, z):
        canvas.bar(x, z, (0.0, 3.0), 0.1, (250, 0, 250), Class.POLE)
        painted = canvas.labels == Class.POLE
        np.testing.assert_array_equal(painted, canvas.image.any(axis=2))
        inside = 1 < canvas.camera.u(x, z) < 59
        assert painted.any() == inside
        if inside:
            assert painted.any(axis=0).sum() == max(1, round(50 * 0.1 / z))

    @pytest.mark.parametrize("top", [-50, -3, 5, 38, 100])
    @pytest.mark.parametrize("left", [-50, -3, 5, 58, 100])
    def test_stamp_may_lie_outside(self, canvas, top, left):
        mask = np.ones((6, 7), bool)
        mask[2, 3] = False
        canvas.stamp(top, left, mask, np.full((6, 7, 3), 77, np.float32), Class.TREE)
        expected = np.zeros((160, 170), bool)
        expected[top + 50 : top + 56, left + 50 : left + 57] = mask
        np.testing.assert_array_equal(canvas.labels == Class.TREE, expected[50:90, 50:110])
        np.testing.assert_array_equal(canvas.image.any(axis=2), expected[50:90, 50:110])

    def test_haze_grows_with_distance(self, canvas):
        near, far = canvas.light.fade((0, 0, 0), 1.0), canvas.light.fade((0, 0, 0), 100.0)
        assert 0 < near[0] < far[0] < 200
