"""Which images are meant, and what their results are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from crispseg.errors import ConfigError, DataError
from crispseg.io import files_below

__all__ = ["VIDEO_SUFFIXES", "are_videos", "collect_images"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""What a folder is searched for; a file that is named outright may end as it likes."""

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
"""What videos end in, which are named outright or by patterns; folders are not searched for them."""

_LIST_SUFFIX = ".txt"


def collect_images(arguments: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> dict[Path, Path]:
    """Find the images that the arguments name.

    Args:
        arguments: files, folders, glob patterns, and lists: text files ending in ``.txt`` with a path a line, relative
            to where the program runs; empty lines and lines that begin with # are left out. Images of a folder keep
            their place below it, those of a list below the folder that holds them all.
        out: the folder that the results go to; what already lies in it is not taken from a folder that holds it.

    Returns:
        For each image, by its result's path below `out` without ending: the image's path.

    Raises:
        DataError: if an argument names nothing, a folder has no image, or two images' results would have one name.
        ConfigError: if `out` is a folder of images itself.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        for target, source in _named_by(os.fspath(argument), Path(out)):
            other = found.setdefault(target, source)
            if os.path.realpath(other) != os.path.realpath(source):
                raise DataError(
                    f"{other} and {source} would both be written as {Path(out) / target}_*; give the folder above "
                    "both instead, so that sub-folders are kept, or segment them into two folders"
                )
    return found


def are_videos(arguments: Sequence[str | os.PathLike[str]]) -> bool:
    """Whether the arguments name videos, for `collect_images` to find.

    Raises:
        ConfigError: if some do and others do not.

    Example:
        >>> are_videos(["street.mp4"]), are_videos(["photos"])
        (True, False)
    """
    videos = [one for one in arguments if Path(one).suffix.lower() in VIDEO_SUFFIXES and not Path(one).is_dir()]
    if videos and len(videos) < len(arguments):
        other = next(one for one in arguments if one not in videos)
        raise ConfigError(f"{videos[0]} is a video and {other} is none; segment videos and images one after the other")
    return bool(videos)


def _named_by(argument: str, out: Path) -> list[tuple[Path, Path]]:
    path = Path(argument)
    if path.is_dir():
        return _images_below(path, out)
    if path.is_file():
        return _listed_in(path) if path.suffix.lower() == _LIST_SUFFIX else [(Path(path.stem), path)]
    matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]
    pairs = [(Path(match.stem), match) for match in matches if match.is_file()]
    if not pairs:
        raise DataError(f"{argument}: no such file or folder, and no file fits it as a pattern")
    return pairs


def _listed_in(path: Path) -> list[tuple[Path, Path]]:
    """A list's images, below the folder that holds them all; what does not exist is reported with the broken ones."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        raise DataError(f"{path}: no UTF-8 text; a list with the path of an image on each line expected") from None
    sources = [Path(line) for line in lines if line and not line.startswith("#")]
    if not sources:
        raise DataError(f"{path}: an empty list; the path of an image on each line expected")
    if "\0" in "".join(lines):
        raise DataError(f"{path}: holds null characters; the path of an image on each line expected")
    folders = [os.path.abspath(source.parent) for source in sources]
    above = os.path.commonpath(folders)
    return [
        (Path(os.path.relpath(folder, above)) / source.stem, source)
        for folder, source in zip(folders, sources, strict=True)
    ]


def _images_below(folder: Path, out: Path) -> list[tuple[Path, Path]]:
    inside_out = Path(os.path.realpath(out))
    if inside_out == Path(os.path.realpath(folder)):
        raise ConfigError(
            f"--out {out} is also a folder of images, where results would be taken for images; name another"
        )
    sources = [source for source in files_below(folder) if source.suffix.lower() in IMAGE_SUFFIXES]
    if inside_out.is_relative_to(Path(os.path.realpath(folder))):  # an earlier run's results
        sources = [source for source in sources if not Path(os.path.realpath(source)).is_relative_to(inside_out)]
    if not sources:
        raise DataError(f"{folder}: no images found; files ending in {', '.join(sorted(IMAGE_SUFFIXES))} expected")
    return [(source.relative_to(folder).with_suffix(""), source) for source in sources]
