"""A look at some of a data set, where not all of it is read: does it look right?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from crispseg.data.records import FileSource, Record, SampleSource, pixels_by_value
from crispseg.errors import ConfigError, DataError
from crispseg.io import MAX_PIXELS
from crispseg.io.bands import AS_SHOWN, Reading, stored_bands
from crispseg.io.facts import image_facts
from crispseg.io.images import says_transparency
from crispseg.io.label_images import labels_in_alpha
from crispseg.labels import LabelSpace
from crispseg.plausibility import Oddity
from crispseg.plausibility.images import Seen, odd_images, odd_orientation
from crispseg.plausibility.label_values import LABEL_VALUES, meant_ids, odd_labels
from crispseg.wording import some

__all__ = [
    "DECODED",
    "HEADERS",
    "SAMPLED",
    "RawPixels",
    "evenly",
    "look_at_heads",
    "look_at_values",
    "odd_files",
    "odd_samples",
    "odd_values",
    "sampled_values",
    "some_masks",
    "turned_pairs",
]

RawPixels = Mapping[str, Mapping[int, int]]
"""Of each split, pixels by raw value."""

SAMPLED = 16
"""Label files of a split that are read where not all are."""

HEADERS = 200
"""Images whose heads are read where not all are."""

DECODED = 4
"""Images that are decoded only to see the range of their values."""


def odd_samples(sources: Mapping[str, SampleSource], space: LabelSpace, exif: str | None = None) -> list[Oddity]:
    """What looks odd about a few files of every split.

    Args:
        sources: by split.
        space: the table of their labels.
        exif: ``data.exif``.
    """
    of_files = {split: source for split, source in sources.items() if isinstance(source, FileSource)}
    seen, orientations = Seen(), {}
    for source in of_files.values():
        chosen = [source.records[index] for index in evenly(len(source.records), HEADERS)]
        look_at_heads(seen, [record.image for record in chosen], source.max_pixels)
        orientations.update(turned_pairs(seen, chosen, source.max_pixels))
        look_at_values(seen, [record.image for record in chosen], source.max_pixels)
    reading = next((source.reading for source in of_files.values()), AS_SHOWN)
    of_images = [*odd_images(seen, reading), *odd_orientation(orientations, exif)]
    return [*of_images, *odd_values(sampled_values(sources), space, some_masks(sources))]


def odd_files(paths: Sequence[Path], reading: Reading = AS_SHOWN, max_pixels: int = MAX_PIXELS) -> list[Oddity]:
    """What looks odd about images without labels; a few of them are looked at.

    Args:
        paths: of image files.
        reading: how they are read.
        max_pixels: see `crispseg.io.read_image`.
    """
    seen = Seen()
    chosen = [paths[index] for index in evenly(len(paths), HEADERS)]
    look_at_heads(seen, chosen, max_pixels)
    look_at_values(seen, chosen, max_pixels)
    return odd_images(seen, reading)


def look_at_heads(seen: Seen, paths: Iterable[Path], max_pixels: int) -> None:
    """Add what the heads of image files say; what is broken is left to others to say."""
    for path in paths:
        with suppress(DataError):
            seen.facts[str(path)] = image_facts(path, max_pixels)


def turned_pairs(seen: Seen, records: Iterable[Record], max_pixels: int) -> dict[str, tuple[int, int]]:
    """Orientations of image and mask, by the image's name, of those images that are turned."""
    found = {}
    for record in records:
        facts = seen.facts.get(str(record.image))
        if facts is not None and facts.orientation != 1:
            mask = 1
            with suppress(DataError):
                mask = image_facts(record.labels, max_pixels).orientation
            found[str(record.image)] = (facts.orientation, mask)
    return found


def look_at_values(seen: Seen, paths: Sequence[Path], max_pixels: int) -> None:
    """Decode a few of the images whose heads were seen, for the range of their values and their transparency."""
    known = [path for path in paths if str(path) in seen.facts]
    plain = [path for path in known if not seen.facts[str(path)].has_palette and not seen.facts[str(path)].floats]
    clear = [path for path in known if seen.facts[str(path)].alpha and seen.facts[str(path)].bands in (2, 4)]
    floats = [path for path in known if seen.facts[str(path)].floats]
    chosen = {several[index]: None for several in (plain, clear, floats) for index in evenly(len(several), DECODED)}
    for path in chosen:
        facts = seen.facts[str(path)]
        with suppress(DataError, ConfigError):  # said where they are read
            bands = stored_bands(path, facts, max_pixels)
            if facts.alpha and bands.shape[2] in (2, 4) and bands.dtype == np.uint8:
                alpha, bands = bands[..., -1], bands[..., :-1]
                if (alpha != 255).any():
                    seen.half_clear[str(path)] = facts.format != "TIFF" or says_transparency(alpha)
            if bands.size and bands.dtype.kind == "u" and path in plain:
                seen.highest[str(path)] = int(bands.max())
            if bands.size and bands.dtype.kind == "f" and (share := float(np.isnan(bands).mean())):
                seen.no_numbers[str(path)] = share


def odd_values(raw_pixels: RawPixels, space: LabelSpace, masks: Mapping[Path, int]) -> list[Oddity]:
    """What looks odd about the values of label files, with what they probably mean where the table lacks some.

    Args:
        raw_pixels: of each split.
        space: the table of the labels.
        masks: a few of the files, looked at again where all hold one value alone, and how many pixels each may hold.
    """
    total: Counter[int] = Counter()
    for pixels in raw_pixels.values():
        total.update(pixels)
    if len(total) == 1 and (in_alpha := _in_alpha(masks)):
        return [Oddity(LABEL_VALUES, f"{some(in_alpha, 3)}: {next(iter(in_alpha.values()))}", refuses=True)]
    if (cure := meant_ids(total, space)) is not None:
        return [Oddity(LABEL_VALUES, cure, refuses=True)]
    if any(space.lookup[value] < 0 for value in total):
        return []  # an error of its own
    return odd_labels(raw_pixels, space)


def _in_alpha(masks: Mapping[Path, int]) -> dict[str, str]:
    """Of those label files whose labels lie in their alpha channel what to say, by name."""
    found = {}
    for path, max_pixels in masks.items():
        with suppress(DataError):
            if (said := labels_in_alpha(path, max_pixels)) is not None:
                found[str(path)] = said
    return found


def some_masks(sources: Mapping[str, SampleSource]) -> dict[Path, int]:
    """A few label files of every split, and how many pixels each may hold."""
    return {
        source.records[index].labels: source.max_pixels
        for source in sources.values()
        if isinstance(source, FileSource)
        for index in evenly(len(source.records), SAMPLED)
    }


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
