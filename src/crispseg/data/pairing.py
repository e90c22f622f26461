"""Which predicted label image belongs to which true one: by their names, in folders of any depth."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from crispseg.data.encodings import ENCODINGS, Encoding
from crispseg.data.problems import Problem
from crispseg.errors import DataError
from crispseg.io import files_below
from crispseg.wording import in_words_by_kind

__all__ = ["FilePair", "encoding_by_names", "labels_of", "pair_files", "pair_with_images"]

_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".webp", ".gif"})
_LOSSY = frozenset({".jpg", ".jpeg"})

# Cityscapes: city_sequence_frame and then anything, as its own evaluation pairs. Others: endings by custom.
_CITYSCAPES = re.compile(r"(.+_\d{6}_\d{6})(_.*)?")
_ENDING = re.compile(r"(.+?)(_(labelIds|labelTrainIds|labels?|masks?|gt|pred|prediction|seg|segmentation|color|L))+")

# Endings that say what a file holds. Where another file of the image fits better, such a file is none of ours.
_KINDS: dict[str, str] = {
    "_labelIds": "raw-ids",
    "_labelTrainIds": "train-ids",
    "_color": "colours",
    "_instanceIds": "instances",
    "_instanceTrainIds": "instances",
    "_overlay": "picture",  # these stand beside the labels that `crispseg segment` writes
    "_mask_boundaries": "picture",  # before `_boundaries`, with which it ends
    "_boundaries": "picture",
    "_confidence": "picture",
}


@dataclass(frozen=True)
class FilePair:
    """The two files of an image, the name that they share, and its instance file if that is scored as well."""

    name: str
    prediction: Path
    labels: Path
    instances: Path | None = None


def pair_files(
    predictions: Path, labels: Path, encoding: Encoding, label_encoding: Encoding
) -> tuple[list[FilePair], list[Problem]]:
    """Find the label images of two folders and pair them.

    Files pair if their paths below the folders are equal up to the suffix. Where that pairs fewer than half of them,
    customary endings (``_gtFine_labelIds``, ``_pred``, ``_labels``, …) are left out, then the sub-folders, then both.

    Args:
        predictions: the folder of predicted label images.
        labels: the folder of true ones.
        encoding: of the predictions; tells ``x_labelIds.png`` from ``x_color.png`` where both are there.
        label_encoding: of the labels.

    Returns:
        The pairs by name, and what has no counterpart or more than one.

    Raises:
        DataError: if a folder is missing or holds no label images.
    """
    ours, theirs = _label_images(predictions, encoding), _label_images(labels, label_encoding)
    if complaints := [_nothing_in(folder) for folder, files in ((predictions, ours), (labels, theirs)) if not files]:
        raise DataError("; ".join(complaints))

    return _match(*_keyed(ours, predictions, theirs, labels))


def encoding_by_names(labels: Path, encoding: Encoding) -> Encoding:
    """What the files of a folder hold by their names, as ``_labelIds`` and ``_labelTrainIds`` say; else `encoding`.

    Args:
        labels: the folder of label images.
        encoding: that is meant where names say nothing, or some files are of it.
    """
    kinds = {_kind(path.stem) for path in _label_images(labels, encoding)}
    named = [known for known in ENCODINGS if kinds == {known}]
    return named[0] if named else encoding


def pair_with_images(
    masks: Path, images: Path, image_files: list[Path], encoding: Encoding = "raw-ids"
) -> tuple[list[tuple[Path, Path, Path]], list[Problem]]:
    """Find the image of each mask, by the names that `pair_files` goes by.

    Args:
        masks: the folder of label images.
        images: the folder of images, which may hold others as well.
        image_files: those below it that are images.
        encoding: of the masks.

    Returns:
        By mask: its path below `masks` without ending, its file, and its image's; and the masks that have no image, or
        several.

    Raises:
        DataError: if there are no masks.
    """
    found = _label_images(masks, encoding)
    if not found:
        raise DataError(_nothing_in(masks))
    pairs, problems = [], []
    ours, theirs = _keyed(found, masks, [path for path in image_files if path not in set(found)], images)
    for key, files in sorted(ours.items()):
        pictures = theirs.get(key, [])
        if len(pictures) == 1:
            pairs += [(path.relative_to(masks).with_suffix(""), path, pictures[0]) for path in files]
            continue
        kind = "several images of one mask" if pictures else "no image of a mask"
        detail = " and ".join(map(str, pictures)) or f"none below {images} is called so"
        problems += [Problem(kind, str(path), detail) for path in files]
    return pairs, problems


def _keyed(
    ours: list[Path], our_folder: Path, theirs: list[Path], their_folder: Path
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Files by the strictest of `_KEYS` that pairs half of them, or by that which pairs most."""
    best: tuple[dict[str, list[Path]], dict[str, list[Path]]] | None = None
    most = 0
    for key in _KEYS:
        keyed = _by_key(ours, our_folder, key), _by_key(theirs, their_folder, key)
        paired = len(keyed[0].keys() & keyed[1].keys())
        if best is None or paired > most:
            best, most = keyed, paired
        if 2 * paired >= min(len(ours), len(theirs)):
            break
    assert best is not None
    return best


def labels_of(images: Iterable[Path], labels: Path, encoding: Encoding) -> dict[Path, Path]:
    """Find the label file of each image, by the names that `pair_files` goes by.

    Args:
        images: paths without ending, as below the folder of labels.
        labels: the folder of label images, which may hold others as well; or the file of the only image.
        encoding: of the labels.

    Returns:
        The file by image.

    Raises:
        DataError: if an image has no label file, or more than one.
    """
    wanted = list(images)
    if labels.is_file() and len(wanted) == 1:
        return {wanted[0]: labels}
    files = _label_images(labels, encoding)
    if not files:
        raise DataError(_nothing_in(labels))
    best: dict[Path, list[Path]] = {image: [] for image in wanted}
    for key in _KEYS:
        keyed = _by_key(files, labels, key)
        found = {image: keyed.get(key(image.with_name(f"{image.name}.png")), []) for image in wanted}
        if sum(map(bool, found.values())) > sum(map(bool, best.values())):
            best = found
    problems = [("image without a label file", str(image)) for image, files in best.items() if not files]
    problems += [
        ("image with several label files", f"{image} ({' and '.join(map(str, files))})")
        for image, files in best.items()
        if len(files) > 1
    ]
    if problems:
        raise DataError(f"{labels}: {in_words_by_kind(problems)}")
    return {image: files[0] for image, files in best.items()}


def _match(predicted: dict[str, list[Path]], true: dict[str, list[Path]]) -> tuple[list[FilePair], list[Problem]]:
    pairs, problems = [], []
    for key in sorted({*predicted, *true}):
        ours, theirs = predicted.get(key, []), true.get(key, [])
        if len(ours) == len(theirs) == 1:
            pairs.append(FilePair(key, ours[0], theirs[0]))
            continue
        for files, kind in ((ours, "several predictions of one name"), (theirs, "several label files of one name")):
            if len(files) > 1:
                problems.append(Problem(kind, key, " and ".join(map(str, files))))
        if not ours:
            problems.append(Problem("no prediction", key, str(theirs[0])))
        if not theirs:
            problems.append(Problem("no label file", key, str(ours[0])))
    return pairs, problems


def _label_images(folder: Path, encoding: Encoding) -> list[Path]:
    """The files below a folder that may hold labels of this encoding."""
    every = [
        path
        for path in (files_below(folder) if folder.is_dir() else [])
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    files = [path for path in every if path.suffix.lower() in _SUFFIXES]
    if not files:
        files = [path for path in every if path.suffix.lower() in _LOSSY]  # to be told that JPEG does not do
    of_image: dict[Path, list[tuple[Path, str | None]]] = defaultdict(list)
    for path in files:
        of_image[path.parent / _without_ending(path.stem)].append((path, _kind(path.stem)))
    chosen: list[Path] = []
    for candidates in of_image.values():
        fitting = [path for path, kind in candidates if kind in (None, encoding)]
        chosen += fitting or [path for path, _ in candidates]
    return chosen


def _kind(stem: str) -> str | None:
    return next((kind for ending, kind in _KINDS.items() if stem.endswith(ending)), None)


def _without_ending(stem: str) -> str:
    """The image's part of a file's name."""
    for pattern in (_CITYSCAPES, _ENDING):
        if found := pattern.fullmatch(stem):
            return found[1]
    for ending in _KINDS:
        stem = stem.removesuffix(ending)
    return stem


_KEYS: tuple[Callable[[Path], str], ...] = (
    lambda path: path.with_suffix("").as_posix(),
    lambda path: path.with_name(_without_ending(path.stem)).as_posix(),
    lambda path: path.stem,
    lambda path: _without_ending(path.stem),
)
"""From a path below its folder to the name that both files of an image share; the strictest first."""


def _by_key(files: list[Path], folder: Path, key: Callable[[Path], str]) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for path in files:
        found[key(path.relative_to(folder))].append(path)
    return dict(found)


def _nothing_in(folder: Path) -> str:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        return f"{folder}: {found} found where a folder of label images was expected"
    suffixes = ", ".join(sorted(_SUFFIXES))
    return f"{folder}: no label images found; files ending in {suffixes} expected, in it or in its sub-folders"
