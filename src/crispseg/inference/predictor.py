"""From an image to a `Prediction`, over any callable ``images → SegmentationOutput``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.inference.prediction import Prediction
from crispseg.io.images import MAX_PIXELS, read_image
from crispseg.labels import LabelSpace
from crispseg.ops.resize import resize
from crispseg.ops.windows import place_windows, stitch_windows
from crispseg.pictures.colour import Picture
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
        model: takes (N, 3, H, W) RGB in [0, 1], returns a `SegmentationOutput` of the same height and width.
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
        ConfigError: if an option is out of its range.

    Example:
        >>> def by_brightness(images: Tensor) -> SegmentationOutput:
        ...     grey = images.mean(dim=1, keepdim=True)
        ...     return SegmentationOutput(logits=torch.cat((0.5 - grey, grey - 0.5), dim=1))
        >>> two = LabelSpace.from_dict({"name": "two", "classes": ["dark", "bright"]})
        >>> predictor = Predictor(by_brightness, two, scales=(1.0, 2.0), flip=True)
        >>> predictor(np.full((1, 2, 3), [[[9], [250]]], dtype=np.uint8)).labels
        array([[0, 1]], dtype=uint8)
    """

    def __init__(
        self,
        model: Callable[[Tensor], SegmentationOutput],
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
        self.model = model
        self._label_space = label_space if label_space is not None else _label_space_of(model)
        self.scales = tuple(scales)
        self.flip = flip
        self.window_hw = window_hw
        self.overlap = overlap
        self.keep_probability = keep_probability
        self.max_pixels = max_pixels
        self._device = None if device is None else torch.device(device)
        if self._device is not None and isinstance(model, nn.Module):
            model.to(self._device)

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
    def device(self) -> torch.device:
        """Where images are sent: as given, or where the model is now."""
        if self._device is not None:
            return self._device
        if isinstance(self.model, nn.Module):
            for values in (*self.model.parameters(), *self.model.buffers()):
                return values.device
        return torch.device("cpu")

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
            >>> def dark(images: Tensor) -> SegmentationOutput:
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
        with self._ready():
            probabilities, *rest = self._probabilities(torch.cat([one.batch for one in inputs]).to(self.device))
        if probabilities.shape[1] != label_space.num_classes:
            raise ConfigError(
                f"the model predicts {probabilities.shape[1]} classes, but the label table {label_space.name!r} has "
                f"{label_space.num_classes}; give the table that it was trained with"
            )
        confidences, labels = probabilities.max(dim=1)  # (N, H, W) each
        if not bool(confidences.isfinite().all()):
            raise WeightsError(
                "the model's logits are not finite; its weights are broken, or it overflowed in 16 bits: "
                "load it again, or run it in float32"
            )
        return [
            Prediction(
                labels=labels[index].to(torch.uint8).cpu().numpy(),
                confidence=confidences[index].cpu().numpy(),
                image=one.picture,
                label_space=label_space,
                boundary_probability=rest[0][index, 0].cpu().numpy() if rest else None,
                probability=probabilities[index].cpu().numpy() if self.keep_probability else None,
            )
            for index, one in enumerate(inputs)
        ]

    def predict_batch(self, images: Tensor) -> Tensor:
        """Class probabilities of images of one size.

        Args:
            images: (N, 3, H, W) RGB in [0, 1], on any device.

        Returns:
            (N, K, H, W) float32, on the model's device; each pixel's sum is 1.

        Raises:
            DataError: if the images are of another form.
            ConfigError: if the model's output does not keep the contract.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point() or 0 in images.shape:
            raise DataError(
                f"images are {images.dtype} {tuple(images.shape)}; floats (N, 3, H, W), none of them 0, expected"
            )
        with self._ready():
            return self._probabilities(images.to(self.device))[0]

    def _probabilities(self, images: Tensor) -> list[Tensor]:
        """Mean over all looks of class (N, K, H, W) and, if the model has any, boundary (N, 1, H, W) probabilities."""
        height, width = images.shape[-2:]
        sums: list[Tensor] = []
        for scale in self.scales:
            scaled = resize(images, (max(round(height * scale), 1), max(round(width * scale), 1)))
            for mirrored in (False, True) if self.flip else (False,):
                maps = self._look(scaled.flip(-1) if mirrored else scaled)
                maps = [resize(values.flip(-1) if mirrored else values, (height, width)) for values in maps]
                sums = [total + values for total, values in zip(sums, maps, strict=True)] if sums else maps
        looks = len(self.scales) * (2 if self.flip else 1)
        return [total / looks for total in sums]

    def _look(self, images: Tensor) -> list[Tensor]:
        """The same of one scale and side, through windows where the images are larger than one."""
        size_hw = (images.shape[-2], images.shape[-1])
        if self.window_hw is None or all(size <= window for size, window in zip(size_hw, self.window_hw, strict=True)):
            return self._run(images)
        height, width = self.window_hw
        widths: list[int] = []

        def windows() -> Iterator[tuple[tuple[int, int], Tensor]]:
            for top, left in place_windows(size_hw, (height, width), self.overlap):
                maps = self._run(images[..., top : top + height, left : left + width])
                widths[:] = [values.shape[1] for values in maps]
                yield (top, left), torch.cat(maps, dim=1)

        stitched = stitch_windows(windows(), size_hw)
        return list(torch.split(stitched, widths, dim=1))

    def _run(self, images: Tensor) -> list[Tensor]:
        """The model itself on (N, 3, h, w), its contract checked, its logits made probabilities."""
        output = self.model(images)
        if not isinstance(output, SegmentationOutput):
            raise ConfigError(f"the model returned {type(output).__name__}; a crispseg.SegmentationOutput expected")
        batch, _, height, width = images.shape
        found = tuple(output.logits.shape)
        if len(found) != 4 or (found[0], *found[2:]) != (batch, height, width):
            raise ConfigError(
                f"the model returned logits {found}; ({batch}, K, {height}, {width}) expected, as the images"
            )
        maps = [output.logits.float().softmax(dim=1)]
        if output.boundary_logits is not None:
            if tuple(output.boundary_logits.shape) != (batch, 1, height, width):
                raise ConfigError(
                    f"the model returned boundary logits {tuple(output.boundary_logits.shape)}; "
                    f"{(batch, 1, height, width)} expected, as the images"
                )
            maps.append(output.boundary_logits.float().sigmoid())
        return maps

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """Evaluation mode without gradients; afterwards every module is in the mode that it was in."""
        modules = list(self.model.modules()) if isinstance(self.model, nn.Module) else []
        training = [module for module in modules if module.training]
        for module in training:
            module.training = False  # what eval() does; exported programs refuse eval() itself
        try:
            with torch.inference_mode():
                yield
        finally:
            for module in training:
                module.training = True


def _label_space_of(model: object) -> LabelSpace | None:
    own = getattr(model, "label_space", None)
    return own if isinstance(own, LabelSpace) else None


class _Input(NamedTuple):
    """An image as a batch of one, (1, 3, H, W) in [0, 1], and as a picture."""

    batch: Tensor
    picture: Picture


def _fits(one: _Input, first: _Input, waiting: int, batch_size: int) -> bool:
    """Whether an image may join a batch that begins with `first`."""
    height, width, _ = one.picture.shape
    is_alike = one.batch.shape == first.batch.shape and one.batch.device == first.batch.device
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
        # A copy: the picture may be read-only, and torch warns of tensors that share such memory.
        return _Input(torch.tensor(picture).permute(2, 0, 1)[None].float() / 255, picture)
    if not isinstance(image, Tensor):
        raise DataError(
            f"image is a {type(image).__name__}; a path, a uint8 (H, W, 3) array or a float tensor expected"
        )
    batch = image[None] if image.ndim == 3 else image
    if batch.ndim != 4 or batch.shape[:2] != (1, 3) or not batch.is_floating_point() or 0 in batch.shape:
        raise DataError(
            f"image is a tensor of {image.dtype} {tuple(image.shape)}; floats (3, H, W) or (1, 3, H, W) expected "
            "(predict_batch takes batches)"
        )
    batch = batch.detach().float()
    lowest, highest = (float(value) for value in batch.aminmax())
    if not (lowest >= -_ROUNDING and highest <= 1 + _ROUNDING):
        raise DataError(f"image holds {lowest:.4g} to {highest:.4g}; RGB in [0, 1] expected, divide by 255 if need be")
    scaled = (batch[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return _Input(batch, scaled.permute(1, 2, 0).contiguous().cpu().numpy())


_ROUNDING = 1e-3  # resampling may overshoot by a little
