"""Polygons give the label map back, in every kind of file, read by others than us."""

import json
import math
import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools.coco import COCO

from crispseg.errors import ConfigError, DataError
from crispseg.io import write_png
from crispseg.labels import LabelSpace, label_space
from crispseg.vectors import (
    Georeference,
    coco_document,
    geojson_document,
    join_coco,
    labelme_document,
    polygons,
    read_georeference,
    save_polygons,
    svg_text,
)

SPACE = LabelSpace.from_dict(
    {
        "name": "odd",
        "classes": [
            {"name": "road", "colour": [128, 64, 128], "ids": [7, 3]},
            {"name": "</g><script>\"&'\\", "colour": [0, 0, 255], "ids": [26]},
            {"name": "straße", "colour": [9, 9, 9], "ids": [300]},
        ],
    }
)
RING = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 255, 0], [2, 0, 0, 0]], dtype=np.uint8)

label_maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 2, 255])
)
few = settings(max_examples=60, deadline=None)


def _painted(shapes, size_hw) -> np.ndarray:
    """By rasterio, one after another."""
    labels = np.full(size_hw, 255, np.uint8)
    for shape, train_id in shapes:
        labels = np.where(rasterio.features.rasterize([shape], out_shape=size_hw) == 1, train_id, labels)
    return labels.astype(np.uint8)


@few
@given(label_maps)
def test_polygons_give_the_labels_back(labels):
    found = polygons(labels, SPACE)
    assert np.array_equal(found.to_labels(), labels)
    shapes = np.array([*(region.polygon for region in found.regions), *found.ignored])
    assert shapely.coverage_is_valid(shapes)
    assert shapely.is_valid(shapes).all()
    assert sum(region.polygon.area for region in found.regions) == (labels != 255).sum()


@few
@given(label_maps, st.sampled_from([0.5, 1.5, 4.0, 1000.0]))
def test_simplified_polygons_have_neither_gaps_nor_overlaps(labels, simplify_px):
    found = polygons(labels, SPACE, simplify_px)
    shapes = np.array([*(region.polygon for region in found.regions), *found.ignored])
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert shapely.area(shapes).sum() == labels.size
    assert shapely.union_all(shapes).equals(shapely.box(0, 0, *labels.shape[::-1]))
    assert len(shapes) == len(polygons(labels, SPACE).regions) + len(polygons(labels, SPACE).ignored)


def test_simplifying_takes_stairs_away():
    labels = np.tri(40, dtype=np.uint8)
    corners = [len(polygons(labels, SPACE, px).regions[0].polygon.exterior.coords) for px in (0, 2)]
    assert corners[0] > 70
    assert corners[1] <= 8


@few
@given(label_maps)
def test_geojson_gives_the_labels_back(labels):
    document = json.loads(json.dumps(geojson_document(polygons(labels, SPACE))))
    train_ids = {7: 0, 26: 1, 300: 2}
    shapes = [(one["geometry"], train_ids[one["properties"]["id"]]) for one in document["features"]]
    assert np.array_equal(_painted(shapes, labels.shape), labels)
    for feature in document["features"]:
        outline, *holes = feature["geometry"]["coordinates"]
        assert shapely.LinearRing(outline).is_ccw
        assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)


@few
@given(label_maps)
def test_labelme_gives_the_labels_back_when_it_is_painted(labels):
    document = labelme_document(polygons(labels, SPACE), "a.png")
    train_ids = {**{name: index for index, name in enumerate(SPACE.class_names)}, "__ignore__": 255}
    shapes = [(shapely.Polygon(one["points"]), train_ids[one["label"]]) for one in document["shapes"]]
    assert np.array_equal(_painted(shapes, labels.shape), labels)


@few
@given(label_maps)
def test_svg_gives_the_labels_back(labels):
    root = ElementTree.fromstring(svg_text(polygons(labels, SPACE)))
    shapes = []
    for group in root.findall("{*}g"):
        assert group.get("fill-rule") == "evenodd"
        train_id = SPACE.class_names.index(group.find("{*}title").text)
        for path in group.findall("{*}path"):
            rings = [re.findall(r"(\d+) (\d+)", ring) for ring in path.get("d").split("Z") if ring]
            outline, *holes = [[(int(x), int(y)) for x, y in ring] for ring in rings]
            shapes.append((shapely.Polygon(outline, holes), train_id))
    assert np.array_equal(_painted(shapes, labels.shape), labels)


def _by_pycocotools(path: Path, image_id: int) -> np.ndarray:
    found = COCO(path)
    image = found.loadImgs(image_id)[0]
    ids = np.full((image["height"], image["width"]), 999, np.uint16)
    for annotation in found.loadAnns(found.getAnnIds(imgIds=[image_id])):
        mask = found.annToMask(annotation).astype(bool)
        assert (ids[mask] == 999).all(), "annotations overlap"
        assert mask.sum() == annotation["area"]
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation["bbox"] == box
        ids[mask] = annotation["category_id"]
    return ids


@few
@given(labels=label_maps)
def test_coco_gives_the_ids_back_by_pycocotools(labels, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "coco.json"
    path.write_text(json.dumps(coco_document(polygons(labels, SPACE), "a.png")))
    ids = np.full(256, 999, np.uint16)
    ids[:3] = 7, 26, 300
    assert np.array_equal(_by_pycocotools(path, 1), ids[labels])


def test_coco_holes_are_run_lengths_and_simplified_ones_too():
    for simplify_px in (0, 3):
        annotations = coco_document(polygons(RING, SPACE, simplify_px), "a.png")["annotations"]
        kinds = {one["category_id"]: type(one["segmentation"]).__name__ for one in annotations}
        assert kinds == {7: "dict", 26: "list", 300: "list"}


def test_many_coco_files_become_one(tmp_path):
    maps = {"east/a.jpg": RING, "b.png": RING[:2, :3]}
    files = {}
    for name, labels in maps.items():
        files[name] = tmp_path / f"{name}_coco.json"
        save_polygons(files[name], "coco", polygons(labels, SPACE), source=tmp_path / "photos" / name)
    assert join_coco(files, tmp_path / "coco.json") == 2
    document = json.loads((tmp_path / "coco.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["east/a.jpg", "b.png"]
    assert [one["id"] for one in document["annotations"]] == list(range(1, len(document["annotations"]) + 1))
    assert [one["name"] for one in document["categories"]] == list(SPACE.class_names)
    assert _by_pycocotools(tmp_path / "coco.json", 2).tolist() == [[7, 7, 7], [7, 26, 26]]


def test_coco_files_of_other_categories_or_none_at_all_are_not_joined(tmp_path):
    save_polygons(tmp_path / "a.json", "coco", polygons(RING, SPACE))
    save_polygons(tmp_path / "b.json", "coco", polygons(RING, label_space("camvid")))
    with pytest.raises(DataError, match=r"b\.json: its categories"):
        join_coco({"a": tmp_path / "a.json", "b": tmp_path / "b.json"}, tmp_path / "coco.json")
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(DataError, match=r"c\.json: no COCO file"):
        join_coco({"c": tmp_path / "c.json"}, tmp_path / "coco.json")
    assert not (tmp_path / "coco.json").exists()


def test_no_image_at_all_is_a_whole_coco_file(tmp_path):
    join_coco({}, tmp_path / "coco.json")
    assert json.loads((tmp_path / "coco.json").read_text()) == {"annotations": [], "images": []}


def _geotiff(path: Path, crs: str | None, transform: rasterio.Affine, labels=RING) -> None:
    size = {"height": labels.shape[0], "width": labels.shape[1], "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **size) as image:
        image.write(np.stack([labels] * 3))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:3857", "EPSG:4326", "EPSG:2193"])
def test_georeferenced_polygons_lie_where_the_image_lies(tmp_path, crs):
    corner = rasterio.warp.transform("EPSG:4326", crs, [174.5 if crs == "EPSG:2193" else 15.2], [-41.0])
    step = 1e-5 if crs == "EPSG:4326" else 0.6
    transform = rasterio.Affine(step, 0.1 * step, corner[0][0], 0.05 * step, -step, corner[1][0])  # turned a little
    labels = np.kron(RING, np.ones((200, 150), np.uint8))
    _geotiff(tmp_path / "a.tif", crs, transform, labels)
    save_polygons(tmp_path / "a.geojson", "geojson", polygons(labels, SPACE), source=tmp_path / "a.tif")
    document = json.loads((tmp_path / "a.geojson").read_text())
    shapes = []
    for feature in document["features"]:
        back = rasterio.warp.transform_geom("EPSG:4326", crs, feature["geometry"])
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.exterior.is_ccw
        assert shape.is_valid
        train_id = {7: 0, 26: 1, 300: 2}[feature["properties"]["id"]]
        pixels = shapely.transform(shapely.geometry.shape(back), lambda xy: np.array(~transform @ xy.T).T)
        shapes.append((pixels, train_id))
        assert np.abs(shapely.get_coordinates(pixels) - shapely.get_coordinates(pixels).round()).max() < 0.51
    assert np.array_equal(_painted(shapes, labels.shape), labels)
    assert "WGS84" in document["crispseg"]["coordinates"]


def test_a_photograph_has_no_georeference(tmp_path, recwarn):
    write_png(tmp_path / "a.png", RING)
    assert read_georeference(tmp_path / "a.png") is None
    with warnings.catch_warnings(action="ignore"):
        _geotiff(tmp_path / "b.tif", "EPSG:3857", rasterio.Affine.identity())
    assert read_georeference(tmp_path / "b.tif") is None
    assert not [one for one in recwarn if "Georeferenced" in one.category.__name__]


def test_georeferences_that_cannot_be_used_are_refused(tmp_path):
    _geotiff(tmp_path / "a.tif", "EPSG:3857", rasterio.Affine(1, 0, 9, 0, -1, 9))
    turned = Image.open(tmp_path / "a.tif")
    turned.save(tmp_path / "b.tif", tiffinfo={**turned.tag_v2, 0x0112: 6})
    with pytest.raises(DataError, match=r"b\.tif: georeferenced, but turned"):
        read_georeference(tmp_path / "b.tif")
    (tmp_path / "c.tif").write_bytes(b"II*\0")
    with pytest.raises(DataError, match=r"c\.tif"):
        read_georeference(tmp_path / "c.tif")
    nowhere = Georeference((1e9, 0, 1e12, 0, 1e9, 1e12), "EPSG:32633", "b.tif")
    with pytest.raises(DataError, match=r"b\.tif"):
        geojson_document(polygons(RING, SPACE), nowhere)


@pytest.mark.parametrize("kind", ["geojson", "coco", "labelme", "svg"])
def test_hostile_names_stay_text(tmp_path, kind):
    picture = np.zeros((4, 4, 3), np.uint8)
    path = tmp_path / f"a.{kind}"
    save_polygons(path, kind, polygons(RING, SPACE), source=None, image=picture)
    text = path.read_text(encoding="utf-8")
    if kind == "svg":
        root = ElementTree.fromstring(text)
        assert {one.tag.rpartition("}")[2] for one in root.iter()} == {"svg", "image", "g", "title", "path"}
        names = [title.text for title in root.findall(".//{*}title")]
    else:
        names = _texts(json.loads(text))
    assert SPACE.class_names[1] in names


def _texts(values) -> list[str]:
    if isinstance(values, dict):
        return [text for value in values.values() for text in _texts(value)]
    if isinstance(values, list):
        return [text for value in values for text in _texts(value)]
    return [values] if isinstance(values, str) else []


def test_labelme_finds_the_image(tmp_path):
    save_polygons(tmp_path / "out" / "a.json", "labelme", polygons(RING, SPACE), source=tmp_path / "photos" / "ä b.jpg")
    document = json.loads((tmp_path / "out" / "a.json").read_text())
    assert document["imagePath"] == "../photos/ä b.jpg"
    assert (document["imageHeight"], document["imageWidth"]) == RING.shape


@pytest.mark.parametrize("kind", ["coco", "labelme"])
def test_names_that_are_no_text_are_refused(tmp_path, kind):
    with pytest.raises(DataError, match="no UTF-8 text"):
        save_polygons(tmp_path / "a.json", kind, polygons(RING, SPACE), source=tmp_path / "\udcff.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((0, 3), np.uint8), "none of them 0"),
        (np.zeros((2, 2)), "float64"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (np.full((2, 2), 3, np.uint8), "labels hold 3"),
        (np.full((2, 2), -1, np.int64), "labels hold -1"),
    ],
)
def test_other_labels_are_refused(labels, words):
    with pytest.raises(DataError, match=words):
        polygons(labels, SPACE)


@pytest.mark.parametrize("simplify_px", [-1, math.nan, math.inf])
def test_odd_tolerances_are_refused(simplify_px):
    with pytest.raises(ConfigError, match="simplify_px"):
        polygons(RING, SPACE, simplify_px)


def test_unknown_kinds_and_classes_without_ids_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'geojson'"):
        save_polygons(tmp_path / "a", "geojsn", polygons(RING, SPACE))
    no_ids = LabelSpace.from_dict({"name": "x", "classes": ["a", {"name": "b", "ids": []}, "c"]})
    with pytest.raises(ConfigError, match="'b' has no ids"):
        save_polygons(tmp_path / "a", "coco", polygons(RING, no_ids))


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rasterio.features", None)
    with pytest.raises(ConfigError, match=r"crispseg\[vectors\]"):
        polygons(RING, SPACE)


def test_only_ignored_pixels_are_no_polygons(tmp_path):
    labels = np.full((2, 3), 255, np.uint8)
    found = polygons(labels, SPACE)
    assert found.regions == ()
    assert np.array_equal(found.to_labels(), labels)
    for kind in ("geojson", "coco", "svg"):
        save_polygons(tmp_path / kind, kind, found)
    assert geojson_document(found)["features"] == []
