import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crispseg.config import DataConfig, Recipe
from crispseg.data import build_dataset
from crispseg.data.class_uniform import ClassDraw, ClassIndex
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
    with pytest.raises(ConfigError, match=r"batch_size is 8, but .* only 7 images; lower it to 6 or less"):
        EpochBatches(7, 4, seed=0, world_size=2)
    with pytest.raises(ConfigError, match=r"only 3 images; 2 processes × train\.accumulate 2 need 4"):
        EpochBatches(3, 1, seed=0, world_size=2, accumulate=2)


def test_the_order_is_the_one_of_earlier_releases():
    """A promise to runs that are resumed."""
    batches = EpochBatches(10, 2, seed=5)
    batches.start_at(3)
    assert list(batches) == np.random.default_rng((5, 3)).permutation(10).reshape(5, 2).tolist()


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 30), st.booleans())
def test_a_step_has_the_same_images_however_it_is_divided(world_size, accumulate, size, more, by_class):
    """The recipe's batch is one of all processes and accumulated batches; the rest of an epoch is left out whole."""
    whole = world_size * accumulate * size
    count = whole + more
    sampling = {"classes": INDEX_OF_ALL, "class_share": 0.5} if by_class else {}
    steps = list(EpochBatches(count, whole, seed=0, **sampling))
    parts = [
        list(EpochBatches(count, size, 0, rank, world_size, accumulate=accumulate, **sampling))
        for rank in range(world_size)
    ]
    for rank in range(world_size):
        assert len(parts[rank]) == len(steps) * accumulate
    for step, images in enumerate(steps):
        batches = range(step * accumulate, (step + 1) * accumulate)
        assert [key for batch in batches for part in parts for key in part[batch]] == images


INDEX_OF_ALL = ClassIndex(np.zeros(3, np.int32), np.array([[0, 0, 8, 8]] * 3, np.int32), np.eye(3, 4, dtype=bool))


def test_class_uniform_epochs_depend_on_seed_and_epoch_and_begin_anywhere():
    def epoch(seed, number, start=0):
        batches = EpochBatches(20, 4, seed, classes=INDEX_OF_ALL, class_share=0.6)
        batches.start_at(number, start)
        return list(batches)

    whole = epoch(0, 1)
    assert sum(isinstance(key, ClassDraw) for batch in whole for key in batch) == 12
    assert epoch(0, 1, 2) == whole[2:]
    assert epoch(0, 2) != whole
    assert epoch(1, 1) != whole


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


@pytest.mark.parametrize(
    ("batch_size", "world_size", "accumulate", "size"), [(6, 1, 1, 6), (6, 2, 1, 3), (6, 1, 3, 2), (6, 3, 2, 1)]
)
def test_the_batch_is_divided_over_processes_and_accumulation(small, batch_size, world_size, accumulate, size):
    recipe = Recipe(data=small, train={"batch_size": batch_size, "accumulate": accumulate})
    loader = train_loader(build_dataset(small, "train", augment=True), recipe, world_size - 1, world_size)
    assert [len(batch["name"]) for batch in loader] == [size] * accumulate


@pytest.mark.parametrize(
    ("batch_size", "world_size", "accumulate", "message"),
    [
        (6, 4, 1, r"batch_size is 6, .* 4 parts for 4 processes × train\.accumulate 1; 8 is the nearest"),
        (5, 2, 2, r"batch_size is 5, .* 4 parts for 2 processes × train\.accumulate 2; 4 is the nearest"),
        (1, 1, 3, r"batch_size is 1, .* 3 parts for 1 process × train\.accumulate 3; 3 is the nearest"),
    ],
)
def test_a_batch_that_does_not_divide_is_refused_with_the_numbers(small, batch_size, world_size, accumulate, message):
    recipe = Recipe(data=small, train={"batch_size": batch_size, "accumulate": accumulate})
    with pytest.raises(ConfigError, match=message):
        train_loader(build_dataset(small, "train", augment=True), recipe, 0, world_size)


def test_a_class_that_never_occurs_is_left_out_and_named_once(small, caplog, monkeypatch, tmp_path):
    data = small.model_copy(update={"class_uniform": 1.0})
    recipe = Recipe(data=data, train={"batch_size": 2})
    dataset = build_dataset(data, "train", augment=True)
    never = dataset.label_space.class_names[3]
    original = dataset.source.sample

    def without(index):
        image, labels, name = original(index)
        return type(original(index))(image, np.where(labels == 3, 255, labels).astype(np.uint8), name)

    monkeypatch.setattr(dataset.source, "sample", without)
    told = []
    with caplog.at_level(logging.INFO, logger="crispseg"):
        loaders = [train_loader(dataset, recipe, rank, 2, lambda *numbers: told.append(numbers)) for rank in (0, 1)]
    (line,) = [record.getMessage() for record in caplog.records]
    assert never in line.rpartition(": ")[2].split(", ")
    assert told[-1] == (6, 6)
    for loader in loaders:
        for batch in loader.batch_sampler:
            assert all(isinstance(key, ClassDraw) and key.class_id != 3 for key in batch)


def test_labels_that_are_all_ignore_have_no_classes_to_draw(small, monkeypatch):
    data = small.model_copy(update={"class_uniform": 0.5})
    dataset = build_dataset(data, "train", augment=True)
    original = dataset.source.sample
    monkeypatch.setattr(dataset.source, "sample", lambda index: original(index)._replace(labels=np.full((32, 48), 255)))
    loader = train_loader(dataset, Recipe(data=data, train={"batch_size": 2}))
    with pytest.raises(DataError, match=r"no class occurs.*data\.class_uniform: 0"):
        next(iter(loader))


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


@pytest.mark.parametrize("class_uniform", [0.0, 0.7])
def test_workers_change_nothing_but_the_speed(small, class_uniform):
    def batches_with(workers):
        data = small.model_copy(update={"workers": workers, "class_uniform": class_uniform})
        recipe = Recipe(data=data, train={"batch_size": 2})
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
