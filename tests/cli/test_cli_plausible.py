"""What looks wrong is said through the real commands, with its cure, and what is right stays silent."""

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
