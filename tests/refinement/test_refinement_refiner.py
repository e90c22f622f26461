"""What refining promises: nothing is invented, nothing far from borders changes, labels mean nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import crispseg
from crispseg.backbones.more_bands import see_more_bands
from crispseg.config import ModelConfig
from crispseg.errors import ConfigError, DataError
from crispseg.labels import label_space
from crispseg.models import load_weights
from crispseg.ops.directions import corrections, inward_directions, mask_bands
from crispseg.refinement import METHODS, Refiner, enlarged


class Oracle(torch.nn.Module):
    """Knows the directions of what an image's red channel shows: the best that a refiner can be."""

    label_space = label_space("directions")

    def forward(self, images):
        regions = (images[:, 0] * 255).round().byte().numpy()
        directions = np.stack([inward_directions(one, 4) for one in regions])
        logits = torch.nn.functional.one_hot(torch.from_numpy(directions).long() % 255, 9).float()
        return crispseg.SegmentationOutput(logits=20 * logits.permute(0, 3, 1, 2))


class SeeingOracle(torch.nn.Module):
    """Knows the truth, from the image's red channel, and the mask by its bands: a refiner with a mask at its best."""

    label_space = label_space("directions")
    config = ModelConfig(sees_mask=True)

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, images):
        seen = (images[0] * 255).round().byte().numpy()
        assert (seen[3:] == mask_bands(self.mask).transpose(2, 0, 1)).all()
        directions = torch.from_numpy(corrections(seen[0] // 80, self.mask, 4)).long()
        return crispseg.SegmentationOutput(
            logits=20 * torch.nn.functional.one_hot(directions, 9).permute(2, 0, 1)[None].float()
        )


def image_of(regions):
    return np.repeat(regions[..., None], 3, axis=-1)


def within(mask, row, column, reach):
    return mask[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]


REFINERS = {"oracle": Oracle(), **dict.fromkeys(METHODS)}


@pytest.mark.parametrize("name", REFINERS)
@settings(max_examples=15, deadline=None)
@given(
    arrays.arrays(np.uint8, (9, 11), elements=st.integers(0, 2)),
    arrays.arrays(np.uint16, (9, 11), elements=st.sampled_from([3, 7, 40000])),
    st.integers(1, 4),
)
def test_only_labels_within_reach_are_given(name, regions, mask, steps):
    refined = Refiner(REFINERS[name] or name, steps=steps, keep_thin_px=1)(image_of(80 * regions), mask)
    assert refined.dtype == mask.dtype
    for row, column in np.ndindex(mask.shape):
        assert refined[row, column] in within(mask, row, column, steps)


@pytest.mark.parametrize("name", REFINERS)
def test_labels_are_moved_whatever_they_are_called(name):
    rng = np.random.default_rng(0)
    regions = rng.integers(0, 3, (4, 4), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
    refiner, mask = Refiner(REFINERS[name] or name, steps=3, keep_thin_px=3), np.roll(regions, 2, axis=1)
    names = np.array([60000, 5, 17], dtype=np.uint16)
    assert (refiner(image_of(regions * 90), names[mask]) == names[refiner(image_of(regions * 90), mask)]).all()


@pytest.mark.parametrize("name", REFINERS)
def test_borders_move_to_where_the_image_has_them(name):
    truth = np.zeros((24, 24), dtype=np.uint8)
    truth[6:18, 6:18] = 1
    mask = np.roll(truth, 2, axis=1)
    refined = Refiner(REFINERS[name] or name, steps=4)(image_of(truth * 200), mask)
    assert (refined != truth).sum() < 0.3 * (mask != truth).sum()


@pytest.mark.parametrize("name", REFINERS)
def test_probabilities_stay_probabilities(name):
    truth = np.zeros((16, 16), dtype=np.uint8)
    truth[4:12, 4:12] = 1
    coarse = np.stack([1 - np.roll(truth, 1, axis=1), np.roll(truth, 1, axis=1)]).astype(np.float32) * 0.8 + 0.1
    refined = Refiner(REFINERS[name] or name, steps=4, keep_thin_px=7)(image_of(truth * 200), coarse)
    assert (refined != coarse).any()
    assert refined.shape == coarse.shape
    assert np.allclose(refined.sum(axis=0), 1, atol=1e-5)
    assert (refined.argmax(axis=0) != truth).sum() <= (coarse.argmax(axis=0) != truth).sum()


def test_thin_parts_stay_where_they_are_unless_all_may_move():
    lines = np.zeros((24, 24), dtype=np.uint8)
    lines[:, 10:13] = 1
    moved = np.roll(lines, 3, axis=1)
    assert (Refiner(Oracle())(image_of(lines * 200), moved) == moved)[:, 13:16].all()
    all_may_move = Refiner(Oracle(), steps=4, keep_thin_px=1)
    assert (all_may_move(image_of(lines * 200), moved) == 0).all()  # lost: nothing of it is inside


def test_a_mask_of_its_images_size_moves_half_as_far_unless_told():
    truth = np.zeros((48, 48), dtype=np.uint8)
    truth[:, 24:] = 1
    coarse, image = np.roll(truth, 4, axis=1)[::2, ::2], image_of(truth * 200)
    assert (Refiner(Oracle())(image, coarse) == truth)[:, 12:-12].all()
    in_place = Refiner(Oracle())(image, enlarged(coarse, (48, 48)))
    assert (in_place != truth)[:, 24:26].all()
    assert (in_place == truth)[:, 26:-12].all()


def test_a_mask_of_a_quarter_of_the_size_is_enlarged_along_the_edges():
    truth = np.zeros((32, 40), dtype=np.uint8)
    truth[7:22, 9:30] = 1
    coarse = truth[2::4, 2::4]
    refined = Refiner(Oracle())(image_of(truth * 200), coarse)
    assert refined.shape == truth.shape
    assert (refined != truth).sum() < 0.4 * (enlarged(coarse, truth.shape) != truth).sum()


def test_windows_change_little_and_one_class_nothing():
    truth = np.zeros((40, 48), dtype=np.uint8)
    truth[10:30, 12:40] = 1
    mask = np.roll(truth, 2, axis=0)
    whole = Refiner(Oracle())(image_of(truth * 200), mask)
    windows = Refiner(Oracle(), window_hw=(24, 24))(image_of(truth * 200), mask)
    assert (whole != windows).mean() < 0.01
    for name, model in REFINERS.items():
        one_class = np.full((8, 8), 4, dtype=np.uint8)
        assert (Refiner(model or name)(image_of(one_class), one_class) == 4).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((5, 8), dtype=np.uint8), r"5×8 pixels and its image 8×8.*whole fraction"),
        (np.zeros((0, 8), dtype=np.uint8), "empty"),
        (np.zeros((8, 8), dtype=np.float32), r"integers \(h, w\) or probabilities"),
        (np.zeros((16, 16), dtype=np.uint8), "16×16"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, message):
    with pytest.raises(DataError, match=message):
        Refiner("guided_filter")(np.zeros((8, 8, 3), dtype=np.uint8), mask)


def test_a_network_that_sees_the_mask_moves_thin_parts_and_is_given_the_masks_bands():
    truth = np.zeros((24, 32), dtype=np.uint8)
    truth[5:20, 4:12] = 1
    truth[:, 20:23] = 2  # a line, off by its own width
    mask = np.roll(truth, 3, axis=1)
    refiner = Refiner(SeeingOracle(mask), steps=4, keep_thin_px=1, precision="float32")
    assert (refiner.sees_mask, refiner.threshold, Refiner(Oracle()).threshold) == (True, 0.3, 0.1)
    assert (refiner(image_of(truth * 80), mask) == truth).mean() > 0.99
    names = np.array([900, -5, 70000])
    assert (refiner(image_of(truth * 80), names[mask]) == names[refiner(image_of(truth * 80), mask)]).all()
    probability = np.eye(3, dtype=np.float32)[mask].transpose(2, 0, 1) * 0.8 + 0.05
    assert (refiner(image_of(truth * 80), probability).argmax(axis=0) == truth).mean() > 0.99
    kept = Refiner(SeeingOracle(mask), precision="float32")
    assert (kept(image_of(truth * 80), mask) == mask)[:, 23:26].all()
    with pytest.raises(ConfigError, match="looks at the mask, and none was given"):
        refiner.directions(image_of(truth))


def test_a_network_that_sees_masks_is_no_segmenter_and_starts_as_the_network_of_images_that_it_is_made_of(tmp_path):
    options = {"backbone": "resnet18", "channels": 8, "output_stride": 32, "label_space": label_space("directions")}
    images_alone = crispseg.create_model("plain", **options).eval()
    images_alone.mean.fill_(0.3)
    crispseg.save_model(images_alone, tmp_path / "images")
    seeing = crispseg.create_model("plain", **options, sees_mask=True).eval()
    assert load_weights(seeing, tmp_path / "images", partial=True) == []
    seen = torch.rand(1, 6, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(seeing(seen).logits, images_alone(seen[:, :3]).logits)
    assert seeing.mean.flatten().tolist() == pytest.approx([0.3] * 3 + [0.5] * 3)
    crispseg.save_model(seeing, tmp_path / "seeing")
    assert Refiner(crispseg.load_model(tmp_path / "seeing")).sees_mask
    assert not Refiner(images_alone).sees_mask
    with pytest.raises(ConfigError, match=r"looks at masks of images.*crispseg refine"):
        crispseg.Predictor(seeing)("street.jpg")
    images_alone.backbone.mean = (0.5,) * 12  # as if it cut images into pieces first
    with pytest.raises(ConfigError, match="its first layer is no convolution of the image's bands"):
        see_more_bands(images_alone.backbone, 3, "resnet18")


def test_what_is_no_refiner_is_refused():
    segmenter = crispseg.create_model("plain", backbone="resnet18", num_classes=3, channels=8, output_stride=32)
    with pytest.raises(ConfigError, match="it segments, and is no refiner"):
        Refiner(segmenter)
    with pytest.raises(ConfigError, match="did you mean 'guided_filter'"):
        Refiner("guided_filer")
    with pytest.raises(ConfigError, match="steps is 0"):
        Refiner("mean_field", steps=0)
    with pytest.raises(ConfigError, match="keep_thin_px is 0"):
        Refiner("mean_field", keep_thin_px=0)
    with pytest.raises(ConfigError, match="threshold is 1"):
        Refiner("mean_field", threshold=1.0)
    with pytest.raises(ConfigError, match="knows no directions"):
        Refiner("mean_field").directions(np.zeros((4, 4, 3), dtype=np.uint8))
