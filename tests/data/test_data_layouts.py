import numpy as np
import pytest
from PIL import Image

from crispseg.config import DataConfig
from crispseg.data import LAYOUTS, build_dataset
from crispseg.errors import ConfigError, DataError
from crispseg.io import write_png


def add(root, image_folder, label_folder, name, size_hw=(6, 8), value=1, suffix=".png"):
    for folder in (image_folder, label_folder):
        (root / folder).mkdir(parents=True, exist_ok=True)
    pixels = np.full((*size_hw, 3), 90, np.uint8)
    Image.fromarray(pixels).save(root / image_folder / f"{name}{suffix}")
    write_png(root / label_folder / f"{name}.png", np.full(size_hw, value, np.uint8))


@pytest.fixture
def camvid(tmp_path):
    for split in ("train", "val"):
        for index in range(3):
            add(tmp_path, split, f"{split}annot", f"{split}_{index}", value=11 if index == 0 else index)
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val"):
        for index, suffix in enumerate((".png", ".jpg", ".JPEG")):
            add(tmp_path, f"images/{split}", f"labels/{split}", f"{split}_{index}", value=index % 2, suffix=suffix)
    (tmp_path / "labels.yaml").write_text("classes: [background, crack]")
    return tmp_path


def build(layout, root, split="train", **values):
    return build_dataset(
        DataConfig(layout=layout, root=None if root is None else str(root), **values), split, augment=False
    )


class TestCamVid:
    def test_samples(self, camvid):
        data = build("camvid", camvid)
        assert data.names == ["train_0", "train_1", "train_2"]
        assert len(data) == 3
        assert data.label_space.name == "camvid"
        assert (data.sample(0).labels == 255).all()
        assert (data.sample(2).labels == 2).all()
        assert build("camvid", camvid, "val").names[0] == "val_0"

    def test_splits_are_translated_by_the_section(self, camvid):
        assert build("camvid", camvid, "train", train_split="val").names[0] == "val_0"

    def test_test_split_that_is_not_there(self, camvid):
        with pytest.raises(
            DataError, match=r"test: no such folder; test and testannot were expected below .* train/, "
        ):
            build("camvid", camvid, "test")

    def test_image_without_label(self, camvid):
        (camvid / "trainannot" / "train_1.png").unlink()
        with pytest.raises(DataError, match=r"1 of 3 images have no label file: train/train_1\.png"):
            build("camvid", camvid)

    def test_label_without_image(self, camvid):
        (camvid / "train" / "train_2.png").unlink()
        with pytest.raises(DataError, match=r"1 of 3 label files have no image: trainannot/train_2\.png"):
            build("camvid", camvid)

    def test_many_missing_are_counted_not_all_listed(self, camvid):
        for index in range(20):
            add(camvid, "train", "elsewhere", f"x_{index:02d}")
        with pytest.raises(DataError, match=r"20 of 23 images .*x_04\.png and 15 more"):
            build("camvid", camvid)

    def test_sizes_that_differ_are_named_when_read(self, camvid):
        write_png(camvid / "trainannot" / "train_1.png", np.ones((5, 8), np.uint8))
        data = build("camvid", camvid)
        data.sample(0)
        with pytest.raises(DataError, match=r"train_1\.png: labels are 5×8 .*train/train_1\.png is 6×8"):
            data[1]

    def test_values_outside_the_table_are_named_and_counted(self, camvid):
        labels = np.ones((6, 8), np.uint8)
        labels[0, :3], labels[1, 0] = 12, 200
        write_png(camvid / "trainannot" / "train_1.png", labels)
        with pytest.raises(
            DataError, match=r"train_1\.png: .*'camvid': 12 \(3 px\), 200 \(1 px\); it knows 0-11 and 255"
        ):
            build("camvid", camvid)[1]

    def test_truncated_image_is_named(self, camvid):
        path = camvid / "train" / "train_1.png"
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(DataError, match=r"train_1\.png: broken or truncated image"):
            build("camvid", camvid)[1]

    def test_another_table(self, camvid, tmp_path):
        table = tmp_path / "two.yaml"
        table.write_text("classes: [{name: a, ids: [1]}, {name: b, ids: [2]}]\nignore_ids: [11]")
        data = build("camvid", camvid, labels=str(table))
        assert data.label_space.class_names == ("a", "b")
        assert (data.sample(1).labels == 0).all()


class TestFolder:
    def test_samples_of_any_suffix(self, folder):
        data = build("folder", folder)
        assert data.names == ["train_0", "train_1", "train_2"]
        assert [int(data.sample(index).labels[0, 0]) for index in range(3)] == [0, 1, 0]
        assert data.label_space.class_names == ("background", "crack")

    def test_hidden_and_other_files_do_not_count(self, folder):
        (folder / "images" / "train" / ".DS_Store").write_text("x")
        (folder / "images" / "train" / "._train_0.png").write_text("x")
        (folder / "images" / "train" / "notes.txt").write_text("x")
        assert len(build("folder", folder)) == 3

    def test_without_splits(self, tmp_path):
        add(tmp_path, "images", "labels", "one", suffix=".jpg")
        (tmp_path / "labels.yaml").write_text("classes: [background, crack]")
        assert build("folder", tmp_path, "all").names == ["one"]
        assert build("folder", tmp_path, "train", train_split="all").names == ["one"]
        with pytest.raises(DataError, match=r"images without split folders are the split 'all'"):
            build("folder", tmp_path, "train")

    def test_a_split_that_is_called_all(self, folder):
        add(folder, "images/all", "labels/all", "whole")
        assert build("folder", folder, "all").names == ["whole"]

    def test_table_from_the_configuration(self, folder):
        (folder / "labels.yaml").unlink()
        assert build("folder", folder, labels="camvid").label_space.name == "camvid"
        with pytest.raises(DataError, match=r"labels\.yaml: no such file; write a label table"):
            build("folder", folder)

    def test_two_images_of_one_stem(self, folder):
        add(folder, "images/train", "labels/train", "train_0", suffix=".jpg")
        with pytest.raises(DataError, match=r"train_0\.png: train_0\.jpg has the same stem"):
            build("folder", folder)

    def test_missing_labels_folder(self, folder):
        (folder / "labels" / "val").rename(folder / "labels" / "second")
        with pytest.raises(
            DataError, match=r"val: no such folder; images/val and labels/val were expected .* holds second/, train/"
        ):
            build("folder", folder, "val")


@pytest.mark.parametrize("layout", ["camvid", "folder"])
class TestRoots:
    def test_none(self, layout):
        with pytest.raises(DataError, match=rf"'{layout}' needs data\.root: a folder with"):
            build(layout, None)

    def test_missing(self, layout, tmp_path):
        with pytest.raises(DataError, match=r"nowhere: nothing found where a folder was expected"):
            build(layout, tmp_path / "nowhere")

    def test_file(self, layout, tmp_path):
        (tmp_path / "root").write_text("x")
        with pytest.raises(DataError, match="root: a file found"):
            build(layout, tmp_path / "root")

    def test_empty(self, layout, tmp_path):
        with pytest.raises(DataError, match=r"train: no such folder.* holds nothing|labels\.yaml: no such file"):
            build(layout, tmp_path)

    def test_empty_folders(self, layout, tmp_path):
        for path in ("train", "trainannot", "images/train", "labels/train"):
            (tmp_path / path).mkdir(parents=True)
        with pytest.raises(DataError, match=r"train: no files found; files ending in \.png"):
            build(layout, tmp_path, labels="camvid")

    def test_home_is_expanded(self, layout, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(DataError, match=r"data\.root ~/nowhere: nothing found"):
            build(layout, "~/nowhere")


def test_unknown_layout():
    with pytest.raises(ConfigError, match=r"unknown layout 'camvit'; did you mean 'camvid'"):
        build("camvit", None)
    assert {"toy_streets", "camvid", "folder"} < set(LAYOUTS)


def test_the_real_camvid(real_camvid):
    train, val = build("camvid", real_camvid), build("camvid", real_camvid, "val")
    assert (len(train), len(val)) == (367, 101)
    sample = val.sample(0)
    assert sample.image.shape == (360, 480, 3)
    counts = np.bincount(
        np.concatenate([val.sample(index).labels.ravel() for index in range(0, 101, 20)]), minlength=256
    )
    assert counts[:11].all()
    assert counts[:11].argmax() in (1, 3), "road or building cover the most"
    assert counts[11:255].sum() == 0
