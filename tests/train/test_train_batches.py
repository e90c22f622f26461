import numpy as np
import pytest
import torch

from crispseg.config import DataConfig, Recipe
from crispseg.data import build_dataset
from crispseg.errors import ConfigError, DataError
from crispseg.train.batches import EpochBatches, collate, train_loader, validation_loader


def test_an_epoch_shows_every_sample_once_but_for_the_rest():
    batches = list(EpochBatches(11, 3, seed=1))
    shown = [index for batch in batches for index in batch]
    assert [len(batch) for batch in batches] == [3, 3, 3]
    assert len(set(shown)) == 9
    assert set(shown) <= set(range(11))


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        batches = EpochBatches(20, 4, seed)
        batches.start_at(epoch)
        return list(batches)

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


def test_an_epoch_can_begin_anywhere_and_still_counts_as_whole():
    batches = EpochBatches(20, 4, seed=0)
    batches.start_at(2)
    whole = list(batches)
    for start in range(6):
        batches.start_at(2, start)
        assert list(batches) == whole[start:]
        assert len(batches) == 5


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_a_batch_without_overlap(world_size):
    parts = [list(EpochBatches(24, 2, seed=0, rank=rank, world_size=world_size)) for rank in range(world_size)]
    together = [[index for part in parts for index in part[batch]] for batch in range(len(parts[0]))]
    assert together == list(EpochBatches(24, 2 * world_size, seed=0))


def test_a_set_smaller_than_a_batch_is_refused_with_the_numbers():
    with pytest.raises(ConfigError, match=r"batch_size is 4, but .* only 3 images; lower it to 3 or less"):
        EpochBatches(3, 4, seed=0)
    with pytest.raises(ConfigError, match=r"4 on each of 2 processes.* only 7 images; lower it to 3"):
        EpochBatches(7, 4, seed=0, world_size=2)


def item(name, height, width):
    return {"image": torch.zeros(3, height, width), "labels": torch.zeros(height, width).long(), "name": name}


def test_items_are_stacked():
    batch = collate([item("a", 4, 6), item("b", 4, 6)])
    assert batch["image"].shape == (2, 3, 4, 6)
    assert batch["labels"].shape == (2, 4, 6)
    assert batch["name"] == ["a", "b"]


def test_images_of_different_sizes_are_named():
    with pytest.raises(DataError, match=r"a 4×6, b 5×6; set evaluate.batch_size to 1"):
        collate([item("a", 4, 6), item("b", 5, 6)])


@pytest.fixture(scope="module")
def small():
    return DataConfig(
        layout="toy_streets", toy_size_hw=(32, 48), crop_hw=(16, 24), toy_train_images=6, toy_val_images=5, workers=0
    )


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_every_validation_image_is_seen_by_exactly_one_process(small, world_size, batch_size):
    dataset = build_dataset(small, "val", augment=False)
    recipe = Recipe(data=small, evaluate={"batch_size": batch_size})
    seen = [
        name
        for rank in range(world_size)
        for batch in validation_loader(dataset, recipe, rank, world_size)
        for name in batch["name"]
    ]
    assert sorted(seen) == sorted(dataset.names)


def test_workers_change_nothing_but_the_speed(small):
    def batches_with(workers):
        recipe = Recipe(data=small.model_copy(update={"workers": workers}), train={"batch_size": 2})
        dataset = build_dataset(recipe.data, "train", augment=True)
        loader = train_loader(dataset, recipe)
        found = []
        for epoch in range(2):
            loader.batch_sampler.start_at(epoch, epoch)
            dataset.set_epoch(epoch)
            found += [(batch["name"], batch["image"].numpy()) for batch in loader]
        return found

    helped, alone = batches_with(1), batches_with(0)  # in this order: OpenCV's threads do not survive a fork
    assert [names for names, _ in alone] == [names for names, _ in helped]
    assert len(alone) == 3 + 2
    for (_, first), (_, second) in zip(alone, helped, strict=True):
        np.testing.assert_array_equal(first, second)
