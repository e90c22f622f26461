"""Data sets written for other tools, read back; and which layout a folder is recognised as."""

import json
import tempfile
from pathlib import Path

import miniatures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import MINIATURES, save_picture, save_png
from PIL import Image

from crispseg.config import DataConfig
from crispseg.data.converting import KINDS, export_data, import_data
from crispseg.data.layouts import open_layout
from crispseg.data.recognise import recognise
from crispseg.errors import ConfigError, DataError

TABLES = (
    "classes: [background, crack, spall]\nignore_ids: [9]\n",
    "classes: [{name: sky, ids: [3]}, {name: road, ids: [1, 4]}, {name: car, ids: [7]}]\nignore_ids: [9]\n",
    "classes: [{name: a, colour: [9, 9, 9]}, {name: background, colour: [1, 2, 3]}, {name: c, colour: [0, 255, 0]}]\n",
)


def write_folder(root: Path, labels: np.ndarray, table: str, split: str = "train") -> None:
    """One image whose train ids are `labels`; 255 is stored as 255."""
    (root / f"images/{split}").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / f"images/{split}/a.b.png")
    ids = {0: 0, 1: 1, 2: 2, 255: 255} if "sky" not in table else {0: 3, 1: 4, 2: 7, 255: 9}
    save_png(root / f"labels/{split}/a.b.png", np.vectorize(ids.get)(labels).astype(np.uint8))
    (root / "labels.yaml").write_text(table)


label_maps = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda hw: st.lists(st.sampled_from([0, 1, 2, 255]), min_size=hw[0] * hw[1], max_size=hw[0] * hw[1]).map(
        lambda flat: np.array(flat, dtype=np.uint8).reshape(hw)
    )
)


@pytest.mark.parametrize("kind", [*KINDS, "folder"])
@settings(max_examples=8)
@given(labels=label_maps, table=st.sampled_from(TABLES))
def test_what_is_exported_is_read_back(kind, labels, table):
    for module in ("rasterio", "shapely", "pycocotools"):
        pytest.importorskip(module)
    with tempfile.TemporaryDirectory() as kept:
        root, out = Path(kept) / "mine", Path(kept) / "theirs"
        write_folder(root, labels, table)
        config = DataConfig(layout="folder", root=str(root))
        source, space = open_layout(config, "train")
        np.testing.assert_array_equal(source.sample(0).labels, labels)
        if kind == "folder":
            import_data(config, ["train"], out)
        else:
            assert export_data(config, ["train"], out, kind) == {"train": 1}
        assert recognise(out).layout == kind
        back, found = open_layout(DataConfig(layout=kind, root=str(out)), "train")
        assert found.class_names == space.class_names
        assert back.names == ["a.b"]
        np.testing.assert_array_equal(back.sample(0).labels, labels)
        np.testing.assert_array_equal(back.sample(0).image, source.sample(0).image)


def test_a_coco_export_by_an_independent_reader(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    labels = np.random.default_rng(0).choice([0, 1, 2, 255], (12, 14)).astype(np.uint8)
    write_folder(tmp_path / "mine", labels, TABLES[0])
    export_data(DataConfig(root=str(tmp_path / "mine")), ["train"], tmp_path / "out", "coco")
    reader = coco.COCO(str(tmp_path / "out/annotations/instances_train.json"))
    names = {entry["id"]: entry["name"] for entry in reader.loadCats(reader.getCatIds())}
    assert {*names.values()} == {"crack", "spall", "__ignore__"}
    painted = np.zeros_like(labels)
    for one in reader.loadAnns(reader.getAnnIds()):
        painted[reader.annToMask(one) > 0] = {"crack": 1, "spall": 2, "__ignore__": 255}[names[one["category_id"]]]
    np.testing.assert_array_equal(painted, labels)


def test_what_is_there_is_not_written_over(tmp_path):
    write_folder(tmp_path, np.zeros((3, 3), np.uint8), TABLES[0])
    with pytest.raises(ConfigError, match="it holds something already; name a folder that does not exist yet"):
        import_data(DataConfig(root=str(tmp_path)), ["train"], tmp_path)


def test_a_failure_leaves_nothing(tmp_path):
    write_folder(tmp_path / "mine", np.zeros((3, 3), np.uint8), TABLES[0])
    (tmp_path / "mine/labels/train/a.b.png").write_text("x")
    with pytest.raises(DataError, match=r"a\.b\.png: not an image"):
        import_data(DataConfig(root=str(tmp_path / "mine")), ["train"], tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]


class TestRecognising:
    @pytest.mark.parametrize("layout", sorted(set(MINIATURES) - {"ade20k", "mapillary", "isbi_membranes"}))
    def test_the_owners(self, layout, tmp_path):
        MINIATURES[layout].write(tmp_path)
        assert recognise(tmp_path).layout == layout

    def test_the_owners_by_their_names(self, tmp_path):
        miniatures.ade20k(tmp_path / "ade")
        assert recognise(tmp_path / "ade").layout == "ade20k"
        miniatures.mapillary(tmp_path / "mapillary")
        assert recognise(tmp_path / "mapillary").layout == "folder"  # as many folders of one's own lie
        (tmp_path / "mapillary" / "config_v1.2.json").write_text("{}")
        assert recognise(tmp_path / "mapillary").layout == "mapillary"
        for number in range(30):
            save_png(tmp_path / f"isbi/images/{number}.png", np.zeros((2, 2), np.uint8))
            save_png(tmp_path / f"isbi/labels/{number}.png", np.zeros((2, 2), np.uint8))
        assert recognise(tmp_path / "isbi").layout == "isbi_membranes"
        (tmp_path / "isbi" / "labels.yaml").write_text("classes: [a, b]")
        assert recognise(tmp_path / "isbi").layout == "folder"

    def test_splits_and_reasons(self, tmp_path):
        write_folder(tmp_path, np.zeros((3, 3), np.uint8), TABLES[0])
        found = recognise(tmp_path)
        assert found.why == "images in images/train and masks in labels/train, labels.yaml"
        assert found.splits == ("train",)

    def test_several_fit(self, tmp_path):
        write_folder(tmp_path, np.zeros((3, 3), np.uint8), TABLES[0])
        (tmp_path / "instances.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
        with pytest.raises(
            DataError, match=r"fits several layouts: coco \(instances\.json.*; folder \(images in .*say w"
        ):
            recognise(tmp_path)

    def test_none_fits(self, tmp_path):
        save_picture(tmp_path / "a.jpg", "a")
        with pytest.raises(DataError, match=r"fits no layout; it holds a\.jpg; "):
            recognise(tmp_path)
        with pytest.raises(DataError, match="nothing found where a folder of data"):
            recognise(tmp_path / "nowhere")
