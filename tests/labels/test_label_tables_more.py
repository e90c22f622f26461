"""The tables of the published data sets: what their owners state, and what makes a slip in a long list show."""

import numpy as np
import pytest

from crispseg.data.label_files import CAMVID_COLOURS
from crispseg.labels import label_space


@pytest.mark.parametrize(
    ("name", "classes", "ignored"),
    [
        ("bdd100k", 19, 0),
        ("camvid_original", 11, 1),
        ("ade20k", 150, 1),
        ("pascal_context", 59, 401),
        ("pascal_context_png", 59, 1),
        ("coco_stuff10k", 171, 1),
        ("mapillary", 65, 1),
    ],
)
def test_counts(name, classes, ignored):
    space = label_space(name)
    assert (space.num_classes, len(space.ignore_ids)) == (classes, ignored)
    ids = [raw for entry in space.classes for raw in entry.ids]
    if name != "camvid_original":  # which groups its ids
        assert ids == sorted(ids), "train ids are in the order of the raw ids"
        assert len(ids) == classes


def test_bdd100k_is_cityscapes_by_train_ids():
    ours, cityscapes = label_space("bdd100k"), label_space("cityscapes")
    assert ours.class_names == cityscapes.class_names
    assert ours.categories == cityscapes.categories
    np.testing.assert_array_equal(ours.palette, cityscapes.palette)
    np.testing.assert_array_equal(ours.lookup[[*range(19), 255]], [*range(19), 255])


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("sky", "Sky"),
        ("building", "Building Wall Bridge Tunnel Archway"),
        ("pole", "Column_Pole TrafficCone"),
        ("road", "Road LaneMkgsDriv LaneMkgsNonDriv"),
        ("pavement", "Sidewalk ParkingBlock RoadShoulder"),
        ("tree", "Tree VegetationMisc"),
        ("sign", "SignSymbol Misc_Text TrafficLight"),
        ("fence", "Fence"),
        ("car", "Car SUVPickupTruck Truck_Bus Train OtherMoving"),
        ("pedestrian", "Pedestrian Child CartLuggagePram Animal"),
        ("bicyclist", "Bicyclist MotorcycleScooter"),
    ],
)
def test_camvid_groups(name, members):
    space, names = label_space("camvid_original"), [*CAMVID_COLOURS]
    train_id = space.class_names.index(name)
    grouped = {names[raw] for raw in np.flatnonzero(space.lookup[:32] == train_id)}
    assert grouped == {*members.split()}


def test_camvid_colours():
    assert len(CAMVID_COLOURS) == len({*CAMVID_COLOURS.values()}) == 32
    space, names = label_space("camvid_original"), [*CAMVID_COLOURS]
    assert names == sorted(names, key=str.lower)
    assert (space.lookup[:32] >= 0).all()
    assert [names[raw] for raw in np.flatnonzero(space.lookup[:32] == 255)] == ["Void"]
    for entry in space.classes:  # a group has the colour of one of its members, but for the tutorial's pavement
        assert entry.name == "pavement" or entry.colour in {CAMVID_COLOURS[names[raw]] for raw in entry.ids}


def test_ade20k():
    space = label_space("ade20k")
    assert space.lookup[[0, 1, 13, 21, 150, 151]].tolist() == [255, 0, 12, 20, 149, -1]
    assert [space.class_names[k] for k in (0, 2, 12, 20, 125, 149)] == ["wall", "sky", "person", "car", "pot", "flag"]
    assert tuple(space.palette[2]) == (6, 230, 230)


def test_pascal_context():
    owners, png = label_space("pascal_context"), label_space("pascal_context_png")
    assert owners.class_names == png.class_names
    np.testing.assert_array_equal(owners.palette, png.palette)
    # Both count in alphabetical order, so a name or an id in the wrong place shows.
    assert [*owners.class_names] == sorted(owners.class_names)
    assert (owners.lookup[:460] >= 0).all()
    assert owners.lookup[460] == -1
    voc = {"aeroplane": 2, "bicycle": 23, "bird": 25, "boat": 31, "bottle": 34, "bus": 45, "car": 59, "cat": 65}
    assert {owners.class_names[owners.lookup[raw]]: raw for raw in voc.values()} == voc
    assert png.lookup[[0, 1, 59, 60]].tolist() == [255, 0, 58, -1]


def test_coco_stuff():
    space = label_space("coco_stuff10k")
    unused = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91]
    assert np.flatnonzero(space.lookup[:183] == -1).tolist() == unused
    assert space.lookup[[0, 1, 90, 92, 182]].tolist() == [255, 0, 79, 80, 170]
    things, stuff = space.class_names[:80], space.class_names[80:]
    assert (things[0], things[79], stuff[0], stuff[90]) == ("person", "toothbrush", "banner", "wood")
    assert [*stuff] == sorted(stuff), "stuff is counted in alphabetical order"


def test_mapillary():
    space = label_space("mapillary")
    assert space.lookup[[0, 13, 27, 55, 64, 65, 66]].tolist() == [0, 13, 27, 55, 64, 255, -1]
    assert [space.class_names[k] for k in (0, 13, 27, 55, 64)] == ["bird", "road", "sky", "car", "ego vehicle"]
    # Where the two data sets agree on a class, they agree on its colour.
    cityscapes = {entry.name: entry.colour for entry in label_space("cityscapes").classes}
    ours = {entry.name: entry.colour for entry in space.classes}
    common = cityscapes.keys() & ours.keys()
    assert len(common) >= 14
    assert all(cityscapes[name] == ours[name] for name in common)
