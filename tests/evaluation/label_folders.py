"""Two folders of small label images for the tests of this room."""

from functools import partial
from pathlib import Path

import numpy as np

from crispseg import evaluation
from crispseg.evaluation import Scores
from crispseg.inference import Prediction
from crispseg.io import write_png
from crispseg.labels import LabelSpace
from crispseg.pages.evaluation import write_pages

SPACE = LabelSpace.from_dict(
    {
        "name": "four",
        "classes": [
            {"name": "sky", "colour": [0, 0, 255], "ids": [1], "category": "far"},
            {"name": "road", "colour": [90, 0, 90], "ids": [4, 5], "category": "near"},
            {"name": "pole", "colour": [200, 200, 0], "ids": [7], "category": "near"},
            {"name": "ghost", "colour": [9, 9, 9], "ids": [8]},
        ],
        "ignore_ids": [0],
        "ignored_classes": [{"name": "frame", "colour": [255, 255, 255], "ids": [0]}],
    }
)
RAW = np.array([1, 4, 7, 8, *[0] * 251, 0], dtype=np.uint8)
"""One raw id of each train id; void is 0."""


def random_pair(seed: int, void: float = 0.02, silent: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and its labels as train ids, both void here and there; the last class is nowhere."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(12, 24, 2)
    coarse = rng.integers(0, 3, (4, 4))
    labels = np.kron(coarse, np.ones((6, 6), int))[:height, :width].astype(np.uint8)
    prediction = np.roll(labels, rng.integers(0, 2, 2), axis=(0, 1))
    noise = rng.random(labels.shape)
    prediction[noise < 0.05] = rng.integers(0, 3)
    prediction[noise > 1 - silent] = 255
    labels[rng.random(labels.shape) < void] = 255
    return prediction, labels


class RandomImages:
    """Data set and predictor in one: `random_pair`s whose images are their predictions."""

    label_space = SPACE

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        prediction, labels = random_pair(index, silent=0)
        return np.repeat(prediction[..., None], 3, axis=2), labels, str(index)

    def __call__(self, image: np.ndarray) -> Prediction:
        return Prediction(image[..., 0], np.ones(image.shape[:2], np.float32), image, SPACE)


def write_folders(folder: Path, images: int = 6, **options: float) -> tuple[Path, Path]:
    """``masks`` and ``labels`` with raw ids."""
    for index in range(images):
        for name, ids in zip(("masks", "labels"), random_pair(index, **options), strict=True):
            write_png(folder / name / f"image_{index}.png", RAW[ids])
    return folder / "masks", folder / "labels"


def evaluate_folders(*arguments, out: Path | None = None, **options) -> Scores:
    """As ``crispseg score`` does it: pages stand beside the records."""
    report = None if out is None else partial(write_pages, folder=out)
    return evaluation.evaluate_folders(*arguments, out=out, report=report, **options)
