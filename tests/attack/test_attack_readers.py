"""Hostile and odd files of other tools through the readers of data sets: done, or a line that names what is wrong."""

import base64
import json
import shutil
from pathlib import Path

import hostile
import numpy as np
import pytest

from crispseg.io import write_png
from crispseg.io.png_writing import encode_png

pytestmark = pytest.mark.attack

ROUNDS = range(2)  # of each kind, so that processes share the work
HW = (16, 20)
SQUARE = [[2.0, 2.0], [9.0, 2.0], [9.0, 9.0], [2.0, 9.0]]
SETTINGS = [
    *("data.val=0.5", "data.overlaps=later", "data.overlaps=ignore", "data.skip_boxes=true", "data.skip_lines=true"),
    *("data.colour_distance=200", "data.encoding=colours", "data.label_ending=_x", "data.group_by=(", "data.bands=[9]"),
    *("data.image_folder=../{split}", "data.annotations=*", "data.split_lists=..", "data.exif=ignore"),
]


def picture(path):
    write_png(path, np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8))


def mask():
    return np.random.default_rng(1).integers(0, 3, HW, dtype=np.uint8)


def coco(root):
    images = [{"id": 1, "file_name": "a.png", "height": 16, "width": 20}]
    flat = [[side for point in SQUARE for side in point]]
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": flat, "bbox": [2, 2, 7, 7], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "segmentation": {"size": [16, 20], "counts": [10, 30, 280]}},
        {"id": 3, "image_id": 1, "category_id": 2, "segmentation": {"size": [16, 20], "counts": "PS2"}, "iscrowd": 1},
    ]
    categories = [{"id": 1, "name": "crack", "supercategory": "x"}, {"id": 2, "name": "spall"}]
    values = {"images": images, "annotations": annotations, "categories": categories}
    for split in ("train", "val"):
        picture(root / split / "a.png")
        (root / f"annotations_{split}.json").write_text(json.dumps(values))
    return root / "annotations_train.json", values


def labelme(root):
    coded = base64.b64encode(encode_png(np.ones((4, 5), np.uint8))).decode()
    shapes = [
        {"label": "crack", "points": SQUARE, "shape_type": "polygon", "flags": {}, "group_id": None},
        {"label": "spall", "points": SQUARE[:2], "shape_type": "circle"},
        {"label": "spall", "points": [SQUARE[0], SQUARE[2]], "shape_type": "rectangle"},
        {"label": "crack", "points": [[1, 1], [5, 4]], "shape_type": "mask", "mask": coded},
    ]
    values = {"version": "5", "shapes": shapes, "imagePath": "a.png", "imageHeight": 16, "imageWidth": 20}
    for split in ("train", "val"):
        picture(root / split / "a.png")
        (root / split / "a.json").write_text(json.dumps(values))
    return root / "train" / "a.json", values


YOLO = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n1 0.6 0.6 0.9 0.6 0.9 0.9\n"
DATA_YAML = "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames:\n  0: crack\n  1: spall\n"
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncrack:128,0,0::\nspall:0,128,0::\n"
CSV = "Pixel Value, Class\n0, background\n1, crack\n2, spall\n"
LIST = "a\nb\n"


def yolo(root):
    for split in ("train", "val"):
        picture(root / "images" / split / "a.png")
        (root / "labels" / split).mkdir(parents=True)
        (root / "labels" / split / "a.txt").write_text(YOLO)
    (root / "data.yaml").write_text(DATA_YAML)


def voc(root):
    for name in "abc":
        picture(root / "JPEGImages" / f"{name}.png")
        write_png(root / "SegmentationClass" / f"{name}.png", mask())
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split, text in (("train", LIST), ("val", "c\n")):
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text)
    (root / "labelmap.txt").write_text(LABELMAP)


def texts(content, rng, count):
    """Texts that once were this one: mutated bytes, a line with another word, or nothing of it."""
    for _ in range(count):
        kind, lines = rng.random(), content.splitlines()
        place = rng.randrange(len(lines))
        if kind < 0.45:
            yield hostile.mutated(content.encode(), rng)
        elif kind < 0.8:
            words = lines[place].replace(",", " , ").split(" ")
            words[rng.randrange(len(words))] = hostile.odd_value(rng)
            lines[place] = " ".join(words)
            yield "\n".join(lines).encode("utf-8", "surrogatepass")
        elif kind < 0.9:
            yield (content + hostile.odd_value(rng) + "\n").encode("utf-8", "surrogatepass")
        else:
            yield rng.choice([b"", b"\xff\xfe", b"\0" * 50, b"\n" * 50, b"1e999 " * 9, (content * 400).encode()])


def check(attack, root, layout, names=()):
    """By the layout's name or by recognition, with a setting now and then."""
    command = ["data", "check", root, *(["--layout", layout] if attack.rng.random() < 0.6 else [])]
    if attack.rng.random() < 0.3:
        command += ["--set", attack.rng.choice(SETTINGS)]
    attack.run(command, [Path(root).name, *names, "data."])


@pytest.mark.parametrize("_", ROUNDS)
@pytest.mark.parametrize("make", [coco, labelme])
def test_json_of_outlines(attack, tmp_path, make, _):
    pytest.importorskip("pycocotools")
    path, values = make(tmp_path / "set")
    for content in hostile.json_texts(values, attack.rng, 30):
        path.write_bytes(content)
        check(attack, tmp_path / "set", make.__name__, ["layout", path.name])


ODD_NUMBERS = [1e308, -1e308, 1e18, -1, 0, 0.5, 1e-320, 2**31, 2**63, -(2**63), True, None, "1", [], {}, 65536]


@pytest.mark.parametrize("make", [coco, labelme])
def test_numbers_of_outlines(attack, tmp_path, make):
    """Sound JSON whose numbers are none that an image has."""
    pytest.importorskip("pycocotools")

    share = 0.06

    def with_odd(value):
        if isinstance(value, dict):
            return {key: with_odd(held) for key, held in value.items()}
        if isinstance(value, list):
            return [with_odd(held) for held in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return attack.rng.choice(ODD_NUMBERS) if is_number and attack.rng.random() < share else value

    path, values = make(tmp_path / "set")
    for _ in range(45):
        share = attack.rng.choice([0.01, 0.06])  # so that some are read
        path.write_text(json.dumps(with_odd(values)))
        check(attack, tmp_path / "set", make.__name__, ["layout", path.name])


@pytest.mark.parametrize("_", ROUNDS)
@pytest.mark.parametrize(
    ("make", "where", "content"),
    [
        (yolo, "labels/train/a.txt", YOLO),
        (yolo, "data.yaml", DATA_YAML),
        (voc, "labelmap.txt", LABELMAP),
        (voc, "ImageSets/Segmentation/train.txt", LIST),
    ],
)
def test_texts_of_tools(attack, tmp_path, make, where, content, _):
    root = tmp_path / "set"
    make(root)
    path = root / where
    for text in texts(content, attack.rng, 18):
        path.write_bytes(text)
        check(attack, root, make.__name__, ["layout", path.name])


@pytest.mark.parametrize("name", ["_classes.csv", "class_names.txt", "labels.txt", "classes.txt", "labels.yaml"])
def test_tables_of_tools(attack, world, tmp_path, name):
    root = tmp_path / "set"
    shutil.copytree(world.data, root)
    (root / "labels.yaml").unlink()
    content = CSV if name.endswith("csv") else "background\ncrack\nspall\n"
    for text in texts(content, attack.rng, 15):
        (root / name).write_bytes(text)
        check(attack, root, "folder", [name, "label table", "layout"])


@pytest.mark.parametrize("_", ROUNDS)
def test_masks_in_folders_of_ones_own(attack, world, tmp_path, _):
    """Colours by a table, with a distance, in palettes, and alone with a table of ids."""
    root = tmp_path / "set"
    shutil.copytree(world.data, root)
    colours = (
        "classes: [{name: a, colour: [0, 0, 0]}, {name: b, colour: [255, 0, 0]}, {name: c, colour: [0, 0, 255]}]\n"
    )
    (root / "labels.yaml").write_text(attack.rng.choice([colours, "classes: [a, b, c]\n"]))
    for content in hostile.images(attack.rng, 30):
        (root / attack.rng.choice(["labels/train/0.png", "images/train/0.png"])).write_bytes(content)
        check(attack, root, "folder", ["0.png", "layout"])


@pytest.mark.parametrize("make", [coco, labelme, yolo, voc])
def test_import_and_export(attack, tmp_path, make):
    pytest.importorskip("pycocotools")
    pytest.importorskip("shapely")
    made = make(tmp_path / "set")
    path = made[0] if made else tmp_path / "set" / ("data.yaml" if make is yolo else "labelmap.txt")
    content = path.read_text()
    for number, text in enumerate(texts(content, attack.rng, 14)):
        path.write_bytes(text)
        out = tmp_path / f"out{number}"
        what = attack.rng.choice([["import"], *(["export", "--to", kind] for kind in ("coco", "labelme", "voc"))])
        arguments = ["data", what[0], tmp_path / "set", *what[1:], "--out", out]
        if not attack.run(arguments, ["set", "layout", "data.", "classes"]):
            assert not out.exists() or not any(out.iterdir()), f"{what} left files of a refused data set"


def test_hugging_face_rows(attack, tmp_path):
    datasets = pytest.importorskip("datasets")
    table = tmp_path / "labels.yaml"
    table.write_text("classes: [a, b, c]\n")
    sound = {"image": encode_png(np.zeros((*HW, 3), np.uint8)), "label": encode_png(mask())}
    for number, content in enumerate(hostile.images(attack.rng, 12)):
        which = attack.rng.choice([*sound])
        row = {key: {"bytes": held, "path": None} for key, held in {**sound, which: content}.items()}
        kinds = datasets.Features({key: datasets.Image() for key in row})
        rows = datasets.Dataset.from_list([row, row], features=kinds)
        folder = tmp_path / str(number)
        rows.save_to_disk(str(folder))
        if attack.rng.random() < 0.3:
            held = attack.rng.choice([one for one in folder.iterdir() if one.suffix in (".json", ".arrow")])
            held.write_bytes(hostile.mutated(held.read_bytes(), attack.rng))
        arguments = ["data", "check", folder, "--layout", "huggingface", "--labels", table, "--split", "all"]
        attack.run(arguments, [str(number), "row "])


@pytest.mark.parametrize("_", ROUNDS)
def test_masks_to_refine(attack, world, tmp_path, _):
    for number, content in enumerate(hostile.images(attack.rng, 25)):
        masks, out = tmp_path / str(number), tmp_path / f"out{number}"
        shutil.copytree(world.data / "labels/val", masks)
        (masks / "1.png").write_bytes(content)
        encoding = attack.rng.choice(["raw-ids", "train-ids", "colours"])
        table = ["--label-space", world.data / "labels.yaml", "--encoding", encoding]
        method = attack.rng.choice(["guided_filter", "mean_field"])
        command = ["refine", masks, "--images", world.data / "images/val", "--out", out, "--method", method, *table]
        attack.run(command, [f"{number}/1.png", "1.png", "method", "colour"], exits=(0, 1, 2))
