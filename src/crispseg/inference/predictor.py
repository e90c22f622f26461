"""From an image to a `Prediction`, over any callable ``images → SegmentationOutput`` and over exported files.

PyTorch is imported with a network of it: exported files run where it is not installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.inference.exported import ExportedModel, FileBackend, is_exported
from crispseg.inference.prediction import Prediction
from crispseg.io.images import MAX_PIXELS, read_image
from crispseg.labels import LabelSpace
from crispseg.ops.arrays import to_array
from crispseg.ops.windows import place_windows, stitch_windows
from crispseg.pictures.colour import Picture

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from crispseg.types import SegmentationOutput

__all__ = ["BATCH_PIXELS", "Predictor"]

BATCH_PIXELS = 2**20
"""Most pixels of a batch of several images: with 19 classes their probabilities take 80 MB, a few times over."""

AnyImage: TypeAlias = "str | os.PathLike[str] | npt.NDArray[np.uint8] | Tensor"


class Predictor:
    """Segments images with a model: at several scales, mirrored, and in windows, if so asked.

    Probabilities are averaged, over windows, mirror images and scales alike; the label is the most probable class.
    A model that is a module runs in evaluation mode and is left in the mode that it was in.

    Args:
        model: takes (N, 3, H, W) RGB in [0, 1], returns a `SegmentationOutput` of the same height and width; or an
            exported file with logits or probabilities, by path or as an `ExportedModel`.
        label_space: of the predictions; None: the model's own ``label_space``.
        scales: sizes at which each image is looked at, relative to its own. 1.0 only: as it is.
        flip: whether its mirror image is looked at as well.
        window_hw: height and width, in pixels, of windows that slide over each scaled image; None: the whole image at
            once. Along an axis where the scaled image is smaller, the window is as large as the image.
        overlap: the least share of a window that it has in common with its neighbour, in [0, 1).
        device: where to run; a module is moved there. None: where the model is.
        keep_probability: whether predictions hold the probability of every class, K float32 per pixel.
        max_pixels: of an image file; larger ones are refused.

    Raises:
        ConfigError: if an option is out of its range, or a file does not fit it.
        WeightsError: if an exported file cannot be opened.

    Example:
        >>> import torch
        >>> from crispseg import SegmentationOutput
        >>> def by_brightness(images: torch.Tensor) -> SegmentationOutput:
        ...     grey = images.mean(dim=1, keepdim=True)
        ...     return SegmentationOutput(logits=torch.cat((0.5 - grey, grey - 0.5), dim=1))
        >>> two = LabelSpace.from_dict({"name": "two", "classes": ["dark", "bright"]})
        >>> predictor = Predictor(by_brightness, two, scales=(1.0, 2.0), flip=True)
        >>> predictor(np.full((1, 2, 3), [[[9], [250]]], dtype=np.uint8)).labels
        array([[0, 1]], dtype=uint8)
    """

    def __init__(
        self,
        model: Callable[[Tensor], SegmentationOutput] | ExportedModel | str | os.PathLike[str],
        label_space: LabelSpace | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window_hw: tuple[int, int] | None = None,
        overlap: float = 0.5,
        device: torch.device | str | None = None,
        *,
        keep_probability: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if not scales or not all(0 < scale < float("inf") for scale in scales):
            raise ConfigError(
                f"scales is {tuple(scales)}; at least one expected, each positive, for instance (0.75, 1.0)"
            )
        if window_hw is not None:
            place_windows((1, 1), window_hw, overlap)  # says what is wrong with either
        if is_exported(model):
            model = ExportedModel(model)  # type: ignore[arg-type] # a path, by the test before
        self.model = model
        self._label_space = label_space if label_space is not None else _label_space_of(model)
        self.scales = tuple(scales)
        self.flip = flip
        self.window_hw = window_hw
        self.overlap = overlap
        self.keep_probability = keep_probability
        self.max_pixels = max_pixels
        self._backend = _backend_of(model, device)

    @property
    def label_space(self) -> LabelSpace:
        """Of the predictions.

        Raises:
            ConfigError: if none was given and the model has none.
        """
        if self._label_space is None:
            raise ConfigError(
                f"no label table: the model ({type(self.model).__name__}) has no label_space; "
                "pass one, for instance Predictor(model, label_space=crispseg.labels.label_space('camvid'))"
            )
        return self._label_space

    @property
    def device(self) -> torch.device | str:
        """Where images are sent: as given, or where the model is now."""
        device: torch.device | str = self._backend.device
        return device

    def __call__(self, image: AnyImage) -> Prediction:
        """Segment one image.

        Args:
            image: a file's path; uint8 RGB (H, W, 3); or a float tensor (3, H, W) or (1, 3, H, W), RGB in [0, 1].

        Returns:
            The prediction, of the image's size, on the CPU.

        Raises:
            DataError: if the file cannot be read or the image is of another form.
            ConfigError: if there is no label table, or the model's output does not fit it or the contract.
            WeightsError: if the model's output is not finite.
        """
        return self._predictions([_to_batch(image, self.max_pixels)])[0]

    def predict_many(
        self,
        images: Iterable[AnyImage],
        batch_size: int = 8,
        on_error: Callable[[int, DataError | OSError], object] | None = None,
    ) -> Iterator[tuple[int, Prediction]]:
        """Segment one image after another, those of one size that follow each other in batches.

        The predictions are those of single images, up to the rounding of floats. No more than a batch is in memory: at
        most `batch_size` images and, unless it is a single image, `BATCH_PIXELS` pixels.

        Args:
            images: paths, arrays or tensors, as for a single image; read as they are needed.
            batch_size: most images that the model sees at once.
            on_error: called with the position and the error of an image that cannot be read, which is then left out.
                None: the error is raised.

        Yields:
            Position from 0 and prediction, in order.

        Raises:
            DataError, ConfigError, WeightsError: as for a single image, after the images before it were given.

        Example:
            >>> import torch
            >>> from crispseg import SegmentationOutput
            >>> def dark(images: torch.Tensor) -> SegmentationOutput:
            ...     return SegmentationOutput(logits=torch.cat((images[:, :1], 1 - images[:, :1]), dim=1))
            >>> two = LabelSpace.from_dict({"name": "two", "classes": ["bright", "dark"]})
            >>> images = [np.full((2, 2, 3), grey, dtype=np.uint8) for grey in (10, 200)]
            >>> [(position, int(one.labels[0, 0])) for position, one in Predictor(dark, two).predict_many(images)]
            [(0, 1), (1, 0)]
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; 1 or more expected")
        waiting: list[tuple[int, _Input]] = []
        for position, image in enumerate(images):
            try:
                one = _to_batch(image, self.max_pixels)
            except (DataError, OSError) as error:
                if on_error is None:
                    yield from self._of_waiting(waiting)
                    raise
                on_error(position, error)
                continue
            if waiting and not _fits(one, waiting[0][1], len(waiting), batch_size):
                yield from self._of_waiting(waiting)
                waiting = []
            waiting.append((position, one))
        yield from self._of_waiting(waiting)

    def _of_waiting(self, waiting: Sequence[tuple[int, _Input]]) -> Iterator[tuple[int, Prediction]]:
        predictions = self._predictions([one for _, one in waiting]) if waiting else []
        yield from ((position, one) for (position, _), one in zip(waiting, predictions, strict=True))

    def _predictions(self, inputs: Sequence[_Input]) -> list[Prediction]:
        """Of images of one size."""
        label_space = self.label_space
        with self._backend.ready():
            maps = self._probabilities(self._backend.batch([one.batch for one in inputs]))
            labels, confidences = self._backend.decide(maps[0])  # (N, H, W) each
        if maps[0].shape[1] != label_space.num_classes:
            raise ConfigError(
                f"the model predicts {maps[0].shape[1]} classes, but the label table {label_space.name!r} has "
                f"{label_space.num_classes}; give the table that it was trained with"
            )
        if not np.isfinite(confidences).all():
            raise WeightsError(
                "the model's logits are not finite; its weights are broken, or it overflowed in 16 bits: "
                "load it again, or run it in float32"
            )
        boundaries = to_array(maps[1]) if len(maps) > 1 else None
        probabilities = to_array(maps[0]) if self.keep_probability else None
        return [
            Prediction(
                labels=labels[index],
                confidence=confidences[index],
                image=one.picture,
                label_space=label_space,
                boundary_probability=None if boundaries is None else boundaries[index, 0],
                probability=None if probabilities is None else probabilities[index],
            )
            for index, one in enumerate(inputs)
        ]

    def predict_batch(self, images: Any) -> Any:
        """Class probabilities of images of one size.

        Args:
            images: (N, 3, H, W) floats, RGB in [0, 1]: a tensor on any device, or an array.

        Returns:
            (N, K, H, W) float32, on the model's device, an array from a file; each pixel's sum is 1.

        Raises:
            DataError: if the images are of another form.
            ConfigError: if the model's output does not keep the contract.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not _is_floating(images) or 0 in images.shape:
            raise DataError(
                f"images are {images.dtype} {tuple(images.shape)}; floats (N, 3, H, W), none of them 0, expected"
            )
        with self._backend.ready():
            return self._probabilities(self._backend.batch([images]))[0]

    def _probabilities(self, images: Any) -> list[Any]:
        """Mean over all looks of class (N, K, H, W) and, if the model has any, boundary (N, 1, H, W) probabilities."""
        height, width = images.shape[-2:]
        backend = self._backend
        sums: list[Any] = []
        for scale in self.scales:
            scaled = backend.resize(images, (max(round(height * scale), 1), max(round(width * scale), 1)))
            for mirrored in (False, True) if self.flip else (False,):
                maps = self._look(backend.mirror(scaled) if mirrored else scaled)
                maps = [
                    backend.resize(backend.mirror(values) if mirrored else values, (height, width)) for values in maps
                ]
                sums = [total + values for total, values in zip(sums, maps, strict=True)] if sums else maps
        looks = len(self.scales) * (2 if self.flip else 1)
        return [total / looks for total in sums]

    def _look(self, images: Any) -> Sequence[Any]:
        """The same of one scale and side, through windows where the images are larger than one."""
        size_hw = (images.shape[-2], images.shape[-1])
        if self.window_hw is None or all(size <= window for size, window in zip(size_hw, self.window_hw, strict=True)):
            whole: Sequence[Any] = self._backend.run(images)
            return whole
        height, width = self.window_hw
        widths: list[int] = []

        def windows() -> Iterator[tuple[tuple[int, int], Any]]:
            for top, left in place_windows(size_hw, (height, width), self.overlap):
                maps = self._backend.run(images[..., top : top + height, left : left + width])
                widths[:] = [values.shape[1] for values in maps]
                yield (top, left), self._backend.join(maps)

        stitched = stitch_windows(windows(), size_hw)
        ends = np.cumsum(widths).tolist()
        return [stitched[:, end - count : end] for end, count in zip(ends, widths, strict=True)]


def _backend_of(model: Any, device: Any) -> Any:
    """Numbers of the model's own kind, and what is done with them."""
    if isinstance(model, (str, os.PathLike)):
        raise ConfigError(
            f"{os.fspath(model)}: no exported file by its ending; for a model folder give crispseg.load_model(folder)"
        )
    if isinstance(model, ExportedModel):
        if device is not None and str(device) != "cpu":
            raise ConfigError(f"device is {device}; exported files run on the CPU: leave it out")
        return FileBackend(model)
    from crispseg.inference.network import NetworkBackend  # PyTorch is there: the model is made with it

    return NetworkBackend(model, device)


def _label_space_of(model: object) -> LabelSpace | None:
    own = getattr(model, "label_space", None)
    return own if isinstance(own, LabelSpace) else None


class _Input(NamedTuple):
    """An image as a batch of one, (1, 3, H, W) in [0, 1], and as a picture."""

    batch: Any
    picture: Picture


def _fits(one: _Input, first: _Input, waiting: int, batch_size: int) -> bool:
    """Whether an image may join a batch that begins with `first`."""
    height, width, _ = one.picture.shape
    is_alike = one.batch.shape == first.batch.shape and _device(one.batch) == _device(first.batch)
    return is_alike and waiting < batch_size and (waiting + 1) * height * width <= BATCH_PIXELS


def _to_batch(image: AnyImage, max_pixels: int) -> _Input:
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image, max_pixels)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise DataError(
                f"image is an array of {image.dtype} {image.shape}; uint8 (H, W, 3) RGB expected "
                "(for grey or 16-bit files give the path, which is read right)"
            )
        picture = np.ascontiguousarray(image)
        batch = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        return _Input(batch, picture)
    if not hasattr(image, "detach"):
        raise DataError(
            f"image is a {type(image).__name__}; a path, a uint8 (H, W, 3) array or a float tensor expected"
        )
    tensor = image[None] if image.ndim == 3 else image
    if tensor.ndim != 4 or tensor.shape[:2] != (1, 3) or not tensor.is_floating_point() or 0 in tensor.shape:
        raise DataError(
            f"image is a tensor of {image.dtype} {tuple(image.shape)}; floats (3, H, W) or (1, 3, H, W) expected "
            "(predict_batch takes batches)"
        )
    tensor = tensor.detach().float()
    lowest, highest = (float(value) for value in tensor.aminmax())
    if not (lowest >= -_ROUNDING and highest <= 1 + _ROUNDING):
        raise DataError(f"image holds {lowest:.4g} to {highest:.4g}; RGB in [0, 1] expected, divide by 255 if need be")
    scaled = (tensor[0].clamp(0, 1) * 255).round().byte()
    return _Input(tensor, scaled.permute(1, 2, 0).contiguous().cpu().numpy())


def _device(batch: Any) -> str:
    return str(getattr(batch, "device", "cpu"))


def _is_floating(images: Any) -> bool:
    return bool(images.is_floating_point() if hasattr(images, "is_floating_point") else images.dtype.kind == "f")


_ROUNDING = 1e-3  # resampling may overshoot by a little
