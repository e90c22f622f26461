"""From an image to a `Prediction`, over any callable ``images → SegmentationOutput`` and over exported files.

PyTorch is imported with a network of it: exported files run where it is not installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crispseg.config import MAX_SCALE
from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.inference.backends import backend_of
from crispseg.inference.class_bias import class_factors, favoured
from crispseg.inference.exported import ExportedModel, is_exported
from crispseg.inference.images import AnyImage, AnyPixels, InputImage, reading_of, to_input
from crispseg.inference.looks import Looks, Read
from crispseg.inference.prediction import Prediction, Rows
from crispseg.io.bands import Reading
from crispseg.io.opening import MAX_PIXELS
from crispseg.labels import LabelSpace
from crispseg.ops.arrays import to_array
from crispseg.ops.windows import place_windows

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from crispseg.types import SegmentationOutput

__all__ = ["Predictor"]


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
        class_bias: by class name, what is added to the logarithm of its probability: above 0 for classes to be found
            more often, at the price of more false ones. Probabilities are those that follow, their sum is 1. For two
            classes a threshold t is ln((1 − t) / t).
        precision: in which the network computes: ``"float32"``, ``"bfloat16"`` or ``"float16"``, the latter two by
            autocast with channels last in memory, on a private copy of the weights, made at the first image and again
            when they change; see docs/deploy.md. ``"auto"`` is bfloat16 where model and hardware gain by it: a module
            in float32 on a processor or GPU that multiplies bfloat16 itself, but for images and windows below 64×64
            pixels, or an OpenVINO file on such a processor. Otherwise it is float32, as for functions. Probabilities
            are float32 always.
        compile: let PyTorch compile the network, which takes a C++ compiler, and minutes at the first image; not for
            exported files.

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
        class_bias: Mapping[str, float] | None = None,
        precision: str = "auto",
        compile: bool = False,
    ) -> None:
        if not scales or not all(0 < scale <= MAX_SCALE for scale in scales):
            raise ConfigError(
                f"scales is {tuple(scales)}; at least one expected, each above 0 and up to {MAX_SCALE}, "
                "for instance (0.75, 1.0)"
            )
        if window_hw is not None:
            place_windows((1, 1), window_hw, overlap)  # says what is wrong with either
        if is_exported(model):
            model = ExportedModel(model, precision)  # type: ignore[arg-type] # a path, by the test before
        self.model = model
        self._label_space = label_space if label_space is not None else _label_space_of(model)
        self.scales = tuple(scales)
        self.flip = flip
        self.window_hw = window_hw
        self.overlap = overlap
        self.keep_probability = keep_probability
        self.max_pixels = max_pixels
        self.class_bias = dict(class_bias or {})
        self._factors = class_factors(self.class_bias, self.label_space) if self.class_bias else None
        self._backend = backend_of(model, device, precision, compile)

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
    def reading(self) -> Reading:
        """How image files become the model's input."""
        return reading_of(self.model)

    @property
    def device(self) -> torch.device | str:
        """Where images are sent: as given, or where the model is now."""
        device: torch.device | str = self._backend.device
        return device

    @property
    def precision(self) -> str:
        """In which the network computes, where it is now; never ``"auto"``."""
        precision: str = self._backend.precision
        return precision

    def __call__(self, image: AnyImage) -> Prediction:
        """Segment one image.

        Args:
            image: a file's path, its bytes, or a file object open for reading bytes; an image of Pillow; uint8 RGB
                (H, W, 3); or a float tensor (3, H, W) or (1, 3, H, W), RGB in [0, 1].

        Returns:
            The prediction, of the image's size, on the CPU.

        Raises:
            DataError: if the file cannot be read or the image is of another form.
            ConfigError: if there is no label table, or the model's output does not fit it or the contract.
            WeightsError: if the model's output is not finite.
        """
        return self._predictions([to_input(image, self.max_pixels, self.reading)])[0]

    def predict_many(
        self,
        images: Iterable[AnyImage],
        batch_size: int = 8,
        on_error: Callable[[int, DataError | OSError], object] | None = None,
    ) -> Iterator[tuple[int, Prediction]]:
        """Segment one image after another, those of one size that follow each other in batches.

        The predictions are those of single images, up to the rounding of floats. No more than a batch is in memory: at
        most `batch_size` images and, unless it is a single image, `batch_pixels` pixels.

        Args:
            images: paths, arrays or tensors, as for a single image; read as they are needed.
            batch_size: most images that the model sees at once.
            on_error: called with the position and the error of an image that cannot be read, or is none for the model,
                which is then left out. None: the error is raised.

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
        waiting: list[tuple[int, InputImage]] = []
        for position, image in enumerate(images):
            try:
                one = to_input(image, self.max_pixels, self.reading)
            except (DataError, OSError) as error:
                if on_error is None:
                    yield from self._of_waiting(waiting, on_error)
                    raise
                on_error(position, error)
                continue
            if waiting and not self._fits(one, waiting[0][1], len(waiting), batch_size):
                yield from self._of_waiting(waiting, on_error)
                waiting = []
            waiting.append((position, one))
        yield from self._of_waiting(waiting, on_error)

    def _fits(self, one: InputImage, first: InputImage, waiting: int, batch_size: int) -> bool:
        """Whether an image may join a batch that begins with `first`."""
        height, width, _ = one.picture.shape
        fit = min(self.batch_pixels // (height * width), batch_size)
        return waiting < fit and one.is_like(first)

    def _of_waiting(
        self, waiting: Sequence[tuple[int, InputImage]], on_error: Callable[[int, DataError | OSError], object] | None
    ) -> Iterator[tuple[int, Prediction]]:
        try:
            predictions = self._predictions([one for _, one in waiting]) if waiting else []
        except DataError as error:  # all are of one size, which is too small for an exported file
            if on_error is None:
                raise
            for position, _ in waiting:
                on_error(position, error)
            return
        yield from ((position, one) for (position, _), one in zip(waiting, predictions, strict=True))

    def stream(
        self, read: Callable[[int, int, int, int], AnyPixels], size_hw: tuple[int, int], first_row: int = 0
    ) -> Iterator[Rows]:
        """Segment an image that need not be in memory: rows of it, each as soon as they are finished.

        The rows together are what the whole image gives, to the last bit. With windows no more is in memory than one
        of them and a strip of class probabilities as high as it (two with `flip`); without, the image is read whole.

        Args:
            read: called with top, left, height and width in pixels of each window, row by row from the top; returns
                that part as uint8 RGB (height, width, 3), or as a float tensor (3, height, width) in [0, 1].
            size_hw: of the image.
            first_row: the first row that is of interest, when those above it are known from an earlier run. Windows
                that do not reach it are not read; the rows that are given begin at it or above, and are right from it
                on.

        Yields:
            Rows from the top to the bottom, on the CPU.

        Raises:
            DataError: if what was read is of another form.
            ConfigError: if there are scales other than 1.0, which need the image whole, or as for a single image.
            WeightsError: if the model's output is not finite.

        Example:
            >>> import torch
            >>> from crispseg import SegmentationOutput
            >>> def dark(images: torch.Tensor) -> SegmentationOutput:
            ...     return SegmentationOutput(logits=torch.cat((images[:, :1], 1 - images[:, :1]), dim=1))
            >>> def read(top: int, left: int, height: int, width: int) -> np.ndarray:
            ...     return np.full((height, width, 3), 10 * top, dtype=np.uint8)
            >>> two = LabelSpace.from_dict({"name": "two", "classes": ["bright", "dark"]})
            >>> predictor = Predictor(dark, two, window_hw=(4, 4), overlap=0)
            >>> [(rows.top, rows.labels.shape, int(rows.labels[0, 0])) for rows in predictor.stream(read, (16, 9))]
            [(0, (4, 9), 1), (4, (4, 9), 1), (8, (4, 9), 1), (12, (4, 9), 1)]
        """
        if self.scales != (1.0,):
            raise ConfigError(f"scales is {self.scales}; rows of an image can be finished at scale 1.0 alone")

        def part(top: int, left: int, height: int, width: int) -> Any:
            found = to_input(read(top, left, height, width), self.max_pixels, self.reading)
            if found.picture.shape[:2] != (height, width):
                raise DataError(
                    f"{found.picture.shape[0]}×{found.picture.shape[1]} pixels were read at row {top}, column {left}; "
                    f"{height}×{width} expected"
                )
            return self._backend.batch([found.part(0, 0, height, width)])

        for rows in self._decided(part, size_hw, first_row):
            maps: list[Any] = [None if values is None else values[0].copy() for values in rows[1:]]
            yield Rows(rows.top, *maps)

    @property
    def batch_pixels(self) -> int:
        """How many pixels are looked at together, at most, unless a single image or window has more."""
        pixels: int = self._backend.batch_pixels
        return pixels

    @property
    def _looks(self) -> Looks:
        return Looks(self._backend, self.scales, self.flip, self.window_hw, self.overlap)

    def _predictions(self, inputs: Sequence[InputImage]) -> list[Prediction]:
        """Of images of one size."""
        size_hw = (inputs[0].picture.shape[0], inputs[0].picture.shape[1])

        def read(*part: int) -> Any:
            return self._backend.batch([one.part(*part) for one in inputs])

        maps: list[Any] = []
        for rows in self._decided(read, size_hw):
            if rows.labels.shape[-2:] == size_hw:
                maps = list(rows[1:])
                break
            maps = maps or [
                None if values is None else np.empty((*values.shape[:-2], *size_hw), values.dtype)
                for values in rows[1:]
            ]
            for whole, values in zip(maps, rows[1:], strict=True):
                if values is not None:
                    whole[..., rows.top : rows.top + values.shape[-2], :] = values
        labels, confidences, boundaries, probabilities = maps
        return [
            Prediction(
                labels=labels[index],
                confidence=confidences[index],
                image=one.picture,
                label_space=self.label_space,
                boundary_probability=None if boundaries is None else boundaries[index],
                probability=None if probabilities is None else probabilities[index],
            )
            for index, one in enumerate(inputs)
        ]

    def _decided(self, read: Read, size_hw: tuple[int, int], first_row: int = 0) -> Iterator[Rows]:
        """Rows of images of one size, their maps with the images in front, views that the next step may overwrite."""
        label_space = self.label_space
        finished = self._looks.rows(read, size_hw, first_row, whole=self.keep_probability)
        while True:
            with self._backend.ready():  # not over a `yield`: the caller's own tensors are none of our business
                top, maps = next(finished, (0, None))
                if maps is None:
                    return
                if maps[0].shape[1] != label_space.num_classes:
                    raise ConfigError(
                        f"the model predicts {maps[0].shape[1]} classes, but the label table {label_space.name!r} has "
                        f"{label_space.num_classes}; give the table that it was trained with"
                    )
                probabilities = self._favoured(maps[0])
                labels, confidences = self._backend.decide(probabilities)  # (N, h, W) each
            if not np.isfinite(confidences).all():
                raise WeightsError(
                    "the model's logits are not finite; its weights are broken, or it overflowed in 16 bits: "
                    "load it again, or run it in float32"
                )
            boundaries = to_array(maps[1])[:, 0] if len(maps) > 1 else None
            kept = to_array(probabilities) if self.keep_probability else None
            yield Rows(top, labels, confidences, boundaries, kept)

    def _favoured(self, probabilities: Any) -> Any:
        return probabilities if self._factors is None else favoured(probabilities, self._factors)

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
        if (
            images.ndim != 4
            or images.shape[1] != self.reading.channels
            or not _is_floating(images)
            or 0 in images.shape
        ):
            raise DataError(
                f"images are {images.dtype} {tuple(images.shape)}; floats (N, 3, H, W), none of them 0, expected"
            )
        with self._backend.ready():
            return self._favoured(self._looks.probabilities(self._backend.batch([images]))[0])


def _label_space_of(model: object) -> LabelSpace | None:
    own = getattr(model, "label_space", None)
    return own if isinstance(own, LabelSpace) else None


def _is_floating(images: Any) -> bool:
    return bool(images.is_floating_point() if hasattr(images, "is_floating_point") else images.dtype.kind == "f")
