"""Which samples make up which batch: a function of seed, epoch and position, so that a run can go on anywhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from crispseg.config import Recipe
from crispseg.data import Item, SegmentationDataset
from crispseg.errors import ConfigError, DataError

__all__ = ["Batch", "EpochBatches", "collate", "train_loader", "validation_loader"]

Batch = dict[str, torch.Tensor | list[str]]
"""``image`` (N, 3, H, W), ``labels`` (N, H, W), ``name`` N strings."""


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches whose order depends on seed and epoch alone, and which can start in the middle of an epoch.

    The last, smaller batch is left out: one with a single image would break batch norm on pooled 1×1 maps. With several
    processes a batch of all is cut into one part per process.

    Args:
        count: of the data set's samples.
        batch_size: per process.
        seed: of the order.
        rank: of this process.
        world_size: number of processes.

    Raises:
        ConfigError: if there are too few samples for one batch.

    Example:
        >>> batches = EpochBatches(count=6, batch_size=2, seed=0)
        >>> whole = list(batches)
        >>> batches.start_at(epoch=0, batch=1)
        >>> list(batches) == whole[1:], len(batches)
        (True, 3)
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if count < batch_size * world_size:
            processes = f" on each of {world_size} processes" if world_size > 1 else ""
            raise ConfigError(
                f"train.batch_size is {batch_size}{processes}, but the training set has only {count} images; "
                f"lower it to {count // world_size} or less"
            )
        self.count, self.batch_size, self.seed, self.rank, self.world_size = count, batch_size, seed, rank, world_size
        self.epoch = 0
        self._skipped = 0

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Choose what the next iteration yields: the batches of `epoch` from the position `batch` on."""
        self.epoch, self._skipped = epoch, batch

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        size = self.batch_size
        for batch in range(self._skipped, len(self)):
            first = (batch * self.world_size + self.rank) * size
            yield order[first : first + size].tolist()

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever it starts."""
        return self.count // (self.batch_size * self.world_size)


def train_loader(dataset: SegmentationDataset, recipe: Recipe, rank: int = 0, world_size: int = 1) -> DataLoader[Item]:
    """Augmented batches in the order of an `EpochBatches`, which is the loader's ``batch_sampler``."""
    batches = EpochBatches(len(dataset), recipe.train.batch_size, recipe.train.seed, rank, world_size)
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


def _loader(dataset: SegmentationDataset, batches: EpochBatches | list[list[int]], recipe: Recipe) -> DataLoader[Item]:
    workers = min(recipe.data.workers, len(batches))
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_the_main_process,
        generator=torch.Generator(),  # so that making an iterator draws nothing from the global generator
    )


def _leave_signals_to_the_main_process(worker: int) -> None:
    """Terminals and job schedulers signal every process; workers must live on until the main one has saved.

    They end when it tells them to, or when it is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
