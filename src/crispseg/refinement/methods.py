"""Refinement without training: borders move to the image's own edges.

Each method makes scores of every label from its mask and the image. The label with the highest score wins, among those
that the mask has within reach: nothing is invented, and what is far from any border stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["METHODS", "guided_filter", "mean_field"]

Floats = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Scores = Callable[[Floats, Floats, int], Floats]
"""Image (h, w, 3) in [0, 1], shares of each label (K, h, w), the reach in pixels → scores (K, h, w)."""

_TILE = 256
_MEAN_FIELD_RADIUS = 5
_MEAN_FIELD_ITERATIONS = 5


def guided_filter(image: Floats, shares: Floats, reach_px: int, epsilon: float = 1e-4) -> Floats:
    """The guided filter with a colour guide (He, Sun, Tang, 2013, eq. 14 to 16): in each window linear in the image.

    Args:
        image: (h, w, 3) RGB in [0, 1], the guide.
        shares: (K, h, w), each filtered for itself.
        reach_px: the windows' radius.
        epsilon: ε, the variance above which the image has an edge.

    Returns:
        (K, h, w)

    Example:
        >>> guide = np.zeros((5, 6, 3), dtype=np.float32)
        >>> guide[:, 3:] = 1
        >>> share = np.zeros((1, 5, 6), dtype=np.float32)
        >>> share[:, :, 2:] = 1
        >>> (guided_filter(guide, share, reach_px=3)[0, 2] > 0.5).tolist()  # at the guide's edge, not the mask's
        [False, False, False, True, True, True]
    """
    window = (2 * reach_px + 1, 2 * reach_px + 1)

    def mean(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = cv2.boxFilter(
            np.asarray(values, dtype=np.float64), -1, window, borderType=cv2.BORDER_REFLECT
        )
        return found

    guide = image.astype(np.float64)
    mean_guide = mean(guide)  # (h, w, 3)
    covariance = np.empty((*guide.shape[:2], 3, 3))
    for row in range(3):
        for column in range(row, 3):
            products = mean(guide[..., row] * guide[..., column])
            covariance[..., row, column] = products - mean_guide[..., row] * mean_guide[..., column]
            covariance[..., column, row] = covariance[..., row, column]
    inverse = np.linalg.inv(covariance + epsilon * np.eye(3))
    filtered = np.empty_like(shares)
    for index, share in enumerate(shares):
        mean_share = mean(share)
        shared = mean(guide * share[..., None]) - mean_guide * mean_share[..., None]
        slope = np.einsum("hwij,hwj->hwi", inverse, shared)
        offset = mean_share - (slope * mean_guide).sum(axis=-1)
        filtered[index] = (mean(slope) * guide).sum(axis=-1) + mean(offset)
    return filtered


def mean_field(
    image: Floats,
    shares: Floats,
    reach_px: int,
    *,
    certainty: float = 2.0,
    position_px: float = 4.0,
    colour: float = 0.04,
    appearance_weight: float = 30.0,
    smoothness_weight: float = 1.0,
) -> Floats:
    """Mean field steps of a random field over image and mask, as DenseCRF's (Krähenbühl and Koltun, 2011, eq. 3).

    Its pairwise terms reach 5 pixels, not the whole image, as in ConvCRF (Teichmann and Cipolla, 2018). Only pixels
    that have several labels within reach are looked at. The weights were chosen on CamVid's training images
    (docs/results/refine.md).

    Args:
        image: (h, w, 3) RGB in [0, 1].
        shares: (K, h, w) of each label.
        reach_px: see `METHODS`.
        certainty: how much more probable the mask's label is than any other one, as a logarithm.
        position_px: θ_α, of both kernels' distance.
        colour: θ_β, of the difference of colours.
        appearance_weight: w⁽¹⁾, of neighbours of a like colour, as the mean over the window.
        smoothness_weight: w⁽²⁾, of neighbours whatever their colour.

    Returns:
        (K, h, w): the field's marginals.
    """
    count, height, width = shares.shape
    floor = np.float32(math.exp(-certainty))
    unary = np.log(floor + (1 - floor) * shares.reshape(count, -1).T)  # (h·w, K), 0 where the mask says so outright
    marginals = _softmax(unary)
    rows, columns = np.nonzero((within_reach(shares, reach_px)).sum(axis=0) > 1)
    here = rows * width + columns
    colours = image.reshape(-1, 3)
    neighbours: list[tuple[npt.NDArray[np.intp], Floats]] = []
    total = np.zeros(len(here), dtype=np.float32)
    for down, right in _window(_MEAN_FIELD_RADIUS):
        there = (rows + down).clip(0, height - 1) * width + (columns + right).clip(0, width - 1)
        near = math.exp(-(down**2 + right**2) / (2 * position_px**2))
        unlike = ((colours[here] - colours[there]) ** 2).sum(axis=1)
        weight = near * (appearance_weight * np.exp(unlike / (-2 * colour**2)) + smoothness_weight)
        total += np.float32(near)
        neighbours.append((there, weight.astype(np.float32)))
    for _ in range(_MEAN_FIELD_ITERATIONS):
        message = np.zeros((len(here), count), dtype=np.float32)
        for there, weight in neighbours:
            message += weight[:, None] * marginals[there]
        marginals[here] = _softmax(unary[here] + message / total[:, None])
    return marginals.T.reshape(shares.shape)


def within_reach(shares: Floats, reach_px: int) -> npt.NDArray[np.bool_]:
    """Which labels lie within the square of 2·reach + 1 around each pixel, (K, h, w)."""
    square = np.ones((2 * reach_px + 1, 2 * reach_px + 1), dtype=np.uint8)
    present = (shares == shares.max(axis=0)).astype(np.uint8)
    return np.stack([cv2.dilate(plane, square) for plane in present]).astype(bool)


def _refine(scores: Scores, margin_px: Callable[[int], int]) -> Callable[[UInt8, npt.NDArray[Any], int], Any]:
    """A method over whole masks, tile by tile: a tile knows few labels, however many an image has."""

    def refine(image: UInt8, mask: npt.NDArray[Any], reach_px: int) -> npt.NDArray[Any]:
        refined = mask.copy()
        for inner, outer, own in _tiles(image.shape[0], image.shape[1], margin_px(reach_px)):
            part = mask[..., *outer]
            guide = image[outer].astype(np.float32) / np.float32(255)
            if mask.ndim == 3:
                made = scores(guide, part.astype(np.float32), reach_px).clip(0)
                made = np.where(within_reach(part, reach_px), made, 0)
                total = made.sum(axis=0)
                made = np.where(total > 0, made / np.maximum(total, np.float32(1e-12)), part)
                refined[:, *inner] = made[:, *own]
                continue
            values = np.unique(part)
            if len(values) == 1:
                continue
            shares = (part == values[:, None, None]).astype(np.float32)
            made = np.where(within_reach(shares, reach_px), scores(guide, shares, reach_px), -np.inf)
            refined[inner] = values[made.argmax(axis=0)][own]
        return refined

    return refine


def _tiles(height: int, width: int, margin: int) -> Iterator[tuple[Any, Any, Any]]:
    """Of a map: the part that is written, with a margin what is read, and the former within the latter."""
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            bottom, right = min(top + _TILE, height), min(left + _TILE, width)
            above, before = max(top - margin, 0), max(left - margin, 0)
            yield (
                (slice(top, bottom), slice(left, right)),
                (slice(above, bottom + margin), slice(before, right + margin)),
                (slice(top - above, bottom - above), slice(left - before, right - before)),
            )


def _softmax(logits: Floats) -> Floats:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)


def _window(radius: int) -> list[tuple[int, int]]:
    reach = range(-radius, radius + 1)
    return [(down, right) for down in reach for right in reach if (down, right) != (0, 0)]


METHODS: dict[str, Callable[[UInt8, npt.NDArray[Any], int], Any]] = {
    "guided_filter": _refine(guided_filter, lambda reach_px: 2 * reach_px),
    "mean_field": _refine(mean_field, lambda reach_px: reach_px + _MEAN_FIELD_RADIUS * _MEAN_FIELD_ITERATIONS),
}
"""Image (H, W, 3) uint8, mask (H, W) of integers or (K, H, W) of probabilities, and the reach in pixels → the mask."""
