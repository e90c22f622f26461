"""Changes of a mask by which it would fall into more parts."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["parting_changes"]

Bools = npt.NDArray[np.bool_]

_AROUND = np.ones((3, 3), dtype=np.uint8)


def parting_changes(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Bools:
    """Say which changed pixels must stay as they were, so that a mask does not fall into more parts.

    A part is what hangs together in the eight neighbours and has one label. Where the pixels that a part has kept are
    in several pieces of the new mask, all but the largest are cut off, and the patches of changed pixels that touch
    them stay: the way that joined them in the old mask leads through these. A piece that has grown where its label was
    not, and hangs together with no part, stays away as well. So every part is one piece again, or has vanished.

    Args:
        before: (H, W) of any integers.
        after: (H, W), the new mask.

    Returns:
        (H, W): with these pixels as before, no label has more parts than before.

    Example:
        >>> before = np.array([[7, 7, 7, 7, 7, 1, 1]])
        >>> parting_changes(before, np.array([[7, 7, 1, 7, 1, 1, 7]]))[0].tolist()
        [False, False, True, False, True, False, True]
    """
    changed = before != after
    stay = np.zeros(before.shape, dtype=bool)
    looked_at = {}
    for label in np.unique((before[changed], after[changed])):
        looked_at[label] = before == label, _numbered(before == label)[0]
    while True:
        now = np.where(stay, before, after)
        found = [_too_much(own, parts, now == label, changed & ~stay) for label, (own, parts) in looked_at.items()]
        too_much = [pixels for pixels in found if pixels is not None]
        if not too_much:
            return stay
        for pixels in too_much:  # another label may have gained these pixels, so all are looked at again
            stay |= pixels


def _too_much(own: Bools, parts: npt.NDArray[np.int32], now: Bools, changed: Bools) -> Bools | None:
    """Of one label, whose old parts are numbered: the changed pixels that must stay; None: there are none."""
    pieces, piece_count = _numbered(now)
    left = own & now
    pairs, pixels = np.unique(parts[left].astype(np.int64) * piece_count + pieces[left], return_counts=True)
    part, piece = np.divmod(pairs, piece_count)
    largest_first = np.lexsort((-pixels, part))
    is_more = np.diff(part[largest_first], prepend=-1) == 0  # the largest piece of a part is none too much
    cut_off = np.isin(np.arange(piece_count), piece[largest_first][is_more])
    grown = np.isin(np.arange(piece_count), piece, invert=True)
    grown[0] = False
    if not (cut_off.any() or grown.any()):
        return None
    patches, patch_count = _numbered(own & changed)
    touched = np.zeros(patch_count, dtype=bool)
    touched[patches[cv2.dilate(cut_off[pieces].view(np.uint8), _AROUND) > 0]] = True
    touched[0] = False
    return np.asarray(touched[patches] | grown[pieces])


def _numbered(region: Bools) -> tuple[npt.NDArray[np.int32], int]:
    """(H, W): 0 outside of the region, and a number of each connected part; and how many numbers there are."""
    count, numbers = cv2.connectedComponents(region.view(np.uint8), connectivity=8)
    return numbers, count
