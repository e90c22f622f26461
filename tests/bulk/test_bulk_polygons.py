"""Polygons beside the masks of `segment`, and COCO's one file of all."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from crispseg import LabelSpace, Predictor, SegmentationOutput
from crispseg.bulk import choose_outputs, collect_images, polygon_output, segment_images
from crispseg.errors import ConfigError
from crispseg.io import read_label_ids, write_png
from crispseg.vectors import KINDS

SPACE = LabelSpace.from_dict({"name": "two", "classes": [{"name": "bright", "ids": [4]}, {"name": "dark", "ids": [9]}]})


def _dark(images: torch.Tensor) -> SegmentationOutput:
    return SegmentationOutput(logits=torch.cat((images[:, :1], 1 - images[:, :1]), dim=1))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "east/b.png")):
        image = np.zeros((8, 10, 3), np.uint8)
        image[2:6, 3 + number : 8] = 255
        image[4, 5] = 0
        write_png(tmp_path / "photos" / name, image)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_its_polygons(photos: Path, kind: str):
    images = collect_images([photos / "photos"], photos / "out")
    segment_images(Predictor(_dark, SPACE), images, photos / "out", [polygon_output(kind)])
    found = {str(path.relative_to(photos / "out")) for path in (photos / "out").rglob("*") if path.is_file()}
    assert found == {"segmented.jsonl"} | {f"a{KINDS[kind]}", f"east/b{KINDS[kind]}"} | (
        {"coco.json"} if kind == "coco" else set()
    )


def test_the_coco_file_of_all_gives_every_mask_back(photos: Path):
    images = collect_images([photos / "photos"], photos / "out")
    outputs = [*choose_outputs(["labels"]), polygon_output("coco")]
    segment_images(Predictor(_dark, SPACE), images, photos / "out", outputs)
    found = COCO(photos / "out" / "coco.json")
    for image in found.loadImgs(found.getImgIds()):
        assert (photos / "photos" / image["file_name"]).is_file()
        ids = np.zeros((image["height"], image["width"]), np.uint16)
        for annotation in found.loadAnns(found.getAnnIds(imgIds=[image["id"]])):
            ids += found.annToMask(annotation) * np.uint16(annotation["category_id"])
        expected = read_label_ids(photos / "out" / image["file_name"].replace(".png", "_labels.png"))
        assert np.array_equal(ids, expected)


def test_one_prediction_saves_its_polygons_by_the_ending(photos: Path):
    prediction = Predictor(_dark, SPACE)(photos / "photos" / "a.png")
    prediction.save_polygons(photos / "a.geojson")
    assert len(json.loads((photos / "a.geojson").read_text())["features"]) == 3
    for path, kind in ((photos / "a.json", None), (photos / "a.svg", "kml")):
        with pytest.raises(ConfigError, match=r"(?i)known: coco, geojson, labelme, svg"):
            prediction.save_polygons(path, kind)


def test_what_cannot_be_made_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="geojson"):
        polygon_output("geojsn")
    with pytest.raises(ConfigError, match="simplify_px is -1"):
        polygon_output("svg", -1)
    monkeypatch.setitem(__import__("sys").modules, "shapely", None)
    with pytest.raises(ConfigError, match=r"crispseg\[vectors\]"):
        polygon_output("svg")


def test_an_image_whose_polygons_cannot_be_written_does_not_end_the_others(photos: Path):
    outputs = [*choose_outputs(["labels"]), polygon_output("labelme")]
    images = {Path("a"): photos / "photos" / "a.png", Path("c"): photos / "\udcff.png"}
    (photos / "photos" / "east" / "b.png").rename(photos / "\udcff.png")
    segmented = segment_images(Predictor(_dark, SPACE), images, photos / "out", outputs)
    assert segmented.done == 1
    assert "no UTF-8 text" in segmented.failures[0].message
