"""What reaches an exported file at once is bounded as for networks of PyTorch, however many images are given."""

import numpy as np
import pytest

from crispseg.inference import ExportedModel, Predictor
from crispseg.inference.card import ExportCard
from crispseg.labels import LabelSpace

SPACE = LabelSpace.from_dict({"name": "two", "classes": ["dark", "bright"]})


class Noting(ExportedModel):
    """What an exported file is to a predictor; notes the shapes that it is given."""

    def __init__(self):
        self.path, self.precision = "noting.onnx", "float32"
        self.card = ExportCard(("probabilities",), SPACE, 1)
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        return {"probabilities": np.concatenate([1 - images[:, :1], images[:, :1]], axis=1)}


@pytest.mark.parametrize(
    ("side", "options", "largest"),
    [
        (128, {}, 16),
        (128, {"flip": True}, 16),
        (600, {}, 1),  # larger than the bound by itself
        (300, {"window_hw": (100, 100), "overlap": 0.5}, 10),  # all five windows of a row of both images that fit
    ],
)
def test_many_images_come_in_batches_of_at_most_so_many_pixels(side, options, largest):
    model = Noting()
    predictor = Predictor(model, **options)
    images = [np.full((side, side, 3), grey, dtype=np.uint8) for grey in range(0, 200, 5)]
    found = dict(predictor.predict_many(images, batch_size=1000))
    assert [int(found[index].labels[0, 0]) for index in (0, 39)] == [0, 1]
    assert max(shape[0] for shape in model.shapes) == largest
    pixels = [shape[0] * shape[2] * shape[3] for shape in model.shapes]
    assert max(pixels) <= max(predictor.batch_pixels, side * side)
