"""What looks wrong is said through the real commands, with its cure, and what is right stays silent."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from crispseg.cli.app import app

SIZE_HW = (40, 48)
TINY = """
name: tiny
model: {head: gff, backbone: resnet10t, channels: 16, output_stride: 32, context: ppm}
data: {layout: folder, root: ROOT, crop_hw: [32, 32], workers: 0, index_cache: ROOT/cache}
train: {epochs: 1, batch_size: 2}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


def write_folder(root: Path, masks: dict[str, list[np.ndarray]], classes: str) -> Path:
    rng = np.random.default_rng(0)
    for split, several in masks.items():
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for index, mask in enumerate(several):
            noise = rng.integers(0, 256, (*mask.shape, 3), np.uint8)
            Image.fromarray(noise).save(root / "images" / split / f"{split}{index}.png")
            Image.fromarray(mask).save(root / "labels" / split / f"{split}{index}.png")
    (root / "labels.yaml").write_text(f"classes: {classes}\n")
    (root / "tiny.yaml").write_text(TINY.replace("ROOT", str(root)))
    return root


def halves(*values: int) -> np.ndarray:
    """Bands of these values."""
    return np.repeat(np.array(values, np.uint8), SIZE_HW[1] // len(values))[None].repeat(SIZE_HW[0], axis=0)


def masks(*values: int) -> dict[str, list[np.ndarray]]:
    return {"train": [halves(*values)] * 2, "val": [halves(*values[::-1])]}


def into_alpha(root: Path) -> None:
    """Masks as black pictures whose transparency holds what they held."""
    for path in root.glob("labels/*/*.png"):
        mask = np.array(Image.open(path))
        Image.fromarray(np.dstack([np.zeros((*mask.shape, 3), np.uint8), mask])).save(path)


class TestLabels:
    def test_binary_masks_are_refused_with_the_cure_which_works(self, tmp_path):
        root = write_folder(tmp_path, masks(0, 255), "[background, road]")
        for command in (
            ("data", "check", root, "--layout", "folder"),
            ("fit", root / "tiny.yaml", "--out", root / "x"),
        ):
            result = run(*command)
            assert result.exit_code == 2
            assert "class 'road' never occurs, and 255, which is ignored, is 50 %" in result.output
            assert "{name: road, ids: [255]}" in result.output
        (root / "labels.yaml").write_text("classes: [background, {name: road, ids: [255]}]\n")
        result = run("data", "check", root, "--layout", "folder")
        assert (result.exit_code, "warning" in result.output) == (0, False)

    @pytest.mark.parametrize("alpha", [(0, 255), (0, 1)])
    def test_labels_in_the_alpha_channel_are_named(self, tmp_path, alpha):
        root = write_folder(tmp_path, masks(*alpha), "[background, road]")
        into_alpha(root)
        for command in (
            ("data", "check", root, "--layout", "folder"),
            ("fit", root / "tiny.yaml", "--out", root / "x"),
            ("fit", root / "tiny.yaml", "--out", root / "x", "--set", "data.check=headers"),
        ):
            result = run(*command)
            assert result.exit_code == 2, result.output
            listed = ", ".join(map(str, sorted(alpha)))
            assert f"the labels lie in the alpha channel (values {listed}), for every pixel" in result.output
            assert "save that channel alone as grey PNG" in result.output
            assert "empty" not in result.output
        (root / "labels.yaml").unlink()
        found = run("data", "check", root, "--layout", "folder").output
        assert "train0.png" in found
        assert "the labels lie in the alpha channel" in found

    def test_black_masks_without_an_object_are_empty_whatever_their_alpha(self, tmp_path):
        root = write_folder(tmp_path, masks(255), "[background, road]")
        into_alpha(root)
        result = run("data", "check", root, "--layout", "folder")
        assert "see whether the masks are empty" in result.output
        assert "alpha" not in result.output

    def test_by_headers_alone_too(self, tmp_path):
        root = write_folder(tmp_path, masks(0, 255), "[background, road]")
        result = run("fit", root / "tiny.yaml", "--out", root / "x", "--set", "data.check=headers")
        assert result.exit_code == 2
        assert "{name: road, ids: [255]}" in result.output

    @pytest.mark.parametrize(
        ("values", "classes", "status", "said"),
        [
            ((0, 127, 255), "[a, b, c]", 2, "write ids [0], [127], [255]"),
            ((0, 3, 6, 9), "[a, b, c, d, e, f, g, h, i, j]", 0, "all values are multiples of 3"),
            ((1, 2, 3), "[a, b, c]", 2, "one higher than the table's: write ids [1], [2], …"),
            ((0, 1, *[255] * 22), "[a, b]", 0, "92 % of the pixels are ignored"),
            ((0, 1, 2, 255), "[a, b, c, d]", 0, "if 255 means 'd', write ids: [255]"),
            ((0, 1, 2, 3), "[a, b, c, d]", 0, None),
        ],
    )
    def test_check(self, tmp_path, values, classes, status, said):
        root = write_folder(tmp_path, masks(*values), classes)
        result = run("data", "check", root, "--layout", "folder")
        assert result.exit_code == status, result.output
        assert (said or "nothing is wrong\n") in result.output
        assert said is not None or "warning" not in result.output

    def test_preview_warns_and_draws(self, tmp_path):
        root = write_folder(tmp_path, masks(0, 255), "[background, road]")
        result = run("data", "preview", root, "--layout", "folder", "--out", root / "sheet.png")
        assert result.exit_code == 0
        assert "warning: class 'road' never occurs" in result.output

    def test_a_class_of_one_split(self, tmp_path):
        root = write_folder(tmp_path, {"train": [halves(0, 1)], "val": [halves(0, 2)]}, "[a, b, c]")
        result = run("data", "check", root, "--layout", "folder")
        assert result.exit_code == 0
        assert "warning: 'c': in val, never in train" in result.output
        assert "warning: 'b': in train, never in val" in result.output


def replace_images(root: Path, make: Callable[[Path, np.ndarray], None]) -> None:
    for path in sorted((root / "images").rglob("*.png")):
        make(path, np.array(Image.open(path)))


def turned(path: Path, image: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(path, exif=exif)


class TestImages:
    @pytest.fixture
    def root(self, tmp_path) -> Path:
        return write_folder(tmp_path, masks(0, 1), "[background, road]")

    def check(self, root: Path, *options: str) -> Result:
        return run("data", "check", "--recipe", root / "tiny.yaml", *options)

    def test_twelve_bits_of_sixteen(self, root):
        replace_images(root, lambda path, image: Image.fromarray(image[..., 0].astype(np.uint16) * 16).save(path))
        result = self.check(root)
        assert result.exit_code == 0
        assert "go up to 4080 alone, as of 12 bits, come out nearly black" in result.output
        assert "say data.bit_depth=12" in result.output
        assert "warning" not in self.check(root, "--set", "data.bit_depth=12").output
        assert "above 1023 all is white" in self.check(root, "--set", "data.bit_depth=10").output

    def test_nearly_black_images_of_eight_bits(self, root):
        replace_images(root, lambda path, image: Image.fromarray(image // 16).save(path))
        assert "image values go up to 15 of 255 alone, which is nearly black" in self.check(root).output

    def test_transparent_pixels(self, root):
        replace_images(root, lambda path, image: Image.fromarray(np.dstack([image, image[..., :1] // 2])).save(path))
        result = self.check(root)
        assert "3 images have transparent pixels, which are laid over white" in result.output
        assert "warning" not in self.check(root, "--set", "data.bands=[1,2,3]").output

    def test_an_opaque_alpha_is_silent(self, root):
        opaque = np.full((*SIZE_HW, 1), 255, np.uint8)
        replace_images(root, lambda path, image: Image.fromarray(np.dstack([image, opaque])).save(path))
        assert "warning" not in self.check(root).output

    @pytest.mark.parametrize("orientation", [2, 3, 4])
    def test_images_that_keep_their_size_when_turned(self, root, orientation):
        replace_images(root, lambda path, image: turned(path, image, orientation))
        result = self.check(root)
        assert result.exit_code == 0
        assert f"3 images are turned by EXIF (orientation {orientation}) and their masks are not" in result.output
        for key in ("apply", "ignore"):
            assert "warning" not in self.check(root, "--set", f"data.exif={key}").output

    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    def test_images_that_change_their_size_when_turned(self, root, orientation):
        replace_images(root, lambda path, image: turned(path, image, orientation))
        result = self.check(root)
        assert result.exit_code == 2
        assert f"EXIF orientation {orientation} of the image turns it" in result.output
        assert "say data.exif=ignore if masks fit the pixels as stored" in result.output
        assert self.check(root, "--set", "data.exif=ignore").exit_code == 0

    def test_images_much_larger_than_the_crop(self, root):
        result = self.check(root, "--set", "data.crop_hw=[6,8]", "--set", "data.scale_range=[1,1]")
        assert "images of 40×48 (height × width, the median) are 40 times as large" in result.output

    def test_near_duplicates(self, root):
        image = Image.open(root / "images/train/train0.png").resize((12, 10)).resize((48, 40), Image.Resampling.BICUBIC)
        image.save(root / "images/train/train0.png")
        image.point(lambda value: int(value * 0.9)).save(root / "images/val/val0.png")
        result = self.check(root)
        assert result.exit_code == 0
        assert "1 of 1 images of val look like images of train" in result.output
        assert "val0 and train0" in result.output

    def test_pages_and_bands_are_said_when_segmenting(self, tmp_path, tiny_model):
        folder = tmp_path / "images"
        folder.mkdir()
        rng = np.random.default_rng(0)
        pages = [Image.fromarray(rng.integers(0, 256, (24, 32), np.uint8)) for _ in range(3)]
        pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
        Image.fromarray(rng.integers(0, 256, (24, 32, 4), np.uint8)).save(folder / "infrared.tif")
        result = run("segment", tiny_model, folder, "--out", tmp_path / "out", "--only", "labels")
        assert result.exit_code == 0, result.output
        assert "1 of 2 images has several pages, and only the first is read" in result.output
        assert "1 of 2 images has a fourth band that is tagged as transparency and cannot be that" in result.output


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory) -> Path:
    from crispseg import create_model
    from crispseg.models import save_model

    folder = tmp_path_factory.mktemp("model") / "model"
    save_model(create_model("plain", backbone="resnet10t", channels=8, output_stride=32, num_classes=2), folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bands", "dtype", "white", "changes"),
    [
        (4, "uint16", 4095, ["data.bands=[1,2,3,4]", "data.bit_depth=12"]),
        (1, "uint8", 255, ["model.in_channels=1"]),
        (5, "uint8", 255, ["data.bands=[5,4,3,2,1]"]),
        (6, "float32", 3000, ["model.in_channels=6", "data.value_range=[0,3000]"]),
        (3, "float32", 1, []),
    ],
)
def test_other_inputs_train_score_and_segment(tmp_path, bands, dtype, white, changes):
    rasterio = pytest.importorskip("rasterio")
    root = write_folder(tmp_path / "data", masks(0, 1), "[thing]")
    rng = np.random.default_rng(0)
    for path in sorted((root / "images").rglob("*.png")):
        path.unlink()
        values = (rng.random((bands, *SIZE_HW)) * white * 0.99).astype(dtype)
        kind = {"driver": "GTiff", "height": 40, "width": 48, "count": bands, "dtype": dtype}
        with rasterio.open(path.with_suffix(".tif"), "w", **kind) as file:
            file.write(values)
    options = [part for change in changes for part in ("--set", change)]
    trained = run("fit", root / "tiny.yaml", "--out", tmp_path / "run", "--set", "model.head=plain", *options)
    assert trained.exit_code == 0, trained.output
    assert "warning" not in trained.output
    model = tmp_path / "run" / "model"
    scored = run("evaluate", model, "--scores", "iou")
    segmented = run("segment", model, root / "images" / "val", "--out", tmp_path / "out", "--only", "labels")
    assert (scored.exit_code, segmented.exit_code) == (0, 0), scored.output + segmented.output
    predicted = run(
        "score", tmp_path / "out", root / "labels" / "val", "--label-space", root / "labels.yaml", "--scores", "iou"
    )
    row = [line for line in scored.output.splitlines() if "background" in line]
    assert row == [line for line in predicted.output.splitlines() if "background" in line]


def test_bands_that_do_not_agree_are_named(tmp_path):
    root = write_folder(tmp_path, masks(0, 1), "[background, road]")
    result = run(
        "fit", root / "tiny.yaml", "--out", root / "x", "--set", "model.in_channels=4", "--set", "data.bands=[1,2]"
    )
    assert result.exit_code == 2
    assert "model.in_channels is 4, and data.bands names 2 bands" in result.output
    result = run("fit", root / "tiny.yaml", "--out", root / "x", "--set", "model.in_channels=4")
    assert result.exit_code == 2
    assert "3 bands found, and band 4 is asked for" in result.output


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layout"), [("isbi_membranes", "isbi_membranes"), ("camvid", "camvid")])
def test_known_data_sets_are_silent(name, layout):
    root = Path(os.environ.get("CRISPSEG_CAMVID", Path(__file__).parents[3] / "shared" / "camvid")).parent / name
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    result = run("data", "check", root, "--layout", layout)
    assert result.exit_code == 0, result.output
    assert "warning" not in result.output


def test_toy_streets_are_silent():
    small = ("--set", "data.toy_train_images=4", "--set", "data.toy_val_images=2", "--set", "data.toy_size_hw=[48,64]")
    result = run("data", "check", "--recipe", "toy/gscnn", *small)
    assert result.exit_code == 0, result.output
    assert "warning" not in result.output
