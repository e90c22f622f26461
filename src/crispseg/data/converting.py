"""Data sets as files of another kind: any layout as a plain folder, as COCO, as LabelMe's files or as VOC's."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from crispseg.config import DataConfig
from crispseg.data.layouts import open_layout
from crispseg.data.records import FileSource, Sample, SampleSource
from crispseg.data.tables import IGNORED, is_background, voc_colour
from crispseg.errors import ConfigError, DataError
from crispseg.io import atomic_folder
from crispseg.io.png_writing import encode_png
from crispseg.labels import IGNORE_INDEX, LabelClass, LabelSpace
from crispseg.vectors import Regions, coco_document, join_coco, labelme_document, polygons

__all__ = ["KINDS", "export_data", "import_data"]

KINDS = ("coco", "labelme", "voc")
"""What `export_data` writes."""

Progress = Callable[[int, int], object]
Write = Callable[[Path, str, str, Path | None, Sample], None]
"""From the root, the split, the sample's name, the file of its image if it has one, and the sample."""


def import_data(
    config: DataConfig, splits: Sequence[str], out: Path, progress: Progress | None = None
) -> dict[str, int]:
    """Write a data set as images, masks and a table, which layout ``folder`` reads.

    Images are copied as they are. Masks are palette PNGs of train ids, 255 where a pixel is ignored.

    Args:
        config: of the data set.
        splits: which; the only split ``all`` is written without folders of splits.
        out: the folder to be, which appears whole or not at all.
        progress: called with (samples done, samples in all).

    Returns:
        Samples by split.

    Raises:
        ConfigError, DataError: if the data set cannot be read, or the folder holds something already.
    """
    flat = list(splits) == ["all"]

    def write(root: Path, split: str, name: str, file: Path | None, sample: Sample) -> None:
        below = "" if flat else split
        _save_labels(root / "labels" / below / f"{name}.png", sample, table)
        _save_image(root / "images" / below, name, file, sample)

    with _written(config, splits, out, progress) as (root, opened, each):
        table = _renumbered(opened[0][2])
        counts = each(write)
        _save_table(root, table)
    return counts


def export_data(
    config: DataConfig, splits: Sequence[str], out: Path, kind: str, progress: Progress | None = None
) -> dict[str, int]:
    """Write a data set with its images for other tools; the layout of the kind's name reads the same labels back.

    ``coco``: ``annotations/instances_SPLIT.json`` and ``images/SPLIT``. ``labelme``: files beside their images in
    ``SPLIT``. ``voc``: ``JPEGImages``, ``SegmentationClass``, lists and ``labelmap.txt``. A class called background is
    what no outline covers, and ignored pixels are outlines called ``__ignore__``.

    Args:
        config: of the data set.
        splits: which.
        out: the folder to be, which appears whole or not at all.
        kind: one of `KINDS`.
        progress: called with (samples done, samples in all).

    Returns:
        Samples by split.

    Raises:
        ConfigError, DataError: if the data set cannot be read, the folder holds something already, or what makes
            polygons is not installed.
    """
    with _written(config, splits, out, progress) as (root, opened, each):
        table = _renumbered(opened[0][2])
        return {"coco": _export_coco, "labelme": _export_labelme, "voc": _export_voc}[kind](root, table, each)


Each = Callable[[Write], dict[str, int]]


def _export_coco(root: Path, table: LabelSpace, each: Each) -> dict[str, int]:
    parts: dict[str, dict[str, Path]] = {}
    with tempfile.TemporaryDirectory() as kept:

        def write(root: Path, split: str, name: str, file: Path | None, sample: Sample) -> None:
            named = _save_image(root / "images" / split, name, file, sample)
            document = coco_document(_outlines(sample, table), named, ignored_as=IGNORED, without=_backgrounds(table))
            of_split = parts.setdefault(split, {})
            path = Path(kept) / f"{split}_{len(of_split)}.json"
            path.write_text(json.dumps(document), encoding="utf-8")
            of_split[named] = path

        counts = each(write)
        for split, sources in parts.items():
            join_coco(sources, root / "annotations" / f"instances_{split}.json")
    _save_table(root, table)
    return counts


def _export_labelme(root: Path, table: LabelSpace, each: Each) -> dict[str, int]:
    def write(root: Path, split: str, name: str, file: Path | None, sample: Sample) -> None:
        named = _save_image(root / split, name, file, sample)
        document = labelme_document(_outlines(sample, table), named, without=_backgrounds(table))
        (root / split / f"{name}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")

    counts = each(write)
    _save_table(root, table)
    return counts


def _export_voc(root: Path, table: LabelSpace, each: Each) -> dict[str, int]:
    lists: dict[str, list[str]] = {}
    if len({entry.colour for entry in table.classes}) < table.num_classes or not table.has_colours:
        table = _recoloured(table)

    def write(root: Path, split: str, name: str, file: Path | None, sample: Sample) -> None:
        if any(name in names for names in lists.values()):
            raise DataError(f"{name}: an image of this name is in two splits, but VOC has one folder; rename one")
        lists.setdefault(split, []).append(name)
        _save_image(root / "JPEGImages", name, file, sample)
        _save_labels(root / "SegmentationClass" / f"{name}.png", sample, table)

    counts = each(write)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split, names in lists.items():
        text = "".join(f"{name}\n" for name in names)
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text, encoding="utf-8")
    lines = [f"{entry.name}:{','.join(map(str, entry.colour))}::" for entry in table.classes]
    (root / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines, ""]), encoding="utf-8")
    return counts


Opened = list[tuple[str, SampleSource, LabelSpace]]


@contextmanager
def _written(
    config: DataConfig, splits: Sequence[str], out: Path, progress: Progress | None
) -> Iterator[tuple[Path, Opened, Each]]:
    """The folder to write into, the splits, and what calls a writer for each sample."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: it holds something already; name a folder that does not exist yet")
    opened = [(split, *open_layout(config, split)) for split in splits]
    for split, _, table in opened:
        if table.to_dict() != opened[0][2].to_dict():
            raise DataError(
                f"{config.root}: the split {split!r} has other classes than {opened[0][0]!r}; give data.labels"
            )
    total = sum(len(source.names) for _, source, _ in opened)

    with atomic_folder(out) as root:

        def each(write: Write) -> dict[str, int]:
            counts: dict[str, int] = {}
            done = 0
            for split, source, _ in opened:
                names: set[str] = set()
                for index, full in enumerate(source.names):
                    name = full.replace("/", "__")
                    if name in names:
                        raise DataError(
                            f"{config.root}: two images of the split {split!r} are called {name!r}; rename one"
                        )
                    names.add(name)
                    file = source.records[index].image if isinstance(source, FileSource) else None
                    write(root, split, name, file, source.sample(index))
                    done += 1
                    if progress is not None:
                        progress(done, total)
                counts[split] = len(names)
            return counts

        yield root, opened, each


def _save_image(folder: Path, name: str, file: Path | None, sample: Sample) -> str:
    """The image, copied as it is or else as PNG; its file's name."""
    folder.mkdir(parents=True, exist_ok=True)
    named = f"{name}{file.suffix if file else '.png'}"
    if file is not None:
        shutil.copyfile(file, folder / named)
    else:
        (folder / named).write_bytes(encode_png(sample.image))
    return named


def _save_labels(path: Path, sample: Sample, table: LabelSpace) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    palette = np.array(table.palette)
    palette[IGNORE_INDEX] = _VOID
    path.write_bytes(encode_png(sample.labels, palette))  # the folder is flushed as a whole


_VOID = (224, 224, 192)  # as VOC shows what is ignored


def _save_table(root: Path, table: LabelSpace) -> None:
    classes = [
        {key: value for key, value in entry.to_dict().items() if key != "colour" or not entry.colour_is_made_up}
        for entry in table.classes
    ]
    values: dict[str, Any] = {"name": table.name, "classes": classes}
    (root / "labels.yaml").write_text(
        yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None), encoding="utf-8"
    )


def _renumbered(table: LabelSpace) -> LabelSpace:
    """The same classes with their train ids in files."""
    classes = [
        LabelClass(entry.name, entry.colour, (index,), entry.category, entry.has_instances, entry.colour_is_made_up)
        for index, entry in enumerate(table.classes)
    ]
    return LabelSpace(table.name, tuple(classes))


def _recoloured(table: LabelSpace) -> LabelSpace:
    classes = [LabelClass(entry.name, voc_colour(index), (index,)) for index, entry in enumerate(table.classes)]
    return LabelSpace(table.name, tuple(classes))


def _outlines(sample: Sample, table: LabelSpace) -> Regions:
    return polygons(sample.labels, table)


def _backgrounds(table: LabelSpace) -> frozenset[int]:
    return frozenset(index for index, entry in enumerate(table.classes) if is_background(entry.name))
