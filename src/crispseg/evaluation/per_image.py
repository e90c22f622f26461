"""What a single image scores, and which kinds of errors it has: the rows by which a person looks for images.

Everything follows from an image's record. The scores are those of `crispseg.metrics.table`, of one image; the kinds of
errors are counted in pixels:

- **wrong**: another class than the label says, or none.
- **at outlines**: of these, those within a radius of an outline in the labels: the outline is in the wrong place.
- **away from outlines**: the others: a part of an object or an area is taken for something else.
- **class overlooked**: pixels of classes that the labels show and the prediction shows nowhere in the image.
- **class invented**: pixels predicted as classes that the labels show nowhere.
- **nothing predicted**: labelled pixels for which the prediction names no class.

Of a single class, errors are its pixels that were missed, and pixels of others that were taken for it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from crispseg.evaluation.records import ImageRecord, Settings
from crispseg.metrics.counts import SetCounts
from crispseg.metrics.functional.arrays import Absent
from crispseg.metrics.table import DEFINITIONS

__all__ = ["NO_SCORE", "WHOLE_IMAGE", "Column", "image_columns", "image_confusions", "image_rows"]

NO_SCORE = -1
"""What stands in the place of a score that does not exist."""

WHOLE_IMAGE = -1
"""The class of the row that is of all classes together."""

_PARTS = 10_000  # of one: shares with four digits


class Column(NamedTuple):
    """What a column holds.

    Attributes:
        title: a few words.
        note: what it is.
        of: ``"score"``: a share in parts of 10,000, or `NO_SCORE`; ``"error"``: pixels.
    """

    title: str
    note: str
    of: Literal["score", "error"]


def image_columns(settings: Settings, absent: Absent = "skip") -> list[Column]:
    """What stands in the columns of `image_rows` but the first, which holds the class.

    Where scores were chosen, columns for which nothing was counted are left out.

    Args:
        settings: of the records.
        absent: the rule of boundary F; with ``"one"``, too, classes that the image lacks have no row.
    """
    radius = f"{_outline_radius(settings):g} px"
    columns = [
        Column("IoU", "of the image alone; over all classes: their mean", "score"),
        Column("pixels right", "share of the class's labelled pixels, or of all", "score"),
        Column("Boundary IoU", "near the contours; over all classes: their mean", "score"),
        *(
            Column(f"boundary F {r:g} px", f"within {r:g} px; over all classes: their mean", "score")
            for r in settings.radii_px
        ),
        Column("all errors", "pixels that are wrong", "error"),
        Column("errors at outlines", f"wrong within {radius} of a true outline", "error"),
        Column("errors away from outlines", f"wrong, and farther than {radius} from any true outline", "error"),
        Column("class overlooked", "pixels of classes that the prediction shows nowhere", "error"),
        Column("class invented", "pixels predicted as classes that the labels show nowhere", "error"),
        Column("nothing predicted", "labelled pixels without a prediction", "error"),
    ]
    return [column for column in columns if _counted_for(column, settings)]


def _counted_for(column: Column, settings: Settings) -> bool:
    """Whether the records have what a column needs beside the confusion."""
    needs = {"Boundary IoU": "boundary_iou", "boundary F": "matched", "errors at": "trimap", "errors away": "trimap"}
    return all(need in settings.counted for beginning, need in needs.items() if column.title.startswith(beginning))


def image_rows(record: ImageRecord, settings: Settings, absent: Absent = "skip") -> npt.NDArray[np.int64]:
    """The scores and errors of an image: P classes that occur in it, C columns.

    Args:
        record: of the image.
        settings: of the record.
        absent: the rule of boundary F. A class that the image lacks counts in the mean over the classes with ``"one"``.

    Returns:
        (1 + P, 1 + C): first `WHOLE_IMAGE`, then the classes in ascending order; columns as in `image_columns`, behind
        the class.

    Example:
        >>> from crispseg.evaluation.records import score_image
        >>> from crispseg.labels import LabelSpace
        >>> settings = Settings(LabelSpace.from_dict({"name": "two", "classes": ["sky", "road"]}), radii_px=(1,))
        >>> labels = np.array([[0, 0, 0, 1, 255]], dtype=np.uint8)
        >>> rows = image_rows(score_image(np.zeros((1, 5), dtype=np.uint8), labels, settings, "a"), settings)
        >>> [(column.title, value) for column, value in zip(image_columns(settings), rows[0, 1:].tolist())][-6:-1]
        [('all errors', 1), ('errors at outlines', 1), ('errors away from outlines', 0), ('class overlooked', 1), \
('class invented', 0)]
        >>> rows[:, :3].tolist()  # all, sky and road: IoU and pixels right, in parts of 10,000
        [[-1, 3750, 7500], [0, 7500, 10000], [1, 0, 0]]
    """
    space, present = settings.label_space, record.classes
    counts = record.counts(space.num_classes)
    boundary_f = "boundary_f" if absent == "skip" else "boundary_f_absent_one"
    shown = [
        name
        for name in ("iou", "class_accuracy", "boundary_iou", boundary_f)
        if DEFINITIONS[name].exists(counts, space)
    ]
    of_class = np.vstack([np.asarray(DEFINITIONS[name].of(counts, space, "skip")) for name in shown])
    means = np.array([_mean(row) for row in of_class])
    means[shown.index("class_accuracy")] = DEFINITIONS["pixel_accuracy"].of(counts, space, "skip")
    shares = np.hstack((means[:, None], of_class[:, present])).T
    scores = np.where(np.isnan(shares), NO_SCORE, np.rint(_PARTS * np.nan_to_num(shares))).astype(np.int64)
    ids = np.array([WHOLE_IMAGE, *present.tolist()])
    return np.hstack((ids[:, None], scores, _errors(record, counts, settings)))


def image_confusions(record: ImageRecord) -> npt.NDArray[np.int64]:
    """What was taken for what: (C, 3) rows (true class, predicted class or K for none, pixels), only wrong ones."""
    wrong: npt.NDArray[np.int64] = record.confusion[record.confusion[:, 0] != record.confusion[:, 1]]
    return wrong


def _errors(record: ImageRecord, counts: SetCounts, settings: Settings) -> npt.NDArray[np.int64]:
    """(1 + P, 6) pixels by kind; without those at and away from outlines where there is no band around them."""
    present, held = record.classes, counts.arrays()
    table, (intersection, union) = held["confusion"], held["overlap"][:, present]
    true, predicted = table.sum(axis=1)[present], table.sum(axis=0)[present]
    wrong = union - intersection
    overlooked, invented = np.where(predicted == 0, true, 0), np.where(true == 0, predicted, 0)
    nothing = table[present, -1]
    by_class = np.stack((wrong, overlooked, invented, nothing), axis=1)
    all_wrong = int(table.sum() - np.trace(table))
    every = np.vstack((np.array([all_wrong, *by_class[:, 1:].sum(axis=0).tolist()], np.int64), by_class))
    if record.trimap is None:
        return every
    near = record.trimap[:, settings.radii_px.index(_outline_radius(settings))]
    at_outlines = near[1] - near[0]
    # A wrong pixel is wrong for two classes, but for one where nothing is predicted. Those are counted for the whole
    # image only, so that they are shared out as the others are.
    all_at_outlines = round(all_wrong * int(at_outlines.sum()) / max(int(wrong.sum()), 1))
    near_outlines = np.array([all_at_outlines, *at_outlines.tolist()], np.int64)
    return np.insert(every, 1, np.stack((near_outlines, every[:, 0] - near_outlines)), axis=1)


def _outline_radius(settings: Settings) -> float:
    """The largest radius that was counted: what lies farther from all outlines is no matter of outlines."""
    return max(settings.radii_px)


def _mean(shares: npt.NDArray[np.float64]) -> float:
    """Of those that exist."""
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if known.size else float("nan")
