"""Where the files of a data set lie. A layout is a function from a configuration and a split to a source of samples.

What a layout alone needs are keywords of its function. `crispseg.registry` has the names of all.

A split's name may join several with a plus: ``train+val``. docs/datasets.md has each data set's folders in words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from crispseg.config import DataConfig, PositiveInt
from crispseg.data.label_files import CAMVID_FORMAT, MEMBRANE_FORMAT, PNG_FORMAT, LabelFormat, mat_format
from crispseg.data.layouts.choices import (
    camvid_split,
    coco_stuff_split,
    kitti_fold,
    numbered_split,
    of_drives,
    pascal_context_split,
)
from crispseg.data.layouts.drawn import check_drawing, drawn_split, joined
from crispseg.data.layouts.files import FindRecords, PairedFolders, existing_root, first_existing, split_parts
from crispseg.data.layouts.own_folders import OwnFolders, split_names
from crispseg.data.masks import MaskEncoding, mask_format, what_it_holds
from crispseg.data.records import FileSource, SampleSource
from crispseg.data.tables import table_beside
from crispseg.data.toy_streets import ToyStreets
from crispseg.errors import ConfigError, DataError
from crispseg.io.bands import Reading
from crispseg.labels import LabelSpace, label_space
from crispseg.registry import LAYOUTS as _LAYOUTS
from crispseg.registry import Registry
from crispseg.wording import nearest_name

__all__ = ["LAYOUTS", "Layout", "completed_options", "open_layout", "register_layout", "split_parts"]

Layout = Callable[..., tuple[SampleSource, LabelSpace]]
LAYOUTS: Registry[Layout] = _LAYOUTS
"""By name in a recipe."""


def register_layout(name: str, layout: Layout) -> None:
    """Make a layout known by name to recipes (``data.layout``).

    Args:
        name: not taken yet.
        layout: a function of the data section and the name of a split, which returns a source of samples and their
            label table. The keywords of its signature are its options: keys of a recipe's data section. Their
            annotations say which values are right.

    Raises:
        ConfigError: if the name stands for another layout.
    """
    LAYOUTS.register(name, layout)


def completed_options(config: DataConfig) -> DataConfig:
    """The section with every option of its layout, and no other.

    Raises:
        ConfigError: if there is no such layout, or it does not take an option that is set.
    """
    LAYOUTS.find(config.layout, "data.layout")
    common = {key: getattr(config, key) for key in type(config).model_fields}
    return DataConfig(**common, **LAYOUTS.completed(config.layout, config.options, "data"))


def open_layout(config: DataConfig, split: str) -> tuple[SampleSource, LabelSpace]:
    """The samples of a split, and what their labels mean.

    Args:
        config: a recipe's data section.
        split: the data set's own name, or several joined with a plus.

    Raises:
        ConfigError: if there is no such layout, it does not take an option that is set, or there is no such label
            table.
        DataError: if the root is missing or empty, or images and label files do not pair.
    """
    complete = completed_options(config)
    if complete.labels is not None:
        label_space(complete.labels)  # what is wrong with it is said whether the files are there or not
    check_drawing(complete)

    def open_split(name: str) -> tuple[SampleSource, LabelSpace]:
        source, space = LAYOUTS[config.layout](complete, name, **complete.options)
        if isinstance(source, FileSource):
            source.reading = Reading(config.bands, config.stored_range, upright=config.exif != "ignore")
        return source, space

    if config.val is None:
        return open_split(split)
    opened = [drawn_split(complete, part, open_split) or open_split(part) for part in split_parts(split)]
    return joined([source for source, _ in opened]), opened[0][1]


def _of_files(table: str, holds: str, find: FindRecords, label_format: LabelFormat = PNG_FORMAT) -> Layout:
    """The layout of a data set on disk.

    Args:
        table: its label table, where the section names no other.
        holds: what the root must hold, in words.
        find: finds a split's files.
        label_format: of the label files.
    """

    def layout(config: DataConfig, split: str) -> tuple[SampleSource, LabelSpace]:
        root = existing_root(config, holds)
        space = label_space(config.labels or table)
        records = [record for part in split_parts(split) for record in find(config, root, part)]
        return FileSource(records, space, label_format, config.max_pixels), space

    return layout


def pascal_context(config: DataConfig, split: str) -> tuple[SampleSource, LabelSpace]:
    """VOC 2010's images with the owners' LabelMap files, or with the PNG files that other libraries make of them."""
    holds = "VOC 2010's folders JPEGImages and ImageSets, and trainval with the owners' .mat files"
    folder = first_existing(existing_root(config, holds), "trainval", "SegmentationClassContext")
    table, ending, label_format = "pascal_context", ".mat", mat_format("LabelMap")
    if folder == "SegmentationClassContext":
        table, ending, label_format = "pascal_context_png", ".png", PNG_FORMAT
    return _of_files(table, holds, pascal_context_split(folder, ending), label_format)(config, split)


def folder(
    config: DataConfig,
    split: str,
    *,
    encoding: MaskEncoding = "auto",
    colour_distance: Annotated[float, Field(ge=0, le=441)] = 0.0,
    image_folder: str | None = None,
    label_folder: str | None = None,
    label_ending: str | None = None,
    split_lists: str | None = None,
) -> tuple[SampleSource, LabelSpace]:
    """Images and masks of one's own, as ``ROOT/images/SPLIT/*``, ``ROOT/labels/SPLIT/*`` and ``ROOT/labels.yaml``.

    Args:
        config: the section.
        split: a folder's name, or a list's; ``all`` means a folder without splits.
        encoding: what the masks hold; see `crispseg.data.masks.read_mask`.
        colour_distance: of anti-aliased colours from the nearest class's.
        image_folder: see `OwnFolders`.
        label_folder: see `OwnFolders`.
        label_ending: see `OwnFolders`.
        split_lists: see `OwnFolders`.
    """
    root = existing_root(config, "images, masks, and a table labels.yaml")
    find = OwnFolders(image_folder, label_folder, label_ending, split_lists)
    parts = split_parts(split)
    below = [root / name for part in parts for name in split_names(part) if (root / name).is_dir()]
    space = label_space(config.labels) if config.labels else table_beside(root, *below)
    records = [record for part in parts for record in find(config, root, part)]
    if space is None:
        raise DataError(
            f"{root / 'labels.yaml'}: no such file; write a label table with a class for each value of its masks, "
            f"or set data.labels to a table's name or path; {what_it_holds(records[0].labels)}"
        )
    return FileSource(records, space, mask_format(space, encoding, colour_distance), config.max_pixels), space


def toy_streets(
    config: DataConfig,
    split: str,
    *,
    toy_train_images: PositiveInt = 400,
    toy_val_images: PositiveInt = 40,
    toy_size_hw: tuple[PositiveInt, PositiveInt] = (192, 256),
    toy_seed: Annotated[int, Field(ge=0)] = 0,
) -> tuple[SampleSource, LabelSpace]:
    """Streets made on the fly; the splits train, val and test never share a picture.

    Args:
        config: the section.
        split: train, val or test.
        toy_train_images: how many streets the split train has.
        toy_val_images: how many the others have.
        toy_size_hw: height and width of every picture.
        toy_seed: another number, other streets.
    """
    if split not in _TOY_SPLITS:
        raise DataError(f"toy_streets has no split {split!r}; {nearest_name(split, _TOY_SPLITS)}")
    count = toy_train_images if split == "train" else toy_val_images
    table = label_space(config.labels or "toy_streets")
    return ToyStreets(count, toy_size_hw, (toy_seed, _TOY_SPLITS[split]), f"toy_{split}"), table


def kitti(
    config: DataConfig,
    split: str,
    *,
    folds: Annotated[int, Field(ge=2)] = 5,
    fold: Annotated[int, Field(ge=0)] = 0,
) -> tuple[SampleSource, LabelSpace]:
    """KITTI's 200 images, which have no validation set: one of several folds is the split val, the others are train.

    Args:
        config: the section.
        split: train or val.
        folds: how many parts the images are divided into.
        fold: which of them, from 0, is val.
    """
    if fold >= folds:
        raise ConfigError(f"data.fold is {fold} of {folds} folds; 0 to {folds - 1} expected")
    folders = PairedFolders(("training/image_2",), ("training/semantic",), _PNG, _PNG)
    find = kitti_fold(folders, folds, fold)
    return _of_files("cityscapes", "a folder training that holds image_2 and semantic", find)(config, split)


_TOY_SPLITS = {"train": 0, "val": 1, "test": 2}
_OWNERS_SPLITS = {"train": "training", "val": "validation"}
_PNG, _JPEG = (".png",), (".jpg",)

# Every archive of Cityscapes brings its licence and a folder; some unpack each into a folder of its own.
_CITYSCAPES_IMAGES = (
    "leftImg8bit/{split}",
    "leftImg8bit_trainvaltest/leftImg8bit/{split}",
    "leftImg8bit_trainextra/leftImg8bit/{split}",
)

cityscapes = _of_files(
    "cityscapes",
    "folders leftImg8bit and gtFine",
    PairedFolders(
        _CITYSCAPES_IMAGES,
        ("gtFine/{split}", "gtFine_trainvaltest/gtFine/{split}"),
        ("_leftImg8bit.png",),
        ("_gtFine_labelIds.png",),
        deep=True,
    ),
)
cityscapes_coarse = _of_files(
    "cityscapes",
    "folders leftImg8bit and gtCoarse",
    PairedFolders(
        _CITYSCAPES_IMAGES,
        ("gtCoarse/{split}", "gtCoarse/gtCoarse/{split}"),
        ("_leftImg8bit.png",),
        ("_gtCoarse_labelIds.png",),
        deep=True,
    ),
)
camvid = _of_files(
    "camvid",
    "folders train, trainannot, val and valannot with PNG files",
    of_drives(PairedFolders(("{split}",), ("{split}annot",), _PNG, _PNG)),
)
camvid_original = _of_files(
    "camvid_original",
    "folders 701_StillsRaw_full and LabeledApproved_full",
    of_drives(camvid_split(PairedFolders(("701_StillsRaw_full",), ("LabeledApproved_full",), _PNG, ("_L.png",)))),
    CAMVID_FORMAT,
)
isbi_membranes = _of_files(
    "isbi_membranes",
    "folders images and labels with PNG files",
    numbered_split(
        PairedFolders(("images",), ("labels",), _PNG, _PNG),
        "isbi_membranes",
        {"train": range(20), "val": range(20, 25), "test": range(25, 30)},
    ),
    MEMBRANE_FORMAT,
)
bdd100k = _of_files(
    "bdd100k",
    "folders images/10k and labels/sem_seg/masks",
    PairedFolders(  # as they are today, and as the first release had them
        ("images/10k/{split}", "seg/images/{split}", "images/{split}"),
        ("labels/sem_seg/masks/{split}", "seg/labels/{split}", "labels/{split}"),
        _JPEG,
        ("_train_id.png", ".png"),
    ),
)
ade20k = _of_files(
    "ade20k",
    "folders images and annotations",
    PairedFolders(("images/{split}",), ("annotations/{split}",), _JPEG, _PNG, _OWNERS_SPLITS),
)
coco_stuff10k = _of_files(
    "coco_stuff10k", "folders images, annotations and imageLists", coco_stuff_split, mat_format("S")
)
mapillary = _of_files(
    "mapillary",
    "folders training and validation, each with images and labels",
    PairedFolders(  # version 1.2, and the labels of 1.2 in the archive of version 2.0
        ("{split}/images",), ("{split}/labels", "{split}/v1.2/labels"), _JPEG, _PNG, _OWNERS_SPLITS
    ),
)
