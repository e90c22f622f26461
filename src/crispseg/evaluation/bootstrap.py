"""The draws of a paired bootstrap: how often each image counts in each resample.

Images are drawn one by one (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), or in whole
groups of those that resemble each other: the cluster bootstrap (Davison and Hinkley, Bootstrap Methods and their
Application, 1997, section 3.8). A resample is a vector of weights, so that all sums are products of matrices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError
from crispseg.metrics.counts import Shares

__all__ = ["BLOCK", "group_numbers", "group_weights", "image_weights"]

BLOCK = 64
"""Images whose weights are in memory at once."""


def image_weights(images: int, resamples: int, seed: int) -> Iterator[Shares]:
    """How often each image is drawn, (1 + resamples, images of a block) for one block after the other.

    The first row is the set itself. How many draws fall into a block is drawn first, then which images they are: the
    same as drawing from all images at once, without their weights in memory at once.
    """
    rng = np.random.default_rng(seed)
    sizes = np.diff([*range(0, images, BLOCK), images])
    draws = rng.multinomial(images, sizes / images, size=resamples)
    for size, of_block in zip(sizes, draws.T, strict=True):
        drawn = rng.multinomial(of_block, np.full(size, 1 / size))
        yield np.vstack((np.ones(size), drawn))


def group_weights(groups: npt.NDArray[np.int64], resamples: int, seed: int) -> Iterator[Shares]:
    """`image_weights` where whole groups are drawn, as many as there are; a resample's number of images then varies.

    Args:
        groups: (images,) the group of each, from 0; see `group_numbers`.
        resamples: how many draws.
        seed: of the draws.
    """
    count = int(groups.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    for start in range(0, len(groups), BLOCK):
        block = groups[start : start + BLOCK]
        yield np.vstack((np.ones(len(block)), drawn[:, block]))


def group_numbers(names: Sequence[str], group_by: int | str) -> npt.NDArray[np.int64]:
    """Which group, from 0, each of the sorted names belongs to.

    Args:
        names: of images, sorted.
        group_by: a number of images that follow each other, or a regular expression that finds the same in the names
            of a group.

    Raises:
        ConfigError: if a name belongs to no group, or all to one.
    """
    if isinstance(group_by, int):
        if group_by < 1:
            raise ConfigError(
                f"group_by is {group_by}; blocks of one image at least, or a regular expression, expected"
            )
        found = [str(index // group_by) for index in range(len(names))]
    else:
        found = [_matched(name, group_by) for name in names]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(found))}
    if len(numbers) < 2:
        raise ConfigError(
            f"group_by {group_by!r} puts all {len(names)} images into one group ({found[0]!r}); an interval needs two "
            "at least, better ten"
        )
    return np.array([numbers[group] for group in found])


def _matched(name: str, pattern: str) -> str:
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise ConfigError(f"group_by {pattern!r} is no regular expression: {error}") from error
    if match is None:
        raise ConfigError(f"group_by {pattern!r} finds nothing in the name {name!r}; every image needs a group")
    return match[0]
