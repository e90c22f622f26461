"""The page on which a person looks through a whole set: all images, sorted and filtered, of one run or of several.

`render_browser` turns records into the plain values that ``browse.js`` shows; nothing is scored in the browser.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crispseg.errors import ConfigError, DataError
from crispseg.evaluation.engine import Example
from crispseg.evaluation.journal import RecordFile
from crispseg.evaluation.per_image import WHOLE_IMAGE, image_columns, image_confusions, image_rows
from crispseg.evaluation.records import ImageRecord, Settings
from crispseg.evaluation.scoring import Evaluation
from crispseg.io import atomic_write
from crispseg.metrics.functional.arrays import Absent
from crispseg.pages.base import class_colours, render_page
from crispseg.pages.thumbnails import PICTURES, Thumbnails
from crispseg.wording import some

__all__ = ["BrowsePage", "write_comparison"]

_PAGE_NAME = "browse.html"
_FOLDER_NAME = "browse"  # of the pictures, beside the page


class BrowsePage:
    """The page of one run, beside its records: draw while it is scored, write at the end.

    Args:
        folder: of the run, ``out`` of `crispseg.evaluation.evaluate`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from crispseg.evaluation import evaluate_folders
        >>> from crispseg.io import write_png
        >>> folder, labels = Path(tempfile.mkdtemp()), np.array([[0, 0, 3, 3]], dtype=np.uint8)
        >>> write_png(folder / "labels/a.png", labels)
        >>> write_png(folder / "masks/a.png", np.roll(labels, 1))
        >>> page, both = BrowsePage(folder / "out"), (folder / "masks", folder / "labels")
        >>> _ = evaluate_folders(*both, "camvid", out=folder / "out", watch=page.draw, report=page.write)
        >>> sorted(path.name for path in (folder / "out").iterdir())
        ['browse', 'browse.html', 'images.jsonl', 'scores.json']
    """

    address = _PAGE_NAME
    """Of the page, in the folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._thumbnails: Thumbnails | None = None

    def draw(self, record: ImageRecord, example: Example) -> None:
        """Draw an image; for ``watch`` of an evaluation."""
        if self._thumbnails is None:
            self._thumbnails = Thumbnails(self.folder / _FOLDER_NAME, RecordFile(self.folder).settings)
        self._thumbnails.draw(record, example)

    def write(self, evaluation: Evaluation) -> None:
        """Write the page; for ``report`` of an evaluation. What was not drawn yet is read, or predicted, anew."""
        run = _Run.of(self.folder)
        for record in run.records.values():
            if not run.thumbnails.has(record):
                run.thumbnails.draw(record, evaluation.images.example(record.name))
        run.thumbnails.keep_only({run.thumbnails.key(record) for record in run.records.values()})
        html = render_browser({"": run}, list(run.records), run.settings, evaluation.scores.absent, scored="evaluate")
        _write(self.folder, html)


def write_comparison(
    runs: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    absent: Absent = "skip",
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Write the page of several runs beside each other, with their pictures as links or copies.

    Args:
        runs: folders of evaluations of the same images, each with its own page; images that not all have are left out.
        folder: for ``browse.html`` and the pictures.
        absent: the rule of the boundary F.
        progress: called with (images done, images in all).

    Raises:
        ConfigError: if different scores were counted in the runs.
        DataError: if a run has no pictures, or not those of all its images.
    """
    opened = {os.fspath(name): _Run.of(Path(name)) for name in runs}
    first, *others = opened.values()
    names = sorted(set(first.records).intersection(*(run.records for run in others)))
    for name, run in opened.items():
        if run.settings.counted != first.settings.counted:
            raise ConfigError(
                f"{name}: other scores than in {next(iter(opened))}, and a page shows the same of all runs; evaluate "
                "one of them again with the other's --scores"
            )
        if missing := [image for image in names if not run.thumbnails.has(run.records[image])]:
            raise DataError(
                f"{name}: no pictures of {some(missing, 3)}; evaluate with --browse, or with --resume --browse if it "
                "was evaluated without"
            )
    # A run's own files have names of its own, so those of all runs may lie together.
    together = Thumbnails(Path(folder) / _FOLDER_NAME, first.settings)
    kept: set[str] = set()
    for done, image in enumerate(names, start=1):
        for run in opened.values():
            key = run.thumbnails.key(run.records[image])
            kept.add(key)
            for kind in PICTURES if run is first else ("prediction", "errors"):
                together.take(run.thumbnails, kind, key)
        if progress is not None:
            progress(done, len(names))
    together.keep_only(kept)
    _write(Path(folder), render_browser(opened, names, first.settings, absent, scored="compare"))


@dataclass(frozen=True)
class _Run:
    """The records of a run by the names of their images, and its pictures."""

    settings: Settings
    records: Mapping[str, ImageRecord]
    thumbnails: Thumbnails

    @classmethod
    def of(cls, folder: Path) -> _Run:
        file = RecordFile(folder)
        records = {record.name: record for record in file}
        return cls(file.settings, records, Thumbnails(folder / _FOLDER_NAME, file.settings))


def render_browser(
    runs: Mapping[str, _Run], names: Collection[str], settings: Settings, absent: Absent, *, scored: str
) -> str:
    """Make the page.

    Args:
        runs: by the names that the page gives them.
        names: of the images that it shows, which all runs have.
        settings: the classes and radii, the same in all runs.
        absent: the rule of the boundary F.
        scored: by which command.

    Returns:
        A whole HTML document, for a folder that holds the pictures of the runs.
    """
    first = next(iter(runs.values()))
    photos = any(first.thumbnails.path("photo", first.thumbnails.key(first.records[name])).is_file() for name in names)
    classes = class_colours(settings.label_space)
    data = {
        "folder": _FOLDER_NAME,
        "suffixes": PICTURES,
        "photos": photos,
        "classes": classes,
        "whole": WHOLE_IMAGE,
        "columns": [column._asdict() for column in image_columns(settings, absent)],
        "runs": list(runs),
        "images": [_image_values(name, runs.values(), settings, absent) for name in names],
    }
    return render_page(
        "browse.html.j2", script="browse.js", data=data, command=scored, classes=classes, number=len(names)
    )


def _image_values(name: str, runs: Iterable[_Run], settings: Settings, absent: Absent) -> list[Any]:
    """Name, height, width, judged pixels, and of each run: its pictures' name, its rows and its confusions, both flat.

    Lists without names for their places: of thousands of images, names would be most of the page.
    """
    values: list[Any] = [name]
    for run in runs:
        record = run.records[name]
        if len(values) == 1:
            values += [*record.size_hw, int(record.confusion[:, 2].sum())]
        rows = image_rows(record, settings, absent)
        confusions = image_confusions(record)
        values.append([run.thumbnails.key(record), rows.ravel().tolist(), confusions.ravel().tolist()])
    return values


def _write(folder: Path, html: str) -> None:
    with atomic_write(folder / _PAGE_NAME) as temporary:
        temporary.write_text(html, encoding="utf-8")
