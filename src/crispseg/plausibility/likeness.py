"""Do images of two splits look alike? By small grey versions, which copies and neighbouring frames have in common."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.plausibility.oddity import Oddity

__all__ = ["LIKENESS", "Small", "alike", "odd_likeness", "small_version"]

LIKENESS = "images of two splits that look alike"

Small = npt.NDArray[np.uint8]

_SIDE = 32  # px of the small version
_ALIKE = 0.95  # correlation of 16×16 px, which scenes of one kind come near
_ALIKE_IN_DETAIL = 0.75  # of 32×32 px without coarse forms: 0.4 at most between CamVid's splits, 0.9 in 1/15 s
_MOST = 5000  # of a split, which are compared


def small_version(picture: npt.NDArray[np.uint8]) -> Small:
    """An image as 32×32 px of grey.

    Args:
        picture: (H, W, 3) uint8 RGB.
    """
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    grey: Small = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return grey


def alike(first: Sequence[Small], second: Sequence[Small]) -> list[tuple[int, int]]:
    """For each image of the second split that looks like one of the first: both indices, the most alike.

    Args:
        first: small versions.
        second: small versions.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> images = [rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(3)]
        >>> small = [small_version(image) for image in images]
        >>> alike(small[:2], [small[2], small_version(cv2.convertScaleAbs(images[1], alpha=0.9))])
        [(1, 1)]
    """
    if not len(first) or not len(second):
        return []
    coarse, fine = (_normalised(first, coarse=True), _normalised(first, coarse=False))
    found = []
    for index, one in enumerate(second):
        likeness = coarse @ _normalised([one], coarse=True)[0]
        candidates = np.flatnonzero(likeness >= _ALIKE)
        if not len(candidates):
            continue
        detail = fine[candidates] @ _normalised([one], coarse=False)[0]
        if detail.max() >= _ALIKE_IN_DETAIL:
            found.append((int(candidates[detail.argmax()]), index))
    return found


def odd_likeness(
    first: tuple[str, Sequence[str], Sequence[Small]], second: tuple[str, Sequence[str], Sequence[Small]]
) -> list[Oddity]:
    """What two splits have in common that are not the very same images.

    Args:
        first: name of the split, and names and small versions of its images.
        second: the same of the split that is scored.
    """
    split, names, small = second
    other, other_names, other_small = first
    pairs = alike(other_small[:_MOST], small[:_MOST])
    if not pairs:
        return []
    examples = "; ".join(f"{names[mine]} and {other_names[theirs]}" for theirs, mine in pairs[:3])
    detail = (
        f"{len(pairs)} of {len(names)} images of {split} look like images of {other}, as copies or neighbouring frames "
        f"do: {examples}; scores on them say little of new images: keep what was taken together in one split "
        "(data.group_by draws splits so)"
    )
    return [Oddity(LIKENESS, detail)]


def _normalised(several: Sequence[Small], *, coarse: bool) -> npt.NDArray[np.float32]:
    """(N, D) of mean 0 and length 1, so that products are correlations; 0 where an image is flat."""
    rows = []
    for small in several:
        values = small.astype(np.float32)
        if coarse:
            values = cv2.resize(values, (_SIDE // 2, _SIDE // 2), interpolation=cv2.INTER_AREA)
        else:
            values -= cv2.GaussianBlur(values, (0, 0), 2.0)
        values -= values.mean()
        length = float(np.linalg.norm(values))
        rows.append(values.ravel() / length if length > _FLAT else np.zeros(values.size, np.float32))
    return np.stack(rows)


_FLAT = 8.0  # of 255, over all pixels: what rounding leaves of an even surface
