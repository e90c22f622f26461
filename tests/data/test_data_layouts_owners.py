"""The layouts of the published data sets, on miniatures in their owners' folders."""

import pickle
import re
import shutil
import sys
from pathlib import Path

import miniatures
import numpy as np
import pytest
import scipy.io
import yaml
from miniatures import MINIATURES

from crispseg.config import DataConfig
from crispseg.data import LAYOUTS, FileSource, SegmentationDataset, build_dataset
from crispseg.data.label_files import CAMVID_COLOURS, CAMVID_FORMAT, mat_format
from crispseg.data.layouts.choices import camvid_split_of
from crispseg.errors import ConfigError, DataError
from crispseg.io import MAX_PIXELS, write_png
from crispseg.labels import label_space


def build(layout: str, root: Path, split: str, **values: object) -> SegmentationDataset:
    return build_dataset(DataConfig(layout=layout, root=str(root), **values), split, augment=False)


def records_of(data: SegmentationDataset):
    assert isinstance(data.source, FileSource)
    return data.source.records


OF_TOOLS = {"voc", "coco", "labelme", "yolo", "huggingface"}  # see test_data_outlines.py, test_data_huggingface.py
WITH_YOUR_CLASSES = OF_TOOLS | {"folder"}


def test_every_layout_with_files_has_a_miniature():
    assert set(MINIATURES) == set(LAYOUTS) - {"toy_streets"} - OF_TOOLS


@pytest.mark.parametrize("layout", MINIATURES)
class TestEveryLayout:
    def test_samples(self, layout, tmp_path):
        miniature = MINIATURES[layout]
        raw = miniature.write(tmp_path)
        for split, names in miniature.splits.items():
            data = build(layout, tmp_path, split, **miniature.values)
            assert data.names == sorted(names), split
            assert pickle.loads(pickle.dumps(data.source)).names == data.names, "workers that are spawned get it too"
            for index, name in enumerate(data.names):
                sample = data.sample(index)
                assert sample.image.shape == (*miniatures.SIZE_HW, 3)
                np.testing.assert_array_equal(sample.labels, data.label_space.lookup[raw[name]])
                np.testing.assert_array_equal(data.source.labels(index), sample.labels)
                assert records_of(data)[index].image.stem.startswith(name)
                assert data.source.check_headers(index) == miniatures.SIZE_HW
                if records_of(data)[index].image.suffix == ".png":
                    np.testing.assert_array_equal(sample.image, miniatures.picture(name))

    def test_joined_splits(self, layout, tmp_path):
        miniature = MINIATURES[layout]
        MINIATURES[layout].write(tmp_path)
        data = build(layout, tmp_path, "train+val", **miniature.values)
        assert data.names == [*sorted(miniature.splits["train"]), *sorted(miniature.splits["val"])]

    def test_missing_root(self, layout, tmp_path):
        with pytest.raises(DataError, match=r"nowhere: nothing found where a folder was expected, with"):
            build(layout, tmp_path / "nowhere", "train")

    def test_empty_root(self, layout, tmp_path):
        with pytest.raises(DataError, match=r"no such (folder|file).*expected"):
            build(layout, tmp_path, "train", labels="camvid")

    @pytest.mark.parametrize("which", ["image", "labels"])
    def test_a_missing_file_is_named(self, layout, which, tmp_path):
        MINIATURES[layout].write(tmp_path)
        path = getattr(records_of(build(layout, tmp_path, "train"))[0], which)
        path.unlink()
        stem = path.name.partition(".")[0].removesuffix("_L").partition("_gt")[0].removesuffix("_leftImg8bit")
        with pytest.raises(DataError, match=f"{tmp_path}: .*{stem}.*(take the others away|unpack all archives)"):
            build(layout, tmp_path, "train")

    @pytest.mark.parametrize("which", ["image", "labels"])
    def test_files_of_another_suffix_are_none(self, layout, which, tmp_path):
        MINIATURES[layout].write(tmp_path)
        folder = getattr(records_of(build(layout, tmp_path, "train"))[0], which).parent
        if layout.startswith("cityscapes"):
            folder = folder.parent  # of the cities
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            path.rename(path.with_suffix(".tga"))
        with pytest.raises(DataError, match=rf"{folder}: no files found.*files ending in .* were expected; it holds"):
            build(layout, tmp_path, "train")

    @pytest.mark.parametrize("which", ["image", "labels"])
    def test_a_missing_folder_is_named(self, layout, which, tmp_path):
        MINIATURES[layout].write(tmp_path)
        path = getattr(records_of(build(layout, tmp_path, "train"))[0], which)
        top = tmp_path / path.relative_to(tmp_path).parts[0]
        if layout == "camvid":
            top = path.parent
        shutil.rmtree(top)
        with pytest.raises(DataError, match=rf"{top}.*: no such folder; .* were expected below {tmp_path}; .* holds"):
            build(layout, tmp_path, "train")

    @pytest.mark.parametrize("which", ["image", "labels"])
    def test_a_truncated_file_is_named_when_read(self, layout, which, tmp_path):
        MINIATURES[layout].write(tmp_path)
        data = build(layout, tmp_path, "train")
        path = getattr(records_of(data)[0], which)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=f"{path}: broken or truncated"):
            data.sample(0)

    def test_a_file_of_text_is_named_when_read(self, layout, tmp_path):
        MINIATURES[layout].write(tmp_path)
        data = build(layout, tmp_path, "train")
        path = records_of(data)[0].labels
        path.write_text("not a label file")
        with pytest.raises(DataError, match=f"{path}: (not an image|broken)"):
            data.sample(0)
        with pytest.raises(DataError, match=f"{path}: (not an image|broken)"):
            data.source.check_headers(0)


class TestOtherPlaces:
    def test_cityscapes_as_its_archives_unpack(self, tmp_path):
        raw = miniatures.cityscapes(tmp_path, "leftImg8bit_trainvaltest/leftImg8bit", "gtFine_trainvaltest/gtFine")
        data = build("cityscapes", tmp_path, "val")
        assert data.names == miniatures.CITY_SPLITS["val"]
        np.testing.assert_array_equal(data.sample(0).labels, data.label_space.lookup[raw[data.names[0]]])

    def test_coarse_cityscapes_with_the_extra_images_in_their_own_folder(self, tmp_path):
        miniatures.cityscapes(tmp_path, labels="gtCoarse/gtCoarse", kind="gtCoarse")
        (tmp_path / "leftImg8bit_trainextra" / "leftImg8bit").mkdir(parents=True)
        extra = tmp_path / "leftImg8bit" / "train_extra"
        extra.rename(tmp_path / "leftImg8bit_trainextra" / "leftImg8bit" / "train_extra")
        assert len(build("cityscapes_coarse", tmp_path, "train+train_extra")) == 4

    @pytest.mark.parametrize("parent", ["", "seg/"])
    def test_the_first_release_of_bdd100k(self, parent, tmp_path):
        raw = miniatures.bdd100k(tmp_path, f"{parent}images", f"{parent}labels", "_train_id.png")
        data = build("bdd100k", tmp_path, "train")
        assert data.names == miniatures.BDD_SPLITS["train"]
        np.testing.assert_array_equal(data.sample(1).labels, data.label_space.lookup[raw[data.names[1]]])

    def test_mapillary_in_the_archive_of_version_2(self, tmp_path):
        raw = miniatures.mapillary(tmp_path, "v1.2/labels")
        data = build("mapillary", tmp_path, "train")
        np.testing.assert_array_equal(data.sample(0).labels, data.label_space.lookup[raw[data.names[0]]])

    def test_pascal_context_in_png_files(self, tmp_path):
        raw = miniatures.pascal_context_png(tmp_path)
        data = build("pascal_context", tmp_path, "train")
        assert data.label_space.name == "pascal_context_png"
        np.testing.assert_array_equal(data.sample(0).labels, data.label_space.lookup[raw[data.names[0]]])

    def test_pascal_contexts_owners_files_go_before_png(self, tmp_path):
        miniatures.pascal_context_png(tmp_path)
        miniatures.pascal_context(tmp_path)
        assert build("pascal_context", tmp_path, "val").label_space.name == "pascal_context"

    def test_pascal_contexts_own_lists_go_before_vocs(self, tmp_path):
        miniatures.pascal_context(tmp_path)
        miniatures.write_list(tmp_path / "ImageSets/SegmentationContext/train.txt", ["2008_000015"])
        assert build("pascal_context", tmp_path, "train").names == ["2008_000015"]
        assert build("pascal_context", tmp_path, "val").names == ["2008_000002"]

    def test_another_table(self, tmp_path):
        miniatures.kitti(tmp_path)
        (tmp_path / "two.yaml").write_text(
            f"classes: [{{name: road, ids: [7]}}, {{name: other, ids: {[i for i in range(34) if i != 7]}}}]"
        )
        data = build("kitti", tmp_path, "val", labels=str(tmp_path / "two.yaml"))
        assert set(np.unique(data.sample(0).labels)) <= {0, 1}


class TestLists:
    def test_missing_list(self, tmp_path):
        miniatures.coco_stuff10k(tmp_path)
        (tmp_path / "imageLists" / "test.txt").unlink()
        with pytest.raises(DataError, match=r"imageLists/test\.txt: no such file; a list .*: train\.txt"):
            build("coco_stuff10k", tmp_path, "val")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"\n \n", r"train\.txt: the list is empty"),
            (b"a\nb\na\n", r"train\.txt: 1 names are listed twice: a; keep one"),
            (b"\xff\xfe\x00", r"train\.txt: cannot be read as a list"),
            (
                b"COCO_train2014_000000000077\nnowhere\n",
                r"2 files of the 2 images .* images/nowhere\.jpg, annotations/",
            ),
        ],
    )
    def test_broken_lists(self, text, message, tmp_path):
        miniatures.coco_stuff10k(tmp_path)
        (tmp_path / "imageLists" / "train.txt").write_bytes(text)
        with pytest.raises(DataError, match=message):
            build("coco_stuff10k", tmp_path, "train")


class TestCamVidOriginal:
    def test_the_division_is_the_tutorials(self, real_camvid):
        for split in ("train", "val"):
            names = [path.stem for path in (real_camvid / split).glob("*.png")]
            assert len(names) == {"train": 367, "val": 101}[split]
            assert {camvid_split_of(name) for name in names} == {split}

    def test_test_sequences(self):
        first, second = range(6690, 8521, 30), range(8550, 10381, 30)  # the frames of 0001TP
        assert [camvid_split_of(f"0001TP_{frame:06d}") for frame in first] == ["train"] * 62
        assert [camvid_split_of(f"0001TP_{frame:06d}") for frame in second] == ["test"] * 62

    @pytest.mark.parametrize("name", ["frankfurt_000000", "0001TP", "0001TP_x", ""])
    def test_other_names(self, name):
        with pytest.raises(DataError, match="not a frame of CamVid"):
            camvid_split_of(name)

    def test_unknown_split(self, tmp_path):
        miniatures.camvid_original(tmp_path)
        with pytest.raises(DataError, match=r"camvid_original has no split 'vall'; did you mean 'val'"):
            build("camvid_original", tmp_path, "vall")

    def test_colours_to_ids(self, tmp_path):
        colours = np.array([[*CAMVID_COLOURS.values()]], np.uint8)
        write_png(tmp_path / "all_L.png", colours)
        assert CAMVID_FORMAT.read(tmp_path / "all_L.png", MAX_PIXELS).tolist() == [[*range(32)]]

    def test_colours_of_no_class_are_named_and_counted(self, tmp_path):
        colours = np.full((2, 3, 3), 128, np.uint8)
        colours[0, :2] = (1, 2, 3)
        write_png(tmp_path / "x_L.png", colours)
        with pytest.raises(DataError, match=r"x_L\.png: colours of none of CamVid's 32 classes: \(1, 2, 3\) \(2 px\);"):
            CAMVID_FORMAT.read(tmp_path / "x_L.png", MAX_PIXELS)

    def test_classes_are_the_tutorials(self):
        """The 11 classes have the same places and colours, whichever size of CamVid is trained on."""
        ours, tutorial = label_space("camvid_original"), label_space("camvid")
        assert ours.class_names == tutorial.class_names
        np.testing.assert_array_equal(ours.palette, tutorial.palette)


class TestKitti:
    @pytest.mark.parametrize("folds", [2, 3, 4, 10])
    def test_folds_divide_the_images(self, folds, tmp_path):
        miniatures.kitti(tmp_path)
        held_out = []
        for fold in range(folds):
            train, val = (build("kitti", tmp_path, split, folds=folds, fold=fold).names for split in ("train", "val"))
            assert sorted(train + val) == miniatures.KITTI_NAMES
            assert len(val) in (10 // folds, -(-10 // folds))
            held_out += val
        assert held_out == miniatures.KITTI_NAMES

    def test_more_folds_than_images(self, tmp_path):
        miniatures.kitti(tmp_path)
        with pytest.raises(DataError, match=r"10 images in 11 folds \(data\.folds\) leave none for 'val'"):
            build("kitti", tmp_path, "val", folds=11)

    def test_folds_are_checked(self, tmp_path):
        with pytest.raises(ConfigError, match=r"data.fold is 5 of 5 folds; 0 to 4 expected"):
            build("kitti", tmp_path, "val", fold=5)
        with pytest.raises(ConfigError, match=r"data.folds is 1, greater than or equal to 2 expected"):
            build("kitti", tmp_path, "val", folds=1)
        with pytest.raises(ConfigError, match=r"data.folds: layout 'camvid' takes no such option; kitti does"):
            build("camvid", tmp_path, "val", folds=3)

    def test_recipes_of_version_0_1_name_folds_for_every_layout(self, tmp_path):
        toy = {"toy_train_images": 400, "toy_val_images": 40, "toy_size_hw": [192, 256], "toy_seed": 0}
        miniatures.kitti(tmp_path)
        assert len(build("kitti", tmp_path, "val", folds=5, fold=0, **toy)) == 2
        assert len(build("toy_streets", tmp_path, "val", folds=5, fold=0, **toy)) == 40


class TestMatFiles:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"T": np.ones((2, 2))}, "a variable 'S' with the labels was expected; the file holds T"),
            ({"S": np.ones((2, 2, 2))}, r"'S' has the shape \(2, 2, 2\); a label map"),
            ({"S": np.full((2, 2), 0.5)}, "'S' holds float64 values that are no ids"),
            ({"S": np.full((2, 2), -1)}, "'S' holds int64 values that are no ids"),
            ({"S": np.full((2, 2), np.nan)}, "'S' holds float64 values that are no ids"),
        ],
    )
    def test_what_is_no_label_map(self, values, message, tmp_path):
        scipy.io.savemat(tmp_path / "x.mat", values)
        with pytest.raises(DataError, match=rf"x\.mat: {message}"):
            mat_format("S").read(tmp_path / "x.mat", MAX_PIXELS)

    def test_whole_floats_are_ids(self, tmp_path):
        scipy.io.savemat(tmp_path / "x.mat", {"S": np.array([[0.0, 459.0]])})
        assert mat_format("S").read(tmp_path / "x.mat", MAX_PIXELS).tolist() == [[0, 459]]
        assert mat_format("S").size_hw(tmp_path / "x.mat", MAX_PIXELS) == (1, 2)

    def test_missing(self, tmp_path):
        for function in (mat_format("S").read, mat_format("S").size_hw):
            with pytest.raises(DataError, match=r"x\.mat: no such file; a label file was expected"):
                function(tmp_path / "x.mat", MAX_PIXELS)

    def test_without_scipy(self, tmp_path, monkeypatch):
        miniatures.coco_stuff10k(tmp_path)
        data = build("coco_stuff10k", tmp_path, "train")
        monkeypatch.setitem(sys.modules, "scipy.io", None)
        with pytest.raises(
            DataError, match=r"\.mat: MATLAB label files need SciPy, which is not installed; pip install"
        ):
            data.sample(0)

    def test_the_first_version_of_coco_stuff_is_refused(self, tmp_path):
        """Its ids are 1 to 172 without gaps, so those that are unused today occur."""
        miniatures.coco_stuff10k(tmp_path)
        data = build("coco_stuff10k", tmp_path, "train")
        miniatures.save_mat(records_of(data)[0].labels, "S", np.full(miniatures.SIZE_HW, 12, np.uint16))
        with pytest.raises(DataError, match=r"ids outside the label table 'coco_stuff10k': 12 \(192 px\)"):
            data.sample(0)


@pytest.mark.parametrize("split", ["train+train", "train+", "+"])
def test_splits_that_cannot_be_joined(split, tmp_path):
    miniatures.camvid(tmp_path)
    with pytest.raises(DataError, match=r"split '.*\+.*': names joined with '\+', each once"):
        build("camvid", tmp_path, split)


class TestDocument:
    text = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")

    def test_every_layout_is_in_the_table(self):
        assert set(re.findall(r"^\| \[?`(\w+)`", self.text, re.MULTILINE)) == set(LAYOUTS)

    def test_recipe_lines_are_valid(self):
        blocks = re.findall(r"^(data: \{.*?\}) *(?:#.*)?$", self.text, re.MULTILINE)
        named = [DataConfig.model_validate(yaml.safe_load(block)["data"]).layout for block in blocks]
        assert set(named) == set(LAYOUTS) - {"toy_streets"}

    @pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"toy_streets"} - WITH_YOUR_CLASSES))
    def test_counts_and_tables_agree(self, layout):
        row = next(line for line in self.text.splitlines() if line.startswith(f"| [`{layout}`]"))
        _, _, classes, _, table, _ = (cell.strip(" `") for cell in row.split("|"))
        assert label_space(table).num_classes == int(classes)


def test_an_unknown_layout_lists_all():
    with pytest.raises(ConfigError, match="did you mean 'cityscapes'"):
        build("cityscape", Path(), "train")


@pytest.mark.parametrize("layout", ["camvid", "camvid_original"])
def test_camvid_is_parted_by_drive(layout, tmp_path):
    MINIATURES[layout].write(tmp_path)
    assert build(layout, tmp_path, "train_of_0016E5").names == ["0016E5_00390", "0016E5_08640"]
    assert build(layout, tmp_path, "train_without_0016E5").names == ["0001TP_006690", "0006R0_f00930"]
    assert build(layout, tmp_path, "val+train_of_0001TP").names == ["0016E5_07959", "0016E5_08159", "0001TP_006690"]
    values = {"train_split": "train_without_0006R0", "val_split": "train_of_0006R0"}
    assert build(layout, tmp_path, "val", **values).names == ["0006R0_f00930"]
    with pytest.raises(DataError, match=r"has no drive '0006RO' in train; 0001TP, 0006R0, 0016E5 found"):
        build(layout, tmp_path, "train_of_0006RO")
    with pytest.raises(DataError, match="0016E5 is the only drive of val"):
        build(layout, tmp_path, "val_without_0016E5")
    with pytest.raises(DataError):
        build(layout, tmp_path, "tests_of_0016E5")


def test_membranes_are_parted_by_number_and_read_from_black_and_white(tmp_path):
    MINIATURES["isbi_membranes"].write(tmp_path)
    with pytest.raises(DataError, match="no split 'all'"):
        build("isbi_membranes", tmp_path, "all")
    write_png(tmp_path / "labels" / "20.png", np.full(miniatures.SIZE_HW, 7, np.uint8))
    with pytest.raises(DataError, match=r"20\.png: the values 7; 0 \(membrane\) and 255 \(cell\) alone expected"):
        build("isbi_membranes", tmp_path, "val").sample(0)
    (tmp_path / "images" / "20.png").rename(tmp_path / "images" / "x.png")
    (tmp_path / "labels" / "20.png").rename(tmp_path / "labels" / "x.png")
    with pytest.raises(DataError, match="images named x; numbers"):
        build("isbi_membranes", tmp_path, "val")
