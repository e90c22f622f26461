"""Label files as they are stored: ids, or colours, each read without a change or refused by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from crispseg.errors import DataError
from crispseg.io.opening import LOSSY, MAX_PIXELS, ImageSource, Opened, image_file, image_in, name_of
from crispseg.io.plain_png import plain_pixels
from crispseg.wording import some

__all__ = ["LabelImage", "labels_in_alpha", "read_label_ids", "read_label_image"]


@dataclass(frozen=True)
class LabelImage:
    """What a label file holds, before anybody says what it means.

    Attributes:
        values: (H, W) uint16, grey values or indices of a palette; or (H, W, 3) uint8 RGB.
        palette: (N, 3) uint8 RGB of a palette file, else None.
    """

    values: npt.NDArray[np.uint16] | npt.NDArray[np.uint8]
    palette: npt.NDArray[np.uint8] | None = None

    @property
    def is_grey(self) -> bool:
        """Whether it holds one value a pixel: in one channel, or the same in three."""
        values = self.values
        return values.ndim == 2 or bool(
            (values[..., 0] == values[..., 1]).all() and (values[..., 1] == values[..., 2]).all()
        )

    def ids(self) -> npt.NDArray[np.uint16]:
        """(H, W) uint16: the one value a pixel, of an image that `is_grey`."""
        return np.asarray(self.values if self.values.ndim == 2 else self.values[..., 0], dtype=np.uint16)

    def colours(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB as a viewer shows it; grey beyond 255 becomes white."""
        if self.values.ndim == 3:
            return np.asarray(self.values, dtype=np.uint8)
        if self.palette is None:
            return np.stack([np.minimum(self.values, 255).astype(np.uint8)] * 3, axis=2)
        colours = np.zeros((max(256, len(self.palette)), 3), dtype=np.uint8)
        colours[: len(self.palette)] = self.palette
        return colours[self.values]


def read_label_image(path: ImageSource, max_pixels: int = MAX_PIXELS, *, lossy: bool = False) -> LabelImage:
    """Read a label file, whatever it holds.

    Args:
        path: of a PNG (1 to 16 bits), a TIFF, or another lossless image; or its content.
        max_pixels: see `read_image`.
        lossy: whether JPEG is right as well, for those who take the nearest of a few colours.

    Raises:
        DataError: if the file is missing, truncated, lossy, too large, holds fractions, colours of 16 bits a
            channel, or is transparent where it is not black.
    """
    with image_file(path, "label file") as file, image_in(file, path, max_pixels) as image:
        bits = _bits(file, image)
        if image.format in LOSSY and not lossy:
            raise DataError(f"{name_of(path)}: JPEG changes label ids; save labels as PNG")
        if image.mode == "RGB" and bits == 8 and (plain := plain_pixels(file, image)) is not None:
            return LabelImage(plain)
        image.load()
        if image.mode not in ("1", "L", "P", "F", "LA", "PA", "RGB", "RGBA") and not image.mode.startswith("I"):
            raise DataError(
                f"{name_of(path)}: pixels of mode {image.mode} found where ids or colours were expected; save labels "
                "as grey, palette or RGB PNG"
            )
        if bits > 8 and image.mode in ("LA", "RGB", "RGBA"):
            raise DataError(
                f"{name_of(path)}: {len(image.getbands())} channels of {bits} bits each found, which are read as 8 "
                "bits; save labels as grey PNG of 16 bits, or as colours of 8"
            )
        if image.mode in _WITH_ALPHA:
            values = _opaque(image, path)
        elif image.mode == "RGB":
            return LabelImage(np.array(image))
        else:
            values = _whole_numbers(np.array(image), path)
            if image.mode == "L" and image.format == "PNG":
                values = values // np.uint16({2: 85, 4: 17}.get(bits, 1))  # Pillow fills 8 bits with fewer
        return LabelImage(values, _palette(image) if image.mode in ("P", "PA") else None)


def read_label_ids(path: ImageSource, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint16]:
    """Read the raw ids of a label file, before any table is applied.

    Args:
        path: of a grey PNG (1, 2, 4, 8 or 16 bits) or a palette PNG, whose indices are the ids; three equal channels
            are grey too, an opaque alpha channel is left out, and another lossless format does as well.
        max_pixels: see `read_image`.

    Returns:
        (H, W) uint16 raw ids, as they are stored: nothing is scaled and no palette applied.

    Raises:
        DataError: see `read_label_image`; or if the file holds colours rather than ids.
    """
    found = read_label_image(path, max_pixels)
    if not found.is_grey:
        raise DataError(
            f"{name_of(path)}: colours (RGB) found where raw ids were expected; save labels as grey "
            "or palette PNG whose pixel values are the ids of the label table, or say that they are the table's colours"
        )
    return found.ids()


def labels_in_alpha(path: ImageSource, max_pixels: int = MAX_PIXELS) -> str | None:
    """What to say of a label file of one colour whose alpha channel differs; None for others.

    `read_label_image` leaves alpha out where it hides nothing, so that such a mask may look empty.

    Args:
        path: of the file, or its content.
        max_pixels: see `read_image`.

    Raises:
        DataError: if the file is missing, truncated, too large or no image.
    """
    with image_file(path, "label file") as file, image_in(file, path, max_pixels) as image:
        if image.mode not in _WITH_ALPHA:
            return None
        image.load()
        return _in_alpha(np.array(image))


_WITH_ALPHA = ("LA", "PA", "RGBA")


def _in_alpha(bands: npt.NDArray[np.uint8]) -> str | None:
    values, alpha = bands[..., :-1], bands[..., -1]
    if (values != values[0, 0]).any() or (alpha == alpha[0, 0]).all():
        return None
    colour = some(values[0, 0].tolist(), 3)
    return (
        f"the labels lie in the alpha channel (values {some(np.unique(alpha).tolist(), 8)}), for every pixel has the "
        f"colour ({colour}); save that channel alone as grey PNG, with Pillow: "
        'Image.open(mask).getchannel("A").save(mask)'
    )


def _bits(file: Opened, image: Image.Image) -> int:
    """Of a channel, of a PNG or TIFF; 8 for others. Pillow hands out 8 whatever the file holds."""
    if image.format == "TIFF":
        return int(max(getattr(image, "tag_v2", {}).get(_BITS_TAG, (8,))))
    if image.format != "PNG":
        return 8
    place = file.tell()
    file.seek(24)
    (bits,) = file.read(1)
    file.seek(place)
    return bits


_BITS_TAG = 0x0102


def _whole_numbers(values: npt.NDArray[np.generic], path: ImageSource) -> npt.NDArray[np.uint16]:
    if values.dtype.kind == "f" and not bool((values == np.rint(values)).all()):
        raise DataError(f"{name_of(path)}: fractions found where whole ids were expected; save labels as grey PNG")
    if values.dtype.itemsize > 2 and values.size and (int(values.min()) < 0 or int(values.max()) > 65535):
        raise DataError(f"{name_of(path)}: ids from {values.min()} to {values.max()} found, 0 to 65535 expected")
    return values.astype(np.uint16)


def _opaque(image: Image.Image, path: ImageSource) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """An image without its alpha channel, where that hides nothing: it is opaque, or black or 0 below."""
    bands = np.array(image.convert("RGBA") if image.mode == "RGBA" else image)
    values, alpha = bands[..., :-1], bands[..., -1]
    seen_through = (alpha < 255) & ((alpha > 0) | (values != 0).any(axis=2))
    if seen_through.any():
        if (in_alpha := _in_alpha(bands)) is not None:
            raise DataError(f"{name_of(path)}: {in_alpha}")
        raise DataError(
            f"{name_of(path)}: {int(seen_through.sum())} pixels are transparent and not black below, so that "
            "nobody knows their class; save labels without an alpha channel"
        )
    return values.copy() if image.mode == "RGBA" else values[..., 0].astype(np.uint16)


def _palette(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
