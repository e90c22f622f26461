"""Finding the files of a split and pairing them; every error names the folder, what it holds and what was expected."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crispseg.config import DataConfig
from crispseg.data.records import Record
from crispseg.errors import DataError
from crispseg.io import files_below
from crispseg.wording import some

__all__ = [
    "IMAGE_ENDINGS",
    "FindRecords",
    "PairedFolders",
    "existing_root",
    "files_in",
    "first_existing",
    "listed_names",
    "pair",
    "split_parts",
]

FindRecords = Callable[[DataConfig, Path, str], list[Record]]
"""From the section, the root and one split to the split's samples."""

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
_SAME_STEM = "an image and its label file have the same name up to the suffix"


@dataclass(frozen=True)
class PairedFolders:
    """A folder of images and one of label files for every split, whose files pair by name.

    Attributes:
        images: patterns of the images' folder below the root, with ``{split}``; the first that exists is taken.
        labels: patterns of the label files' folder.
        image_endings: of the images' names; what is before them is the sample's name.
        label_endings: of the label files' names; a folder's other files do not count.
        splits: the owners' names of splits, by the names that recipes use.
        deep: whether files lie in sub-folders, for instance one a city.
    """

    images: tuple[str, ...]
    labels: tuple[str, ...]
    image_endings: tuple[str, ...]
    label_endings: tuple[str, ...]
    splits: Mapping[str, str] = field(default_factory=dict)
    deep: bool = False

    def __call__(self, config: DataConfig, root: Path, split: str) -> list[Record]:
        """The split's samples by name.

        Raises:
            DataError: if a folder is missing or holds no such files, or images and label files do not pair.
        """
        owners_split = self.splits.get(split, split)
        folders = [
            first_existing(root, *(pattern.format(split=owners_split) for pattern in patterns))
            for patterns in (self.images, self.labels)
        ]
        expected = " and ".join(folders)
        images = files_in(root, folders[0], self.image_endings, expected, deep=self.deep)
        labels = files_in(root, folders[1], self.label_endings, expected, deep=self.deep)
        return pair(images, labels, root, self._rule())

    def _rule(self) -> str:
        """How names belong together, in words."""
        if not any(ending.startswith("_") for ending in (*self.image_endings, *self.label_endings)):
            return _SAME_STEM
        images, labels = (
            " or ".join(f"X{ending}" for ending in endings) for endings in (self.image_endings, self.label_endings)
        )
        return f"{images} and {labels} belong together"


def split_parts(split: str) -> list[str]:
    """The splits that a name joins.

    Raises:
        DataError: if one is empty or comes twice.

    Example:
        >>> split_parts("train+val"), split_parts("test")
        (['train', 'val'], ['test'])
    """
    parts = split.split("+")
    if not all(parts) or len(set(parts)) < len(parts):
        raise DataError(f"split {split!r}: names joined with '+', each once, were expected, as in train+val")
    return parts


def existing_root(config: DataConfig, expected: str) -> Path:
    """The folder ``data.root``.

    Args:
        config: the section.
        expected: what it should hold, for errors.

    Raises:
        DataError: if it is not set, missing or a file.
    """
    if config.root is None:
        raise DataError(f"layout {config.layout!r} needs data.root: a folder with {expected}")
    root = Path(os.path.expanduser(config.root))
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        looked = (
            ""
            if root.is_absolute()
            else f"; a relative path is looked for beside the recipe's file, then in the working folder {Path.cwd()}"
        )
        raise DataError(f"data.root {config.root}: {found} found where a folder was expected, with {expected}{looked}")
    return root


def first_existing(root: Path, *folders: str) -> str:
    """The first of several places that is a folder; if none is, the first, for errors to name."""
    return next((folder for folder in folders if (root / folder).is_dir()), folders[0])


def files_in(
    root: Path, folder: str, endings: tuple[str, ...], expected: str, *, deep: bool = False
) -> dict[str, Path]:
    """A folder's files by what stands before their endings; hidden files and other endings do not count.

    Args:
        root: of the data set.
        folder: below it.
        endings: of the files' names, in lower or upper case.
        expected: the folders that a data set of this layout has, for errors.
        deep: whether to look into sub-folders.

    Raises:
        DataError: if there is no such folder or file, or two files have one name.
    """
    path = root / folder
    if not path.is_dir():
        raise DataError(_no_folder(root, path, expected))
    lowered = tuple(ending.lower() for ending in endings)
    found: dict[str, Path] = {}
    for entry in files_below(path) if deep else sorted(path.iterdir()):
        if entry.name.startswith(".") or not entry.name.lower().endswith(lowered) or not entry.is_file():
            continue
        name = _without_ending(entry.name, lowered)
        if name in found:
            other = found[name].name if found[name].parent == entry.parent else found[name]
            raise DataError(f"{entry}: {other} has the same stem, so one label file fits both; rename one")
        found[name] = entry
    if not found:
        held = some(_entries(path))
        where = " in it and its sub-folders" if deep else ""
        raise DataError(
            f"{path}: no files found{where}; files ending in {', '.join(endings)} were expected; it holds {held}"
        )
    return found


def pair(images: Mapping[str, Path], labels: Mapping[str, Path], root: Path, rule: str = _SAME_STEM) -> list[Record]:
    """Samples from images and label files of the same names.

    Args:
        images: by name.
        labels: by name.
        root: that errors give paths below.
        rule: how names belong together, in words.

    Raises:
        DataError: if one lacks the other; it lists both kinds.
    """
    without_labels = [str(images[name].relative_to(root)) for name in images if name not in labels]
    without_image = [str(labels[name].relative_to(root)) for name in labels if name not in images]
    complaints = []
    if without_labels:
        complaints.append(f"{len(without_labels)} of {len(images)} images have no label file: {some(without_labels)}")
    if without_image:
        complaints.append(f"{len(without_image)} of {len(labels)} label files have no image: {some(without_image)}")
    if complaints:
        raise DataError(f"{root}: {'; '.join(complaints)}; {rule}; add what is missing or take the others away")
    return [Record(name, images[name], labels[name]) for name in sorted(images)]


def listed_names(path: Path) -> list[str]:
    """The first word of every line of a split's list; empty lines do not count.

    Raises:
        DataError: if there is no such file, it is no text, or it lists nothing or something twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        held = some(_entries(path.parent)) if path.parent.is_dir() else "no such folder"
        raise DataError(
            f"{path}: no such file; a list of the split's images was expected; {path.parent}: {held}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as a list of names ({error}); a line per image was expected"
        ) from error
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise DataError(f"{path}: the list is empty; a line per image was expected")
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path}: {len(doubled)} names are listed twice: {some(doubled)}; keep one line of each")
    return names


def _no_folder(root: Path, path: Path, expected: str) -> str:
    """What to say of a missing folder, with what lies in the nearest one that is there."""
    where = next(parent for parent in path.parents if parent.is_dir())
    names = _entries(where)
    hint = ""
    if path.parent.name == "images" and any(name.lower().endswith(IMAGE_ENDINGS) for name in names):
        hint = "; images without split folders are the split 'all'"
    return f"{path}: no such folder; {expected} were expected below {root}; {where} holds {some(names)}{hint}"


def _entries(folder: Path) -> list[str]:
    return sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())


def _without_ending(name: str, endings: tuple[str, ...]) -> str:
    ending = next(ending for ending in endings if name.lower().endswith(ending))
    return name[: len(name) - len(ending)]
