"""A predictor against the labels of a set."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.evaluate.scores import Scores
from crispseg.inference import Prediction
from crispseg.metrics import boundary_f_score, confusion_counts, iou_from_counts, pixel_accuracy
from crispseg.types import LabelSpace

__all__ = ["LabelledSet", "SegmentsImages", "evaluate"]


class LabelledSet(Protocol):
    """What `evaluate` asks of a data set; `crispseg.data.SegmentationDataset` is one."""

    @property
    def label_space(self) -> LabelSpace:
        """Of the labels."""

    def __len__(self) -> int:
        """How many images there are."""

    def sample(self, index: int, /) -> Any:
        """(image uint8 (H, W, 3), labels uint8 (H, W) train ids, name)."""


class SegmentsImages(Protocol):
    """What `evaluate` asks of a predictor; `crispseg.inference.Predictor` is one."""

    @property
    def label_space(self) -> LabelSpace:
        """Of the predictions."""

    def __call__(self, image: npt.NDArray[np.uint8], /) -> Prediction:
        """Segment one image."""


def evaluate(
    predictor: SegmentsImages,
    dataset: LabelledSet,
    radii_px: Sequence[float] = (1, 2, 3, 5),
    progress: Callable[[int, int], object] | None = None,
) -> Scores:
    """Score a predictor on every image of a set, at the images' own size.

    Scoring runs in threads beside the network, a few images behind it. The result depends on neither their number nor
    their order.

    Args:
        predictor: segments one image at a time.
        dataset: images with labels, of the predictor's classes in the predictor's order.
        radii_px: of the boundary F-score, in pixels, each ≥ 0 and none twice.
        progress: called with (images done, images in all) after each, in the calling thread.

    Returns:
        The scores.

    Raises:
        ConfigError: if the classes of predictor and data set differ, or a radius does not fit.
        DataError: if the set is empty, or an image and its labels differ in size.
    """
    _check_classes(predictor.label_space, dataset.label_space)
    radii = tuple(radii_px)
    if not radii or len(set(radii)) < len(radii):
        raise ConfigError(f"radii_px is {radii}; at least one expected, none twice")
    total = len(dataset)
    if total == 0:
        raise DataError("the data set holds no images; nothing to evaluate on")

    names = dataset.label_space.class_names
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    boundary = np.full((total, len(radii), len(names)), np.nan)
    pending: deque[Future[_ImageScores]] = deque()
    done = 0

    def take_oldest() -> None:
        nonlocal counts, done
        of_image, boundary[done] = pending.popleft().result()
        counts += of_image
        done += 1
        if progress is not None:
            progress(done, total)

    workers = min(os.cpu_count() or 1, 4)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for index in range(total):
                image, labels, name = dataset.sample(index)
                predicted = predictor(image).labels
                if predicted.shape != labels.shape:
                    raise DataError(
                        f"{name}: the image has {predicted.shape[0]}×{predicted.shape[1]} pixels and its labels "
                        f"{labels.shape[0]}×{labels.shape[1]}; the same size expected"
                    )
                pending.append(pool.submit(_score_image, predicted, labels, len(names), radii, name))
                if len(pending) > 2 * workers:  # no more images in memory than keep the threads busy
                    take_oldest()
            while pending:
                take_oldest()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise

    iou = iou_from_counts(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a class that no image shows: NaN is its score
        of_class = np.nanmean(boundary, axis=0)
    return Scores(
        iou={name: float(value) for name, value in zip(names, iou, strict=True)},
        pixel_accuracy=pixel_accuracy(counts),
        boundary_f={
            radius: {name: float(value) for name, value in zip(names, row, strict=True)}
            for radius, row in zip(radii, of_class, strict=True)
        },
        images=total,
    )


_ImageScores = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


def _score_image(
    predicted: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    num_classes: int,
    radii_px: tuple[float, ...],
    name: str,
) -> _ImageScores:
    """Confusion counts (K, K) and boundary F (R, K) of one image."""
    try:
        counts = confusion_counts(predicted, labels, num_classes)
        return counts, boundary_f_score(predicted, labels, num_classes, radii_px)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _check_classes(predicted: LabelSpace, labelled: LabelSpace) -> None:
    ours, theirs = predicted.class_names, labelled.class_names
    if ours == theirs:
        return
    missing = [name for name in theirs if name not in ours]
    extra = [name for name in ours if name not in theirs]
    details = []
    if missing:
        details.append(f"only the data set has {', '.join(missing)}")
    if extra:
        details.append(f"only the model has {', '.join(extra)}")
    if not details:
        details.append("the order differs")
    raise ConfigError(
        f"the model's classes ({predicted.name!r}: {', '.join(ours)}) are not the data set's "
        f"({labelled.name!r}: {', '.join(theirs)}); {'; '.join(details)}. "
        "Evaluate on data with the model's label table, or train on this one"
    )
