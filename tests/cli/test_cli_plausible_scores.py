"""Predictions that mean or lie otherwise than their labels are noticed by ``crispseg score``; weak ones are not."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from crispseg.cli.app import app
from crispseg.data import make_street
from crispseg.labels import label_space

Change = Callable[[np.ndarray], np.ndarray]
TOY = label_space("toy_streets")


def score(root: Path, *options: str, table: str | Path = "toy_streets") -> Result:
    arguments = ("score", root / "p", root / "l", "--label-space", table, "--scores", "iou", *options)
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


def write(root: Path, change: Change, count: int = 4, size_hw: tuple[int, int] = (96, 96)) -> None:
    for folder in ("p", "l"):
        (root / folder).mkdir(exist_ok=True)
    for index in range(count):
        labels = make_street(np.random.default_rng(index), size_hw)[1]
        Image.fromarray(labels).save(root / "l" / f"{index}.png")
        Image.fromarray(np.ascontiguousarray(change(labels))).save(root / "p" / f"{index}.png")


def weak(labels: np.ndarray) -> np.ndarray:
    """Coarse, with mistakes, and where it should be."""
    rng = np.random.default_rng(int(labels.sum()))
    small = labels[2::5, 2::5].copy()
    wrong = rng.random(small.shape) < 0.15
    small[wrong] = rng.integers(0, TOY.num_classes, wrong.sum())
    return cv2.resize(small, labels.shape[::-1], interpolation=cv2.INTER_NEAREST)


def noisy(labels: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(rng.random(labels.shape) < 0.2, rng.integers(0, TOY.num_classes, labels.shape), labels).astype("u1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda labels: np.roll(labels, 1, axis=1), "1 px to the right of their labels"),
        (lambda labels: np.roll(labels, (-2, -1), axis=(0, 1)), "1 px to the left and 2 px above of their labels"),
        (lambda labels: np.roll(labels, 12, axis=0), "12 px below of their labels"),
        (lambda labels: np.roll(noisy(labels), 4, axis=1), "4 px to the right of their labels"),
        (lambda labels: labels[:, ::-1], "mirrored, left and right exchanged"),
        (lambda labels: labels[::-1], "mirrored, top and bottom exchanged"),
        (lambda labels: labels.T, "transposed, rows and columns exchanged"),
        (lambda labels: np.pad(labels[::2, ::2], ((0, 48), (0, 48))), "at half the scale of their labels"),
        (
            lambda labels: labels[:, (np.arange(96) * 0.85 + 7).astype(int)],
            "stretched sideways, around the middle, to about 11",
        ),
        (
            lambda labels: labels[:, np.minimum((np.arange(96) * 1.2).astype(int), 95)],
            "stretched sideways, from the left on, to about 8",
        ),
        (lambda labels: labels[(np.arange(96) * 0.93).astype(int)], "stretched downwards, from above on, to about 10"),
        (
            lambda labels: cv2.resize(labels, (108, 108), interpolation=0)[6:-6, 6:-6],
            "resized, around the middle, to about 11",
        ),
    ],
)
def test_where_predictions_lie(tmp_path, change, said):
    write(tmp_path, change)
    result = score(tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.count("warning:") == 1
    assert "warning: the predictions lie" in result.output
    assert said in result.output


def change_nothing(labels: np.ndarray) -> np.ndarray:
    return labels


def widen(labels: np.ndarray) -> np.ndarray:
    return cv2.dilate(labels, np.ones((3, 3), np.uint8))


def always_road(labels: np.ndarray) -> np.ndarray:
    return np.full_like(labels, TOY.class_names.index("road"))


def noise(labels: np.ndarray) -> np.ndarray:
    return np.random.default_rng(int(labels[0, 0])).integers(0, TOY.num_classes, labels.shape).astype(np.uint8)


@pytest.mark.parametrize("change", [change_nothing, weak, widen, always_road, noise])
def test_what_is_only_weak_is_silent(tmp_path, change):
    write(tmp_path, change, size_hw=(96, 128))
    result = score(tmp_path)
    assert result.exit_code == 0, result.output
    assert "warning" not in result.output


def test_halves_of_one_class_each_do_not_tell_of_a_stretch(tmp_path):
    """Each half of these labels is of one class, which fits wherever a network that knows nothing yet predicts it."""
    labels = np.repeat([[1, 0]], 40, axis=0).repeat(24, axis=1).astype(np.uint8)
    prediction = np.zeros_like(labels)
    prediction[:, :18] = prediction[:, 36:] = 1
    for folder, array in (("l", labels), ("p", prediction)):
        (tmp_path / folder).mkdir()
        Image.fromarray(array).save(tmp_path / folder / "0.png")
    result = score(tmp_path)
    assert result.exit_code == 0, result.output
    assert "stretched" not in result.output
    assert "resized" not in result.output


def raw_of(name: str) -> Change:
    """Train ids of toy streets as raw ids of the first classes of another table."""
    ids = np.array([entry.ids[0] for entry in label_space(name).classes], np.uint8)
    return lambda labels: ids[labels]


class TestValues:
    def write(self, root: Path, labels: Change, predictions: Change) -> None:
        write(root, change_nothing)
        for folder, change in (("l", labels), ("p", predictions)):
            for path in (root / folder).iterdir():
                Image.fromarray(change(np.array(Image.open(path)))).save(path)

    def test_train_ids_as_raw_ids(self, tmp_path):
        self.write(tmp_path, raw_of("cityscapes"), change_nothing)
        result = score(tmp_path, table="cityscapes")
        assert "read as train ids, 100 % would be: give --encoding train-ids --label-encoding raw-ids" in result.output
        again = score(tmp_path, "--encoding", "train-ids", "--label-encoding", "raw-ids", table="cityscapes")
        assert (again.exit_code, "warning" in again.output, "100.0" in again.output) == (0, False, True)

    def test_raw_ids_as_train_ids(self, tmp_path):
        self.write(tmp_path, change_nothing, raw_of("cityscapes"))
        result = score(tmp_path, "--encoding", "train-ids", table="cityscapes")
        assert result.exit_code == 2
        assert "Perhaps: predictions: the values (" in result.output
        assert "are ids of the label table; give --encoding raw-ids" in result.output

    @pytest.mark.parametrize(("by", "where"), [(1, "higher"), (-1, "lower")])
    def test_shifted_by_one(self, tmp_path, by, where):
        self.write(tmp_path, raw_of("cityscapes"), lambda labels: raw_of("cityscapes")(labels) + np.uint8(by % 256))
        result = score(tmp_path, table="cityscapes")
        assert (
            f"read as raw ids of the label table that are one {where} than the table's, 100 % would be" in result.output
        )

    def test_ids_of_another_table(self, tmp_path):
        self.write(tmp_path, change_nothing, lambda labels: ((labels.astype(int) * 7 + 3) % 10).astype(np.uint8))
        result = score(tmp_path)
        assert "the predictions are of another label table" in result.output
        assert "is 'building'" in result.output

    @pytest.mark.parametrize(
        ("table", "swapped", "encoding", "said"),
        [
            ("toy_streets", False, "raw-ids", "predictions: colours of the label table; give --encoding colours"),
            ("toy_streets", True, "colours", "the table's colours with red and blue exchanged"),
            ("camvid", False, "colours", "the colours of the label table 'camvid', not of 'toy_streets'"),
        ],
    )
    def test_colours(self, tmp_path, table, swapped, encoding, said):
        palette = label_space(table).palette[:10, :: -1 if swapped else 1]
        self.write(tmp_path, change_nothing, lambda labels: palette[labels])
        result = score(tmp_path, "--encoding", encoding, "--label-encoding", "raw-ids")
        assert result.exit_code == 2
        assert said in result.output

    def test_labels_that_are_binary(self, tmp_path):
        table = tmp_path / "two.yaml"
        table.write_text("classes: [background, road]")
        self.write(tmp_path, lambda labels: np.where(labels == 5, 255, 0).astype(np.uint8), lambda labels: labels == 5)
        result = score(tmp_path, table=table)
        assert "{name: road, ids: [255]}" in result.output
