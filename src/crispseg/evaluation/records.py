"""What is counted in one image: whole numbers that add up over images, as one JSON line each.

Every score of a set follows from the records of its images, so a set of any size is scored in bounded memory, a run
that was stopped goes on, and two runs can be compared image by image.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.metrics import (
    boundary_iou_counts,
    boundary_iou_radius,
    boundary_match_counts,
    confusion_counts,
    distance_counts,
    trimap_counts_by_radius,
)
from crispseg.metrics.counts import SetCounts, boundary_rates, image_sums, overlaps
from crispseg.metrics.table import DEFINITIONS, choose_scores

__all__ = ["BOUNDARY_IOU_RATIO", "ImageRecord", "Settings", "confusion_rows", "score_image"]

BOUNDARY_IOU_RATIO = 0.02
"""Reach of the Boundary IoU, relative to the image's diagonal (Cheng et al., CVPR 2021, section 4)."""

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[np.uint8]

_ALL_IDS = 256


@dataclass(frozen=True)
class Settings:
    """What the records of a set depend on; only records of equal settings add up.

    Attributes:
        label_space: the classes.
        radii_px: of boundary F and trimap IoU, each ≥ 0 and none twice.
        source: what is scored, as plain values: a run goes on only with the same.
        crop_factors_px: of IoU at distance, each ≥ 0 and none twice; none: it is not scored.
        crop_margin_px: of its crops; see `crispseg.metrics.distance_crop`.
        instances: whether instances are counted as well, for the instance-weighted IoU of the Cityscapes evaluation.
        scores: which scores are asked for, of `crispseg.metrics.table.SCORES`; None: all. Only what they need is
            counted, and always the confusion.

    Raises:
        ConfigError: if a radius, a crop factor or the margin does not fit, a score is unknown, or what it needs is
            missing.
    """

    label_space: LabelSpace
    radii_px: tuple[float, ...]
    source: Mapping[str, Any] = field(default_factory=dict)
    crop_factors_px: tuple[int, ...] = ()
    crop_margin_px: int = 100
    instances: bool = False
    scores: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        radii = self.radii_px
        if not radii or len(set(radii)) < len(radii) or not all(math.isfinite(r) and r >= 0 for r in radii):
            raise ConfigError(f"radii_px is {radii}; at least one expected, each finite and ≥ 0, none twice")
        factors = self.crop_factors_px
        if len(set(factors)) < len(factors) or not all(isinstance(c, int) and c >= 0 for c in factors):
            raise ConfigError(f"crop_factors_px is {factors}; whole numbers ≥ 0 expected, none twice")
        if not isinstance(self.source, Mapping):
            raise ConfigError(f"source is {self.source!r:.100}; names and values expected")
        if self.crop_margin_px < 0:
            raise ConfigError(f"crop_margin_px is {self.crop_margin_px}; pixels ≥ 0 expected")
        if self.scores is not None:
            object.__setattr__(self, "scores", choose_scores(self.scores))
            self._check_scores()

    def _check_scores(self) -> None:
        """What is asked for can be had, and nothing is asked for that is then not scored."""
        asked = self.scores or ()
        if "distance_iou" in asked and not self.crop_factors_px:
            raise ConfigError("scores names distance_iou, which needs crop_factors_px (--crop-factors); give them too")
        if "distance_iou" not in asked and self.crop_factors_px:
            raise ConfigError(
                "crop_factors_px is of use with the score distance_iou only; name it among the scores, or leave the "
                "factors out"
            )
        if not self.instances and (of_them := [name for name in asked if "instances" in DEFINITIONS[name].needs]):
            raise ConfigError(
                f"scores names {of_them[0]}, which needs instance files; write masks, and score them with "
                "`crispseg score`"
            )
        by_category = [name for name in asked if DEFINITIONS[name].by == "category"]
        if by_category and not self.label_space.categories:
            raise ConfigError(
                f"scores names {by_category[0]}, but the label table {self.label_space.name!r} has no categories; "
                "give its classes a 'category', or leave the score out"
            )

    @property
    def counted(self) -> frozenset[str]:
        """Names of the optional arrays that the records have."""
        if self.scores is None:
            always = {"boundary", "matched", "boundary_iou", "trimap"}
        else:
            needs = {need for name in self.scores for need in DEFINITIONS[name].needs}
            always = needs & {"boundary_iou", "trimap"}
            if needs & {"boundary", "matched", "precision_images", "recall_images", "f_images"}:
                always |= {"boundary", "matched"}
        return frozenset(
            always
            | ({"distance"} if self.crop_factors_px else set())
            | ({"raw_confusion", "instances"} if self.instances else set())
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` is the inverse."""
        values: dict[str, Any] = {
            "label_space": self.label_space.to_dict(),
            "radii_px": list(self.radii_px),
            "boundary_iou_ratio": BOUNDARY_IOU_RATIO,
            "source": dict(self.source),
        }
        if self.crop_factors_px:
            values |= {"crop_factors_px": list(self.crop_factors_px), "crop_margin_px": self.crop_margin_px}
        if self.instances:
            values["instances"] = True
        if self.scores is not None:
            values["scores"] = list(self.scores)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Read plain values back."""
        optional = {key: values[key] for key in ("crop_margin_px", "instances") if key in values}
        return cls(
            LabelSpace.from_dict(values["label_space"]),
            tuple(values["radii_px"]),
            values["source"],
            tuple(values.get("crop_factors_px", ())),
            scores=None if (scores := values.get("scores")) is None else tuple(scores),
            **optional,
        )


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """The counts of one image: P classes that occur in its labelled pixels, R radii, F crops, K classes in all.

    What the scores that were asked for do not need is None; see `Settings.counted`.

    Attributes:
        name: of the image, unique in its set.
        size_hw: in pixels.
        classes: (P,) train ids, ascending.
        confusion: (C, 3) rows (true class, predicted class, pixels), none with 0 pixels; a predicted class K means that
            the prediction says nothing there.
        boundary: (2, P) pixels on the boundary of each class, in the prediction and in the labels.
        matched: (2, R, P) of them, those that the other boundary matches within each radius.
        boundary_iou: (2, P) intersection and union of the Boundary IoU.
        trimap: (2, R, P) intersection and union in the band of each radius around the true boundaries.
        stamp: sizes and times of the files that were scored, to see whether they changed.
        distance: (2, F, P) intersection and union inside each crop.
        raw_confusion: (C, 3) like `confusion`, over raw ids.
        instances: (I, 4) rows (class, right, right in its category, total), the last three in weighted pixels as in
            `crispseg.metrics.CityscapesCounts`, in parts of 2⁻²⁴.
    """

    name: str
    size_hw: tuple[int, int]
    classes: Counts
    confusion: Counts
    boundary: Counts | None = None
    matched: Counts | None = None
    boundary_iou: Counts | None = None
    trimap: Counts | None = None
    stamp: tuple[int, ...] = ()
    distance: Counts | None = None
    raw_confusion: Counts | None = None
    instances: Counts | None = None

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        values: dict[str, Any] = {"name": self.name, "size_hw": self.size_hw, "stamp": self.stamp}
        values |= {key: getattr(self, key).tolist() for key in _ARRAYS}
        values |= {key: getattr(self, key).tolist() for key in _OPTIONAL_ARRAYS if getattr(self, key) is not None}
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> ImageRecord:
        """Read what a line holds.

        Raises:
            KeyError: if a value is missing.
            ValueError: if one has another shape, or is none.
        """
        held = (*_ARRAYS, *(key for key in _OPTIONAL_ARRAYS if key in values))
        arrays = {key: _whole_numbers(values[key], key) for key in held}
        for key, columns in (("confusion", 3), ("raw_confusion", 3), ("instances", 4)):
            if key in arrays:
                arrays[key] = arrays[key].reshape(-1, columns)  # an empty list has lost its columns
        height, width = _whole_numbers(values["size_hw"], "size_hw").tolist()
        stamp = tuple(_whole_numbers(values["stamp"], "stamp").tolist())
        if not isinstance(name := values["name"], str):
            raise ValueError(f"name is {name!r}")
        return cls(name, (height, width), stamp=stamp, **arrays)

    def check(self, settings: Settings) -> None:
        """See that the counts are possible ones of an image under these settings.

        Raises:
            ValueError: if they are not; it names what is wrong.
        """
        num_classes, present = settings.label_space.num_classes, len(self.classes)
        radii, crops = len(settings.radii_px), len(settings.crop_factors_px)
        shapes: dict[str, tuple[int, ...]] = {
            "classes": (present,),
            "boundary": (2, present),
            "matched": (2, radii, present),
            "boundary_iou": (2, present),
            "trimap": (2, radii, present),
            "distance": (2, crops, present),
        }
        for key, full in shapes.items():
            array = getattr(self, key)
            shape = full if key == "classes" or key in settings.counted else None
            found = None if array is None else array.shape
            if found != shape and not (found is not None and 0 in found and shape is not None and 0 in shape):
                raise ValueError(f"{key} has the shape {found}, {shape} expected")
        if (self.raw_confusion is None or self.instances is None) == settings.instances:
            raise ValueError("instances are counted in some records only")
        rows = {"classes": self.classes[:, None], "confusion": self.confusion}
        tops = {"classes": (num_classes,), "confusion": (num_classes, num_classes + 1)}
        if self.raw_confusion is not None and self.instances is not None:
            rows |= {"raw_confusion": self.raw_confusion, "instances": self.instances}
            tops |= {"raw_confusion": (_ALL_IDS, _ALL_IDS), "instances": (num_classes,)}
        for key, top in tops.items():
            ids = rows[key][:, : len(top)]
            if (ids >= top).any() or len(np.unique(ids, axis=0)) < len(ids):
                raise ValueError(f"{key} names a class that is not there, or one twice")
        pixels = self.size_hw[0] * self.size_hw[1]
        for key in ("confusion", "raw_confusion"):
            if key in rows and rows[key][:, 2].sum() > pixels:
                raise ValueError(f"{key} counts more pixels than the image has")
        pairs = {
            key: (array[0], array[1])
            for key in ("boundary_iou", "trimap", "distance")
            if (array := getattr(self, key)) is not None
        }
        if self.matched is not None and self.boundary is not None:
            pairs["matched"] = (self.matched, self.boundary[:, None])
        for key, (part, whole) in pairs.items():
            if (part > whole).any() or (whole > 2 * pixels).any():
                raise ValueError(f"{key} counts more than there is")

    def counts(self, num_classes: int) -> SetCounts:
        """The counts over all K classes, which add up."""

        def spread(values: Counts) -> Counts:
            of_all = np.zeros((*values.shape[:-1], num_classes), dtype=np.int64)
            of_all[..., self.classes] = values
            return of_all

        confusion = _table(self.confusion, (num_classes, num_classes + 1))
        counts: dict[str, Counts] = {"confusion": confusion, "overlap": overlaps(confusion)}
        for name in ("boundary", "matched", "boundary_iou", "trimap", "distance"):
            if (values := getattr(self, name)) is not None:
                counts[name] = spread(values)
        if "matched" in counts:
            rates = map(image_sums, boundary_rates(counts["boundary"], counts["matched"]))
            counts |= zip(("precision_images", "recall_images", "f_images"), rates, strict=True)
        raw_confusion = self.raw_confusion
        if raw_confusion is not None and self.instances is not None:
            counts["raw_confusion"] = _table(raw_confusion, (_ALL_IDS, _ALL_IDS))
            counts["instances"] = instances = np.zeros((3, num_classes), dtype=np.int64)
            instances[:, self.instances[:, 0]] = self.instances[:, 1:].T
        return SetCounts(images=np.int64(1), **counts)


def _whole_numbers(values: Any, key: str) -> Counts:
    """An array of what JSON holds; neither halves nor texts are rounded or read as numbers."""
    array = np.array(values)
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= _MOST):
        raise ValueError(f"{key} holds something else than whole numbers of 0 to 2⁶²")
    return array.astype(np.int64)


_MOST = 2**62  # stamps hold nanoseconds since 1970
_ARRAYS = ("classes", "confusion")
_OPTIONAL_ARRAYS = ("boundary", "matched", "boundary_iou", "trimap", "distance", "raw_confusion", "instances")


def score_image(
    prediction: Labels, labels: Labels, settings: Settings, name: str, stamp: tuple[int, ...] = ()
) -> ImageRecord:
    """Count what the scores that are asked for are made of.

    Args:
        prediction: (H, W) train ids, or 255 where nothing was predicted: wrong for the true class, and no other
            class's mistake, as in the Cityscapes evaluation.
        labels: (H, W) train ids, or 255 where nothing is counted.
        settings: classes, radii, crops and scores.
        name: for the record and for errors.
        stamp: for the record.

    Returns:
        The record.

    Raises:
        DataError: if sizes differ or a value lies outside; the message begins with the name.

    Example:
        >>> two = LabelSpace.from_dict({"name": "two", "classes": ["sky", "road"]})
        >>> labels = np.array([[0, 0, 1, 255]], dtype=np.uint8)
        >>> record = score_image(np.array([[0, 1, 1, 1]], dtype=np.uint8), labels, Settings(two, (1,)), "a")
        >>> record.confusion.tolist()
        [[0, 0, 1], [0, 1, 1], [1, 1, 1]]
    """
    num_classes = settings.label_space.num_classes
    # "No class" is one more class to the functions below, which is left out of what they return.
    silent = prediction == IGNORE_INDEX
    classes_here = num_classes + 1 if silent.any() else num_classes
    try:
        if classes_here > num_classes:
            if classes_here > IGNORE_INDEX:
                raise DataError(f"void predicted, for which a label table of {num_classes} classes leaves no id")
            prediction = np.where(silent, np.uint8(num_classes), prediction)
        table = confusion_counts(prediction, labels, classes_here)
        counts = _optional_counts(prediction, labels, classes_here, settings)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    present = np.flatnonzero((table.sum(axis=0) + table.sum(axis=1))[:num_classes])
    return ImageRecord(
        name=name,
        size_hw=(labels.shape[0], labels.shape[1]),
        classes=present,
        confusion=confusion_rows(table),
        stamp=stamp,
        **{key: values[..., present] for key, values in counts.items()},
    )


def _optional_counts(prediction: Labels, labels: Labels, num_classes: int, settings: Settings) -> dict[str, Counts]:
    """What the settings ask for beside the confusion, over all classes."""
    counts: dict[str, Counts] = {}
    counted, radii = settings.counted, settings.radii_px
    if "matched" in counted:
        marks = boundary_match_counts(prediction, labels, num_classes, radii)
        counts["boundary"] = np.stack((marks.predicted, marks.true))
        counts["matched"] = np.stack((marks.matched_predicted, marks.matched_true))
    if "boundary_iou" in counted:
        reach_px = boundary_iou_radius((labels.shape[0], labels.shape[1]), BOUNDARY_IOU_RATIO)
        counts["boundary_iou"] = boundary_iou_counts(prediction, labels, num_classes, reach_px)
    if "trimap" in counted:
        counts["trimap"] = overlaps(trimap_counts_by_radius(prediction, labels, num_classes, radii))
    if "distance" in counted:
        factors, margin_px = settings.crop_factors_px, settings.crop_margin_px
        counts["distance"] = overlaps(distance_counts(prediction, labels, num_classes, factors, margin_px=margin_px))
    return counts


def confusion_rows(table: Counts) -> Counts:
    """A table as rows (true, predicted, pixels), none with 0 pixels."""
    true, predicted = np.nonzero(table)
    return np.stack((true, predicted, table[true, predicted]), axis=1)


def _table(rows: Counts, shape: tuple[int, int]) -> Counts:
    """`confusion_rows` undone."""
    table = np.zeros(shape, dtype=np.int64)
    true, predicted, pixels = rows.T
    table[true, predicted] = pixels
    return table
