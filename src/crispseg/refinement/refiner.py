"""A mask and its image to a sharper mask."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.inference import Predictor
from crispseg.io.images import read_image
from crispseg.io.opening import MAX_PIXELS
from crispseg.labels import label_space
from crispseg.ops.directions import STEPS, mask_bands, walk
from crispseg.refinement.connected import parting_changes
from crispseg.refinement.methods import METHODS
from crispseg.wording import nearest_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from crispseg.inference import ExportedModel
    from crispseg.types import SegmentationOutput

__all__ = ["Refiner", "enlarged"]

Mask: TypeAlias = npt.NDArray[Any]
UInt8 = npt.NDArray[np.uint8]

LARGEST_FACTOR = 32
"""How many times smaller than its image a mask may be."""

_STEPS, _STEPS_IN_PLACE = 4, 2  # all these were chosen on CamVid, docs/results/refine.md
_KEEP_THIN_PX, _KEEP_THIN_PX_OF_METHODS = 11, 7
_THRESHOLD, _THRESHOLD_WITH_MASK = 0.1, 0.3


class Refiner:
    """Sharpens masks: `refiner(image, mask)`.

    With a network: it has learned which way the inside of a region lies, from the image alone, or which way the right
    label lies, from the image and the mask's outlines (`crispseg.ops.directions`); its configuration says which. Each
    pixel follows these directions for some steps and takes the label of the pixel where it arrives (SegFix, Yuan et
    al., 2020, whose offset is one straight step). So the labels themselves mean nothing to it, a pixel changes only if
    another label lies within `steps` of it, and it takes one that lies there.

    Args:
        model: a network or exported file that predicts directions, as ``crispseg fit camvid/refiner`` and
            ``camvid/refiner_with_mask`` train them; or a name in `crispseg.refinement.METHODS`, which need no training.
        steps: most steps of a pixel, and the reach of a method; 1 to 64. None: 4, but a network moves a mask at its
            image's own size by 2, as that has little to gain and small objects to lose.
        keep_thin_px: parts of the mask that no square of so many pixels fits into stay as they are: thin ones would be
            lost where they lie off by more than their width. 1: everything may move. None: 11, or 7 for a method.
        keep_connected: whether no label may fall into more parts than it had, as lines must not; it costs some of what
            refining gains (`crispseg.refinement.parting_changes`).
        threshold: the probability of a direction above which a pixel moves at all, in (0, 1); None: 0.1, or 0.3 for a
            network that looks at the mask, whose pixels mostly stay.
        window_hw: height and width of windows that slide over large images; None: the whole image at once.
        device: see `crispseg.Predictor`.
        precision: see `crispseg.Predictor`.
        max_pixels: of an image file; larger ones are refused.

    Raises:
        ConfigError: if the model is no refiner, the method unknown or an option out of its range.

    Example:
        >>> image = np.zeros((4, 6, 3), dtype=np.uint8)
        >>> image[:, 3:] = 255
        >>> coarse = np.repeat(np.array([[0, 0, 0, 0, 7, 7]], dtype=np.uint8), 4, axis=0)
        >>> Refiner("guided_filter")(image, coarse)[0].tolist()
        [0, 0, 0, 7, 7, 7]
    """

    def __init__(
        self,
        model: Callable[[Tensor], SegmentationOutput] | ExportedModel | str | os.PathLike[str],
        *,
        steps: int | None = None,
        keep_thin_px: int | None = None,
        keep_connected: bool = False,
        threshold: float | None = None,
        window_hw: tuple[int, int] | None = None,
        device: torch.device | str | None = None,
        precision: str = "auto",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if steps is not None and not 1 <= steps <= 64:
            raise ConfigError(f"steps is {steps}; 1 to 64 expected")
        if keep_thin_px is not None and not 1 <= keep_thin_px <= 99:
            raise ConfigError(f"keep_thin_px is {keep_thin_px}; 1 to 99 expected")
        if threshold is not None and not 0 < threshold < 1:
            raise ConfigError(f"threshold is {threshold}; above 0 and below 1 expected")
        self.steps = steps
        self.keep_connected = keep_connected
        self.threshold = _THRESHOLD if threshold is None else threshold
        self.max_pixels = max_pixels
        self.method = model if isinstance(model, str) and model in METHODS else None
        self.keep_thin_px = keep_thin_px or (_KEEP_THIN_PX_OF_METHODS if self.method else _KEEP_THIN_PX)
        self.predictor: Predictor | None = None
        if self.method is not None:
            return
        if isinstance(model, str) and not os.path.exists(model):
            raise ConfigError(f"no refiner {model!r}: {nearest_name(model, METHODS)}; or give a network")
        self.predictor = Predictor(
            model,
            window_hw=window_hw,
            overlap=0.25,
            device=device,
            keep_probability=True,
            max_pixels=max_pixels,
            precision=precision,
        )
        names = self.predictor.label_space.class_names
        if names != label_space("directions").class_names:
            raise ConfigError(
                f"the model knows {', '.join(names[:3])} and so on ({self.predictor.label_space.name!r}): it segments, "
                "and is no refiner; a model of crispseg fit camvid/refiner is one"
            )
        if self.sees_mask and threshold is None:
            self.threshold = _THRESHOLD_WITH_MASK

    @property
    def sees_mask(self) -> bool:
        """Whether it is a network that looks at the mask, too."""
        return self.predictor is not None and self.predictor.reading.more_bands > 0

    def __call__(self, image: str | os.PathLike[str] | UInt8, mask: Mask) -> Mask:
        """Refine one mask.

        Args:
            image: a file's path, or (H, W, 3) uint8 RGB.
            mask: (h, w) of any integers: train ids, raw ids, ids of instances; or (K, h, w) floats, probabilities. Its
                size is the image's, or the same whole fraction of both sides.

        Returns:
            A mask of the same kind and the image's size.

        Raises:
            DataError: if the image cannot be read, or the mask does not fit it.
        """
        picture = image if isinstance(image, np.ndarray) else read_image(image, self.max_pixels)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or picture.size == 0:
            raise DataError(f"image is {picture.dtype} {picture.shape}; uint8 (H, W, 3) RGB expected")
        whole = enlarged(mask, picture.shape[:2])
        labels = _labels_of(whole)
        steps = self.steps or (_STEPS_IN_PLACE if whole is mask and self.predictor is not None else _STEPS)
        if self.predictor is None:
            assert self.method is not None
            refined = np.asarray(METHODS[self.method](picture, whole, steps))
        else:
            arrived = walk(self.directions(picture, labels), steps, labels if self.sees_mask else None)
            refined = whole.reshape(*whole.shape[:-2], -1)[..., arrived]
        if self.keep_thin_px > 1:
            refined = np.where(_thin(labels, self.keep_thin_px), whole, refined)
        if self.keep_connected:
            refined = np.where(parting_changes(labels, _labels_of(refined)), whole, refined)
        return refined

    def directions(self, image: UInt8, mask: Mask | None = None) -> UInt8:
        """What the network says of an image: (H, W) uint8, indices into `crispseg.ops.directions.STEPS`.

        Args:
            image: (H, W, 3) uint8 RGB.
            mask: of the image's size, integers (H, W) or probabilities (K, H, W), for a network that looks at it.

        Raises:
            ConfigError: of a method, which knows no directions; or if the mask is missing.
        """
        if self.predictor is None:
            raise ConfigError(f"{self.method} knows no directions; give a network")
        if self.sees_mask:
            if mask is None:
                raise ConfigError("the network looks at the mask, and none was given; give it beside the image")
            image = np.concatenate([image, mask_bands(_labels_of(mask))], axis=2)
        found = np.zeros(image.shape[:2], dtype=np.uint8)
        size_hw = (image.shape[0], image.shape[1])
        for rows in self.predictor.stream(
            lambda top, left, height, width: image[top : top + height, left : left + width], size_hw
        ):
            assert rows.probability is not None  # it was asked for
            moving = 1 - rows.probability[0] > self.threshold  # few pixels; the rest is not looked at
            down, right = _UNIT_STEPS @ rows.probability[1:, moving]  # the mean direction
            octants = np.rint(np.arctan2(down, right) * (4 / np.pi)).astype(np.int8)
            found[rows.top : rows.top + len(moving)][moving] = octants % 8 + 1
        return found


def enlarged(mask: Mask, size_hw: tuple[int, int]) -> Mask:
    """A mask at the size of its image: each pixel takes the label that has the most of it, bilinearly.

    Args:
        mask: see `Refiner`.
        size_hw: of the image.

    Raises:
        DataError: if the mask is of another form, or its size no whole fraction of the image's.

    Example:
        >>> enlarged(np.array([[0, 9], [9, 9]]), (4, 4)).tolist()
        [[0, 0, 9, 9], [0, 0, 9, 9], [9, 9, 9, 9], [9, 9, 9, 9]]
        >>> enlarged(np.array([[0, 9], [9, 9]]), (8, 8))[:, 3].tolist()  # the corner is rounded
        [0, 0, 0, 9, 9, 9, 9, 9]
    """
    is_probability = mask.ndim == 3 and mask.dtype.kind == "f"
    if not is_probability and not (mask.ndim == 2 and mask.dtype.kind in "iub"):
        raise DataError(f"mask is {mask.dtype} {mask.shape}; integers (h, w) or probabilities (K, h, w) expected")
    height, width = mask.shape[-2:]
    if 0 in mask.shape:
        raise DataError(f"mask is empty: {mask.shape}")
    if (height, width) == size_hw:
        return mask
    factor = size_hw[0] // height
    if (height * factor, width * factor) != size_hw or not 1 < factor <= LARGEST_FACTOR:
        raise DataError(
            f"the mask has {height}×{width} pixels and its image {size_hw[0]}×{size_hw[1]}; the same size, or a whole "
            f"fraction of it down to 1/{LARGEST_FACTOR}, expected"
        )
    if is_probability:
        return np.stack([_resized(plane, size_hw) for plane in mask])
    values, inverse = np.unique(mask, return_inverse=True)
    codes = inverse.reshape(mask.shape)
    winner = np.zeros(size_hw, dtype=np.int32)
    highest = np.full(size_hw, -1.0, dtype=np.float32)
    for code in range(len(values)):
        share = _resized((codes == code).astype(np.float32), size_hw)
        better = share > highest
        winner[better] = code
        highest[better] = share[better]
    return np.asarray(values[winner])


def _thin(labels: Mask, width_px: int) -> npt.NDArray[np.bool_]:
    """Where no square of so many pixels that has one label covers a pixel, (H, W); the frame cuts squares."""
    codes = labels  # OpenCV compares bytes and floats
    if labels.dtype != np.uint8:
        codes = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.float32)
    square = np.ones((width_px, width_px), dtype=np.uint8)
    uniform = (cv2.erode(codes, square) == cv2.dilate(codes, square)).astype(np.uint8)
    thick: UInt8 = cv2.dilate(uniform, square, anchor=(width_px - 1 - width_px // 2,) * 2)
    return np.asarray(thick == 0)


def _labels_of(mask: Mask) -> Mask:
    """(H, W) of labels, or of the most probable ones' numbers."""
    return np.asarray(mask.argmax(axis=0)) if mask.ndim == 3 else mask


_UNIT_STEPS = np.array(STEPS[1:], dtype=np.float32).T / np.hypot(*np.array(STEPS[1:], dtype=np.float32).T)
"""(2, 8): rows down and columns to the right, of length 1."""


def _resized(plane: npt.NDArray[Any], size_hw: tuple[int, int]) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = cv2.resize(plane.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return found
