"""Joint variation of images and labels, on uint8 arrays: this is the hot path of training on a CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.labels import IGNORE_INDEX

__all__ = [
    "JointTransform",
    "colour_matrix",
    "jitter_colours",
    "random_crop",
    "rotated_centre",
    "rotated_size_hw",
    "shift_colours",
]

UInt8 = npt.NDArray[Any]  # images of 16 bits are uint16

# ImageNet's mean colour: after a model's normalisation the padding is about zero.
_FILL_RGB = (124, 116, 104)
_LUMA = np.array([0.299, 0.587, 0.114])
_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


@dataclass(frozen=True)
class JointTransform:
    """The papers' training transform: random scale, crop with padding, flip, colour jitter and blur.

    The window is cut first and only the window is resampled, which gives the same picture as scaling the whole image
    and costs a fraction. Images are resampled by area where they shrink and bilinearly where they grow, labels to the
    nearest pixel centre; padding is mean-coloured and its labels are ignore.

    Attributes:
        crop_hw: height and width of what comes out.
        scale_range: image scale, drawn uniformly.
        flip_probability: of the horizontal flip.
        rotate_degrees: turned by up to ± this; what comes in at the corners is the image around the window.
        jitter: brightness, contrast and saturation factors are drawn uniformly from 1 ± this.
        hue_jitter: hue is turned by up to ± this part of the full circle.
        colour_shift: up to ± this is added to each channel, of 255.
        blur_probability: of a Gaussian blur with σ from 0.15 to 1.3 px.
    """

    crop_hw: tuple[int, int]
    scale_range: tuple[float, float] = (1.0, 1.0)
    flip_probability: float = 0.0
    rotate_degrees: float = 0.0
    jitter: float = 0.0
    hue_jitter: float = 0.0
    colour_shift: float = 0.0
    blur_probability: float = 0.0

    def __call__(
        self, image: UInt8, labels: UInt8, rng: np.random.Generator, centre_px: tuple[int, int] | None = None
    ) -> tuple[UInt8, UInt8]:
        """Vary one sample.

        Args:
            image: (H, W, 3) uint8 RGB, or (H, W, C) uint8 or uint16; not changed.
            labels: (H, W) uint8 train ids; not changed.
            rng: draws every choice.
            centre_px: row and column to crop around; None: a random place.

        Returns:
            Image (h, w, 3) and labels (h, w) with (h, w) = `crop_hw`.
        """
        bands = image.shape[2]
        scale = rng.uniform(*self.scale_range)
        if self.rotate_degrees:
            degrees = rng.uniform(-self.rotate_degrees, self.rotate_degrees)
            around_hw = rotated_size_hw(self.crop_hw, degrees)
            image, labels = random_crop(image, labels, around_hw, scale, rng, centre_px)
            image, labels = rotated_centre(image, labels, self.crop_hw, degrees)
        else:
            image, labels = random_crop(image, labels, self.crop_hw, scale, rng, centre_px)
        if rng.random() < self.flip_probability:
            image, labels = cv2.flip(image, 1), cv2.flip(labels, 1)
        if self.jitter or self.hue_jitter:
            brightness, contrast, saturation = rng.uniform(1 - self.jitter, 1 + self.jitter, 3)
            turn = rng.uniform(-self.hue_jitter, self.hue_jitter)
            if bands == 3:
                image = jitter_colours(image, brightness, contrast, saturation, turn)
            else:
                image = jitter_bands(image, brightness, contrast)
        if self.colour_shift:
            shift = np.asarray(rng.uniform(-self.colour_shift, self.colour_shift, bands))
            shifted = shift_colours if image.dtype == np.uint8 and bands == 3 else shift_bands
            image = shifted(image, shift)
        if rng.random() < self.blur_probability:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.15, 1.3))
        return image.reshape(*labels.shape, bands), labels  # OpenCV leaves out the axis of a single band


def random_crop(
    image: UInt8,
    labels: UInt8,
    crop_hw: tuple[int, int],
    scale: float,
    rng: np.random.Generator,
    centre_px: tuple[int, int] | None = None,
) -> tuple[UInt8, UInt8]:
    """Cut a window that has the wanted size after scaling, at random or around a pixel.

    Where the scaled image is smaller than the window, the image lies at a random place inside it. A window around a
    pixel near the image's frame is moved into the image.

    Args:
        image: (H, W, C) uint8 or uint16.
        labels: (H, W) uint8.
        crop_hw: the size that comes out.
        scale: output pixels per input pixel.
        rng: draws the place.
        centre_px: row and column of the pixel that shall be the window's centre; None: a random place.

    Returns:
        Image and labels of the size `crop_hw`; padding is mean-coloured and ignore.
    """
    window_h = max(1, round(crop_hw[0] / scale))
    window_w = max(1, round(crop_hw[1] / scale))
    row, column = centre_px if centre_px is not None else (None, None)
    top, rows, pad_top, pad_bottom = _place(labels.shape[0], window_h, rng, row)
    left, columns, pad_left, pad_right = _place(labels.shape[1], window_w, rng, column)
    image = image[top : top + rows, left : left + columns]
    labels = labels[top : top + rows, left : left + columns]
    if pad_top or pad_bottom or pad_left or pad_right:
        pads = (pad_top, pad_bottom, pad_left, pad_right)
        image = _padded(image, *pads)
        labels = cv2.copyMakeBorder(labels, *pads, cv2.BORDER_CONSTANT, value=IGNORE_INDEX)
    if (window_h, window_w) != crop_hw:
        size_wh = (crop_hw[1], crop_hw[0])
        shrinks = window_h >= crop_hw[0] and window_w >= crop_hw[1]
        image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        # Plain INTER_NEAREST takes the pixel's corner for its centre, which moves labels half a pixel off their image.
        labels = cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST_EXACT)
    return image, labels


def rotated_size_hw(size_hw: tuple[int, int], degrees: float) -> tuple[int, int]:
    """Height and width of what must be cut so that a window turned within it is full.

    Example:
        >>> rotated_size_hw((40, 60), 90), rotated_size_hw((40, 60), 0)
        ((60, 40), (40, 60))
    """
    height, width = size_hw
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    return (
        math.ceil(round(height * cosine + width * sine, 6)),
        math.ceil(round(width * cosine + height * sine, 6)),
    )


def rotated_centre(image: UInt8, labels: UInt8, size_hw: tuple[int, int], degrees: float) -> tuple[UInt8, UInt8]:
    """Turn a sample about its centre, counter-clockwise, and keep a window around it.

    Args:
        image: (H, W, 3) uint8; interpolated bilinearly.
        labels: (H, W) uint8; the nearest.
        size_hw: of the window; see `rotated_size_hw`.
        degrees: of the turn.

    Returns:
        Image and labels of the size `size_hw`.
    """
    height, width = labels.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    turn[:, 2] += (size_hw[1] - width) / 2, (size_hw[0] - height) / 2  # from centre to centre
    size_wh = (size_hw[1], size_hw[0])
    if image.dtype == np.uint8 and image.shape[2] == 3:
        turned = cv2.warpAffine(image, turn, size_wh, flags=cv2.INTER_LINEAR, borderValue=_FILL_RGB)
    else:  # the window is full but for rounding
        turned = cv2.warpAffine(image, turn, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    turned_labels = cv2.warpAffine(labels, turn, size_wh, flags=cv2.INTER_NEAREST, borderValue=IGNORE_INDEX)
    return turned, turned_labels


def _padded(image: UInt8, top: int, bottom: int, left: int, right: int) -> UInt8:
    """RGB continued by ImageNet's mean colour, other bands each by its mean here."""
    if image.dtype == np.uint8 and image.shape[2] == 3:
        continued: UInt8 = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=_FILL_RGB)
        return continued
    height, width, bands = image.shape
    padded: UInt8 = np.empty((top + height + bottom, left + width + right, bands), image.dtype)
    padded[...] = image.mean(axis=(0, 1)).astype(image.dtype)
    padded[top : top + height, left : left + width] = image
    return padded


def jitter_bands(image: UInt8, brightness: float, contrast: float) -> UInt8:
    """Change brightness, and contrast about the image's mean, of bands that are no colours.

    Args:
        image: (H, W, C) uint8 or uint16.
        brightness: factor of every value.
        contrast: factor of the distance from the image's mean.

    Returns:
        The same type and shape, clipped.
    """
    values = image.astype(np.float32) * (brightness * contrast) + (1 - contrast) * brightness * image.mean()
    return _clipped(values, image)


def shift_bands(image: UInt8, shift: npt.NDArray[np.float64]) -> UInt8:
    """Add a value to each band.

    Args:
        image: (H, W, C) uint8 or uint16.
        shift: (C,), of 255.
    """
    return _clipped(image + shift * (np.iinfo(image.dtype).max / 255), image)


def _clipped(values: npt.NDArray[Any], like: UInt8) -> UInt8:
    clipped: UInt8 = np.rint(values).clip(0, np.iinfo(like.dtype).max).astype(like.dtype)
    return clipped


def jitter_colours(image: UInt8, brightness: float, contrast: float, saturation: float, hue_turn: float) -> UInt8:
    """Change brightness, contrast (about the image's mean grey), saturation and hue in one pass.

    Args:
        image: (H, W, 3) uint8 RGB.
        brightness: factor of every value.
        contrast: factor of the distance from the image's mean grey.
        saturation: factor of the distance from each pixel's own grey.
        hue_turn: turn of the hue, in parts of the full circle.

    Returns:
        (H, W, 3) uint8 RGB, clipped to 0–255.
    """
    matrix = colour_matrix(saturation, hue_turn)
    mean_grey = float(_LUMA @ cv2.mean(image)[:3]) * brightness
    affine = np.empty((3, 4), dtype=np.float32)
    affine[:, :3] = brightness * contrast * matrix
    affine[:, 3] = (1 - contrast) * mean_grey
    changed: UInt8 = cv2.transform(image, affine)
    return changed


def shift_colours(image: UInt8, shift: npt.NDArray[np.float64]) -> UInt8:
    """Add a value to each channel, as GFF's "color jittering within the range of [−10, 10]".

    Args:
        image: (H, W, 3) uint8 RGB.
        shift: (3,), of 255.

    Returns:
        (H, W, 3) uint8 RGB, rounded and clipped to 0–255.
    """
    shifted: UInt8 = cv2.transform(image, np.hstack([np.eye(3), shift[:, None]]))
    return shifted


def colour_matrix(saturation: float, hue_turn: float) -> npt.NDArray[np.float64]:
    """The RGB matrix that scales and turns chroma and keeps luma (ITU-R BT.601), by way of YIQ.

    Args:
        saturation: factor of the chroma.
        hue_turn: turn of the chroma plane, in parts of the full circle.

    Returns:
        (3, 3); grey stays as it is.

    Example:
        >>> colour_matrix(0.0, 0.0).round(3).tolist()[0]
        [0.299, 0.587, 0.114]
    """
    cosine, sine = math.cos(2 * math.pi * hue_turn) * saturation, math.sin(2 * math.pi * hue_turn) * saturation
    turned = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return np.asarray(np.linalg.solve(_RGB_TO_YIQ, turned @ _RGB_TO_YIQ))


def _place(size: int, window: int, rng: np.random.Generator, centre: int | None) -> tuple[int, int, int, int]:
    """Start, length and the padding before and after, of a window placed along one axis."""
    if window <= size and centre is not None:
        return min(max(centre - window // 2, 0), size - window), window, 0, 0
    if window <= size:
        return int(rng.integers(0, size - window + 1)), window, 0, 0
    before = int(rng.integers(0, window - size + 1))
    return 0, size, before, window - size - before
