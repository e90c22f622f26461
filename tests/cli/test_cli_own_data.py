"""What people have, through the real command line: the shared cases and others of their kinds."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from crispseg.cli.app import app
from crispseg.data.layouts import LAYOUTS

HW = (16, 24)
COLOURS = np.array([[0, 0, 0], [200, 0, 0], [0, 0, 200]], np.uint8)
NAMES = ("ground", "crack", "spall")
TABLE = "classes:\n" + "".join(
    f"  - {{name: {name}, colour: {colour.tolist()}}}\n" for name, colour in zip(NAMES, COLOURS, strict=True)
)
TINY = """\
model: {head: plain, backbone: test_resnet, channels: 8, output_stride: 32, context: identity}
data: {layout: %s, root: data, crop_hw: [32, 32], workers: 0%s}
train: {epochs: 1, batch_size: 2}
evaluate: {scores: [iou]}
"""


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def cases() -> Path:
    root = Path(os.environ.get("CRISPSEG_CASES", Path(__file__).resolve().parents[3] / "shared" / "cases"))
    if not root.is_dir():
        pytest.skip(f"the shared cases are not at {root}; set CRISPSEG_CASES")
    return root


@pytest.mark.parametrize("case", ["08-colour-masks", "09-mask-suffix-and-lists"])
@pytest.mark.parametrize("layout", [(), ("--layout", "folder")])
def test_shared_cases(cases, case, layout):
    result = invoke("data", "check", cases / case / "data", *layout)
    assert result.exit_code == 0, result.output
    assert "55.885" in result.output  # per cent of road
    assert "nothing is wrong" in result.output


def ids_of(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 3, HW).astype(np.uint8)


def save(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)


def pictures(root: Path, place: str, count: int = 6) -> None:
    for index in range(count):
        pixels = np.random.default_rng(50 + index).integers(0, 256, (*HW, 3), dtype=np.uint8)
        save(root / place.format("train" if index < 4 else "val", index), pixels)


def masks(root: Path, place: str, make, mode: str | None = None, count: int = 6) -> None:
    for index in range(count):
        save(root / place.format("train" if index < 4 else "val", index), make(ids_of(index)), mode)


def colours(root: Path) -> None:
    pictures(root, "images/{}/p{}.jpg")
    masks(root, "labels/{}/p{}.png", lambda ids: COLOURS[ids])


def colours_in_tiff(root: Path) -> None:
    pictures(root, "images/{}/p{}.jpg")
    masks(root, "masks/{}/p{}.tif", lambda ids: COLOURS[ids], "RGBA")


def three_channels(root: Path) -> None:
    pictures(root, "img/{}/p{}.png")
    masks(root, "gt/{}/p{}.png", lambda ids: np.stack([ids] * 3, axis=2))


def grey_and_alpha(root: Path) -> None:
    pictures(root, "images/{}/p{}.jpg")
    masks(root, "labels/{}/p{}_label.png", lambda ids: ids, "LA")


def roboflow(root: Path) -> None:
    pictures(root, "{}/p{}_jpg.rf.0a1b.jpg")
    masks(root, "{}/p{}_jpg.rf.0a1b_mask.png", lambda ids: ids)
    (root / "val").rename(root / "valid")
    for split in ("train", "valid"):
        (root / split / "_classes.csv").write_text("Pixel Value, Class\n0, ground\n1, crack\n2, spall\n")


def lists(root: Path) -> None:
    pictures(root, "images/{1}.jpg")
    masks(root, "masks/{1}_seg.png", lambda ids: ids)
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "train.txt").write_text("0\n1\n2\n3\n")
    (root / "ImageSets" / "val.txt").write_text("4\n5\n")


def cvat(root: Path) -> None:
    pictures(root, "JPEGImages/{}_{}.jpg")
    masks(root, "SegmentationClass/{}_{}.png", lambda ids: COLOURS[ids])
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("train_0\ntrain_1\ntrain_2\ntrain_3\n")
    (lists / "val.txt").write_text("val_4\nval_5\n")
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in zip(NAMES, COLOURS, strict=True)]
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")


def outline_of(ids: np.ndarray, value: int) -> list[list[float]]:
    """A pixel's square, of the first that has this id."""
    row, column = np.argwhere(ids == value)[0].tolist()
    return [[column, row], [column + 1, row], [column + 1, row + 1], [column, row + 1]]


def labelme(root: Path) -> None:
    pictures(root, "{}/p{}.jpg")
    for index in range(6):
        shapes = [
            {"label": name, "points": outline_of(ids_of(index), value), "shape_type": "polygon"}
            for value, name in ((1, "crack"), (2, "spall"))
        ]
        values = {
            "version": "5.0",
            "shapes": shapes,
            "imagePath": f"p{index}.jpg",
            "imageHeight": HW[0],
            "imageWidth": HW[1],
        }
        (root / ("train" if index < 4 else "val") / f"p{index}.json").write_text(json.dumps(values))


def yolo(root: Path) -> None:
    pictures(root, "images/{}/p{}.jpg")
    for index in range(6):
        path = root / "labels" / ("train" if index < 4 else "val") / f"p{index}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"{value - 1} " + " ".join(f"{x / HW[1]} {y / HW[0]}" for x, y in outline_of(ids_of(index), value))
            for value in (1, 2)
        ]
        path.write_text("\n".join(lines))
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: {0: crack, 1: spall}\n")


WAYS = {
    make.__name__: (make, layout)
    for make, layout in [
        *((make, "folder") for make in (colours, colours_in_tiff, three_channels, grey_and_alpha, roboflow, lists)),
        (cvat, "voc"),
        (labelme, "labelme"),
        (yolo, "yolo"),
    ]
}


@pytest.mark.parametrize("way", WAYS)
def test_check_recognises_and_reads(way, tmp_path):
    make, layout = WAYS[way]
    make(tmp_path / "data")
    if way not in ("roboflow", "cvat", "labelme", "yolo"):
        (tmp_path / "data" / "labels.yaml").write_text(TABLE)
    result = invoke("data", "check", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert f"layout {layout}: " in result.output
    assert "splits train, val" in result.output
    assert f"next: crispseg fit {tmp_path / 'data'} --starter fast\n" in result.output.replace("\n--", " --")
    if layout in ("folder", "voc"):
        wanted = [100 * (np.concatenate([ids_of(i) for i in range(4)]) == value).mean() for value in range(3)]
        assert all(f"{share:.3f}" in result.output for share in wanted)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_training_and_evaluation_straight_from_it(way, tmp_path, monkeypatch):
    make, layout = WAYS[way]
    make(tmp_path / "data")
    if way not in ("roboflow", "cvat", "labelme", "yolo"):
        (tmp_path / "data" / "labels.yaml").write_text(TABLE)
    (tmp_path / "tiny.yaml").write_text(TINY % (layout, ""))
    monkeypatch.chdir(tmp_path)
    result = invoke("fit", "tiny.yaml", "--out", "run")
    assert result.exit_code == 0, result.output
    assert invoke("evaluate", "run/model", "--scores", "iou").exit_code == 0


def test_import_and_export(tmp_path):
    for module in ("rasterio", "shapely", "pycocotools"):
        pytest.importorskip(module)
    cvat(tmp_path / "data")
    assert invoke("data", "import", tmp_path / "data", "--out", tmp_path / "plain").exit_code == 0
    assert sorted(entry.name for entry in (tmp_path / "plain").iterdir()) == ["images", "labels", "labels.yaml"]
    stored = np.array(Image.open(tmp_path / "plain/labels/val/val_5.png"))
    np.testing.assert_array_equal(stored, ids_of(5))
    for kind in ("coco", "labelme", "voc"):
        result = invoke("data", "export", tmp_path / "plain", "--to", kind, "--out", tmp_path / kind)
        assert result.exit_code == 0, result.output
        assert "train 4, val 2" in result.output
        assert f"layout {kind}: " in invoke("data", "check", tmp_path / kind).output
    refused = invoke("data", "export", tmp_path / "plain", "--to", "yolo", "--out", tmp_path / "x")
    assert refused.exit_code == 2
    assert "Known: coco, labelme, voc" in refused.output


def test_drawing_without_a_recipe(tmp_path):
    pictures(tmp_path, "images/{1}.jpg")
    masks(tmp_path, "masks/{1}.png", lambda ids: ids)
    (tmp_path / "labels.yaml").write_text(TABLE)
    result = invoke("data", "check", tmp_path)
    assert "splits all" in result.output
    assert "--set data.val=0.2" in result.output
    result = invoke("data", "check", tmp_path, "--set", "data.val=0.34")
    assert result.exit_code == 0, result.output
    assert "│ train │      4 │" in result.output
    assert "│ val   │      2 │" in result.output


def test_every_layout_stands_in_the_help_of_evaluate():
    text = " ".join(
        CliRunner().invoke(app, ["evaluate", "--help"], env={"COLUMNS": "80"}).output.replace("│", " ").split()
    )
    assert all(name in text for name in LAYOUTS)
    assert "…" not in text.replace("NAME,…", "").replace("PX,…", "").replace("cuda, …", "")
