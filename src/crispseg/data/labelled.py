"""Labelled images as they are, for scoring: what of a data set needs no PyTorch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crispseg.config import DataConfig
from crispseg.data.layouts import open_layout
from crispseg.data.records import FileSource, Sample, SampleSource
from crispseg.labels import LabelSpace

__all__ = ["LabelledImages", "open_labelled"]


class LabelledImages:
    """Whole samples of a source, without transforms.

    Args:
        source: reads or makes the samples.
        label_space: the classes of their labels.

    Attributes:
        names: one per sample.
    """

    def __init__(self, source: SampleSource, label_space: LabelSpace) -> None:
        self.source = source
        self.label_space = label_space
        self.names = list(source.names)

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, index: int) -> Sample:
        """Image uint8 (H, W, 3), labels uint8 (H, W) train ids, and name.

        Raises:
            DataError: if its files are broken or do not fit together or to the table.
        """
        return self.source.sample(index)

    def labels(self, index: int) -> npt.NDArray[np.uint8]:
        """Labels uint8 (H, W) train ids alone; files' images are not read for it.

        Raises:
            DataError: if the label file is broken or does not fit the table.
        """
        return self.source.labels(index) if isinstance(self.source, FileSource) else self.source.sample(index).labels


def open_labelled(config: DataConfig, split: str) -> LabelledImages:
    """The images that a recipe's ``data`` section describes; see `crispseg.data.build_dataset`.

    Args:
        config: the section.
        split: ``"train"`` or ``"val"``, which the section translates into names, or a split's name itself.

    Raises:
        ConfigError, DataError: as `crispseg.data.build_dataset`.
    """
    return LabelledImages(*open_layout(config, config.own_split(split)))
