"""Which samples make up which batch: a function of seed, epoch and position, so that a run can go on anywhere."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.util import Finalize
from types import FrameType
from typing import TypedDict

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from crispseg.config import Recipe, TrainConfig
from crispseg.data import Item, SegmentationDataset
from crispseg.data.class_uniform import ClassDraw, ClassIndex, class_index
from crispseg.data.workers import end_with_parent
from crispseg.errors import ConfigError, DataError

__all__ = ["Batch", "EpochBatches", "collate", "train_loader", "validation_loader", "without_worker_traceback"]

_LOGGER = logging.getLogger("crispseg.train")


class Batch(TypedDict):
    """Items of one size, stacked.

    Keys:
        image: (N, 3, H, W) float32 RGB in [0, 1].
        labels: (N, H, W) int64 train ids, 255 = ignore.
        name: of each sample, N strings.
    """

    image: torch.Tensor
    labels: torch.Tensor
    name: list[str]


class EpochBatches(Sampler[list[int | ClassDraw]]):
    """Shuffled batches whose order depends on seed and epoch alone, and which can start in the middle of an epoch.

    An optimiser step's images are cut into one part per accumulated batch and process: whatever their number, a step
    is made of the same images. Those that are too few for a last step are left out of the epoch.

    Args:
        count: of the data set's samples.
        batch_size: of each part.
        seed: of the order.
        rank: of this process.
        world_size: number of processes.
        accumulate: batches per process that make an optimiser step.
        classes: with it a share of every epoch is drawn class by class, as crops around the class.
        class_share: that share, in [0, 1].

    Raises:
        ConfigError: if there are too few samples for one step.

    Example:
        >>> batches = EpochBatches(count=6, batch_size=2, seed=0)
        >>> whole = list(batches)
        >>> batches.start_at(epoch=0, batch=1)
        >>> list(batches) == whole[1:], len(batches)
        (True, 3)
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        accumulate: int = 1,
        classes: ClassIndex | None = None,
        class_share: float = 0.0,
    ) -> None:
        parts = world_size * accumulate
        if count < batch_size * parts:
            fitting = count // parts * parts
            advice = f"lower it to {fitting} or less" if fitting else f"{_parts(world_size, accumulate)} need {parts}"
            raise ConfigError(
                f"train.batch_size is {batch_size * parts}, but the training set has only {count} images; {advice}"
            )
        self.count, self.batch_size, self.seed, self.rank, self.world_size = count, batch_size, seed, rank, world_size
        self.accumulate, self.classes, self.class_share = accumulate, classes, class_share
        self.epoch = 0
        self._skipped = 0

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Choose what the next iteration yields: the batches of `epoch` from the position `batch` on."""
        self.epoch, self._skipped = epoch, batch

    def __iter__(self) -> Iterator[list[int | ClassDraw]]:
        order = self._order()
        size = self.batch_size
        for batch in range(self._skipped, len(self)):
            first = (batch * self.world_size + self.rank) * size
            yield order[first : first + size]

    def __len__(self) -> int:
        """Batches of a whole epoch and process, wherever it starts."""
        return self.count // (self.batch_size * self.world_size * self.accumulate) * self.accumulate

    def _order(self) -> list[int | ClassDraw]:
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.classes is not None:
            return self.classes.draw(self.count, self.class_share, rng)
        indices: list[int | ClassDraw] = rng.permutation(self.count).tolist()
        return indices


def train_loader(
    dataset: SegmentationDataset,
    recipe: Recipe,
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> DataLoader[Item]:
    """Augmented batches in the order of an `EpochBatches`, which is the loader's ``batch_sampler``.

    ``train.batch_size`` counts the images of one optimiser step; a batch of the loader is one process's and one
    accumulated batch's part of them.

    Args:
        dataset: of the training images, augmented.
        recipe: its sections ``train`` and ``data``.
        rank: of this process.
        world_size: number of processes.
        progress: called with (images done, images in all) while the index for class-uniform sampling is built.

    Raises:
        ConfigError: if the batch size does not divide evenly, or is larger than the data set.
        DataError: if classes are to be looked up in label files that are broken.
    """
    values, data = recipe.train, recipe.data
    size = _part_of_batch(values, world_size)
    classes = None
    if data.class_uniform > 0:
        classes = class_index(
            dataset.source, dataset.source_space, data.class_uniform_tile, folder=data.index_cache, progress=progress
        )
        if rank == 0:
            _name_absent_classes(dataset.source_space.class_names, classes)
    batches = EpochBatches(
        len(dataset),
        size,
        values.seed,
        rank,
        world_size,
        accumulate=values.accumulate,
        classes=classes,
        class_share=data.class_uniform,
    )
    return _loader(dataset, batches, recipe)


def validation_loader(
    dataset: SegmentationDataset, recipe: Recipe, rank: int = 0, world_size: int = 1
) -> DataLoader[Item]:
    """Whole images in their order, each on exactly one process: nothing is repeated or dropped to come out even."""
    indices = list(range(rank, len(dataset), world_size))
    size = recipe.evaluate.batch_size
    return _loader(dataset, [indices[first : first + size] for first in range(0, len(indices), size)], recipe)


def collate(items: Sequence[Item]) -> Batch:
    """Stack items into a batch.

    Raises:
        DataError: if their sizes differ.
    """
    sizes = {item["name"]: tuple(item["image"].shape[-2:]) for item in items}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {height}×{width}" for name, (height, width) in sizes.items())
        raise DataError(f"images of different sizes (H×W) in one batch: {listed}; set evaluate.batch_size to 1")
    return {
        "image": torch.stack([item["image"] for item in items]),
        "labels": torch.stack([item["labels"] for item in items]),
        "name": [item["name"] for item in items],
    }


def _part_of_batch(values: TrainConfig, world_size: int) -> int:
    """Images per process and accumulated batch."""
    parts = world_size * values.accumulate
    size, rest = divmod(values.images_per_step, parts)
    if size and not rest:
        return size
    nearest = max(1, size + (2 * rest >= parts)) * parts
    raise ConfigError(
        f"train.batch_size is {values.batch_size}, the images of one optimiser step, which does not divide evenly into "
        f"{parts} parts for {_parts(world_size, values.accumulate)}; {nearest} is the nearest that does"
    )


def _parts(world_size: int, accumulate: int) -> str:
    processes = f"{world_size} process{'es' if world_size > 1 else ''}"
    return f"{processes} × train.accumulate {accumulate}"


def _name_absent_classes(names: Sequence[str], classes: ClassIndex) -> None:
    occurring = set(classes.occurring)
    absent = [name for class_id, name in enumerate(names) if class_id not in occurring]
    if absent and occurring:
        _LOGGER.warning("class-uniform sampling leaves out what the training set does not show: %s", ", ".join(absent))


def _loader(dataset: SegmentationDataset, batches: EpochBatches | list[list[int]], recipe: Recipe) -> DataLoader[Item]:
    workers = min(recipe.data.workers, len(batches))
    is_over = torch.zeros(1, dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call] # as torch has it
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=partial(_belong_to_the_main_process, is_over),
        generator=torch.Generator(),  # so that making an iterator draws nothing from the global generator
    )
    Finalize(loader, is_over.fill_, (True,), exitpriority=0)  # or, at the exit, before the workers are told to end
    return loader


def _belong_to_the_main_process(is_over: torch.Tensor, worker: int) -> None:
    """Terminals and job schedulers signal every process; workers must live on until the main one has saved.

    They end when it tells them to, or with it. At its exit Python tells them by SIGTERM, and waits.

    Args:
        is_over: in shared memory, whether the main process needs its workers no more.
        worker: number of this one.
    """

    def end(number: int, frame: FrameType | None) -> None:
        if is_over:
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    end_with_parent()
    end(signal.SIGTERM, None)  # it may have been sent before this


@contextlib.contextmanager
def without_worker_traceback() -> Iterator[None]:
    """A loader's worker wraps what went wrong into its traceback; only our message is for the user."""
    try:
        yield
    except DataError as error:
        text = str(error)
        if not text.startswith("Caught "):
            raise
        raise DataError(text.rpartition(f"{type(error).__name__}: ")[2].strip()) from error
