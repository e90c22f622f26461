"""Pictures of label maps: laid over the image, their boundaries, and where they are wrong."""

from __future__ import annotations

import cv2
import numpy as np

from crispseg.labels import IGNORE_INDEX
from crispseg.ops.arrays import ArrayLike, to_array
from crispseg.pictures.arrays import in_colours, unit_map
from crispseg.pictures.colour import Picture, blend, colourise

__all__ = ["boundary_picture", "error_map", "overlay"]

RIGHT = (38, 92, 72)
WRONG = (244, 84, 62)
VOID = (0, 0, 0)


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
