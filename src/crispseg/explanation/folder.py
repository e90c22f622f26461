"""The pictures of many images, into a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crispseg.bulk.run import Failure
from crispseg.data.encodings import Encoding, check_encodings, read_labels_and_ids
from crispseg.data.pairing import labels_of
from crispseg.errors import ConfigError, DataError
from crispseg.explanation.figures import Available, choose_figures
from crispseg.explanation.looks import AnyModel, Ids, shown_by
from crispseg.explanation.run import MOST_MODELS, look_at
from crispseg.explanation.statistics import GateStatistics
from crispseg.explanation.subject import Options, Subject
from crispseg.io import MAX_PIXELS, atomic_write, image_size_hw, read_image
from crispseg.io.files import remove_leftovers
from crispseg.pictures.drawing import FORMATS
from crispseg.wording import in_words_by_kind

__all__ = ["STATISTICS", "Explained", "explain_images", "find_labels"]

STATISTICS = "gate_statistics"
"""What is drawn of all images together."""


@dataclass(frozen=True)
class Explained:
    """What became of many images.

    Attributes:
        done: how many are drawn.
        failures: those that could not be, in order.
        pictures: the names of what was drawn of each.
        statistics: of the gates over all; None: nobody asked, or there are no gates.
    """

    done: int
    failures: tuple[Failure, ...]
    pictures: tuple[str, ...]
    statistics: GateStatistics | None


def find_labels(images: Mapping[Path, Path], labels: str | os.PathLike[str], encoding: Encoding) -> dict[Path, Path]:
    """Find the label file of each image.

    Args:
        images: files by their results' names, as `crispseg.collect_images` finds them.
        labels: a folder of label images; or, for one image, its file.
        encoding: of the label images.

    Returns:
        Files by the same names.

    Raises:
        DataError: if an image has none or several, or one of another size; all of them are named.
    """
    found = labels_of(images, Path(labels), encoding)
    wrong: list[tuple[str, str]] = []
    for target, file in found.items():
        try:
            ours, theirs = image_size_hw(images[target], _ANY), image_size_hw(file, _ANY)
        except DataError:
            continue  # said when it is read, and the others are still drawn
        if ours != theirs:
            detail = f"{file} is {theirs[0]}×{theirs[1]}, {images[target]} {ours[0]}×{ours[1]}"
            wrong.append(("label file of another size than its image (height×width)", detail))
    if wrong:
        raise DataError(f"{os.fspath(labels)}: {in_words_by_kind(wrong)}; label files of the image's size expected")
    return found


_ANY = 2**62  # pixels; only headers are read here


def explain_images(
    models: Mapping[str, AnyModel],
    images: Mapping[Path, Path],
    out: str | os.PathLike[str],
    *,
    labels: Mapping[Path, Path] | None = None,
    encoding: Encoding = "raw-ids",
    only: Sequence[str] | None = None,
    options: Options | None = None,
    format: str = "png",
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], object] | None = None,
) -> Explained:
    """Draw what models do with many images, as ``crispseg explain`` does.

    A broken image is left out and reported, and the others are still drawn.

    Args:
        models: by title, the explained one first, four at most.
        images: files by their results' names below `out`, as `crispseg.collect_images` finds them.
        out: a folder; made if need be.
        labels: label files by the same names; None: unknown.
        encoding: of the label files.
        only: names of pictures, and ``"gate_statistics"``; None: all.
        options: of the pictures; None: the defaults.
        format: ``"png"``, ``"pdf"`` or ``"svg"``.
        max_pixels: of an image.
        progress: called with (images that are drawn, images that were looked at) after each.

    Raises:
        ConfigError: if a picture cannot be drawn of this model, or the models do not fit each other.
    """
    if format not in FORMATS or not 1 <= len(models) <= MOST_MODELS:
        raise ConfigError(
            f"format {format!r} and {len(models)} models; {', '.join(FORMATS)} and 1 to {MOST_MODELS} models expected"
        )
    first = next(iter(models.values()))
    available = Available(shown_by(first), labels is not None, len(models))
    if labels is not None:
        check_encodings(first.label_space, encoding)
    statistics = GateStatistics() if _wants_statistics(only, available) else None
    names = None if only is None else [name for name in only if name != STATISTICS]
    figures = [] if statistics is not None and names == [] else choose_figures(names, available)
    close_gates = statistics is not None or any(figure.name == "knockout" for figure in figures)
    folder, failures, done = Path(out), list[Failure](), 0
    remove_leftovers(folder, below=True)
    for position, (target, source) in enumerate(images.items()):
        try:
            image = read_image(source, max_pixels)
            truth: Ids | None = None
            if labels is not None:
                truth = read_labels_and_ids(labels[target], first.label_space, encoding, max_pixels)[0]
            subject = Subject(look_at(models, image, close_gates=close_gates), truth, options or Options())
        except (DataError, OSError) as error:
            failures.append(Failure(source, str(error)))
        else:
            for figure in figures:
                figure.draw(subject).write(folder / f"{target}_{figure.name}.{format}")
            if statistics is not None:
                statistics.add(subject.look, truth)
            done += 1
        if progress is not None:
            progress(done, position + 1)
    if statistics is not None and done:
        _write(statistics, folder, format)
    return Explained(done, tuple(failures), tuple(figure.name for figure in figures), statistics)


def _wants_statistics(only: Sequence[str] | None, available: Available) -> bool:
    has_gates = bool(available.shown.of_kind("gate"))
    if only is None:
        return has_gates
    if STATISTICS in only and not has_gates:
        choose_figures(["gates"], available)  # says that there are none, and what else there is
    return STATISTICS in only


def _write(statistics: GateStatistics, folder: Path, format: str) -> None:
    statistics.plot().write(folder / f"{STATISTICS}.{format}")
    with atomic_write(folder / f"{STATISTICS}.json") as temporary:
        temporary.write_text(json.dumps(statistics.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
