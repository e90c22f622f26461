"""Pictures of label maps: over the image, their boundaries and outlines, where they are wrong, and how two differ."""

from __future__ import annotations

import cv2
import numpy as np

from crispseg.labels import IGNORE_INDEX
from crispseg.ops.arrays import ArrayLike, to_array
from crispseg.pictures.arrays import in_colours, unit_map
from crispseg.pictures.colour import Picture, blend, colourise

__all__ = [
    "CHANGES",
    "EDGE",
    "ERRORS",
    "GAINS",
    "boundary_picture",
    "change_map",
    "error_map",
    "gain_map",
    "outline_picture",
    "overlay",
]

RIGHT = (38, 92, 72)
WRONG = (244, 84, 62)
VOID = (0, 0, 0)
EDGE = (0, 90, 140)

ERRORS = {"right": RIGHT, "wrong": WRONG, "not judged": VOID}
"""What the colours of `error_map` mean."""

# Blue and vermilion, which people tell apart whatever their eyes (Okabe and Ito, Color universal design, 2008).
GAINS = {"won": (0, 114, 178), "lost": (213, 94, 0), "both wrong": (150, 150, 150), "both right": (232, 232, 232)}
"""What the colours of `gain_map` mean; where nothing is judged it is white."""

CHANGES = {"becomes wrong": (213, 94, 0), "becomes right": (0, 114, 178), "changes": (178, 34, 134)}
"""What the colours of `change_map` mean; without truth, all that changes has the last one."""


def overlay(
    image: ArrayLike, labels: ArrayLike, palette: ArrayLike, alpha: float = 0.5, ignore_index: int = IGNORE_INDEX
) -> Picture:
    """Lay the classes' colours over the image; ignored pixels show the image alone.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) train ids in 0–255.
        palette: (256, 3) RGB, as `LabelSpace.palette`.
        alpha: share of the colours, in [0, 1].
        ignore_index: the id that is not painted.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if shapes or types do not fit.

    Example:
        >>> palette = np.zeros((256, 3), dtype=np.uint8)
        >>> palette[0] = (200, 0, 0)
        >>> overlay(np.full((1, 2, 3), 100, np.uint8), np.array([[0, 255]]), palette).tolist()
        [[[150, 50, 50], [100, 100, 100]]]
    """
    ids = to_array(labels)
    return blend(to_array(image), colourise(ids, to_array(palette)), alpha, where=ids != ignore_index)


def boundary_picture(values: ArrayLike) -> Picture:
    """Show boundaries bright on black.

    Args:
        values: floats (H, W) or (1, H, W) in [0, 1]: a boundary probability; bools (H, W): boundaries; or integers
            (H, W): train ids, whose borders are shown (255 has none).

    Returns:
        (H, W, 3) uint8, by a perceptual scale: 0 black, 0.5 magenta, 1 pale yellow.

    Raises:
        ValueError: if shape or range do not fit.
    """
    array = to_array(values)
    if array.dtype.kind in "iu":
        if array.ndim != 2:
            raise ValueError(f"labels have the shape {array.shape}; (H, W) expected")
        import torch  # here alone, so that pages of scores are drawn without it

        from crispseg.ops.boundaries import label_boundaries

        array = label_boundaries(torch.from_numpy(array.astype(np.int64))[None])[0].numpy()
    return in_colours(unit_map(array, "boundary map"), cv2.COLORMAP_MAGMA)


def error_map(prediction: ArrayLike, labels: ArrayLike, ignore_index: int = IGNORE_INDEX) -> Picture:
    """Show where a prediction is right (dark green), wrong (bright red) and not judged (black).

    The two colours differ in brightness, for those who do not tell red from green.

    Args:
        prediction: (H, W) train ids.
        labels: (H, W) train ids or `ignore_index`.
        ignore_index: the label of pixels that are not judged.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if shapes differ.

    Example:
        >>> error_map(np.array([[0, 1, 1]]), np.array([[0, 0, 255]])).tolist()
        [[[38, 92, 72], [244, 84, 62], [0, 0, 0]]]
    """
    predicted, true = to_array(prediction), to_array(labels)
    if predicted.shape != true.shape or true.ndim != 2:
        raise ValueError(
            f"prediction has the shape {predicted.shape} and labels {true.shape}; the same (H, W) expected"
        )
    kind = np.where(true == ignore_index, 2, (predicted != true).astype(np.intp))
    picture: Picture = np.array([RIGHT, WRONG, VOID], dtype=np.uint8)[kind]
    return picture


def outline_picture(image: ArrayLike, labels: ArrayLike, palette: ArrayLike) -> Picture:
    """Draw the outlines of a mask, in its classes' colours, on the faded image (GSCNN, figure 9).

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) train ids in 0–255.
        palette: (256, 3) RGB, as `LabelSpace.palette`.

    Returns:
        (H, W, 3) uint8: on both sides of each border, pixels in the colour of their own class.

    Raises:
        ValueError: if shapes or types do not fit.
    """
    ids = to_array(labels)
    around = np.ones((3, 3), dtype=np.uint8)
    colours = colourise(ids, to_array(palette))
    bytes_ = ids.astype(np.uint8)
    is_border = cv2.dilate(bytes_, around) != cv2.erode(bytes_, around)
    return blend(faded(to_array(image)), colours, 1.0, where=is_border)


def faded(image: Picture) -> Picture:
    """The image in light greys, for marks to stand out on."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    light: Picture = (155 + grey.astype(np.float32) * (100 / 255)).round().astype(np.uint8)
    return np.repeat(light[..., None], 3, axis=2)


def change_map(
    image: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Picture:
    """Mark the pixels whose label changes, on the faded image (GFF, figure 7b).

    Args:
        image: (H, W, 3) uint8 RGB.
        before: (H, W) train ids.
        after: (H, W) train ids.
        labels: (H, W) true train ids, or `ignore_index`; None: nobody knows them.
        ignore_index: the label of pixels that are not judged.

    Returns:
        (H, W, 3) uint8: with labels vermilion where what was right becomes wrong, blue where what was wrong becomes
        right, purple for all other changes; see `CHANGES`.

    Raises:
        ValueError: if shapes differ.

    Example:
        >>> change_map(np.zeros((1, 3, 3), np.uint8), np.array([[0, 1, 1]]), np.array([[0, 0, 2]])).tolist()
        [[[155, 155, 155], [178, 34, 134], [178, 34, 134]]]
    """
    picture, first, second = faded(to_array(image)), to_array(before), to_array(after)
    true = None if labels is None else to_array(labels)
    shapes = {picture.shape[:2], first.shape, second.shape} | (set() if true is None else {true.shape})
    if len(shapes) > 1:
        raise ValueError(f"image, labels and truth have the shapes {sorted(shapes)}; the same (H, W) expected")
    changes = first != second
    picture[changes] = CHANGES["changes"]
    if true is not None:
        judged = true != ignore_index
        picture[changes & judged & (first == true)] = CHANGES["becomes wrong"]
        picture[changes & judged & (second == true)] = CHANGES["becomes right"]
    return picture


def gain_map(labels: ArrayLike, ours: ArrayLike, other: ArrayLike, ignore_index: int = IGNORE_INDEX) -> Picture:
    """Show what one prediction wins over another (GFF, figure 4, last column).

    Args:
        labels: (H, W) true train ids, or `ignore_index`.
        ours: (H, W) train ids.
        other: (H, W) train ids, what ours is held against.
        ignore_index: the label of pixels that are not judged, which are white.

    Returns:
        (H, W, 3) uint8: blue where only ours is right, vermilion where only the other is; see `GAINS`.

    Raises:
        ValueError: if shapes differ.

    Example:
        >>> gain_map(np.array([[0, 0, 255]]), np.array([[0, 1, 1]]), np.array([[1, 0, 0]])).tolist()
        [[[0, 114, 178], [213, 94, 0], [255, 255, 255]]]
    """
    true, first, second = to_array(labels), to_array(ours), to_array(other)
    if not true.shape == first.shape == second.shape or true.ndim != 2:
        raise ValueError(f"maps have the shapes {true.shape}, {first.shape}, {second.shape}; the same (H, W) expected")
    first_right, second_right = first == true, second == true
    picture = np.full((*true.shape, 3), 255, dtype=np.uint8)
    judged = true != ignore_index
    picture[judged & first_right & second_right] = GAINS["both right"]
    picture[judged & first_right & ~second_right] = GAINS["won"]
    picture[judged & ~first_right & second_right] = GAINS["lost"]
    picture[judged & ~first_right & ~second_right] = GAINS["both wrong"]
    return picture
