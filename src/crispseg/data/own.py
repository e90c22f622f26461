"""Data sets that somebody holds in Python: pairs of image and labels, by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from crispseg.config import DataConfig
from crispseg.data.dataset import SegmentationDataset, transform_of
from crispseg.data.records import Sample, train_ids
from crispseg.errors import DataError
from crispseg.labels import LabelSpace

__all__ = ["OwnData", "PairSource", "Pairs", "own_dataset"]


class Pairs(Protocol):
    """Anything with a length that gives (image, labels), or (image, labels, name), for each index from 0.

    An image is uint8 RGB (H, W, 3), labels are whole numbers (H, W): raw ids of the label table; arrays, or what NumPy
    makes arrays of, such as images of Pillow. A sample must be the same at every call.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


OwnData: TypeAlias = "SegmentationDataset | Pairs"


class PairSource:
    """`Pairs` as a source of samples.

    Args:
        pairs: see there.
        label_space: says what raw ids mean.

    Example:
        >>> table = LabelSpace.from_dict({"name": "two", "classes": ["off", "on"]})
        >>> source = PairSource([(np.zeros((2, 3, 3), np.uint8), np.array([[0, 1, 255]] * 2))], table)
        >>> source.names, source.size_hw(0), source.sample(0).labels.tolist()
        (['0'], (2, 3), [[0, 1, 255], [0, 1, 255]])
    """

    def __init__(self, pairs: Pairs, label_space: LabelSpace) -> None:
        self._pairs, self._label_space = pairs, label_space
        self._names = [str(index) for index in range(len(pairs))]

    @property
    def names(self) -> Sequence[str]:
        """Numbers from 0; a sample may have its own name."""
        return self._names

    def size_hw(self, index: int) -> tuple[int, int]:
        """Height and width; the pair is asked for."""
        height, width = self.sample(index).labels.shape
        return height, width

    def sample(self, index: int) -> Sample:
        """Ask for the pair, and check it.

        Raises:
            DataError: if it is of another form, or the labels hold ids outside the table.
        """
        pair = self._pairs[index]
        if not isinstance(pair, tuple | list) or len(pair) not in (2, 3):
            raise DataError(f"sample {index}: {type(pair).__name__} found, (image, labels) expected")
        name = str(pair[2]) if len(pair) == 3 else self._names[index]
        image, labels = np.asarray(pair[0]), np.asarray(pair[1])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(f"sample {name}: an image of {image.dtype} {image.shape}, uint8 RGB (H, W, 3) expected")
        if labels.dtype.kind not in "iu" or labels.shape != image.shape[:2]:
            raise DataError(
                f"sample {name}: labels of {labels.dtype} {labels.shape}, whole numbers {image.shape[:2]} as the image "
                "expected"
            )
        return Sample(image, train_ids(_raw(labels, name), self._label_space, f"sample {name}"), name)


def _raw(labels: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint16]:
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < 2**16:
        raise DataError(
            f"sample {name}: labels hold {labels.min()} to {labels.max()}, raw ids from 0 to 65535 expected"
        )
    return labels.astype(np.uint16)


def own_dataset(
    data: OwnData, label_space: LabelSpace, config: DataConfig, augment: bool, seed: int = 0
) -> SegmentationDataset:
    """What somebody hands over as a data set, cut and varied as a recipe says.

    Args:
        data: `Pairs`; or a `SegmentationDataset`, which is taken as it is.
        label_space: of the pairs.
        config: the recipe's section, for its transform.
        augment: whether to vary and crop.
        seed: of the variation.
    """
    if isinstance(data, SegmentationDataset):
        return data
    transform = transform_of(config) if augment else None
    return SegmentationDataset(PairSource(data, label_space), label_space, transform, seed=seed, cache=config.cache)
