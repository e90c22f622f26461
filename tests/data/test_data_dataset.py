import pickle

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from crispseg.config import DataConfig
from crispseg.data import JointTransform, Sample, SegmentationDataset, build_dataset
from crispseg.data.damage import damaged
from crispseg.labels import label_space
from crispseg.ops.directions import corrections, mask_bands

TOY = DataConfig(
    layout="toy_streets", toy_size_hw=(24, 32), toy_train_images=6, toy_val_images=3, crop_hw=(16, 20), workers=0
)


class Counting:
    """A source that counts how often it is asked, with samples of different sizes."""

    names = ("a", "b", "c", "d")

    def __init__(self):
        self.asked = []

    def size_hw(self, index):
        return 5 + index, 7

    def sample(self, index):
        self.asked.append(index)
        image = np.random.default_rng(index).integers(0, 256, (*self.size_hw(index), 3), dtype=np.uint8)
        return Sample(image, image[..., 0] % 11, self.names[index])


def test_items():
    source = Counting()
    data = SegmentationDataset(source, label_space("camvid"))
    item = data[1]
    image, labels, name = source.sample(1)
    assert item["name"] == name == data.names[1] == "b"
    assert item["image"].dtype == torch.float32
    assert item["labels"].dtype == torch.int64
    assert item["image"].is_contiguous()
    np.testing.assert_allclose(item["image"].numpy(), image.transpose(2, 0, 1) / 255, atol=1e-6)
    np.testing.assert_array_equal(item["labels"].numpy(), labels)
    np.testing.assert_array_equal(data.sample(-1).image, source.sample(3).image)
    for outside in (4, -5):
        with pytest.raises(IndexError, match=f"sample {outside} of a data set with 4"):
            data[outside]


def test_the_cache_asks_once_and_gives_the_same():
    plain, source = Counting(), Counting()
    cached = SegmentationDataset(source, label_space("camvid"), cache=True)
    for _ in range(3):
        for index in (2, 0, 3, 1):
            given, expected = cached.sample(index), plain.sample(index)
            assert given.name == expected.name
            np.testing.assert_array_equal(given.image, expected.image)
            np.testing.assert_array_equal(given.labels, expected.labels)
            given.image[...], given.labels[...] = 0, 0  # must not reach the cache
    assert source.asked == [2, 0, 3, 1]


def test_a_cached_data_set_can_be_pickled_for_spawned_workers():
    data = SegmentationDataset(Counting(), label_space("camvid"), JointTransform((4, 4)), cache=True)
    data.sample(1)
    data.set_epoch(5)
    other = pickle.loads(pickle.dumps(data))
    assert other.epoch == 5
    torch.testing.assert_close(other[1]["image"], data[1]["image"])


def test_variation_depends_on_seed_epoch_and_index_only():
    def pictures(seed, epoch, order=range(4)):
        data = build_dataset(TOY, "train", augment=True, seed=seed)
        data.set_epoch(epoch)
        return {index: data[index]["image"] for index in order}

    reference = pictures(0, 0)
    for index, image in pictures(0, 0, [3, 1, 0, 2]).items():
        torch.testing.assert_close(image, reference[index], rtol=0, atol=0)
    for seed, epoch in ((1, 0), (0, 1)):
        assert any(not torch.equal(image, reference[index]) for index, image in pictures(seed, epoch).items())


def test_the_variation_of_an_index_is_drawn_from_seed_epoch_and_index():
    """A promise to runs that were begun with an earlier release: resumed, they go on with the same crops."""
    data = build_dataset(TOY, "train", augment=True, seed=3)
    data.set_epoch(2)
    image, labels, _ = data.sample(4)
    image, labels = data.transform(image, labels, np.random.default_rng((3, 2, 4)))
    np.testing.assert_array_equal(data[4]["labels"].numpy(), labels)
    np.testing.assert_array_equal(data[4]["image"].numpy(), image.transpose(2, 0, 1).astype(np.float32) / 255)
    np.testing.assert_array_equal(data[-2]["image"].numpy(), data[4]["image"].numpy())


def test_corrections_are_of_a_mask_that_is_damaged_after_the_transform_and_seen_beside_the_image():
    config = TOY.model_copy(update={"target": "corrections", "reach_px": 3})
    data, plain = (
        build_dataset(config, "train", augment=True, seed=3),
        build_dataset(TOY, "train", augment=True, seed=3),
    )
    assert data.label_space.name == "directions"
    data.set_epoch(2)
    item = data[4]
    rng = np.random.default_rng((3, 2, 4))
    image, labels, _ = plain.sample(4)
    image, labels = data.transform(image, labels, rng)
    mask = damaged(labels, rng)
    assert item["image"].shape == (6, 16, 20)
    np.testing.assert_array_equal((item["image"][:3] * 255).round(), image.transpose(2, 0, 1))
    np.testing.assert_array_equal((item["image"][3:] * 255).round(), mask_bands(mask).transpose(2, 0, 1))
    np.testing.assert_array_equal(item["labels"], corrections(labels, mask, 3))


def test_whole_samples_are_damaged_alike_in_every_epoch_and_otherwise_than_each_other():
    data = build_dataset(TOY.model_copy(update={"target": "corrections"}), "val", augment=False)
    whole = [data.sample(index) for index in range(3)]
    data.set_epoch(5)
    for index, one in enumerate(whole):
        np.testing.assert_array_equal(data.sample(index - 3).image, one.image)
        np.testing.assert_array_equal((data[index]["image"] * 255).round(), one.image.transpose(2, 0, 1))
        np.testing.assert_array_equal(data[index]["labels"], one.labels)
    assert sum(bool(one.labels.any()) for one in whole) >= 2


def test_bands_of_a_mask_fill_the_range_of_images_of_16_bits():
    class Deep(Counting):
        def sample(self, index):
            image, labels, name = super().sample(index)
            return Sample(image.astype(np.uint16) * 257, labels, name)

    deep = SegmentationDataset(Deep(), label_space("camvid"), target="corrections")
    flat = SegmentationDataset(Counting(), label_space("camvid"), target="corrections")
    assert deep.sample(2).image.dtype == np.uint16
    torch.testing.assert_close(deep[2]["image"], flat[2]["image"])


def test_without_variation_epochs_are_the_same():
    data = build_dataset(TOY, "val", augment=False)
    first = data[0]
    data.set_epoch(3)
    torch.testing.assert_close(data[0]["image"], first["image"], rtol=0, atol=0)
    assert first["image"].shape == (3, 24, 32)


def batches(workers, cache, context=None):
    """Two epochs of a loader whose workers persist between them."""
    data = build_dataset(TOY.model_copy(update={"cache": cache}), "train", augment=True, seed=7)
    loader = DataLoader(
        data, batch_size=2, num_workers=workers, persistent_workers=workers > 0, multiprocessing_context=context
    )
    found = []
    for epoch in range(2):
        data.set_epoch(epoch)
        found += [(batch["image"], batch["labels"], list(batch["name"])) for batch in loader]
    return found


@pytest.mark.parametrize(
    ("workers", "cache", "context"),
    [(2, False, "fork"), (2, True, "fork"), pytest.param(1, True, "spawn", marks=pytest.mark.slow)],
)
def test_batches_do_not_depend_on_workers(workers, cache, context):
    alone, together = batches(0, False), batches(workers, cache, context)
    assert len(alone) == len(together) == 6
    assert not torch.equal(alone[0][0], alone[3][0]), "the second epoch must vary anew"
    for (image, labels, names), (other_image, other_labels, other_names) in zip(alone, together, strict=True):
        assert names == other_names
        torch.testing.assert_close(image, other_image, rtol=0, atol=0)
        torch.testing.assert_close(labels, other_labels, rtol=0, atol=0)


def test_forked_workers_share_the_cache():
    data = build_dataset(TOY.model_copy(update={"cache": True}), "train", augment=False)
    for _ in DataLoader(data, batch_size=1, num_workers=2, multiprocessing_context="fork"):
        pass
    assert data._cache._filled[: len(data)].all(), "what workers decoded is not seen by their parent"


def test_forking_after_opencv_has_started_its_threads_does_not_hang():
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        cv2.GaussianBlur(np.zeros((600, 800, 3), np.uint8), (0, 0), 3)
        data = build_dataset(TOY, "train", augment=True)
        # Without the care that crispseg.data takes at a fork, the workers wait for ever and the loader gives up.
        loader = DataLoader(data, num_workers=1, multiprocessing_context="fork", timeout=30)
        assert sum(len(batch["name"]) for batch in loader) == 6
        assert cv2.getNumThreads() == 4, "the parent keeps its threads"
    finally:
        cv2.setNumThreads(threads)
