"""From an image to a `Prediction`, over any callable ``images → SegmentationOutput`` and over exported files.

PyTorch is imported with a network of it: exported files run where it is not installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from crispseg.config import MAX_SCALE
from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.inference.exported import ExportedModel, FileBackend, is_exported
from crispseg.inference.precision import checked_precision
from crispseg.inference.prediction import Prediction
from crispseg.io.images import MAX_PIXELS, read_image
from crispseg.labels import LabelSpace
from crispseg.ops.arrays import to_array, zeros_like
from crispseg.ops.windows import place_windows, stitch_rows
from crispseg.pictures.colour import Picture

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from crispseg.types import SegmentationOutput

__all__ = ["BATCH_PIXELS", "Predictor", "Rows"]

BATCH_PIXELS = 2**20
"""Most pixels of a batch of several images: with 19 classes their probabilities take 80 MB, a few times over."""

AnyPixels: TypeAlias = "npt.NDArray[np.uint8] | Tensor"
AnyImage: TypeAlias = "str | os.PathLike[str] | AnyPixels"
_Read: TypeAlias = Callable[[int, int, int, int], Any]
"""From top, left, height and width to that part of the images, (N, 3, height, width)."""


class Rows(NamedTuple):
    """Finished rows of one segmented image, as its `Prediction` will hold them.

    Attributes:
        top: where they begin in the image.
        labels: (h, W) uint8.
        confidence: (h, W) float32.
        boundary_probability: (h, W) float32; None if the model has no boundary branch.
        probability: (K, h, W) float32; None unless the predictor was asked to keep it.
    """

    top: int
    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    boundary_probability: npt.NDArray[np.float32] | None = None
    probability: npt.NDArray[np.float32] | None = None


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
        precision: in which the network computes: ``"float32"``, ``"bfloat16"`` or ``"float16"``, the latter two by
            autocast with channels last in memory. ``"auto"`` is bfloat16 where model and hardware gain by it: a module
            in float32 on a processor or GPU that multiplies bfloat16 itself, or an OpenVINO file on such a processor.
            Otherwise it is float32, as for functions. Probabilities are float32 always.
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
        self._backend = _backend_of(model, device, precision, compile)

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

    @property
    def precision(self) -> str:
        """In which the network computes, where it is now; never ``"auto"``."""
        precision: str = self._backend.precision
        return precision

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
        return self._predictions([_to_input(image, self.max_pixels)])[0]

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
        waiting: list[tuple[int, _Input]] = []
        for position, image in enumerate(images):
            try:
                one = _to_input(image, self.max_pixels)
            except (DataError, OSError) as error:
                if on_error is None:
                    yield from self._of_waiting(waiting, on_error)
                    raise
                on_error(position, error)
                continue
            if waiting and not _fits(one, waiting[0][1], len(waiting), batch_size):
                yield from self._of_waiting(waiting, on_error)
                waiting = []
            waiting.append((position, one))
        yield from self._of_waiting(waiting, on_error)

    def _of_waiting(
        self, waiting: Sequence[tuple[int, _Input]], on_error: Callable[[int, DataError | OSError], object] | None
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
            found = _to_input(read(top, left, height, width), self.max_pixels)
            if found.picture.shape[:2] != (height, width):
                raise DataError(
                    f"{found.picture.shape[0]}×{found.picture.shape[1]} pixels were read at row {top}, column {left}; "
                    f"{height}×{width} expected"
                )
            return self._backend.batch([found.part(0, 0, height, width)])

        for rows in self._decided(part, size_hw, first_row):
            maps: list[Any] = [None if values is None else values[0].copy() for values in rows[1:]]
            yield Rows(rows.top, *maps)

    def _predictions(self, inputs: Sequence[_Input]) -> list[Prediction]:
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

    def _decided(self, read: _Read, size_hw: tuple[int, int], first_row: int = 0) -> Iterator[Rows]:
        """Rows of images of one size, their maps with the images in front, views that the next step may overwrite."""
        label_space = self.label_space
        finished = self._finished(read, size_hw, first_row)
        while True:
            with self._backend.ready():  # not over a `yield`: the caller's own tensors are none of our business
                top, maps = next(finished, (0, None))
                if maps is None:
                    return
                labels, confidences = self._backend.decide(maps[0])  # (N, h, W) each
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
            boundaries = to_array(maps[1])[:, 0] if len(maps) > 1 else None
            yield Rows(top, labels, confidences, boundaries, to_array(maps[0]) if self.keep_probability else None)

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

    def _finished(self, read: _Read, size_hw: tuple[int, int], first_row: int) -> Iterator[tuple[int, Sequence[Any]]]:
        """Mean class (N, K, h, W) and, if the model has any, boundary (N, 1, h, W) probabilities of rows, in order."""
        if self.scales != (1.0,) or (self.flip and not self._is_slid_over(size_hw)):
            yield 0, self._probabilities(read(0, 0, *size_hw))
            return
        if not self._is_slid_over(size_hw):
            yield from self._rows_of(self._backend.run(read(0, 0, *size_hw)))
            return
        rows_of_sides = [self._window_rows(read, size_hw, mirrored, first_row) for mirrored in self._sides]
        for looks in zip(*rows_of_sides, strict=True):
            yield looks[0][0], _mean(maps for _, maps in looks)

    def _rows_of(self, maps: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
        """The same of a whole look, a few rows at a time: faster within the cache, and no second K floats a pixel."""
        batch, _, height, width = maps[0].shape
        step = height if self.keep_probability else max(_PIXELS_AT_ONCE // (batch * width), 1)
        for top in range(0, height, step):
            yield top, self._backend.probabilities([values[..., top : top + step, :] for values in maps])

    def _probabilities(self, images: Any) -> Sequence[Any]:
        """The same of whole images (N, 3, H, W)."""
        size_hw = (images.shape[-2], images.shape[-1])

        def looks() -> Iterator[Sequence[Any]]:
            for scale in self.scales:
                scaled = self._backend.resize(images, tuple(max(round(size * scale), 1) for size in size_hw))
                for mirrored in self._sides:
                    yield [self._backend.resize(maps, size_hw) for maps in self._look(scaled, mirrored)]

        return _mean(looks())

    @property
    def _sides(self) -> tuple[bool, ...]:
        """Whether mirrored, of each look at one scale."""
        return (False, True) if self.flip else (False,)

    def _look(self, images: Any, mirrored: bool) -> Sequence[Any]:
        """The same of one look, through windows where the images are larger than one."""
        size_hw = (images.shape[-2], images.shape[-1])
        if not self._is_slid_over(size_hw):
            return self._seen(images, mirrored)

        def read(top: int, left: int, height: int, width: int) -> Any:
            return images[..., top : top + height, left : left + width]

        whole: list[Any] = []
        for top, maps in self._window_rows(read, size_hw, mirrored):
            whole = whole or [zeros_like(values, (*values.shape[:2], *size_hw)) for values in maps]
            for into, values in zip(whole, maps, strict=True):
                into[..., top : top + values.shape[-2], :] = values
        return whole

    def _is_slid_over(self, size_hw: tuple[int, int]) -> bool:
        """Whether an image is looked at through windows."""
        return self.window_hw is not None and any(
            size > window for size, window in zip(size_hw, self.window_hw, strict=True)
        )

    def _window_rows(
        self, read: _Read, size_hw: tuple[int, int], mirrored: bool, first_row: int = 0
    ) -> Iterator[tuple[int, Sequence[Any]]]:
        """Rows of one look through windows, which lie where those of the mirrored image do if it is that."""
        assert self.window_hw is not None
        height, width = (min(size, window) for size, window in zip(size_hw, self.window_hw, strict=True))
        widths: list[int] = []
        places = [
            place for place in place_windows(size_hw, (height, width), self.overlap) if place[0] + height > first_row
        ]

        def windows() -> Iterator[tuple[tuple[int, int], Any]]:
            for top, left in places:
                place = (top, size_hw[1] - left - width if mirrored else left)
                maps = self._seen(read(*place, height, width), mirrored)
                widths[:] = [values.shape[1] for values in maps]
                yield place, self._backend.join(maps)

        for top, rows in stitch_rows(windows(), size_hw, places[0][0]):
            ends = np.cumsum(widths).tolist()
            yield top, [rows[:, end - count : end] for end, count in zip(ends, widths, strict=True)]

    def _seen(self, images: Any, mirrored: bool) -> Sequence[Any]:
        """What the model says of images, or of their mirror images."""
        backend = self._backend
        maps: Sequence[Any] = backend.probabilities(backend.run(backend.mirror(images) if mirrored else images))
        return [backend.mirror(values) for values in maps] if mirrored else maps


def _mean(looks: Iterable[Sequence[Any]]) -> Sequence[Any]:
    """Of the maps of several looks, one for one; a single look's as they are."""
    total: Sequence[Any] = []
    count = 0
    for maps in looks:
        total = [before + values for before, values in zip(total, maps, strict=True)] if total else maps
        count += 1
    return total if count == 1 else [values / count for values in total]


def _backend_of(model: Any, device: Any, precision: str, compile: bool) -> Any:
    """Numbers of the model's own kind, and what is done with them."""
    checked_precision(precision)
    if isinstance(model, (str, os.PathLike)):
        raise ConfigError(
            f"{os.fspath(model)}: no exported file by its ending; for a model folder give crispseg.load_model(folder)"
        )
    if isinstance(model, ExportedModel):
        if device is not None and str(device) != "cpu":
            raise ConfigError(f"device is {device}; exported files run on the CPU: leave it out")
        if compile:
            raise ConfigError(f"compile: {model.path} is an exported file, which is compiled already; leave it out")
        if precision not in ("auto", model.precision):
            raise ConfigError(
                f"precision is {precision!r}, but {model.path} was opened for {model.precision}; "
                f"leave it out, or open it by ExportedModel(path, precision={precision!r})"
            )
        return FileBackend(model)
    from crispseg.inference.network import NetworkBackend  # PyTorch is there: the model is made with it

    return NetworkBackend(model, device, precision, compile)


def _label_space_of(model: object) -> LabelSpace | None:
    own = getattr(model, "label_space", None)
    return own if isinstance(own, LabelSpace) else None


class _Input(NamedTuple):
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


def _fits(one: _Input, first: _Input, waiting: int, batch_size: int) -> bool:
    """Whether an image may join a batch that begins with `first`."""
    height, width, _ = one.picture.shape
    is_alike = one.picture.shape == first.picture.shape and _device(one.tensor) == _device(first.tensor)
    return is_alike and waiting < batch_size and (waiting + 1) * height * width <= BATCH_PIXELS


def _to_input(image: AnyImage, max_pixels: int) -> _Input:
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image, max_pixels)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise DataError(
                f"image is an array of {image.dtype} {image.shape}; uint8 (H, W, 3) RGB expected "
                "(for grey or 16-bit files give the path, which is read right)"
            )
        return _Input(np.ascontiguousarray(image))
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
    return _Input(scaled.permute(1, 2, 0).contiguous().cpu().numpy(), tensor)


def _device(batch: Any) -> str:
    return str(getattr(batch, "device", "cpu"))


def _is_floating(images: Any) -> bool:
    return bool(images.is_floating_point() if hasattr(images, "is_floating_point") else images.dtype.kind == "f")


_PIXELS_AT_ONCE = 2**16
_ROUNDING = 1e-3  # resampling may overshoot by a little
