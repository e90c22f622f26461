"""Instance-weighted IoU, as the Cityscapes evaluation has it: where instance files lie, and what is counted in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crispseg.data.pairing import FilePair
from crispseg.data.problems import Problem
from crispseg.errors import ConfigError, DataError
from crispseg.evaluation.records import Counts, confusion_rows
from crispseg.io import MAX_PIXELS, read_label_ids
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.metrics import cityscapes_counts, kitti_instance_ids

__all__ = [
    "RawIds",
    "count_instances",
    "raw_ids",
    "read_instance_ids",
    "with_instance_files",
]

RawIds = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.int32]

_LABEL_ENDINGS = ("_labelIds", "_labelTrainIds", "_color")
_INSTANCE_ENDING = "_instanceIds"
_KITTI_FOLDER, _KITTI_INSTANCES = "semantic", "instance"
_ALL_IDS, _IDS_PER_CLASS = 256, 1000


def count_instances(
    prediction_ids: RawIds, label_ids: RawIds, instance_ids: RawIds, space: LabelSpace
) -> tuple[Counts, Counts]:
    """Count one image by raw ids; see `crispseg.metrics.cityscapes_counts` for the maps.

    Returns:
        `ImageRecord.raw_confusion` and `ImageRecord.instances`.

    Raises:
        DataError: if shapes differ, or an id is not known.

    Example:
        >>> from crispseg.labels import label_space
        >>> maps = np.array([[26, 23]]), np.array([[26, 26]]), np.array([[26000, 26000]])
        >>> confusion, instances = count_instances(*maps, label_space("cityscapes"))
        >>> confusion.tolist(), (instances[:, 1:] / instances[:, 3:]).tolist()
        ([[26, 23, 1], [26, 26, 1]], [[0.5, 0.5, 1.0]])
    """
    counts = cityscapes_counts(prediction_ids, label_ids, instance_ids, space)
    units = counts.units
    present = np.flatnonzero(units[2])
    return confusion_rows(counts.confusion), np.vstack((present, units[:, present])).T


def with_instance_files(
    pairs: Sequence[FilePair], space: LabelSpace, wanted: bool | None
) -> tuple[list[FilePair], list[Problem], bool]:
    """Find the instance file of each pair.

    Args:
        pairs: of files without instances.
        space: the label table.
        wanted: whether to score instances; None: where the table knows what is needed for it, and files are there.

    Returns:
        The pairs to score, a problem for each that lacks its instance file, and whether instances are scored.

    Raises:
        ConfigError: if they are wanted, and the label table lacks what is needed for them.
    """
    if wanted:
        _check_table(space)
    found = {} if wanted is False else {pair.name: _instance_file(pair.labels) for pair in pairs}
    if not wanted and not (any(found.values()) and _weighs_instances(space)):
        return list(pairs), [], False
    kind = "no instance file beside the labels (--no-instances scores without)"
    problems = [Problem(kind, pair.name, str(pair.labels)) for pair in pairs if found[pair.name] is None]
    return [replace(pair, instances=found[pair.name]) for pair in pairs if found[pair.name]], problems, True


def _instance_file(labels: Path) -> Path | None:
    # Cityscapes: x_gtFine_instanceIds.png beside x_gtFine_labelIds.png. KITTI: instance/x.png beside semantic/x.png.
    candidates = [
        labels.with_name(f"{labels.stem.removesuffix(ending)}{_INSTANCE_ENDING}{labels.suffix}")
        for ending in _LABEL_ENDINGS
        if labels.stem.endswith(ending)
    ]
    if labels.parent.name == _KITTI_FOLDER:
        candidates.append(labels.parent.parent / _KITTI_INSTANCES / labels.name)
    return next((path for path in candidates if path.is_file()), None)


def read_instance_ids(path: Path, space: LabelSpace, max_pixels: int = MAX_PIXELS) -> RawIds:
    """Read an instance file of Cityscapes or KITTI, in Cityscapes' numbering: 1000 · id + number.

    Raises:
        DataError: if the file is missing or broken, or holds instances of ids that the table does not know.
    """
    values = read_label_ids(path, max_pixels)
    numbered = values if path.stem.endswith(_INSTANCE_ENDING) else kitti_instance_ids(values)
    present = np.flatnonzero(np.bincount(numbered.ravel()))
    ids = present[present > _IDS_PER_CLASS] // _IDS_PER_CLASS
    if unknown := sorted({int(raw) for raw in ids if raw >= _ALL_IDS or space.lookup[raw] < 0}):
        raise DataError(
            f"{path}: instances of the ids {', '.join(map(str, unknown[:5]))} found, which the label table "
            f"{space.name!r} does not know; {_IDS_PER_CLASS} · id + number expected, or KITTI's 256 · id + number in a "
            f"folder {_KITTI_INSTANCES!r}"
        )
    return numbered


def raw_ids(train_ids: npt.NDArray[np.uint8], space: LabelSpace) -> npt.NDArray[np.uint8]:
    """One raw id of each pixel's class, for maps that are not stored as raw ids; 255 stays.

    Example:
        >>> from crispseg.labels import label_space
        >>> raw_ids(np.array([0, 18, 255], dtype=np.uint8), label_space("cityscapes")).tolist()
        [7, 33, 255]
    """
    table = np.full(_ALL_IDS, IGNORE_INDEX, dtype=np.uint8)
    table[: space.num_classes] = [entry.ids[0] for entry in space.classes]
    ids: npt.NDArray[np.uint8] = table[train_ids]
    return ids


def _weighs_instances(space: LabelSpace) -> bool:
    try:
        _check_table(space)
    except ConfigError:
        return False
    return True


def _check_table(space: LabelSpace) -> None:
    """Refuse a label table that does not say what instance-weighted IoU needs."""
    problem = None
    if not any(entry.has_instances for entry in space.classes):
        problem = "no class with 'has_instances: true'"
    elif not space.categories:
        problem = "no categories"
    elif not all(entry.ids for entry in space.classes):
        problem = "a class without ids"
    elif max((*space.ignore_ids, *(raw for entry in space.classes for raw in entry.ids))) > IGNORE_INDEX:
        problem = f"ids above {IGNORE_INDEX}"
    if problem is not None:
        raise ConfigError(
            f"label table {space.name!r} has {problem}; iIoU needs raw ids up to {IGNORE_INDEX}, categories "
            "and instances, as the table cityscapes has them; use such a table, or --no-instances"
        )
    nothing = np.zeros((0, 0), dtype=np.uint8)
    cityscapes_counts(nothing, nothing, nothing, space)  # says which class's average size is not known
