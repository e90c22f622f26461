"""Rows of an image from a later row on: the same as in one go, and no window is read that does not reach them."""

import numpy as np
import pytest
import torch

from crispseg import Predictor, SegmentationOutput
from crispseg.labels import LabelSpace

SPACE = LabelSpace.from_dict({"name": "three", "classes": ["a", "b", "c"]})
WEIGHT = torch.randn((3, 3, 5, 5), generator=torch.Generator().manual_seed(0))


def network(images: torch.Tensor) -> SegmentationOutput:
    return SegmentationOutput(logits=torch.nn.functional.conv2d(images, WEIGHT, padding=2))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("first_row", [0, 1, 15, 16, 17, 50, 99])
def test_rows_from_a_later_one_on_are_the_same(first_row: int, flip: bool):
    image = np.random.default_rng(0).integers(0, 256, (100, 45, 3), dtype=np.uint8)
    read_tops: list[int] = []

    def read(top: int, left: int, height: int, width: int) -> np.ndarray:
        read_tops.append(top)
        return image[top : top + height, left : left + width]

    predictor = Predictor(network, SPACE, window_hw=(32, 20), flip=flip)
    whole = predictor(image)
    rows = list(predictor.stream(read, image.shape[:2], first_row))
    assert rows[0].top <= first_row
    assert min(read_tops) + 32 > first_row
    for name in ("labels", "confidence"):
        joined = np.concatenate([getattr(one, name) for one in rows])
        np.testing.assert_array_equal(joined[first_row - rows[0].top :], getattr(whole, name)[first_row:])
