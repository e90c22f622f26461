"""Every score of a set, in one list: the fields of `SetScores` say what each is, and how it follows from the counts.

A score of what is counted already is one more field here: files, tables and pages then show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np

from crispseg.errors import ConfigError
from crispseg.labels import LabelClass, LabelSpace
from crispseg.metrics.counts import Array, Counts, SetCounts, Shares, boundary_rates, mean_of_images
from crispseg.metrics.functional.arrays import Absent, absent_score, share
from crispseg.metrics.functional.cityscapes import CityscapesCounts, cityscapes_scores
from crispseg.metrics.functional.regions import category_iou, class_accuracy, frequency_weighted_iou, pixel_accuracy
from crispseg.wording import nearest_name

__all__ = ["DEFINITIONS", "SCORES", "TABLES", "ByClass", "ByRadius", "Definition", "SetScores", "choose_scores"]

ByClass = Mapping[str, float]
ByRadius = Mapping[float, ByClass]
By = Literal["class", "category", "radius", "crop"]
Of = Callable[[SetCounts, LabelSpace | None, Absent], Any]

_REGIONS = "Accuracy, Boundary IoU and trimap IoU, counted over the whole set"
_RATES = "Precision, recall and F of the boundaries, mean over images"
_AS_PAPERS = "Boundary F as the papers' code counts it, absent classes being 1, mean over images"
_RATES_OF_SET = "Precision, recall and F of the boundaries, counted over the whole set"
_CATEGORIES = "IoU of the categories, counted over the whole set"
_CROPS = "IoU at distance by crop factor in pixels, counted over the whole set"
TABLES = (_REGIONS, _RATES, _AS_PAPERS, _RATES_OF_SET, _CATEGORIES, _CROPS)
"""Titles of the tables of details, in their order."""

_PIXELS = "pixels counted over the whole set"
_BOUNDARIES = "boundary pixels counted over the whole set"
_OBJECTS = f"{_PIXELS}, those of an object weighted with average size / its size"


@dataclass(frozen=True)
class Definition:
    """What a score is.

    Attributes:
        of: (counts, label table, rule for absent classes) → shares (…, K) by class, (…, C) by category, (…, R, K) by
            radius and (…, F, K) by crop; for `by` None one share. Only scores by category and of instances need a
            label table.
        needs: which counts.
        by: what it is told apart by.
        heading: of its columns.
        averaging: how it is averaged.
        averaging_of_mean: how its mean over the classes is.
        table: which of `TABLES` it stands in; empty: none.
    """

    of: Of
    needs: tuple[str, ...]
    by: By | None
    heading: str
    averaging: str
    averaging_of_mean: str
    table: str

    def exists(self, counts: SetCounts, label_space: LabelSpace) -> bool:
        """Whether the score follows from these."""
        counted = counts.arrays()
        return all(name in counted for name in self.needs) and (self.by != "category" or bool(label_space.categories))


def _is(
    counted: tuple[Of, str], by: By | None, heading: str, averaging: str, *, mean: str = "", table: str = ""
) -> dict[str, Definition]:
    """The metadata of a field of `SetScores`: how it follows from which counts, and the rest of its `Definition`."""
    of, needs = counted
    mean = mean or f"mean over the classes, absent ones skipped; {averaging}"
    return {"definition": Definition(of, tuple(needs.split()), by, heading, averaging, mean, table)}


def _ratio(name: str, axis: int = -2) -> tuple[Of, str]:
    """Of the two counts along an axis."""

    def of(counts: SetCounts, label_space: LabelSpace | None, absent: Absent) -> Shares:
        part, whole = np.moveaxis(counts.arrays()[name], axis, 0)
        return share(part, whole, absent_score(absent))

    return of, name


def _mean(name: str) -> tuple[Of, str]:
    """Of the images' own scores."""
    return lambda counts, _, absent: mean_of_images(counts.arrays()[name], counts.images, absent), name


def _mean_with_one(name: str) -> tuple[Of, str]:
    """Of the images' own scores, an image without the class in either mask counting 1, whatever the rule."""
    return lambda counts, *_: mean_of_images(counts.arrays()[name], counts.images, "one"), name


def _rate(which: int) -> tuple[Of, str]:
    """Precision, recall or F of all boundary pixels together."""

    def of(counts: SetCounts, label_space: LabelSpace | None, absent: Absent) -> Shares:
        held = counts.arrays()
        return boundary_rates(held["boundary"], held["matched"], absent)[which]

    return of, "boundary matched"


def _confused(score: Callable[[Counts], Any]) -> tuple[Of, str]:
    """Of the confusion, with "no class" as a class; absent classes have no score, whatever the rule."""
    return lambda counts, _, absent: score(_as_square(counts.arrays()["confusion"])), "confusion"


def _category_iou(counts: SetCounts, label_space: LabelSpace | None, absent: Absent) -> list[float]:
    assert label_space is not None
    confusion = counts.arrays()["confusion"]
    if not confusion[:, -1].any():
        return list(category_iou(confusion[:, :-1], label_space).values())
    nothing = LabelClass("(no class)", (0, 0, 0), ())  # of no category, so it is wrong in all of them
    with_nothing = replace(label_space, classes=(*label_space.classes, nothing))
    return list(category_iou(_as_square(confusion), with_nothing).values())


def _as_square(confusion: Array) -> Counts:
    """A (K, K + 1) table as (K + 1, K + 1): "no class" as a class that is nowhere true."""
    return np.pad(confusion, ((0, 1), (0, 0)))


def _official(by: By) -> tuple[Of, str]:
    """Instance-weighted, by the rules of the Cityscapes evaluation."""

    def of(counts: SetCounts, label_space: LabelSpace | None, absent: Absent) -> list[float]:
        assert label_space is not None
        held = counts.arrays()
        scores = cityscapes_scores(CityscapesCounts.from_units(held["raw_confusion"], held["instances"]), label_space)
        if by == "class":
            return [scores.class_iiou[name] for name in label_space.class_names]
        return [scores.category_iiou[name] for name in label_space.categories]

    return of, "raw_confusion instances"


@dataclass(frozen=True, eq=False)
class SetScores:
    """What is scored on a set; all shares in [0, 1], NaN for a score that does not exist.

    Attributes:
        iou: by class name, from the pixel counts of the whole set; NaN for a class that is neither shown nor predicted.
        pixel_accuracy: share of the labelled pixels that are right.
        boundary_f: by radius in pixels and class name, the mean over the images; NaN for a class that no image shows.
        images: how many there were.
        boundary_f_absent_one: likewise by the rule of the papers' code: an image that neither shows nor predicts the
            class counts 1.
        class_accuracy: by class name, the share of its pixels that are right.
        frequency_weighted_iou: mean of the IoU, weighted with the classes' shares of the labelled pixels.
        category_iou: by category name, confusion within a category being right; empty if the table knows none.
        boundary_iou: by class name, within 2 % of the diagonal of each mask's contour (Cheng et al., CVPR 2021), from
            the counts of the whole set.
        iiou: by class name, instance-weighted by the rules of the Cityscapes evaluation, NaN for classes without
            instances; empty if there were no instance files.
        category_iiou: likewise by category, NaN for categories that hold classes without instances.
        boundary_precision: by radius and class name, the share of the predicted boundary that is matched, over images
            that have one.
        boundary_recall: likewise, the share of the true boundary that is matched, over images that have one.
        boundary_precision_set: by radius and class name, from the boundary pixels of all images added up.
        boundary_recall_set: likewise.
        boundary_f_set: likewise.
        trimap_iou: by radius and class name, IoU in the band of that radius around the true boundaries.
        distance_iou: by crop factor in pixels and class name, inside the crops of GSCNN, section 4; empty if not
            asked for.
        skipped: how many images could not be scored and were left out.
        chosen: names of the scores that were asked for; None: all. The others are empty or NaN.
    """

    iou: ByClass = field(
        metadata=_is(
            _ratio("overlap"),
            "class",
            "IoU",
            _PIXELS,
            mean="mean over the classes of the IoU over the whole set; absent classes skipped",
        )
    )
    pixel_accuracy: float = field(metadata=_is(_confused(pixel_accuracy), None, "pixels right", _PIXELS))
    boundary_f: ByRadius = field(
        metadata=_is(
            _mean("f_images"),
            "radius",
            "F",
            "mean over images, absent classes skipped",
            mean="mean over the classes of the mean over images; absent classes skipped",
            table=_RATES,
        )
    )
    images: int
    boundary_f_absent_one: ByRadius = field(
        default_factory=dict,
        metadata=_is(
            _mean_with_one("f_images"),
            "radius",
            "F (absent 1)",
            "mean over images, absent classes counting 1, as in the papers",
            mean="mean over the classes of the mean over images; absent classes counting 1, as in the papers",
            table=_AS_PAPERS,
        ),
    )
    class_accuracy: ByClass = field(
        default_factory=dict,
        metadata=_is(
            _confused(lambda confusion: class_accuracy(confusion)[:-1]), "class", "accuracy", _PIXELS, table=_REGIONS
        ),
    )
    frequency_weighted_iou: float = field(
        default=math.nan,
        metadata=_is(
            _confused(frequency_weighted_iou),
            None,
            "frequency-weighted IoU",
            "IoU over the whole set, weighted with the classes' shares of the labelled pixels",
        ),
    )
    category_iou: ByClass = field(
        default_factory=dict, metadata=_is((_category_iou, "confusion"), "category", "IoU", _PIXELS, table=_CATEGORIES)
    )
    boundary_iou: ByClass = field(
        default_factory=dict,
        metadata=_is(
            _ratio("boundary_iou"),
            "class",
            "Boundary IoU",
            "pixels within 2 % of the diagonal of the masks' contours, counted over the whole set",
            table=_REGIONS,
        ),
    )
    iiou: ByClass = field(default_factory=dict, metadata=_is(_official("class"), "class", "iIoU", _OBJECTS))
    category_iiou: ByClass = field(
        default_factory=dict, metadata=_is(_official("category"), "category", "iIoU", _OBJECTS, table=_CATEGORIES)
    )
    boundary_precision: ByRadius = field(
        default_factory=dict,
        metadata=_is(
            _mean("precision_images"),
            "radius",
            "P",
            "mean over the images in which the class is predicted",
            table=_RATES,
        ),
    )
    boundary_recall: ByRadius = field(
        default_factory=dict,
        metadata=_is(_mean("recall_images"), "radius", "R", "mean over the images that show the class", table=_RATES),
    )
    boundary_precision_set: ByRadius = field(
        default_factory=dict, metadata=_is(_rate(0), "radius", "P", _BOUNDARIES, table=_RATES_OF_SET)
    )
    boundary_recall_set: ByRadius = field(
        default_factory=dict, metadata=_is(_rate(1), "radius", "R", _BOUNDARIES, table=_RATES_OF_SET)
    )
    boundary_f_set: ByRadius = field(
        default_factory=dict, metadata=_is(_rate(2), "radius", "F", _BOUNDARIES, table=_RATES_OF_SET)
    )
    trimap_iou: ByRadius = field(
        default_factory=dict,
        metadata=_is(
            _ratio("trimap", -3),
            "radius",
            "trimap IoU",
            "pixels in the band around the true boundaries, counted over the whole set",
            table=_REGIONS,
        ),
    )
    distance_iou: ByRadius = field(
        default_factory=dict,
        metadata=_is(
            _ratio("distance", -3),
            "crop",
            "crop",
            "pixels inside the crop around the vanishing point, counted over the whole set",
            table=_CROPS,
        ),
    )
    skipped: int = 0
    chosen: tuple[str, ...] | None = None

    def is_chosen(self, name: str) -> bool:
        """Whether a score was asked for, by the name of its field."""
        return _is_chosen(name, self.chosen)

    @classmethod
    def from_counts(
        cls,
        counts: SetCounts,
        label_space: LabelSpace,
        radii_px: Sequence[float],
        crop_factors_px: Sequence[float] = (),
        *,
        skipped: int = 0,
        absent: Absent = "skip",
        chosen: Sequence[str] | None = None,
    ) -> Self:
        """Every score that follows from the counts.

        Args:
            counts: of the set, with those of the scores that every set has.
            label_space: the classes.
            radii_px: that were counted.
            crop_factors_px: likewise.
            skipped: images that were left out.
            absent: whether a class that an image or the set does not show has no score, ``"skip"``, or 1, ``"one"``.
            chosen: which scores, of `SCORES`; None: all.

        Example:
            >>> from crispseg.metrics.counts import overlaps
            >>> two = LabelSpace.from_dict({"name": "two", "classes": ["sky", "road"]})
            >>> table, sums = np.array([[1, 1, 0], [0, 1, 0]]), np.zeros((2, 1, 2), int)
            >>> counts = SetCounts(images=np.int64(1), confusion=table, overlap=overlaps(table), f_images=sums)
            >>> scores = SetScores.from_counts(counts, two, (1,))
            >>> scores.iou, scores.boundary_f, scores.trimap_iou
            ({'sky': 0.5, 'road': 0.5}, {1: {'sky': nan, 'road': nan}}, {})
        """
        keys: dict[By | None, Sequence[float]] = {"radius": radii_px, "crop": crop_factors_px}

        def by_name(shares: Iterable[float], names: Sequence[str]) -> dict[str, float]:
            return {name: float(value) for name, value in zip(names, shares, strict=True)}

        values: dict[str, Any] = {"images": int(counts.images), "skipped": skipped}
        values |= {"iou": {}, "pixel_accuracy": math.nan, "boundary_f": {}}
        values["chosen"] = None if chosen is None else tuple(chosen)
        for name, definition in DEFINITIONS.items():
            if not (_is_chosen(name, chosen) and definition.exists(counts, label_space)):
                continue
            shares = definition.of(counts, label_space, absent)
            if definition.by is None:
                values[name] = float(shares)
            elif definition.by == "class":
                values[name] = by_name(shares, label_space.class_names)
            elif definition.by == "category":
                values[name] = by_name(shares, label_space.categories)
            else:
                rows = zip(keys[definition.by], shares, strict=True)
                values[name] = {key: by_name(row, label_space.class_names) for key, row in rows}
        return cls(**values)


DEFINITIONS: Mapping[str, Definition] = MappingProxyType(
    {entry.name: entry.metadata["definition"] for entry in fields(SetScores) if "definition" in entry.metadata}
)
"""What each score is, by the name of its field."""

_BY_OTHER_RULE = {"boundary_f_absent_one": "boundary_f"}
SCORES = tuple(name for name in DEFINITIONS if name not in _BY_OTHER_RULE)
"""Names of the scores that can be asked for: all, but for boundary F by its other rule, which is held beside it."""


def choose_scores(names: Sequence[str]) -> tuple[str, ...]:
    """Scores by their names, in the order of the list.

    Raises:
        ConfigError: if there is none, one is unknown, or one is named twice.

    Example:
        >>> choose_scores(["boundary_f", "iou"])
        ('iou', 'boundary_f')
    """
    for name in names:
        if name in _BY_OTHER_RULE:
            raise ConfigError(f"scores names {name}; ask for {_BY_OTHER_RULE[name]}, and for absent 'one' to see it so")
        if name not in SCORES:
            raise ConfigError(f"scores names {name!r}, which is none; {nearest_name(name, SCORES)}")
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"scores is {', '.join(names) or 'empty'}; one name at least expected, none twice")
    return tuple(name for name in SCORES if name in names)


def _is_chosen(name: str, chosen: Sequence[str] | None) -> bool:
    return chosen is None or _BY_OTHER_RULE.get(name, name) in chosen
