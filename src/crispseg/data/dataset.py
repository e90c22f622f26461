"""The one data set class; what differs between data sets is the source and the label table."""

from __future__ import annotations

import mmap
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from crispseg.config import DataConfig
from crispseg.data.class_uniform import ClassDraw
from crispseg.data.damage import damaged
from crispseg.data.layouts import open_layout
from crispseg.data.records import Sample, SampleSource
from crispseg.data.transforms import JointTransform
from crispseg.data.workers import data_worker
from crispseg.errors import DataError
from crispseg.io.bands import AS_SHOWN, full_value
from crispseg.labels import LabelSpace
from crispseg.labels import label_space as load_label_space
from crispseg.ops.directions import corrections, inward_directions, mask_bands

__all__ = ["Item", "SegmentationDataset", "Target", "build_dataset", "transform_of"]

Target = Literal["classes", "directions", "corrections"]
"""What labels become; see `SegmentationDataset`."""


class Item(TypedDict):
    """What a data set gives to a loader.

    Keys:
        image: (3, H, W) float32 RGB in [0, 1], or (C, H, W) of other bands.
        labels: (H, W) int64 train ids, 255 = ignore.
        name: of the sample.
    """

    image: Tensor
    labels: Tensor
    name: str


class SegmentationDataset(Dataset[Item]):
    """Images with labels, from any source, varied by any joint transform.

    What comes out depends on the source, the seed, the epoch and the index only: not on the order of calls, and not on
    the number of workers. A `ClassDraw` in the place of an index gives a crop around a class; its position in the epoch
    takes the index's part, so that an image which is drawn twice is varied twice.

    Args:
        source: reads or makes the samples.
        label_space: the classes of their labels.
        transform: varies a sample; None leaves images whole.
        seed: of the transform's draws.
        cache: keep every decoded sample in memory, shared with workers that are forked after construction.
        target: what labels become, after the transform, which turns and scales them. ``"directions"``: to the inside of
            their regions, see `crispseg.ops.directions.inward_directions`. ``"corrections"``: of a mask that is damaged
            on purpose (`crispseg.data.damage`), see `crispseg.ops.directions.corrections`; the image then has the
            mask's bands behind its own (`crispseg.ops.directions.mask_bands`). ``"classes"``: they stay as they are.
        reach_px: of directions and corrections.

    Attributes:
        source: as given.
        source_space: the classes of the source's labels.
        label_space: the classes of the labels that come out: as given, or the directions.
        names: one per sample.
    """

    def __init__(
        self,
        source: SampleSource,
        label_space: LabelSpace,
        transform: JointTransform | None = None,
        *,
        seed: int = 0,
        cache: bool = False,
        target: Target = "classes",
        reach_px: int = 4,
    ) -> None:
        self.source = source
        self.source_space = label_space
        self.label_space = label_space if target == "classes" else load_label_space("directions")
        self.target, self.reach_px = target, reach_px
        self.names = list(source.names)
        self.transform = transform
        self.seed = seed
        # Persistent workers keep their copy of the data set; shared memory is how the epoch reaches them.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call] # as torch has it
        self._cache = _SampleCache(source) if cache else None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: int | ClassDraw) -> Item:
        if get_worker_info() is not None:
            data_worker()
        image, labels, name = self._source_sample(key.sample if isinstance(key, ClassDraw) else key)
        if self.transform is None:
            rng = self._fixed_draws(key.sample if isinstance(key, ClassDraw) else key)
        elif isinstance(key, ClassDraw):
            # NumPy takes (a, b, c) and (a, b, c, 0) for the same seed, hence the 1.
            rng = np.random.default_rng((self.seed, self.epoch, key.position, 1))
            image, labels = self.transform(image, labels, rng, self._centre_px(key, labels, name, rng))
        else:
            rng = np.random.default_rng((self.seed, self.epoch, key % len(self)))
            image, labels = self.transform(image, labels, rng)
        image, labels = self._as_target(image, labels, rng)
        channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
        if channels_first.dtype != np.uint8:  # PyTorch knows little of uint16
            channels_first = channels_first.astype(np.float32)
        return Item(
            image=torch.from_numpy(channels_first).to(torch.float32).div_(full_value(image)),
            labels=torch.from_numpy(np.ascontiguousarray(labels)).to(torch.int64),
            name=name,
        )

    def sample(self, index: int) -> Sample:
        """One whole sample without transform, as the target has it; a damaged mask is the same in every epoch.

        Args:
            index: from 0, or negative from the end.

        Raises:
            IndexError: if there is no such sample.
            DataError: if its files are broken or do not fit together or to the table.
        """
        image, labels, name = self._source_sample(index)
        return Sample(*self._as_target(image, labels, self._fixed_draws(index)), name)

    def _fixed_draws(self, index: int) -> np.random.Generator:
        """What is drawn for samples without transform, whatever the epoch."""
        return np.random.default_rng((self.seed, 0, index % len(self)))

    def _as_target(
        self, image: npt.NDArray[Any], labels: npt.NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
        if self.target == "directions":
            return image, inward_directions(labels, self.reach_px)
        if self.target == "corrections":
            mask = damaged(labels, rng)
            bands = mask_bands(mask).astype(image.dtype) * image.dtype.type(full_value(image) // 255)
            return np.concatenate([image, bands], axis=2), corrections(labels, mask, self.reach_px)
        return image, labels

    def _source_sample(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of a data set with {len(self)}")
        index %= len(self)
        return self.source.sample(index) if self._cache is None else self._cache.sample(index)

    def _centre_px(
        self, draw: ClassDraw, labels: npt.NDArray[np.uint8], name: str, rng: np.random.Generator
    ) -> tuple[int, int]:
        try:
            return draw.centre_px(labels, rng)
        except ValueError:
            raise DataError(
                f"{name}: {self.source_space.class_names[draw.class_id]!r} is not where the class index says; "
                "its labels were changed since the run began: start it again"
            ) from None

    @property
    def epoch(self) -> int:
        """What `set_epoch` was last told, 0 at first."""
        return int(self._epoch.item())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's variation, for this process and for every worker, persistent ones too.

        Call it before the loader's iterator is made: an iterator asks its workers for the first batches at once.

        Args:
            epoch: from 0.
        """
        self._epoch.fill_(epoch)


def build_dataset(config: DataConfig, split: str, augment: bool, seed: int = 0) -> SegmentationDataset:
    """The data set that a recipe's ``data`` section describes.

    Args:
        config: the section.
        split: ``"train"`` or ``"val"``, which the section translates into names, or a split's name itself.
        augment: whether to vary and crop; without it images come whole and unchanged.
        seed: of the variation.

    Raises:
        ConfigError: if there is no such layout or label table, or the layout does not take an option that is set.
        DataError: if the root is missing or empty, or images and label files do not pair.

    Example:
        >>> data = build_dataset(DataConfig(layout="toy_streets", toy_size_hw=(48, 64)), "val", augment=False)
        >>> len(data), tuple(data[0]["image"].shape), data.names[0]
        (40, (3, 48, 64), 'toy_val_00000')
    """
    source, label_space = open_layout(config, config.own_split(split))
    transform = transform_of(config) if augment else None
    return SegmentationDataset(
        source,
        label_space,
        transform,
        seed=seed,
        cache=config.cache,
        target=config.target,
        reach_px=config.reach_px,
    )


def transform_of(config: DataConfig) -> JointTransform:
    """How a recipe varies its training images."""
    return JointTransform(
        crop_hw=config.crop_hw,
        scale_range=config.scale_range,
        flip_probability=config.flip_probability,
        rotate_degrees=config.rotate_degrees,
        jitter=config.jitter,
        hue_jitter=config.hue_jitter,
        colour_shift=config.colour_shift,
        blur_probability=config.blur_probability,
    )


class _SampleCache:
    """Decoded samples in one anonymous memory map, filled as they are first asked for.

    Forked workers share the map, so each sample is decoded once in all. Workers that are spawned get an empty cache of
    their own. Two workers that decode the same sample at once write the same bytes.
    """

    def __init__(self, source: SampleSource) -> None:
        self._source = source
        sizes = np.array([source.size_hw(index) for index in range(len(source.names))], dtype=np.int64).reshape(-1, 2)
        self._sizes = sizes
        others = len(sizes) and getattr(source, "reading", AS_SHOWN) != AS_SHOWN
        first = source.sample(0).image if others else np.zeros((1, 1, 3), np.uint8)
        self._dtype, self._channels = first.dtype, first.shape[2]
        self._ends = np.cumsum(sizes[:, 0] * sizes[:, 1] * (self._image_bytes + 1))
        self._allocate()

    @property
    def _image_bytes(self) -> int:
        """Of a pixel, beside that of its label."""
        return int(self._channels * self._dtype.itemsize)

    def _allocate(self) -> None:
        total, count = int(self._ends[-1]) if len(self._ends) else 0, len(self._ends)
        self._bytes = np.frombuffer(mmap.mmap(-1, max(1, total)), dtype=np.uint8)
        self._filled = np.frombuffer(mmap.mmap(-1, max(1, count)), dtype=np.uint8)

    def sample(self, index: int) -> Sample:
        height, width = (int(v) for v in self._sizes[index])
        end, pixels = int(self._ends[index]), height * width
        start = end - (self._image_bytes + 1) * pixels
        image = self._bytes[start : end - pixels].view(self._dtype).reshape(height, width, self._channels)
        labels = self._bytes[end - pixels : end].reshape(height, width)
        if not self._filled[index]:
            read = self._source.sample(index)
            if (read.image.dtype, read.image.shape[2]) != (self._dtype, self._channels):
                raise DataError(
                    f"{read.name}: {read.image.dtype} of {read.image.shape[2]} bands found, {self._dtype} of "
                    f"{self._channels} as in the first image expected; leave data.cache off"
                )
            image[...], labels[...] = read.image, read.labels
            self._filled[index] = 1
        # Copies, so that nobody who draws on a sample changes the next epoch.
        return Sample(image.copy(), labels.copy(), self._source.names[index])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_bytes", "_filled")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._allocate()
