"""The looks at an image, at several scales, mirrored and through windows, as many in a batch as pay, and their mean."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from crispseg.ops.arrays import zeros_like
from crispseg.ops.windows import place_windows, stitch_rows

__all__ = ["BATCH_PIXELS", "CPU_BATCH_PIXELS", "Looks", "Read"]

BATCH_PIXELS = 2**20
"""Most pixels of a batch: with 19 classes their probabilities take 80 MB, a few times over."""

CPU_BATCH_PIXELS = 2**18
"""The same on a processor: more only fall out of its cache (measured, docs/results/inference.md)."""

Read: TypeAlias = Callable[[int, int, int, int], Any]
"""From top, left, height and width to that part of the images, (N, 3, height, width)."""

_PIXELS_AT_ONCE = 2**16


class Looks(NamedTuple):
    """How images of one size are looked at; maps are what a backend has: arrays or tensors, classes first.

    Attributes:
        backend: `crispseg.inference.network.NetworkBackend`, or alike.
        scales: see `crispseg.Predictor`, as the others.
        flip: whether mirrored, too.
        window_hw: of windows.
        overlap: of windows.
    """

    backend: Any
    scales: tuple[float, ...]
    flip: bool
    window_hw: tuple[int, int] | None
    overlap: float

    def rows(
        self, read: Read, size_hw: tuple[int, int], first_row: int = 0, *, whole: bool = False
    ) -> Iterator[tuple[int, Sequence[Any]]]:
        """Mean class (N, K, h, W) and, if the model has any, boundary (N, 1, h, W) probabilities of rows, in order.

        Args:
            read: the images, part by part.
            size_hw: of the images.
            first_row: that is of interest.
            whole: whether all rows of images that are looked at once may come together.

        Yields:
            (top, maps); the next step may overwrite them.
        """
        if self.scales != (1.0,) or (self.flip and not self._is_slid_over(size_hw)):
            yield 0, self.probabilities(read(0, 0, *size_hw))
            return
        if not self._is_slid_over(size_hw):
            yield from self._rows_of(self.backend.run(read(0, 0, *size_hw)), whole)
            return
        rows_of_sides = [self._window_rows(read, size_hw, mirrored, first_row) for mirrored in self._sides]
        for looks in zip(*rows_of_sides, strict=True):
            yield looks[0][0], _mean(maps for _, maps in looks)

    def _rows_of(self, maps: Sequence[Any], whole: bool) -> Iterator[tuple[int, Sequence[Any]]]:
        """The same of a whole look, a few rows at a time: faster within the cache, and no second K floats a pixel."""
        batch, _, height, width = maps[0].shape
        step = height if whole else max(_PIXELS_AT_ONCE // (batch * width), 1)
        for top in range(0, height, step):
            yield top, self.backend.probabilities([values[..., top : top + step, :] for values in maps])

    def probabilities(self, images: Any) -> Sequence[Any]:
        """The same of whole images (N, 3, H, W)."""
        size_hw = (images.shape[-2], images.shape[-1])

        def looks() -> Iterator[Sequence[Any]]:
            for scale in self.scales:
                scaled = self.backend.resize(images, tuple(max(round(size * scale), 1) for size in size_hw))
                for one in self._of_sides(scaled):
                    yield [self.backend.resize(maps, size_hw) for maps in one]

        return _mean(looks())

    @property
    def _sides(self) -> tuple[bool, ...]:
        """Whether mirrored, of each look at one scale."""
        return (False, True) if self.flip else (False,)

    def _of_sides(self, images: Any) -> Iterator[Sequence[Any]]:
        """The same of each look at one scale, through windows where the images are larger than one."""
        size_hw = (images.shape[-2], images.shape[-1])
        if not self._is_slid_over(size_hw):
            yield from self._seen((images, mirrored) for mirrored in self._sides)
            return

        def read(top: int, left: int, height: int, width: int) -> Any:
            return images[..., top : top + height, left : left + width]

        for mirrored in self._sides:
            whole: list[Any] = []
            for top, maps in self._window_rows(read, size_hw, mirrored):
                whole = whole or [zeros_like(values, (*values.shape[:2], *size_hw)) for values in maps]
                for into, values in zip(whole, maps, strict=True):
                    into[..., top : top + values.shape[-2], :] = values
            yield whole

    def _is_slid_over(self, size_hw: tuple[int, int]) -> bool:
        """Whether an image is looked at through windows."""
        return self.window_hw is not None and any(
            size > window for size, window in zip(size_hw, self.window_hw, strict=True)
        )

    def _window_rows(
        self, read: Read, size_hw: tuple[int, int], mirrored: bool, first_row: int = 0
    ) -> Iterator[tuple[int, Sequence[Any]]]:
        """Rows of one look through windows, which lie where those of the mirrored image do if it is that."""
        assert self.window_hw is not None
        height, width = (min(size, window) for size, window in zip(size_hw, self.window_hw, strict=True))
        widths: list[int] = []
        places = [
            place for place in place_windows(size_hw, (height, width), self.overlap) if place[0] + height > first_row
        ]

        def windows() -> Iterator[tuple[tuple[int, int], Any]]:
            # No batch has windows of two rows, so that from whatever row on, each is in the same batch.
            for top, row in itertools.groupby(places, key=lambda place: place[0]):
                lefts = [size_hw[1] - left - width if mirrored else left for _, left in row]
                seen = self._seen((read(top, left, height, width), mirrored) for left in lefts)
                for left, maps in zip(lefts, seen, strict=True):
                    widths[:] = [values.shape[1] for values in maps]
                    yield (top, left), self.backend.join(maps)

        for top, rows in stitch_rows(windows(), size_hw, places[0][0]):
            ends = np.cumsum(widths).tolist()
            yield top, [rows[:, end - count : end] for end, count in zip(ends, widths, strict=True)]

    def _seen(self, views: Iterable[tuple[Any, bool]]) -> Iterator[Sequence[Any]]:
        """What the model says of images of one shape, each mirrored first or not, in order."""
        backend = self.backend
        waiting = iter(views)
        for first in waiting:
            count, _, height, width = first[0].shape
            fit = max(backend.batch_pixels // (count * height * width), 1)
            together = [first, *itertools.islice(waiting, fit - 1)]
            batch = [backend.mirror(images) if mirrored else images for images, mirrored in together]
            maps = backend.probabilities(backend.run(batch[0] if len(batch) == 1 else backend.batch(batch)))
            for index, (_, mirrored) in enumerate(together):
                part = [values[index * count : (index + 1) * count] for values in maps]
                yield [backend.mirror(values) for values in part] if mirrored else part


def _mean(looks: Iterable[Sequence[Any]]) -> Sequence[Any]:
    """Of the maps of several looks, one for one; a single look's as they are."""
    total: Sequence[Any] = []
    count = 0
    for maps in looks:
        total = [before + values for before, values in zip(total, maps, strict=True)] if total else maps
        count += 1
    return total if count == 1 else [values / count for values in total]
