"""The official evaluation of Cityscapes and KITTI: IoU and instance-weighted iIoU, of classes and of categories.

It counts raw ids, not train ids, and so knows what is predicted as an ignored class, a caravan for instance.
Cordts et al., The Cityscapes Dataset, CVPR 2016, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.labels import LabelClass, LabelSpace, label_space
from crispseg.metrics.functional.arrays import count_pairs, mean_of_known, share
from crispseg.ops.arrays import ArrayLike, to_array

__all__ = [
    "CityscapesCounts",
    "CityscapesScores",
    "cityscapes_counts",
    "cityscapes_scores",
    "kitti_instance_ids",
]


@dataclass(frozen=True, eq=False)
class CityscapesCounts:
    """What the official scores follow from; counts of images add up with ``+``.

    Attributes:
        confusion: (256, 256) int64 over raw ids, rows = truth; 255 stands for no class.
        instance_right: (K,) float64. Pixels of the class's instances that are predicted as the class, each weighed by
            the average size of the class's instances over the size of its own. NaN where instances are not known.
        instance_right_category: (K,) float64. The same for pixels predicted as any class of the category.
        instance_total: (K,) float64. The same for all pixels of the instances.
    """

    confusion: npt.NDArray[np.int64]
    instance_right: npt.NDArray[np.float64]
    instance_right_category: npt.NDArray[np.float64]
    instance_total: npt.NDArray[np.float64]

    def __add__(self, other: CityscapesCounts) -> CityscapesCounts:
        return CityscapesCounts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def units(self) -> npt.NDArray[np.int64]:
        """(3, K) the weighted pixels (right, right in the category, in all) in whole parts, whose sums have no order.

        The parts are so small that no score changes in its first ten digits.
        """
        weighted = np.stack((self.instance_right, self.instance_right_category, self.instance_total))
        return (weighted * _UNITS_PER_PIXEL).round().astype(np.int64)

    @classmethod
    def from_units(cls, confusion: npt.NDArray[np.int64], units: npt.NDArray[Any]) -> CityscapesCounts:
        """Counts from a confusion (256, 256) and from sums of `units` (3, K)."""
        return cls(confusion, *(units / _UNITS_PER_PIXEL))


@dataclass(frozen=True)
class CityscapesScores:
    """The scores that the official evaluation prints, in [0, 1]; NaN where it has none.

    Attributes:
        class_iou: by class name, the ignored classes too, which are NaN.
        class_iiou: the same, instance-weighted; NaN for classes without instances.
        category_iou: by category.
        category_iiou: the same, instance-weighted; NaN for categories that hold classes without instances.
    """

    class_iou: dict[str, float]
    class_iiou: dict[str, float]
    category_iou: dict[str, float]
    category_iiou: dict[str, float]

    @property
    def mean_class_iou(self) -> float:
        """Mean over the classes, NaN left out."""
        return mean_of_known(self.class_iou.values())

    @property
    def mean_class_iiou(self) -> float:
        """Mean over the classes, NaN left out."""
        return mean_of_known(self.class_iiou.values())

    @property
    def mean_category_iou(self) -> float:
        """Mean over the categories, NaN left out."""
        return mean_of_known(self.category_iou.values())

    @property
    def mean_category_iiou(self) -> float:
        """Mean over the categories, NaN left out."""
        return mean_of_known(self.category_iiou.values())


def cityscapes_counts(
    prediction_ids: ArrayLike,
    label_ids: ArrayLike,
    instance_ids: ArrayLike | None = None,
    space: LabelSpace | None = None,
) -> CityscapesCounts:
    """Count one image for the official evaluation.

    Args:
        prediction_ids: (H, W) raw ids, as in ``*_labelIds.png``; 255 for no class, which is always wrong.
        label_ids: (H, W) raw ids of the truth; 255 is ignored.
        instance_ids: (H, W), as in ``*_gtFine_instanceIds.png``: 1000 · id + number for an instance. Values up to 1000
            (groups, and classes without instances) and instances of ignored classes add nothing. For KITTI's files see
            `kitti_instance_ids`. None: without instance-weighted scores, which are NaN then.
        space: the table of ids, below 255; None for Cityscapes', which is KITTI's too.

    Raises:
        DataError: if shapes differ, a map holds no integers, or holds ids that the table does not know.
        ConfigError: if the average size of a class with instances is unknown.

    Example:
        >>> labels, instances = np.array([[26, 26, 23]]), np.array([[26000, 26000, 23]])
        >>> counts = cityscapes_counts(np.array([[26, 23, 23]]), labels, instances)
        >>> scores = cityscapes_scores(counts + counts)
        >>> scores.class_iou["car"], scores.class_iiou["car"], scores.category_iou["sky"], scores.class_iou["caravan"]
        (0.5, 0.5, 0.5, nan)
    """
    space = label_space("cityscapes") if space is None else space
    maps = {"prediction": to_array(prediction_ids), "labels": to_array(label_ids)}
    if instance_ids is not None:
        maps["instances"] = to_array(instance_ids)
    for name, values in maps.items():
        if values.dtype.kind not in "iu" or values.shape != maps["labels"].shape:
            raise DataError(
                f"{name} is {values.dtype} of the shape {values.shape}, labels have {maps['labels'].shape}; "
                "integer raw ids of one shape expected"
            )
    predicted, true = (_known_ids(name, maps[name], space) for name in ("prediction", "labels"))
    weighted = np.full((3, space.num_classes), np.nan)
    if "instances" in maps:
        weighted = _weigh_instances(maps["instances"], predicted, space)
    return CityscapesCounts(count_pairs(true, predicted), *weighted)


def cityscapes_scores(counts: CityscapesCounts, space: LabelSpace | None = None) -> CityscapesScores:
    """Scores of a set from its summed counts, by the rules of the official evaluation.

    A class: TP / (TP + FP + FN) over raw ids. False negatives are pixels of the class predicted as anything else, an
    ignored class too; false positives are pixels of other classes, but not of ignored ones. A category is scored as one
    class, made of its classes that are not ignored. Instance-weighted: TP and FN are the weighted pixels of
    `CityscapesCounts`, FP is as before; but for the instance-weighted score of a category its ignored classes (caravan
    and trailer) are predictions like its others, right inside of it and wrong outside, as the official code has it.

    Args:
        counts: of one image, or sums over several.
        space: the table that they were counted with; None for Cityscapes'.

    Raises:
        DataError: if the counts are of another table.
        ConfigError: if the table has no categories.
    """
    space = label_space("cityscapes") if space is None else space
    if counts.confusion.shape != (256, 256) or counts.instance_total.shape != (space.num_classes,):
        raise DataError(
            f"counts have the shapes {counts.confusion.shape} and {counts.instance_total.shape}; (256, 256) and "
            f"({space.num_classes},) expected for the label table {space.name!r}"
        )
    if not space.categories:
        raise ConfigError(f"label table {space.name!r} has no categories; give its classes a 'category'")
    scored = _ids_of(space.classes)

    def overlap(own: Masks, right: Weights, total: Weights, predicted_as: Masks) -> npt.NDArray[np.float64]:
        """Right over everything: one's own, and what of other scored classes is predicted as one's own."""
        others = (scored & ~own).astype(np.int64)
        false_positives = np.einsum("ci,ij,cj->c", others, counts.confusion, predicted_as.astype(np.int64))
        return share(right, total + false_positives, np.nan)

    def iou(own: Masks) -> npt.NDArray[np.float64]:
        is_own = own.astype(np.int64)
        right = np.einsum("ci,ij,cj->c", is_own, counts.confusion, is_own)
        return overlap(own, right, is_own @ counts.confusion.sum(axis=1), own)

    of_class = np.stack([_ids_of([entry]) for entry in space.classes])  # (K, 256)
    class_iiou = overlap(of_class, counts.instance_right, counts.instance_total, of_class)
    class_iiou[[not entry.has_instances for entry in space.classes]] = np.nan

    entries = (*space.classes, *space.ignored_classes)
    members = [[entry for entry in entries if entry.category == name] for name in space.categories]
    with_ignored = np.stack([_ids_of(of_one) for of_one in members])
    of_category = with_ignored & scored  # (C, 256)
    sums = np.array([[entry.category == name for entry in space.classes] for name in space.categories])  # (C, K)
    category_iiou = overlap(
        of_category, sums @ counts.instance_right_category, sums @ counts.instance_total, with_ignored
    )
    category_iiou[[not all(entry.has_instances for entry in of_one) for of_one in members]] = np.nan

    def by_class(values: npt.NDArray[np.float64]) -> dict[str, float]:
        ignored = {entry.name: math.nan for entry in space.ignored_classes}
        return dict(zip(space.class_names, values.tolist(), strict=True)) | ignored

    def by_category(values: npt.NDArray[np.float64]) -> dict[str, float]:
        scores = dict(zip(space.categories, values.tolist(), strict=True))
        return scores | {e.category: math.nan for e in space.ignored_classes if e.category and e.category not in scores}

    return CityscapesScores(
        by_class(iou(of_class)), by_class(class_iiou), by_category(iou(of_category)), by_category(category_iiou)
    )


def kitti_instance_ids(values: ArrayLike) -> npt.NDArray[np.int32]:
    """Bring KITTI's instance files to Cityscapes' numbering.

    Args:
        values: 16-bit integers of any shape, as in ``training/instance/*.png``: 256 · id + number, number 0 for none.

    Returns:
        int32 of the same shape: 1000 · id + number, and the id alone where there is no instance.

    Example:
        >>> kitti_instance_ids(np.array([26 * 256 + 3, 7 * 256]))
        array([26003,     7], dtype=int32)
    """
    combined = to_array(values).astype(np.int32)
    ids, number = combined >> 8, combined & 255
    return np.where(number > 0, 1000 * ids + number, ids).astype(np.int32)


_AVERAGE_INSTANCE_PX = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
"""Average size of an instance in the Cityscapes training set, as the official evaluation has it."""


Masks = npt.NDArray[np.bool_]
"""(C, 256) which raw ids belong to each class or category."""

Weights = npt.NDArray[np.float64] | npt.NDArray[np.int64]
"""(C,) pixels."""


def _weigh_instances(
    instance_ids: npt.NDArray[Any], predicted: npt.NDArray[np.uint8], space: LabelSpace
) -> npt.NDArray[np.float64]:
    """The three weighted sums (3, K) of `CityscapesCounts`."""
    train_id = np.full(256, -1)
    category = np.full(256, -1)
    average_px = np.zeros(256)
    names = list(dict.fromkeys(entry.category for entry in (*space.classes, *space.ignored_classes)))
    for entry in (*space.classes, *space.ignored_classes):
        category[list(entry.ids)] = names.index(entry.category)
    for index, entry in enumerate(space.classes):
        if entry.has_instances:
            if entry.name not in _AVERAGE_INSTANCE_PX:
                raise ConfigError(
                    f"label table {space.name!r}: class {entry.name!r} has instances, but their average size is not "
                    f"known; only that of {', '.join(_AVERAGE_INSTANCE_PX)} is"
                )
            train_id[list(entry.ids)] = index
            average_px[list(entry.ids)] = _AVERAGE_INSTANCE_PX[entry.name]

    of_instance = instance_ids > _IDS_PER_CLASS
    instances = instance_ids[of_instance].astype(np.int64)
    own = _known_ids("instances", instances // _IDS_PER_CLASS, space)
    found = predicted[of_instance]
    kinds = (found == own, category[found] == category[own], np.ones(len(own), bool))
    pixels = np.stack([np.bincount(instances[kind], minlength=256 * _IDS_PER_CLASS) for kind in kinds])
    numbers = np.flatnonzero(pixels[2])
    numbers = numbers[train_id[numbers // _IDS_PER_CLASS] >= 0]  # without those of ignored classes
    ids = numbers // _IDS_PER_CLASS
    weighted = pixels[:, numbers] * (average_px[ids] / pixels[2, numbers])
    return np.stack([np.bincount(train_id[ids], row, minlength=space.num_classes) for row in weighted])


_IDS_PER_CLASS = 1000
_UNITS_PER_PIXEL = 2**24


def _known_ids(name: str, values: npt.NDArray[Any], space: LabelSpace) -> npt.NDArray[np.uint8]:
    """The values as bytes, if the table knows all of them."""
    ids = values.astype(np.uint8)
    known = (space.lookup[:256] >= 0)[ids] & (ids == values)
    if not known.all():
        raise DataError(
            f"{name} holds ids that the label table {space.name!r} does not know: "
            f"{', '.join(map(str, np.unique(values[~known])[:5]))}; raw ids expected, or 255 for no class"
        )
    return ids


def _ids_of(entries: Iterable[LabelClass]) -> npt.NDArray[np.bool_]:
    """(256,) which raw ids mean one of these classes."""
    ids = np.zeros(256, dtype=bool)
    ids[[raw for entry in entries for raw in entry.ids]] = True
    return ids
