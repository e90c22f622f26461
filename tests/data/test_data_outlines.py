"""Layouts of other tools' annotations, on files as those tools write them, against independent readers."""

import base64
import contextlib
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from miniatures import save_png
from PIL import Image

from crispseg.config import DataConfig
from crispseg.data import data_check
from crispseg.data.layouts import open_layout
from crispseg.data.tables import voc_colour
from crispseg.errors import ConfigError, DataError
from crispseg.vectors.painting import Shape, coco_mask, fill_polygon, paint

HW = (24, 32)


def opened(layout: str, root: Path, split: str = "train", **values: object):
    return open_layout(DataConfig(layout=layout, root=str(root), **values), split)


def save_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (*HW, 3), dtype=np.uint8)).save(path)


def star(rng: np.random.Generator, corners: int = 7) -> np.ndarray:
    """A simple polygon of uneven corners."""
    turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(3, 11, corners)
    centre = rng.uniform(8, 16, 2)
    return np.round(centre + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1), 2)


class TestFilling:
    @given(st.integers(0, 10_000))
    def test_a_pixel_is_covered_if_its_centre_lies_within(self, seed):
        polygon = star(np.random.default_rng(seed)) + 0.001
        y, x = np.mgrid[: HW[0], : HW[1]] + 0.5
        centres = np.stack([x.ravel(), y.ravel()], axis=1)
        expected = Outline(np.vstack([polygon, polygon[:1]])).contains_points(centres).reshape(HW)
        np.testing.assert_array_equal(fill_polygon(polygon, HW), expected)

    @given(st.integers(0, 10_000))
    def test_a_fan_covers_every_pixel_once(self, seed):
        rng = np.random.default_rng(seed)
        corners = np.array([[0, 0], [32, 0], [32, 24], [0, 24]])
        rim = np.concatenate([np.linspace(a, b, 4)[:-1] for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)])
        middle = rng.uniform([1, 1], [31, 23])
        sides = zip(rim, np.roll(rim, -1, 0), strict=True)
        covered = sum(fill_polygon(np.array([a, b, middle]), HW).astype(int) for a, b in sides)
        assert (covered == 1).all()

    def test_overlaps(self):
        square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
        shapes = [Shape(1, (square,)), Shape(2, (square * 2,)), Shape(1, (square * 1.5,))]
        painted = {rule: paint(shapes, (8, 8), 0, 255, rule) for rule in ("smaller", "later", "ignore")}
        assert (painted["smaller"][:4, :4] == 1).all()
        assert (painted["later"][:6, :6] == 1).all()
        assert (painted["later"][6:] == 2).all()
        assert (painted["ignore"][:6, :6] == 255).all()
        assert (painted["ignore"][6:] == 2).all()


def coco_file(rng: np.random.Generator, names: list[str]) -> dict:
    """As CVAT, Roboflow and COCO itself write it: polygons, run-length codes as text and as lists."""
    from pycocotools import mask as codes

    annotations = []
    for image_id, _ in enumerate(names, start=10):
        for number in range(3):
            polygon = star(rng)
            segmentation: object = [polygon.ravel().tolist()]
            covered = codes.merge(codes.frPyObjects(segmentation, *HW))
            if number == 1:
                segmentation = {"size": list(HW), "counts": covered["counts"].decode()}
            elif number == 2:
                flat = codes.decode(covered).ravel(order="F")
                edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
                segmentation = {"size": list(HW), "counts": np.diff(np.concatenate([[0], edges])).tolist()}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": [3, 7, 3][number],
                    "segmentation": segmentation,
                    "area": float(codes.area(covered)),
                    "bbox": codes.toBbox(covered).tolist(),
                    "iscrowd": int(number > 0),
                }
            )
    return {
        "info": {},
        "licenses": [],
        "categories": [
            {"id": 0, "name": "things", "supercategory": "none"},  # Roboflow's group
            {"id": 3, "name": "crack", "supercategory": "things"},
            {"id": 7, "name": "spall", "supercategory": "things"},
        ],
        "images": [
            {"id": image_id, "file_name": name, "height": HW[0], "width": HW[1]}
            for image_id, name in enumerate(names, start=10)
        ],
        "annotations": annotations,
    }


COCO_PLACES = {
    "coco": ("annotations/instances_train2017.json", "train2017/{}"),
    "cvat": ("annotations/instances_train.json", "images/{}"),
    "cvat, a split below": ("annotations/instances_train.json", "images/train/{}"),
    "roboflow": ("train/_annotations.coco.json", "train/{}"),
    "beside": ("train.json", "images/{}"),
}


class TestCoco:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("pycocotools")

    def write(self, root, place="cvat", values=None):
        names = ["b.jpg", "a.png"]
        where, images = COCO_PLACES[place]
        for name in names:
            save_image(root / images.format(name))
        values = values or coco_file(np.random.default_rng(0), names)
        (root / where).parent.mkdir(parents=True, exist_ok=True)
        (root / where).write_text(json.dumps(values))
        return root / where

    @pytest.mark.parametrize("place", COCO_PLACES)
    def test_against_pycocotools(self, tmp_path, place, capsys):
        from pycocotools.coco import COCO

        reader = COCO(str(self.write(tmp_path, place)))
        source, table = opened("coco", tmp_path)
        assert table.class_names == ("background", "crack", "spall")
        assert source.names == ["a", "b"]
        for index, image_id in enumerate((11, 10)):
            found = reader.loadAnns(reader.getAnnIds(image_id))
            expected = np.zeros(HW, np.uint8)
            for one in sorted(found, key=lambda one: -int(reader.annToMask(one).sum())):
                expected[reader.annToMask(one) > 0] = {3: 1, 7: 2}[one["category_id"]]
            assert len(np.unique(expected)) == 3
            for one in (source, pickle.loads(pickle.dumps(source))):  # as workers that are spawned get it
                np.testing.assert_array_equal(one.sample(index).labels, expected)

    def test_the_file_itself_is_a_root(self, tmp_path):
        assert len(opened("coco", self.write(tmp_path))[0].names) == 2

    def test_one_file_for_all(self, tmp_path):
        self.write(tmp_path).rename(tmp_path / "annotations" / "instances_default.json")
        assert len(opened("coco", tmp_path, "all")[0].names) == 2
        assert len(opened("coco", tmp_path, "val", val=0.5)[0].names) == 1
        with pytest.raises(DataError, match=r"no COCO file of the split 'train' found.*its split is 'all'"):
            opened("coco", tmp_path)

    @given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
    def test_broken_codes_are_refused(self, text):
        with contextlib.suppress(DataError):
            assert coco_mask({"size": [*HW], "counts": text}, HW).shape == HW

    @given(st.integers(0, 10_000), st.floats(0, 1))
    def test_codes_against_pycocotools(self, seed, share):
        from pycocotools import mask as codes

        expected = np.random.default_rng(seed).random(HW) < share
        code = codes.encode(np.asfortranarray(expected.astype(np.uint8)))
        found = coco_mask({"size": [*HW], "counts": code["counts"].decode()}, HW)
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda v: v["annotations"][0].update(image_id=[1]), "an annotation is "),
            (lambda v: v["annotations"][0].update(category_id=[1]), "an annotation is "),
            (lambda v: v["images"][0].update(id={}), "an image is "),
            (lambda v: v["images"][0].update(height=10**9), r"b is 1000000000×32 by its labels"),
            (
                lambda v: v["annotations"][0].update(segmentation=[[0, 0, 1e12, 0, 5, 5]]),
                r"an outline from 0 to 1e\+12",
            ),
            (lambda v: v["annotations"][1]["segmentation"].update(counts="zzzz"), "a run-length code"),
        ],
    )
    def test_hostile_values_are_refused(self, tmp_path, change, message):
        values = coco_file(np.random.default_rng(0), ["b.jpg", "a.png"])
        change(values)
        self.write(tmp_path, values=values)
        with pytest.raises(DataError, match=message):
            opened("coco", tmp_path)[0].sample(1)

    def test_boxes_may_be_left_out(self, tmp_path):
        values = coco_file(np.random.default_rng(0), ["b.jpg", "a.png"])
        self.write(tmp_path, values=values)
        whole = opened("coco", tmp_path)[0].sample(1).labels
        for annotation in values["annotations"]:
            if annotation["category_id"] == 7:
                annotation["segmentation"] = []
        self.write(tmp_path, values=values)
        with pytest.raises(DataError, match=r"2 of 6 annotations .* a box alone.*data\.skip_boxes=true"):
            opened("coco", tmp_path)
        without = opened("coco", tmp_path, skip_boxes=True)[0].sample(1).labels
        assert 2 in whole
        assert 2 not in without
        np.testing.assert_array_equal(without[whole != 2], whole[whole != 2])

    def test_splits_of_other_categories_are_named(self, tmp_path):
        values = coco_file(np.random.default_rng(0), ["b.jpg", "a.png"])
        self.write(tmp_path, values=values)
        values["categories"][1]["name"] = "hole"
        (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(values))
        report = data_check(DataConfig(layout="coco", root=str(tmp_path)))
        detail = "the split 'val' has the classes background, hole, spall, another before it background, crack, spall"
        assert any(detail in problem.detail for problem in report.problems)

    def test_a_table_of_ones_own(self, tmp_path):
        self.write(tmp_path)
        table = tmp_path / "labels.yaml"
        table.write_text("classes: [{name: background, ids: [9]}, {name: damage, ids: [3, 7]}]")
        source, found = opened("coco", tmp_path)
        assert found.class_names == ("background", "damage")
        assert {*np.unique(source.sample(0).labels)} == {0, 1}
        table.write_text("classes: [{name: crack, ids: [3]}, {name: spall, ids: [7]}]")
        assert {*np.unique(opened("coco", tmp_path)[0].sample(0).labels)} == {0, 1, 255}  # nothing is background
        table.write_text("classes: [background, crack]")
        with pytest.raises(ConfigError, match=r"'spall' \(id 7\) is no class of the label table 'labels', nor its id"):
            opened("coco", tmp_path)
        table.write_text("classes: [background, crack, other, spall]")
        with pytest.raises(ConfigError, match=r"'crack' has id 3, which is 'spall' in the label table"):
            opened("coco", tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda v: v["annotations"][0].update(segmentation=[]), "1 of 6 annotations have no outline but a box"),
            (lambda v: v["annotations"][0].update(segmentation=[[1, 2, 3]]), "three points or more were expected"),
            (lambda v: v["annotations"][0].update(category_id=99), "category 99, which no category has"),
            (lambda v: v["annotations"][0].update(image_id=99), "annotations of images 99, which are not listed"),
            (lambda v: v["images"][0].update(file_name="z.jpg"), r"1 of 2 images are not there: z\.jpg"),
            (lambda v: v.pop("categories"), "no list of categories"),
            (lambda v: v["categories"].append({"id": 3, "name": "x"}), "category id 3 occurs twice"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, change, message):
        values = coco_file(np.random.default_rng(0), ["b.jpg", "a.png"])
        change(values)
        self.write(tmp_path, values=values)
        with pytest.raises(DataError, match=message):
            opened("coco", tmp_path)

    def test_sizes_that_differ(self, tmp_path):
        values = coco_file(np.random.default_rng(0), ["b.jpg", "a.png"])
        values["images"][0]["height"] = 25
        self.write(tmp_path, values=values)
        with pytest.raises(DataError, match="labels are 25×32"):
            opened("coco", tmp_path)[0].check_headers(1)
        values["images"][0]["height"] = 24
        values["annotations"][1]["segmentation"]["size"] = [9, 9]
        self.write(tmp_path, values=values)
        with pytest.raises(DataError, match=r"b: a run-length code of size \[9, 9\] found"):
            opened("coco", tmp_path)[0].sample(1)


def labelme_file(image: str, shapes: list[dict], **more: object) -> str:
    """As LabelMe 5 writes it."""
    values = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None}
    return json.dumps({**values, "imageHeight": HW[0], "imageWidth": HW[1], **more}, indent=2)


def shape(label: str, points: object, kind: str = "polygon", **more: object) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


class TestLabelMe:
    def write(self, root, shapes, name="a", split="train", image=None, **more):
        save_image(root / split / f"{name}.jpg")
        (root / split / f"{name}.json").write_text(labelme_file(image or f"{name}.jpg", shapes, **more))

    def test_kinds_of_shapes(self, tmp_path):
        buffer = io.BytesIO()
        Image.fromarray(np.array([[0, 255, 255], [255, 255, 0]], np.uint8)).convert("1").save(buffer, "PNG")
        mask = base64.b64encode(buffer.getvalue()).decode()
        shapes = [
            shape("spall", [[0, 0], [32, 24]], "rectangle"),
            shape("crack", [[2, 2], [12, 2], [12, 8], [2, 8]]),
            shape("hole", [[20, 12], [20, 17]], "circle"),
            shape("crack", [[25, 3], [27, 4]], "mask", mask=mask),
            shape("__ignore__", [[0, 20], [32, 20], [32, 24], [0, 24]]),
        ]
        self.write(tmp_path, shapes)
        source, table = opened("labelme", tmp_path)
        assert table.class_names == ("background", "crack", "hole", "spall")
        y, x = np.mgrid[: HW[0], : HW[1]] + 0.5
        expected = np.full(HW, 3, np.uint8)
        expected[2:8, 2:12] = 1
        expected[(x - 20) ** 2 + (y - 12) ** 2 < 25] = 2
        expected[3, 26:28] = expected[4, 25:27] = 1
        expected[20:] = 255
        np.testing.assert_array_equal(source.sample(0).labels, expected)

    def test_names_of_all_splits_are_the_classes_of_each(self, tmp_path):
        square = [[2, 2], [9, 2], [9, 9], [2, 9]]
        self.write(tmp_path, [shape("b", square)])
        self.write(tmp_path, [shape("a", square), shape("_background_", [[3, 3], [5, 3], [5, 5]])], split="val")
        assert opened("labelme", tmp_path)[1].class_names == ("background", "a", "b")
        assert opened("labelme", tmp_path)[0].sample(0).labels[5, 5] == 2
        assert opened("labelme", tmp_path, "val")[0].sample(0).labels[3, 4] == 0
        (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nb\na\n")
        assert opened("labelme", tmp_path)[1].class_names == ("background", "b", "a")
        (tmp_path / "labels.txt").write_text("b\na\n")
        assert opened("labelme", tmp_path)[1].class_names == ("background", "b", "a")
        (tmp_path / "labels.txt").write_text("b\nc\n")
        with pytest.raises(DataError, match="'a' is no class of the label table"):
            opened("labelme", tmp_path, "val")[0].sample(0)

    def test_images_elsewhere_and_with_their_bytes(self, tmp_path):
        save_image(tmp_path / "pictures" / "a.png")
        (tmp_path / "json").mkdir()
        data = base64.b64encode(b"x" * 40_000).decode()
        text = labelme_file("..\\pictures\\a.png", [shape("b", [[2, 2], [9, 2], [9, 9]])], imageData=data)
        (tmp_path / "json" / "a.json").write_text(text)
        (tmp_path / "json" / "other.json").write_text('{"settings": 1}')
        source, _ = opened("labelme", tmp_path, "all")
        assert source.names == ["json/a"]
        (tmp_path / "pictures" / "a.png").unlink()
        with pytest.raises(DataError, match=r"1 of 1 images are not there: the image of a\.json"):
            opened("labelme", tmp_path, "all")

    def test_what_is_wrong_is_named(self, tmp_path):
        for one, message in (
            (shape("b", [[1, 1], [2, 2]], "line"), "'b' is a line of 2 points, which covers no pixels"),
            (shape("b", [[1, 1], ["x", 2]]), "are no pairs of numbers"),
            (shape("b", [[-1e308, 1], [1e308, 2]], "circle"), "are no pairs of numbers"),
            (shape("b", [[1, 1], [2, 2]], "mask", mask="?"), "is no base64"),
        ):
            self.write(tmp_path, [one])
            with pytest.raises(DataError, match=message):
                opened("labelme", tmp_path)[0].sample(0)

    def test_a_side_that_is_a_truth_value_is_the_images(self, tmp_path):
        self.write(tmp_path, [shape("b", [[1, 1], [3, 1], [3, 3]])])
        for path in tmp_path.rglob("*.json"):
            path.write_text(path.read_text().replace('"imageHeight": ', '"imageHeight": true, "was": '))
        source, _ = opened("labelme", tmp_path)
        assert source.sample(0).labels.shape == source.sample(0).image.shape[:2]


class TestYolo:
    def write(self, root, lines, place=("images/train", "labels/train"), table="names: {0: crack, 1: spall}\n"):
        save_image(root / place[0] / "a.jpg")
        save_image(root / place[0] / "b.jpg")
        (root / place[1]).mkdir(parents=True, exist_ok=True)
        (root / place[1] / "a.txt").write_text("".join(f"{line}\n" for line in lines))
        (root / "data.yaml").write_text(table)

    @pytest.mark.parametrize(
        ("place", "table"),
        [
            (
                ("images/train", "labels/train"),
                "path: ../elsewhere\ntrain: images/train\nnames: {0: crack, 1: spall}\n",
            ),
            (("train/images", "train/labels"), "train: ../train/images\nnc: 2\nnames: ['crack', 'spall']\n"),
            (("images/train", "labels/train"), "names: [crack, spall]\n"),
        ],
    )
    def test_outlines(self, tmp_path, place, table):
        rng = np.random.default_rng(3)
        stars = [star(rng) + 0.001, star(rng) + 0.001]
        lines = [
            f"{number} " + " ".join(f"{value:.9f}" for value in (one / (HW[1], HW[0])).ravel())
            for number, one in enumerate(stars)
        ]
        self.write(tmp_path, lines, place, table)
        source, found = opened("yolo", tmp_path)
        assert found.class_names == ("background", "crack", "spall")
        y, x = np.mgrid[: HW[0], : HW[1]] + 0.5
        centres = np.stack([x.ravel(), y.ravel()], axis=1)
        masks = [Outline(np.vstack([one, one[:1]])).contains_points(centres).reshape(HW) for one in stars]
        expected = np.zeros(HW, np.uint8)
        for number in sorted((0, 1), key=lambda number: -masks[number].sum()):
            expected[masks[number]] = number + 1
        np.testing.assert_array_equal(source.sample(0).labels, expected)
        assert not source.sample(1).labels.any()  # without a text file: nothing is there
        source.check_headers(1)

    def test_what_is_wrong_is_named(self, tmp_path):
        for line, message in (
            ("0 0.5 0.5 0.1 0.1", r"a\.txt: line 1 has 4 numbers: a box"),
            ("2 0 0 1 0 1 1", "class 2 is not in names, which has 0, 1"),
            ("0 0 0 40 0 1 1", "shares of the image's sides, 0 to 1, expected"),
            ("crack 0 0 1 0 1 1", "is 'crack 0 0 1 0 1 1'; a class's number"),
        ):
            self.write(tmp_path, [line])
            with pytest.raises(DataError, match=message):
                opened("yolo", tmp_path)[0].sample(0)
        self.write(tmp_path, [], table=f"names: {{'{'9' * 900}': crack}}\n")  # no number of a class
        with pytest.raises(DataError, match=r"data\.yaml: names is \{'999.*names by number, was expected"):
            opened("yolo", tmp_path)
        self.write(tmp_path, [])
        (tmp_path / "labels/train/a.txt").unlink()
        with pytest.raises(DataError, match="none of 2 images has a text file"):
            opened("yolo", tmp_path)


LABELMAP = """# label:color_rgb:parts:actions
background:0,0,0::
crack:250,50,83::
spall:51,221,255::
"""


class TestVoc:
    def test_a_cvat_export(self, tmp_path):
        colours = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255]], np.uint8)
        ids = np.random.default_rng(0).integers(0, 3, HW)
        save_image(tmp_path / "JPEGImages/a.jpg")
        save_png(tmp_path / "SegmentationClass/a.png", colours[ids])
        save_png(tmp_path / "SegmentationObject/a.png", colours[ids])
        (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
        (tmp_path / "ImageSets/Segmentation/default.txt").write_text("a\n")
        (tmp_path / "labelmap.txt").write_text(LABELMAP)
        source, table = opened("voc", tmp_path, "all")
        assert table.class_names == ("background", "crack", "spall")
        np.testing.assert_array_equal(source.sample(0).labels, ids)
        (tmp_path / "JPEGImages/a.jpg").unlink()
        (tmp_path / "JPEGImages").rmdir()
        with pytest.raises(DataError, match=r"masks but no JPEGImages; .* 'Save images' is on"):
            opened("voc", tmp_path, "all")

    def test_against_torchvision(self, tmp_path):
        from torchvision.datasets import VOCSegmentation

        root = tmp_path / "VOCdevkit" / "VOC2012"
        palette = np.array([voc_colour(index) for index in range(256)], np.uint8)
        for name in ("2007_000032", "2007_000039"):
            ids = np.random.default_rng(len(name)).choice([0, 1, 15, 20, 255], HW).astype(np.uint8)
            save_image(root / f"JPEGImages/{name}.jpg")
            save_png(root / f"SegmentationClass/{name}.png", ids, palette)
        save_image(root / "JPEGImages/2007_000001.jpg")  # without a mask, in no list
        (root / "ImageSets/Segmentation").mkdir(parents=True)
        (root / "ImageSets/Segmentation/train.txt").write_text("2007_000032\n2007_000039\n")
        source, table = opened("voc", root)
        assert table.name == "pascal_voc"
        assert table.class_names[15] == "person"
        reference = VOCSegmentation(str(tmp_path), image_set="train")
        for index, (image, mask) in enumerate(reference):
            sample = source.sample(index)
            np.testing.assert_array_equal(sample.image, np.array(image))
            np.testing.assert_array_equal(sample.labels, np.array(mask))
        root.rename(tmp_path / "mine")
        with pytest.raises(DataError, match=r"for those of VOC itself set data\.labels: pascal_voc"):
            opened("voc", tmp_path / "mine")

    @pytest.mark.parametrize("line", ["crack", "crack:1,2::", "crack:1,2,256::", f"crack:1,2,{'9' * 5000}::"])
    def test_a_broken_labelmap(self, tmp_path, line):
        save_image(tmp_path / "JPEGImages/a.jpg")
        save_png(tmp_path / "SegmentationClass/a.png", np.zeros(HW, np.uint8))
        (tmp_path / "labelmap.txt").write_text(line + "\n")
        with pytest.raises(ConfigError, match=rf"line 1 is '{line[:80]}.*'name:red,green,blue::' expected"):
            opened("voc", tmp_path, "all")


@pytest.mark.parametrize("row", ["1", "one, crack", f"{'9' * 5000}, crack"])
def test_a_broken_classes_csv(tmp_path, row):
    for name in ("train/a", "valid/b"):
        save_image(tmp_path / f"{name}.jpg")
        save_png(tmp_path / f"{name}_mask.png", np.zeros(HW, np.uint8))
        (tmp_path / name).with_name("_classes.csv").write_text(f"Pixel Value, Class\n0, ground\n{row}\n")
    with pytest.raises(ConfigError, match=r"_classes\.csv: \['.*a pixel value and a class expected"):
        opened("folder", tmp_path)
