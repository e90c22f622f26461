"""What a `Predictor` takes as an image: a file, what it holds, pixels, or a tensor."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from crispseg.errors import DataError
from crispseg.io.images import ImageBytes, pillow_as_rgb, read_image
from crispseg.pictures.colour import Picture

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AnyImage", "AnyPixels", "InputImage", "to_input"]

AnyPixels: TypeAlias = "npt.NDArray[np.uint8] | Tensor"
AnyImage: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | ImageBytes | Image.Image | AnyPixels"

_ROUNDING = 1e-3  # resampling may overshoot by a little


class InputImage(NamedTuple):
    """An image as a picture and, if it was given as a tensor, as a batch of one, (1, 3, H, W) in [0, 1]."""

    picture: Picture
    tensor: Any = None

    def part(self, top: int, left: int, height: int, width: int) -> Any:
        """Of the image, (1, 3, height, width) in [0, 1]: floats only of what is looked at, in their own memory."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        if self.tensor is not None:
            return self.tensor[..., rows, columns]
        pixels = self.picture[rows, columns].transpose(2, 0, 1)[None]
        return np.ascontiguousarray(pixels, dtype=np.float32) / np.float32(255)

    def is_like(self, other: InputImage) -> bool:
        """Whether both can be in one batch: of one size, on one device."""
        return self.picture.shape == other.picture.shape and _device(self.tensor) == _device(other.tensor)


def to_input(image: AnyImage, max_pixels: int) -> InputImage:
    """Read or check an image, as `crispseg.Predictor` takes it.

    Raises:
        DataError: if a file cannot be read or has more pixels, or what was given is of another form.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        image = ImageBytes(bytes(image))
    elif callable(getattr(image, "read", None)):  # a file object, wherever it stands
        image = ImageBytes(image.read(), str(getattr(image, "name", "the image")))  # type: ignore[union-attr]
    if isinstance(image, Image.Image):
        image = pillow_as_rgb(image)
    elif isinstance(image, str | os.PathLike | ImageBytes):
        image = read_image(image, max_pixels)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise DataError(
                f"image is an array of {image.dtype} {image.shape}; uint8 (H, W, 3) RGB expected "
                "(for grey or 16-bit files give the path, which is read right)"
            )
        return InputImage(np.ascontiguousarray(image))
    if not hasattr(image, "detach"):
        raise DataError(
            f"image is a {type(image).__name__}; a path, bytes, a file object, an image of Pillow, a uint8 "
            "(H, W, 3) array or a float tensor expected"
        )
    given: Any = image
    tensor = given[None] if given.ndim == 3 else given
    if tensor.ndim != 4 or tensor.shape[:2] != (1, 3) or not tensor.is_floating_point() or 0 in tensor.shape:
        raise DataError(
            f"image is a tensor of {given.dtype} {tuple(given.shape)}; floats (3, H, W) or (1, 3, H, W) expected "
            "(predict_batch takes batches)"
        )
    tensor = tensor.detach().float()
    lowest, highest = (float(value) for value in tensor.aminmax())
    if not (lowest >= -_ROUNDING and highest <= 1 + _ROUNDING):
        raise DataError(f"image holds {lowest:.4g} to {highest:.4g}; RGB in [0, 1] expected, divide by 255 if need be")
    scaled = (tensor[0].clamp(0, 1) * 255).round().byte()
    return InputImage(scaled.permute(1, 2, 0).contiguous().cpu().numpy(), tensor)


def _device(batch: Any) -> str:
    return str(getattr(batch, "device", "cpu"))
