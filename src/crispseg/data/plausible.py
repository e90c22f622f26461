"""A look at some of a data set, where not all of it is read: does it look right?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from crispseg.data.records import FileSource, SampleSource, pixels_by_value
from crispseg.errors import DataError
from crispseg.labels import LabelSpace
from crispseg.plausibility import Oddity
from crispseg.plausibility.label_values import LABEL_VALUES, meant_ids, odd_labels

__all__ = ["SAMPLED", "RawPixels", "evenly", "odd_samples", "odd_values", "sampled_values"]

RawPixels = Mapping[str, Mapping[int, int]]
"""Of each split, pixels by raw value."""

SAMPLED = 16
"""Files of a split that are looked at where not all are."""


def odd_samples(sources: Mapping[str, SampleSource], space: LabelSpace) -> list[Oddity]:
    """What looks odd about a few files of every split.

    Args:
        sources: by split.
        space: the table of their labels.
    """
    return odd_values(sampled_values(sources), space)


def odd_values(raw_pixels: RawPixels, space: LabelSpace) -> list[Oddity]:
    """What looks odd about the values of label files, with what they probably mean where the table lacks some."""
    total: Counter[int] = Counter()
    for pixels in raw_pixels.values():
        total.update(pixels)
    if (cure := meant_ids(total, space)) is not None:
        return [Oddity(LABEL_VALUES, cure, refuses=True)]
    if any(space.lookup[value] < 0 for value in total):
        return []  # an error of its own
    return odd_labels(raw_pixels, space)


def sampled_values(sources: Mapping[str, SampleSource]) -> dict[str, dict[int, int]]:
    """The values of a few label files of every split; what is broken is left to others to say."""
    found: dict[str, dict[int, int]] = {}
    for split, source in sources.items():
        total: Counter[int] = Counter()
        if isinstance(source, FileSource):
            for index in evenly(len(source.records), SAMPLED):
                with suppress(DataError):
                    total.update(pixels_by_value(source.raw_labels(index)))
        found[split] = dict(total)
    return found


def evenly(count: int, most: int) -> list[int]:
    """At most so many indices, evenly spaced.

    Example:
        >>> evenly(3, 16), evenly(9, 3)
        ([0, 1, 2], [0, 4, 8])
    """
    if count <= most:
        return list(range(count))
    return sorted({round(step * (count - 1) / max(most - 1, 1)) for step in range(most)})
