"""Toy streets as a source of samples."""

from __future__ import annotations

from collections.abc import Sequence

from crispseg.data.records import Sample
from crispseg.streets import make_street

__all__ = ["ToyStreets"]


class ToyStreets:
    """Streets that are painted when they are asked for: sample i depends on the seed and i only.

    Args:
        count: how many.
        size_hw: height and width of every picture.
        seed: numbers that set this collection apart from others.
        prefix: of the names.
    """

    def __init__(self, count: int, size_hw: tuple[int, int], seed: Sequence[int], prefix: str = "toy") -> None:
        self._size_hw = (int(size_hw[0]), int(size_hw[1]))
        self._seed = tuple(seed)
        self.names = [f"{prefix}_{index:05d}" for index in range(count)]

    def size_hw(self, index: int) -> tuple[int, int]:
        """The same for all."""
        return self._size_hw

    def sample(self, index: int) -> Sample:
        """Paint one street."""
        image, labels = make_street((*self._seed, index), self._size_hw)
        return Sample(image, labels, self.names[index])
