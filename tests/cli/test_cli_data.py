"""``crispseg data check`` and ``preview`` through their own application."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from crispseg.cli.data import data_app
from crispseg.errors import ConfigError, DataError
from crispseg.io import read_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        for folder in (split, f"{split}annot"):
            (tmp_path / "data" / folder).mkdir(parents=True)
        for index in range(count):
            name = f"{split}_{index}.png"
            Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(tmp_path / "data" / split / name)
            labels = np.repeat(np.array([[1, 3, 3, 11]], np.uint8), 8, axis=1).repeat(24, axis=0)
            Image.fromarray(labels).save(tmp_path / "data" / f"{split}annot" / name)
    return tmp_path / "data"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(data_app, [*map(str, arguments)], env={"COLUMNS": "200"})


class TestCheck:
    def test_a_sound_set(self, root, tmp_path):
        result = invoke("check", root, "--layout", "camvid", "--out", tmp_path / "report.json")
        assert result.exit_code == 0, result.output
        assert "nothing is wrong" in result.output
        cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.output.splitlines()]
        assert ["train", "3", "3", "24×32", "24×32", "24×32", "1", "25.0 %"] in cells
        assert ["building", "33.333", "3", "33.333", "2"] in cells
        assert ["bicyclist", "–", "0", "–", "0"] in cells
        values = json.loads((tmp_path / "report.json").read_text())
        assert values["sound"] is True
        assert values["splits"][0]["class_pixels"][3] == 3 * 24 * 16

    def test_problems_and_the_exit_status(self, root, tmp_path):
        (root / "valannot" / "val_1.png").unlink()
        Image.fromarray(np.full((24, 32), 12, np.uint8)).save(root / "trainannot" / "train_0.png")
        result = invoke("check", root, "--layout", "camvid", "--out", tmp_path / "report.json")
        assert result.exit_code == 2
        assert "1 × files missing or without their pair" in result.output
        assert "1 of 2 images have no label file: val/val_1.png" in result.output
        assert "1 × ids outside the label table" in result.output
        assert "train: unknown ids, pixels and images: 12 (768 px in 1)" in result.output
        values = json.loads((tmp_path / "report.json").read_text())
        assert values["sound"] is False
        assert len(values["problems"]) == 2

    def test_many_problems_are_counted(self, root):
        for path in (root / "trainannot").iterdir():
            for index in range(10):
                name = f"{path.stem}_{index}.png"
                Image.new("L", (5, 5)).save(root / "trainannot" / name)
                Image.new("RGB", (6, 6)).save(root / "train" / name)
        result = invoke("check", root, "--layout", "camvid")
        assert result.exit_code == 2
        assert "30 × labels of another size than their image" in result.output
        assert "and 10 more; --out FILE has all" in result.output

    def test_another_split_and_table(self, root, tmp_path):
        (tmp_path / "two.yaml").write_text("classes: [{name: a, ids: [1]}, {name: b, ids: [3]}]\nignore_ids: [11]")
        result = invoke("check", root, "--layout", "camvid", "--split", "val", "--labels", tmp_path / "two.yaml")
        assert result.exit_code == 0
        assert "train" not in result.output
        assert "two" in result.output

    def test_missing_root(self, tmp_path):
        result = invoke("check", tmp_path / "nowhere", "--layout", "cityscapes")
        assert result.exit_code == 2
        assert "nothing found where a folder was expected, with folders leftImg8bit and gtFine" in result.output

    def test_the_section_of_a_recipe(self):
        result = invoke(
            "check", "--recipe", "toy/plain", "--set", "data.toy_train_images=2", "--set", "data.toy_val_images=1"
        )
        assert result.exit_code == 0, result.output
        assert "layout toy_streets, label table toy_streets" in result.output

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "which data? Name its folder, or give --recipe RECIPE"),
            (("--layout", "camvit"), "did you mean 'camvid'"),
            (("--layout", "camvid", "--set", "data.fald=1"), "data.fald"),
            (("--recipe", "nowhere"), "recipe 'nowhere': no such file"),
        ],
    )
    def test_arguments_that_do_not_fit(self, arguments, message):
        result = invoke("check", *arguments)
        assert isinstance(result.exception, ConfigError)
        assert message in str(result.exception)


class TestPreview:
    def test_a_sheet(self, root, tmp_path):
        out = tmp_path / "sheet.png"
        arguments = ("preview", root, "--layout", "camvid", "--count", 2, "--out")
        result = invoke(*arguments, out)
        assert result.exit_code == 0, result.output
        assert "2 of 3 samples of train, crops of 512×512" in result.output
        sheet = read_image(out)
        assert sheet.shape[1] > 4 * 300
        assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100, "there are pictures on it"
        invoke(*arguments, tmp_path / "again.png")
        np.testing.assert_array_equal(read_image(tmp_path / "again.png"), sheet)
        invoke(*arguments, tmp_path / "other.png", "--seed", 1)
        assert (read_image(tmp_path / "other.png")[: sheet.shape[0] // 2] != sheet[: sheet.shape[0] // 2]).any()

    def test_more_than_there_are(self, root, tmp_path):
        result = invoke(
            "preview", root, "--layout", "camvid", "--split", "val", "--count", 9, "--out", tmp_path / "s.png"
        )
        assert "2 of 2 samples of val" in result.output

    def test_a_count_without_end_is_refused(self, root, tmp_path):
        result = invoke("preview", root, "--layout", "camvid", "--count", 10**20, "--out", tmp_path / "s.png")
        assert result.exit_code == 2
        assert "--count" in result.output
        assert not (tmp_path / "s.png").exists()

    def test_broken_data_is_named(self, root, tmp_path):
        (root / "train" / "train_0.png").write_text("x")
        result = invoke("preview", root, "--layout", "camvid", "--out", tmp_path / "sheet.png")
        assert isinstance(result.exception, DataError)
        assert "train_0.png" in str(result.exception)

    def test_the_name_of_the_sheet(self, root):
        result = invoke("preview", root, "--layout", "camvid", "--out", "sheet.jpg")
        assert isinstance(result.exception, ConfigError)
        assert "a name that ends in .png" in str(result.exception)
