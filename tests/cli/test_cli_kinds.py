"""Other files of the kinds of the shared cases: each read right, or one line that says what to do, which works."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from crispseg.cli.app import app
from crispseg.data import make_street
from crispseg.labels import label_space

HW = (48, 64)
TWO = "classes: [background, crack]\n"
GREYS = "classes: [{name: background, colour: [0, 0, 0]}, {name: crack, colour: [255, 255, 255]}]\n"
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
COLOURED = (
    "classes:\n  - {name: background, colour: [0, 0, 0]}\n  - {name: crack, colour: [255, 0, 0]}\n"
    "  - {name: spall, colour: [0, 0, 255]}\n"
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


def blob(index: int) -> np.ndarray:
    """(H, W) of 0, 1 and 2: two discs."""
    rng = np.random.default_rng(index)
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    labels = np.zeros(HW, np.uint8)
    for value in (1, 2):
        row, column, radius = rng.integers(10, 38), rng.integers(10, 54), rng.integers(5, 11)
        labels[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = value
    return labels


def write(root: Path, save, table: str | None = TWO, image="images/{}/f{}.png", mask="labels/{}/f{}.png") -> Path:
    for index in range(4):
        split = "train" if index < 2 else "val"
        noise = np.random.default_rng(index).integers(0, 256, (*HW, 3), dtype=np.uint8)
        for place, is_mask in ((image, False), (mask, True)):
            path = root / place.format(split, index)
            path.parent.mkdir(parents=True, exist_ok=True)
            if is_mask:
                save(blob(index), path)
            else:
                Image.fromarray(noise).save(path)
    if table is not None:
        (root / "labels.yaml").write_text(table)
    return root


def binary(labels: np.ndarray) -> np.ndarray:
    return (labels > 0).astype(np.uint8)


def ids(labels: np.ndarray, path: Path) -> None:
    Image.fromarray(binary(labels)).save(path)


def smoothed(labels: np.ndarray, path: Path) -> None:
    large = Image.fromarray(binary(labels) * 255).resize((HW[1] * 2, HW[0] * 2))
    large.resize(HW[::-1], Image.Resampling.BILINEAR).save(path)


def jpeg(labels: np.ndarray, path: Path) -> None:
    Image.fromarray(binary(labels) * 255).save(path, quality=90)


def blended(labels: np.ndarray, path: Path) -> None:
    large = Image.fromarray(COLOURS[labels]).resize((HW[1] * 2, HW[0] * 2))
    large.resize(HW[::-1], Image.Resampling.BILINEAR).save(path)


def test_smoothed_binary_masks_are_called_so_and_the_cure_works(tmp_path):
    root = write(tmp_path, smoothed)
    result = run("data", "check", root)
    assert result.exit_code == 2
    assert "nearly all pixels hold 0 or 255" in result.output
    assert "say data.colour_distance=221" in result.output
    (root / "labels.yaml").write_text(GREYS)
    assert run("data", "check", root, "--set", "data.colour_distance=221").exit_code == 0


def test_jpeg_masks_of_black_and_white(tmp_path):
    root = write(tmp_path, jpeg, GREYS, mask="labels/{}/f{}.jpg")
    assert "JPEG changes label ids" in run("data", "check", root).output
    assert run("data", "check", root, "--set", "data.colour_distance=150").exit_code == 0


def test_two_values_for_two_classes(tmp_path):
    root = write(tmp_path, lambda labels, path: Image.fromarray(binary(labels) * 253 + 1).save(path))
    assert "write ids [1], [254]" in run("data", "check", root).output


def test_blended_colours_say_the_distance_that_is_needed(tmp_path):
    root = write(tmp_path, blended, COLOURED)
    output = run("data", "check", root).output
    distances = [int(part.split(",")[0]) for part in output.split("data.colour_distance=")[1:]]
    assert len(distances) == 4
    assert run("data", "check", root, "--set", f"data.colour_distance={max(distances)}").exit_code == 0


def test_a_colour_that_the_table_lacks_is_no_blend(tmp_path):
    table = "classes: [{name: background, colour: [0, 0, 0]}, {name: crack, colour: [255, 0, 0]}]\n"
    root = write(tmp_path, lambda labels, path: Image.fromarray(COLOURS[labels]).save(path), table)
    output = run("data", "check", root).output
    assert "(0, 0, 255)" in output
    assert "with red and blue exchanged" not in output
    assert "colour_distance" not in output


def test_colours_with_red_and_blue_exchanged(tmp_path):
    table = COLOURED.replace("[0, 0, 255]", "[0, 200, 255]")
    colours = np.array([[0, 0, 0], [0, 0, 255], [255, 200, 0]], np.uint8)
    root = write(tmp_path, lambda labels, path: Image.fromarray(colours[labels]).save(path), table)
    assert "with red and blue exchanged, as OpenCV writes them" in run("data", "check", root).output


@pytest.mark.parametrize("save", [ids, lambda labels, path: Image.fromarray(COLOURS[labels]).save(path)])
def test_without_a_table_the_one_that_is_proposed_works(tmp_path, save):
    root = write(tmp_path, save, None)
    output = run("data", "check", root).output
    (root / "labels.yaml").write_text(output.partition("for which '")[2].partition("' would be")[0])
    result = run("data", "check", root)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}/f{}.jpg", "labels/{}/f{}.jpg.png"),
        ("images/{}/f{}.jpg", "labels/{}/f{}_json_label.png"),
        ("images/{}/f{}.tif", "labels/{}/f{}_manual1.gif"),
        ("images/{}/f{}.jpg", "labels/{}/truth-f{}-v2.png"),
        ("images/{}/f{}.gif", "labels/{}/f{}.mask.png"),
    ],
)
def test_any_one_ending_of_all_masks(tmp_path, image, mask):
    root = write(tmp_path, ids, image=image, mask=mask)
    result = run("data", "check", root)
    assert result.exit_code == 0, result.output


def test_an_ending_that_one_mask_lacks_is_not_guessed(tmp_path):
    root = write(tmp_path, ids, mask="labels/{}/f{}_x.png")
    (root / "labels/train/f1_x.png").rename(root / "labels/train/f1_y.png")
    assert "images have no label file" in run("data", "check", root).output


@pytest.mark.parametrize(
    "lines", ["# of two\nf0\nf1\n", "\ufefff0.png\r\nf1.png\r\n", "C:\\x\\f0.jpg\nC:\\x\\f1.jpg\n"]
)
def test_lists_as_people_write_them(tmp_path, lines):
    root = write(tmp_path, ids, image="images/f{1}.jpg", mask="labels/f{1}_mask.png")
    (root / "train.txt").write_text(lines, newline="")
    (root / "val.txt").write_text("f2\nf3\n")
    result = run("data", "check", root)
    assert result.exit_code == 0, result.output
    assert "│ train │      2 │" in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("classes:\n  - {name: a, colour: #ff0000}\n  - b\n", "line 2 has a # in a mapping or list"),
        ("classes:\n  - {name: a, colour: red}\n  - b\n", "as in [255, 0, 0]"),
        ("classes:\n  - {name: a, ids: ['0']}\n  - b\n", "write [0]"),
        ("classes: [a, a]\n", "t.yaml: class names occur twice: a"),
        ("classes: [a, b]\nignore_ids: [1]\n", "t.yaml: id 1 belongs to 'ignore_ids' and to 'b'"),
        ("- a\n", "t.yaml: a list found where a mapping was expected"),
        ("classes: [background]\n", "name both classes with their ids"),
    ],
)
def test_tables(tmp_path, text, said):
    (tmp_path / "t.yaml").write_text(text)
    result = run("data", "check", tmp_path, "--layout", "folder", "--labels", tmp_path / "t.yaml")
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.splitlines()) == 1


def test_four_inks_are_three_colours_and_two_bands_are_said(tmp_path):
    root = write(tmp_path, ids, image="images/{}/f{}.jpg")
    for path in (root / "images").rglob("*.jpg"):
        Image.open(path).convert("CMYK").save(path)
    assert "warning" not in run("data", "check", root).output
    rasterio = pytest.importorskip("rasterio")
    for path in [*(root / "images").rglob("*.jpg")]:
        path.unlink()
        kind = {"driver": "GTiff", "height": HW[0], "width": HW[1], "count": 2, "dtype": "uint8"}
        with rasterio.open(path.with_suffix(".tif"), "w", **kind) as file:
            file.write(np.random.default_rng(len(path.name)).integers(0, 256, (2, *HW), dtype=np.uint8))
    assert "two bands, of which the first is read as grey" in run("data", "check", root).output


def test_values_that_are_no_numbers(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    root = write(tmp_path, ids)
    for index, path in enumerate([*(root / "images").rglob("*.png")]):
        path.unlink()
        values = np.random.default_rng(index).random((3, *HW), dtype=np.float32)
        values[:, :12] = np.nan
        kind = {"driver": "GTiff", "height": HW[0], "width": HW[1], "count": 3, "dtype": "float32"}
        with rasterio.open(path.with_suffix(".tif"), "w", **kind) as file:
            file.write(values)
    assert "no numbers (NaN, up to 25 % of one), which are read as black" in run("data", "check", root).output


RAW = np.array([entry.ids[0] for entry in label_space("cityscapes").classes], np.uint8)


def masks(root: Path, predicted, true, names=("{}.png", "{}.png"), size_hw=(96, 128)) -> Result:
    for index in range(4):
        labels = make_street(np.random.default_rng(index), size_hw)[1]
        for folder, change, name in zip("pl", (predicted, true), names, strict=True):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(change(labels))).save(root / folder / name.format(index))
    return score(root)


def score(root: Path, *options: object) -> Result:
    return run("score", root / "p", root / "l", "--label-space", "cityscapes", "--scores", "iou", *options)


def same(labels: np.ndarray) -> np.ndarray:
    return labels


def raw(labels: np.ndarray) -> np.ndarray:
    return RAW[labels]


def cure(output: str) -> list[str]:
    """The options that a message ends with."""
    words = output.partition("give --encoding")[2].split()
    return ["--encoding", *words[:3]]


@pytest.mark.parametrize(
    ("predicted", "true", "options"),
    [
        (same, raw, ()),
        (raw, same, ()),
        (same, same, ()),
        (same, raw, ("--encoding", "train-ids")),
        (raw, same, ("--encoding", "train-ids")),
    ],
)
def test_the_cure_for_train_ids_and_raw_ids_works_as_it_stands(tmp_path, predicted, true, options):
    masks(tmp_path, predicted, true)
    said = score(tmp_path, *options).output
    result = score(tmp_path, *cure(said))
    assert result.exit_code == 0, said
    assert "│ mean          │ 100.0 │" in result.output
    assert "warning" not in result.output


def test_label_files_whose_names_say_what_they_hold(tmp_path):
    names = ("bonn_{:06d}_000019_pred.png", "bonn_{:06d}_000019_gtFine_labelIds.png")
    assert "give --encoding train-ids --label-encoding raw-ids" in masks(tmp_path, same, raw, names).output
    assert "│ mean          │ 100.0 │" in score(tmp_path, "--encoding", "train-ids").output


def resized(scale: float, middle: bool = False, axes: tuple[bool, bool] = (True, True)):
    def change(labels: np.ndarray) -> np.ndarray:
        places = []
        for size, does in zip(labels.shape, axes, strict=True):
            at = size / 2 if middle else 0
            factor = scale if does else 1.0
            places.append(np.clip((np.arange(size) + 0.5 - at) / factor + at, 0, size - 1).astype(int))
        return labels[places[0][:, None], places[1][None]]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (resized(0.9), "resized, from the first corner on, to about (89|90)[.]"),
        (resized(1.1, middle=True), "resized, around the middle, to about (109|110)[.]"),
        (resized(0.97, axes=(False, True)), "stretched sideways, from the left on, to about (96|97)[.]"),
    ],
)
def test_masks_at_another_scale(tmp_path, change, said):
    result = masks(tmp_path, lambda labels: change(raw(labels)), raw, size_hw=(144, 192))
    assert result.exit_code == 0, result.output
    assert re.search(said, result.output)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda labels: raw(labels).T, "height and width are exchanged"),
        (lambda labels: raw(labels)[::2, ::2], "resized to 0.5 of its size"),
    ],
)
def test_pairs_of_two_sizes(tmp_path, change, said):
    assert said in masks(tmp_path, change, raw).output


def test_boxes_and_lines_are_left_out_where_that_is_asked_for(tmp_path):
    image = np.zeros((*HW, 3), np.uint8)
    outline = [[2, 2], [30, 2], [30, 30], [2, 30]]
    box = {"label": "crack", "points": outline[:2], "shape_type": "line"}
    shapes = [{"label": "crack", "points": outline, "shape_type": "polygon"}, box]
    made = {"shapes": shapes, "imagePath": "a.png", "imageHeight": HW[0], "imageWidth": HW[1]}
    yolo = "0 " + " ".join(f"{x / HW[1]} {y / HW[0]}" for x, y in outline) + "\n0 0.5 0.5 0.2 0.2\n"
    for name, files in (
        ("labelme", {"a.json": json.dumps(made)}),
        ("yolo", {"data.yaml": "names: [crack]\n", "labels/all/a.txt": yolo}),
    ):
        root = tmp_path / name
        path = root / ("a.png" if name == "labelme" else "images/all/a.png")
        path.parent.mkdir(parents=True)
        Image.fromarray(image).save(path)
        for place, text in files.items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_text(text)
        key = f"data.skip_{'lines' if name == 'labelme' else 'boxes'}=true"
        command = ("data", "check", root, "--layout", name, "--split", "all")
        refused = run(*command)
        assert refused.exit_code == 2
        assert key in refused.output
        kept = run(*command, "--set", key)
        assert kept.exit_code == 0, kept.output
