"""Pascal VOC's folders: what CVAT and datumaro write as masks, LabelMe's own converter, and VOC itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field

from crispseg.config import DataConfig
from crispseg.data.layouts.files import existing_root, split_parts
from crispseg.data.layouts.own_folders import OwnFolders, split_names
from crispseg.data.masks import MaskEncoding, mask_format
from crispseg.data.records import FileSource, Record, SampleSource
from crispseg.data.tables import table_beside
from crispseg.errors import DataError
from crispseg.labels import LabelSpace, label_space

__all__ = ["voc"]

_LISTS = ("ImageSets/Segmentation", "ImageSets/Main", "ImageSets")
_LABELS = ("SegmentationClass", "SegmentationClassPNG", "SegmentationClassAug")


def voc(
    config: DataConfig,
    split: str,
    *,
    encoding: MaskEncoding = "auto",
    colour_distance: Annotated[float, Field(ge=0, le=441)] = 0.0,
) -> tuple[SampleSource, LabelSpace]:
    """``JPEGImages``, ``SegmentationClass`` and lists in ``ImageSets/Segmentation``, and ``labelmap.txt`` but in VOC.

    Args:
        config: the section.
        split: a list's name; ``all``: every mask, or the only list.
        encoding: what the masks hold; see `crispseg.data.masks.read_mask`.
        colour_distance: of anti-aliased colours from the nearest class's.
    """
    root = existing_root(config, "folders JPEGImages, SegmentationClass and ImageSets")
    if not (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir():
        raise DataError(f"{root}: masks but no JPEGImages; put the images there, as CVAT does when 'Save images' is on")
    space = label_space(config.labels) if config.labels else table_beside(root)
    if space is None:
        if not re.fullmatch(r"VOC(20\d\d|trainval.*)?", root.resolve().name):
            raise DataError(
                f"{root / 'labelmap.txt'}: no such file; its classes were expected, there or in labels.yaml; for those "
                "of VOC itself set data.labels: pascal_voc"
            )
        space = label_space("pascal_voc")
    records = [record for part in split_parts(split) for record in _records(config, root, part)]
    return FileSource(records, space, mask_format(space, encoding, colour_distance), config.max_pixels), space


def _records(config: DataConfig, root: Path, part: str) -> list[Record]:
    labels = next((name for name in _LABELS if (root / name).is_dir()), _LABELS[0])
    lists = [folder for folder in _LISTS if any((root / folder).glob("*.txt"))][:1]
    place = lists[0] if lists else None
    of_all = [name for name in ("default", "trainval") if place and (root / place / f"{name}.txt").is_file()]
    listed = place is not None and any((root / place / f"{name}.txt").is_file() for name in split_names(part))
    if of_all and not listed and (part == "all" or config.val is not None):
        part = of_all[0]
    return OwnFolders("JPEGImages", labels, split_lists=place)(config, root, part)
