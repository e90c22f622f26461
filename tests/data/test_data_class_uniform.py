import logging
import os
import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispseg.config import DataConfig
from crispseg.data import FileSource, JointTransform, Record, Sample, SegmentationDataset, build_dataset
from crispseg.data.class_uniform import ClassDraw, ClassIndex, build_class_index, class_index
from crispseg.errors import ConfigError, DataError
from crispseg.io import write_png
from crispseg.labels import LabelSpace, label_space

SIZE_HW = (30, 50)
TABLE = LabelSpace.from_dict({"name": "four", "classes": ["ground", "patch", "dot", "never"], "ignore_ids": [9]})


class InMemory:
    """A source of given label maps, with images that name their pixels' rows and columns."""

    def __init__(self, *labels):
        self.maps = labels
        self.names = [f"sample {index}" for index in range(len(labels))]

    def size_hw(self, index):
        return self.maps[index].shape

    def sample(self, index):
        labels = self.maps[index]
        v, u = np.indices(labels.shape)
        return Sample(np.stack([v, u, np.full_like(v, index)], axis=2).astype(np.uint8), labels, self.names[index])


def street(seed):
    """Ground everywhere, a patch in every third image, and one pixel of "dot" where tiles of 16 leave a remainder."""
    labels = np.zeros(SIZE_HW, np.uint8)
    labels[0] = 255
    if seed % 3 == 0:
        labels[10:14, 5 + seed : 9 + seed] = 1
    if seed == 5:
        labels[29, 49] = 2
    return labels


@pytest.fixture
def streets():
    return InMemory(*(street(seed) for seed in range(12)))


@pytest.fixture
def files(tmp_path):
    """The same as files, each of which can be told to be broken."""
    records = []
    for seed in range(12):
        labels = street(seed)
        labels[labels == 255] = 9
        records.append(Record(f"{seed:02}", tmp_path / f"{seed:02}.png", tmp_path / f"{seed:02}_labels.png"))
        write_png(records[-1].image, np.zeros((*SIZE_HW, 3), np.uint8))
        write_png(records[-1].labels, labels)
    return FileSource(records, TABLE)


# ── the index ──


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32))
def test_tiles_cover_every_pixel_and_know_its_class(height, width, tile, seed):
    labels = np.random.default_rng(seed).choice([0, 1, 2, 7, 255], (height, width), p=[0.9, 0.07, 0.01, 0.01, 0.01])
    labels = labels.astype(np.uint8)
    index = build_class_index(InMemory(labels), 4, tile, threads=1)
    covered = np.zeros(labels.shape, bool)
    for (top, left, bottom, right), present in zip(index.tiles, index.present, strict=True):
        assert (bottom - top, right - left) == (min(tile, height), min(tile, width))
        covered[top:bottom, left:right] = True
        assert set(np.flatnonzero(present)) == set(np.unique(labels[top:bottom, left:right])) - {7, 255}
    assert covered.all(), "a remainder was left out"
    assert len(index.tiles) == -(-height // tile) * -(-width // tile), "more tiles than needed"


def test_an_image_smaller_than_the_tile_is_one_tile(streets):
    index = build_class_index(streets, 4, 640)
    assert index.samples.tolist() == list(range(12))
    assert (index.tiles == [0, 0, *SIZE_HW]).all()
    assert index.occurring == [0, 1, 2]
    np.testing.assert_array_equal(np.flatnonzero(index.present[:, 1]), [0, 3, 6, 9])


def test_threads_change_nothing_and_progress_is_told_in_order(streets):
    told = []
    one = build_class_index(streets, 4, 16, threads=1)
    many = build_class_index(streets, 4, 16, threads=5, progress=lambda *numbers: told.append(numbers))
    for attribute in ("samples", "tiles", "present"):
        np.testing.assert_array_equal(getattr(one, attribute), getattr(many, attribute))
    assert told == [(done, 12) for done in range(1, 13)]


def test_a_data_set_without_samples_has_an_index_without_tiles():
    index = build_class_index(InMemory(), 4, 16)
    assert index.present.shape == (0, 4)
    assert index.occurring == []


# ── the draw ──


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 60), st.floats(0, 1), st.integers(1, 6), st.integers(1, 9), st.floats(0.05, 1), st.integers(0, 2**32)
)
def test_every_class_is_drawn_equally_often(count, share, num_classes, tiles_each, density, seed):
    rng = np.random.default_rng(seed)
    present = rng.random((count * tiles_each, num_classes)) < density
    samples = np.repeat(np.arange(count, dtype=np.int32), tiles_each)
    tiles = np.stack([np.arange(len(samples))] * 4, axis=1).astype(np.int32)  # a tile's place is its number
    index = ClassIndex(samples, tiles, present)
    if not present.any():
        with pytest.raises(DataError, match="no class occurs"):
            index.draw(count, share, rng)
        return
    keys = index.draw(count, share, np.random.default_rng(seed))
    assert keys == index.draw(count, share, np.random.default_rng(seed))

    by_class = [key for key in keys if isinstance(key, ClassDraw)]
    plain = [key for key in keys if not isinstance(key, ClassDraw)]
    assert len(keys) == count
    assert len(by_class) == round(share * count)
    assert len(set(plain)) == len(plain)
    assert all(keys[key.position] is key for key in by_class)
    assert all(present[key.tile[0], key.class_id] and samples[key.tile[0]] == key.sample for key in by_class)
    drawn = Counter(key.class_id for key in by_class)
    numbers = [drawn[class_id] for class_id in index.occurring]
    assert sum(numbers) == len(by_class)
    assert max(numbers) - min(numbers) <= 1
    for class_id in index.occurring:
        again = Counter(key.tile[0] for key in by_class if key.class_id == class_id)
        assert max(again.values(), default=0) <= -(-drawn[class_id] // present[:, class_id].sum())


def test_classes_that_do_not_fit_into_an_epoch_take_turns():
    """Two draws an epoch for five classes: over many epochs each still comes equally often."""
    index = ClassIndex(np.arange(4, dtype=np.int32), np.zeros((4, 4), np.int32), np.ones((4, 5), bool))
    drawn = Counter(
        key.class_id
        for epoch in range(400)
        for key in index.draw(4, 0.5, np.random.default_rng((0, epoch)))
        if isinstance(key, ClassDraw)
    )
    assert sum(drawn.values()) == 800
    assert min(drawn.values()) > 0.8 * 160
    assert max(drawn.values()) < 1.2 * 160


def test_the_centre_is_any_pixel_of_the_class_in_the_tile():
    labels = np.zeros((6, 9), np.uint8)
    labels[2:4, 5:8] = 3
    draw = ClassDraw(0, 0, 3, (0, 4, 3, 9))  # its lower row lies outside
    rng = np.random.default_rng(0)
    found = Counter(draw.centre_px(labels, rng) for _ in range(600))
    assert set(found) == {(2, 5), (2, 6), (2, 7)}
    assert min(found.values()) > 150
    with pytest.raises(ValueError, match="class 1 does not occur"):
        draw._replace(class_id=1).centre_px(labels, rng)


# ── through the data set ──


@pytest.mark.parametrize("tile", [16, 1024])
def test_on_a_miniature_every_class_comes_within_a_fifth_of_its_share(streets, tile):
    """Counted in what comes out of the data set, over epochs, for classes of 97 %, 3 % and 0.006 % of the pixels."""
    data = SegmentationDataset(streets, TABLE, JointTransform((15, 15), (0.75, 2.0), 0.5))
    index = build_class_index(streets, 4, tile)
    shown, epochs = Counter(), 20
    for epoch in range(epochs):
        data.set_epoch(epoch)
        for key in index.draw(len(data), 0.5, np.random.default_rng((0, epoch))):
            labels = data[key]["labels"]
            assert tuple(labels.shape) == (15, 15)
            if isinstance(key, ClassDraw):
                shown[key.class_id] += bool((labels == key.class_id).any())
    for class_id in index.occurring:
        assert shown[class_id] / (epochs * 6) == pytest.approx(1 / 3, rel=0.2)


def test_a_crop_is_centred_on_its_class(streets):
    data = SegmentationDataset(streets, TABLE, JointTransform((5, 7)))
    tile = (0, 0, *SIZE_HW)
    for position in range(10):
        assert data[ClassDraw(3, position, 1, tile)]["labels"][2, 3] == 1
    corner = data[ClassDraw(5, 0, 2, tile)]  # at the image's end, where the crop is moved into the image
    assert corner["labels"][4, 6] == 2
    assert (corner["labels"] != 255).all()


def test_variation_depends_on_seed_epoch_and_position_not_on_the_image_alone(streets):
    transform = JointTransform((15, 15), (0.75, 2.0), 0.5, 0.2)

    def picture(seed=0, epoch=0, position=0):
        data = SegmentationDataset(streets, TABLE, transform, seed=seed)
        data.set_epoch(epoch)
        return data[ClassDraw(3, position, 0, (0, 0, *SIZE_HW))]["image"].numpy()

    np.testing.assert_array_equal(picture(), picture())
    plain = SegmentationDataset(streets, TABLE, transform)[3]["image"].numpy()
    for other in (picture(seed=1), picture(epoch=1), picture(position=1), plain):
        assert not np.array_equal(picture(), other)


def test_without_a_transform_a_draw_gives_the_whole_image(streets):
    data = SegmentationDataset(streets, TABLE)
    assert tuple(data[ClassDraw(3, 0, 1, (0, 0, *SIZE_HW))]["labels"].shape) == SIZE_HW


def test_labels_that_were_changed_under_way_are_named(streets):
    data = SegmentationDataset(streets, TABLE, JointTransform((5, 7)))
    with pytest.raises(DataError, match=r"sample 4: 'patch' is not where the class index says.*start it again"):
        data[ClassDraw(4, 0, 1, (0, 0, *SIZE_HW))]


# ── the file ──


def unreadable(index):
    raise AssertionError("the labels were read")


def test_the_index_is_read_again_not_built_again(files, tmp_path, monkeypatch):
    built = class_index(files, TABLE, 16, folder=tmp_path / "cache")
    monkeypatch.setattr(files, "labels", unreadable)
    read = class_index(files, TABLE, 16, folder=tmp_path / "cache", progress=unreadable)
    for attribute in ("samples", "tiles", "present"):
        np.testing.assert_array_equal(getattr(built, attribute), getattr(read, attribute))
        assert getattr(built, attribute).dtype == getattr(read, attribute).dtype
    assert read.occurring == [0, 1, 2]


def test_images_are_not_read(files, tmp_path):
    for record in files.records:
        record.image.unlink()
    assert class_index(files, TABLE, 16, folder=tmp_path / "cache").occurring == [0, 1, 2]


@pytest.mark.parametrize("change", ["content", "time", "tile", "table", "samples"])
def test_a_changed_data_set_is_indexed_again(files, tmp_path, change):
    folder = tmp_path / "cache"
    before = class_index(files, TABLE, 16, folder=folder)
    source, table, tile, changed = files, TABLE, 16, files.records[4].labels
    if change == "content":
        labels = street(4)
        labels[labels == 255] = 9
        labels[5, 5] = 3
        write_png(changed, labels)
    elif change == "time":
        os.utime(changed, (1e9, 1e9))
    elif change == "tile":
        tile = 17
    elif change == "table":
        table = LabelSpace.from_dict({**TABLE.to_dict(), "classes": ["ground", "patch", "dot", "renamed"]})
    else:
        source = FileSource(files.records[1:], TABLE)
    asked = []
    after = class_index(source, table, tile, folder=folder, progress=lambda done, total: asked.append(done))
    assert len(asked) == len(source.names)
    assert len(list(folder.glob("*.npz"))) == 2
    assert (3 in after.occurring) == (change == "content")
    if change == "samples":
        assert after.samples.max() == before.samples.max() - 1


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_a_broken_index_is_built_again_and_named(files, tmp_path, caplog, content):
    class_index(files, TABLE, 16, folder=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").glob("*.npz")
    kept.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert class_index(files, TABLE, 16, folder=tmp_path / "cache").occurring == [0, 1, 2]
    assert f"{kept}: not a readable class index" in caplog.text
    caplog.clear()
    class_index(files, TABLE, 16, folder=tmp_path / "cache", progress=unreadable)
    assert caplog.text == ""


def test_of_several_at_once_one_builds_and_the_others_wait(files, tmp_path, monkeypatch):
    """Threads stand in for processes: each opens the lock for itself."""
    read, asked, found = files.labels, [], []

    def slow(index):
        asked.append(index)
        time.sleep(0.01)
        return read(index)

    monkeypatch.setattr(files, "labels", slow)
    together = [
        threading.Thread(target=lambda: found.append(class_index(files, TABLE, 16, folder=tmp_path / "cache")))
        for _ in range(3)
    ]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert sorted(asked) == list(range(12))
    assert len(found) == 3
    for index in found:
        np.testing.assert_array_equal(index.present, found[0].present)


def test_the_users_cache_folder_is_the_default(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    class_index(files, TABLE, 16)
    assert len(list((tmp_path / "xdg" / "crispseg").glob("class-index-*.npz"))) == 1
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for other in ("relative/is/ignored", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", other)
        class_index(files, TABLE, 16 + len(other))
    assert len(list((tmp_path / "home" / ".cache" / "crispseg").glob("class-index-*.npz"))) == 2


def test_a_folder_that_cannot_be_written_to(files, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"data\.index_cache .*file: the class index cannot be kept there"):
        class_index(files, TABLE, 16, folder=tmp_path / "file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert class_index(files, TABLE, 16).occurring == [0, 1, 2]
    assert "the class index could not be kept" in caplog.text


def test_a_missing_and_a_broken_label_file_are_named(files, tmp_path):
    files.records[7].labels.write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"07_labels\.png"):
        class_index(files, TABLE, 16, folder=tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*.npz")) == []
    files.records[7].labels.unlink()
    with pytest.raises(DataError, match=r"07_labels\.png: No such file"):
        class_index(files, TABLE, 16, folder=tmp_path / "cache")


def test_samples_without_files_are_indexed_each_time(streets, tmp_path):
    asked = []
    for _ in range(2):
        index = class_index(streets, TABLE, 16, folder=tmp_path / "cache", progress=lambda *n: asked.append(n))
        assert index.occurring == [0, 1, 2]
    assert len(asked) == 24
    assert not (tmp_path / "cache").exists()


def test_toy_streets_show_their_rarest_class(tmp_path):
    config = DataConfig(layout="toy_streets", toy_size_hw=(48, 64), toy_train_images=6, crop_hw=(16, 20))
    data = build_dataset(config, "train", augment=True)
    index = class_index(data.source, data.label_space, 32)
    assert label_space("toy_streets").num_classes >= len(index.occurring) > 5
    for key in index.draw(len(data), 1.0, np.random.default_rng(0)):
        assert (data[key]["labels"] == key.class_id).any()
