"""What a `Predictor` takes as an image: a file, what it holds, pixels, or a tensor."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import ValidationError

from crispseg.config import MASK_BANDS, ModelConfig
from crispseg.errors import ConfigError, DataError
from crispseg.inference.exported import ExportedModel
from crispseg.io.bands import AS_SHOWN, Pixels, Reading, as_picture, full_value, read_pixels
from crispseg.io.images import pillow_as_rgb
from crispseg.io.opening import ImageBytes
from crispseg.pictures.colour import Picture

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AnyImage", "AnyPixels", "InputImage", "reading_of", "require_rgb", "to_input"]

AnyPixels: TypeAlias = "npt.NDArray[np.uint8] | Tensor"
AnyImage: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | ImageBytes | Image.Image | AnyPixels"

_REFINE = "give it both: crispseg refine MASKS --images DIR --model REFINER, or crispseg.Refiner"
_ROUNDING = 1e-3  # resampling may overshoot by a little


class InputImage(NamedTuple):
    """An image as a picture, and as what the model sees, where that is something else.

    Attributes:
        picture: (H, W, 3) uint8, to be shown.
        tensor: if it was given as a tensor, a batch of one, (1, C, H, W) in [0, 1].
        pixels: if its bands are others, or of 16 bits, (H, W, C).
    """

    picture: Picture
    tensor: Any = None
    pixels: Pixels | None = None

    def part(self, top: int, left: int, height: int, width: int) -> Any:
        """Of the image, (1, C, height, width) in [0, 1]: floats only of what is looked at, in their own memory."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        if self.tensor is not None:
            return self.tensor[..., rows, columns]
        seen = self.picture if self.pixels is None else self.pixels
        part = seen[rows, columns].transpose(2, 0, 1)[None]
        return np.ascontiguousarray(part, dtype=np.float32) / np.float32(full_value(seen))

    def is_like(self, other: InputImage) -> bool:
        """Whether both can be in one batch: of one size, on one device."""
        both = (self, other)
        if any(one.pixels is not None for one in both) and not all(one.pixels is not None for one in both):
            return False
        return self.picture.shape == other.picture.shape and _device(self.tensor) == _device(other.tensor)


def reading_of(model: object) -> Reading:
    """How image files become a model's input, as its configuration or its file's card says."""
    config = getattr(model, "config", None)
    if isinstance(model, ExportedModel):
        values = model.card.model.get("model")
        with suppress(ValidationError):
            config = ModelConfig.model_validate(values) if isinstance(values, dict) else None
    if not isinstance(config, ModelConfig):
        return AS_SHOWN
    return Reading(config.bands, config.value_range, more_bands=MASK_BANDS if config.sees_mask else 0)


def require_rgb(model: object, what: str) -> None:
    """Refuse a model whose images are read otherwise than a viewer shows them, where that is all that can be done.

    Args:
        model: or an exported file.
        what: does so, for the error.

    Raises:
        ConfigError: if it is such a model, or one that looks at masks as well.
    """
    reading = reading_of(model)
    if reading.more_bands:
        raise ConfigError(f"{what} shows a model images alone, and this one refines masks; {_REFINE}")
    if reading != AS_SHOWN:
        which = "their colours" if reading.bands is None else f"their bands {list(reading.bands)}"
        scale = "" if reading.value_range is None else f", {reading.value_range} being black and white"
        raise ConfigError(
            f"{what} reads images as viewers show them, and the model was trained on {which}{scale}; segment them by "
            "crispseg segment, or crispseg.Predictor"
        )


def to_input(image: AnyImage, max_pixels: int, reading: Reading = AS_SHOWN) -> InputImage:
    """Read or check an image, as `crispseg.Predictor` takes it.

    Args:
        image: what was given.
        max_pixels: of a file.
        reading: of files; says how many channels the model has.

    Raises:
        ConfigError: if the model looks at masks as well, and an image alone was given.
        DataError: if a file cannot be read or has more pixels, or what was given is of another form.
    """
    channels = reading.channels
    if reading.more_bands and getattr(image, "shape", ())[-1:] != (channels,) and not hasattr(image, "detach"):
        raise ConfigError(f"the model looks at masks of images, not at images alone; {_REFINE}")
    if isinstance(image, bytes | bytearray | memoryview):
        image = ImageBytes(bytes(image))
    elif callable(getattr(image, "read", None)):  # a file object, wherever it stands
        image = ImageBytes(image.read(), str(getattr(image, "name", "the image")))  # type: ignore[union-attr] # by the line above
    if isinstance(image, Image.Image | ImageBytes) and reading != AS_SHOWN:
        raise DataError(
            "an image of Pillow, or a file's content, is read as viewers show it, and the model was trained on other "
            "bands or another range; give the path"
        )
    if isinstance(image, Image.Image):
        image = pillow_as_rgb(image)
    elif isinstance(image, str | os.PathLike | ImageBytes):
        image = read_pixels(image, reading, max_pixels)
    if isinstance(image, np.ndarray):
        kinds = (np.uint8, np.uint16)
        if image.dtype not in kinds or image.ndim != 3 or image.shape[2] != channels or image.size == 0:
            wanted = (
                "uint8 (H, W, 3) RGB" if channels == 3 else f"uint8 or uint16 (H, W, {channels}), the model's bands,"
            )
            raise DataError(
                f"image is an array of {image.dtype} {image.shape}; {wanted} expected "
                "(for grey or 16-bit files give the path, which is read right)"
            )
        pixels = np.ascontiguousarray(image)
        if pixels.dtype == np.uint8 and channels == 3:
            return InputImage(pixels)
        return InputImage(as_picture(pixels), pixels=pixels)
    if not hasattr(image, "detach"):
        raise DataError(
            f"image is a {type(image).__name__}; a path, bytes, a file object, an image of Pillow, a uint8 "
            "(H, W, 3) array or a float tensor expected"
        )
    given: Any = image
    tensor = given[None] if given.ndim == 3 else given
    if tensor.ndim != 4 or tensor.shape[:2] != (1, channels) or not tensor.is_floating_point() or 0 in tensor.shape:
        raise DataError(
            f"image is a tensor of {given.dtype} {tuple(given.shape)}; floats ({channels}, H, W) or "
            f"(1, {channels}, H, W) expected (predict_batch takes batches)"
        )
    tensor = tensor.detach().float()
    lowest, highest = (float(value) for value in tensor.aminmax())
    if not (lowest >= -_ROUNDING and highest <= 1 + _ROUNDING):
        raise DataError(f"image holds {lowest:.4g} to {highest:.4g}; RGB in [0, 1] expected, divide by 255 if need be")
    scaled = (tensor[0].clamp(0, 1) * 255).round().byte()
    return InputImage(as_picture(scaled.permute(1, 2, 0).contiguous().cpu().numpy()), tensor)


def _device(batch: Any) -> str:
    return str(getattr(batch, "device", "cpu"))
