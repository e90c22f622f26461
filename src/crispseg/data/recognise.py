"""How the files of a folder lie, by what is in it: which layout it is, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crispseg.config import DataConfig
from crispseg.data.layouts.coco import coco_files
from crispseg.data.layouts.labelme import labelme_files
from crispseg.data.layouts.own_folders import OwnFolders, split_names
from crispseg.data.layouts.yolo import yolo_table
from crispseg.data.tables import TABLE_FILES
from crispseg.errors import DataError
from crispseg.wording import some

__all__ = ["Recognised", "fitting_layouts", "recognise", "splits_of"]


@dataclass(frozen=True)
class Recognised:
    """A layout that a folder fits.

    Attributes:
        layout: its name.
        why: what was found, in words.
        splits: that it has.
    """

    layout: str
    why: str
    splits: tuple[str, ...] = ("train", "val")


def recognise(root: str | Path) -> Recognised:
    """The one layout that a folder fits.

    Args:
        root: of a data set; or a COCO file.

    Raises:
        DataError: if there is no such folder, or it fits none or several; the message says what was found.
    """
    path = Path(root).expanduser()
    if not path.exists():
        raise DataError(f"{root}: nothing found where a folder of data, or a COCO file, was expected")
    found = fitting_layouts(path)
    if len(found) == 1:
        return found[0]
    if found:
        said = "; ".join(f"{one.layout} ({one.why})" for one in found)
        raise DataError(f"{root}: fits several layouts: {said}; say which by --layout, or data.layout")
    held = some(sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir()), 8) if path.is_dir() else "a file"
    raise DataError(
        f"{root}: fits no layout; it holds {held}; images and labels in folders of these names, JPEGImages and "
        "SegmentationClass, COCO's, LabelMe's or YOLO's files were sought; name another by --layout, docs/datasets.md, "
        "and data.image_folder and data.label_folder name other folders"
    )


def fitting_layouts(root: Path) -> list[Recognised]:
    """Every layout that a folder fits. A data set's own goes before that of folders of one's own."""
    if root.is_file():
        return [Recognised("coco", root.name, ("all",))] if root.suffix.lower() == ".json" else []
    found = [one for rule in _RULES for one in rule(root)]
    if not any(one.layout not in _OUTLINES for one in found):
        # COCO's panoptic masks lie beside its files, and are not what a folder of masks is.
        beside_coco = any(one.layout == "coco" for one in found)
        found += [one for one in _folder(root) if not (beside_coco and "masks in annotations" in one.why)]
    return found


def splits_of(config: DataConfig) -> tuple[str, ...]:
    """The splits that a data set has, where its root tells; else those for training and validation."""
    own = (config.train_split, config.val_split)
    if config.val is not None or config.root is None or not Path(config.root).expanduser().exists():
        return own
    fitting = [one for one in fitting_layouts(Path(config.root).expanduser()) if one.layout == config.layout]
    return fitting[0].splits if fitting else own


def _owners(root: Path) -> Iterator[Recognised]:
    """Data sets by the folders that their owners give them."""

    def has(*places: str) -> bool:
        return all(any(root.glob(place)) for place in places)

    if has("leftImg8bit*", "gtFine*"):
        yield Recognised("cityscapes", "leftImg8bit and gtFine")
    if has("leftImg8bit*", "gtCoarse*"):
        yield Recognised("cityscapes_coarse", "leftImg8bit and gtCoarse")
    if has("train", "trainannot", "val", "valannot"):
        yield Recognised("camvid", "train, trainannot, val and valannot")
    if has("701_StillsRaw_full", "LabeledApproved_full"):
        yield Recognised("camvid_original", "701_StillsRaw_full and LabeledApproved_full")
    if has("training/image_2", "training/semantic"):
        yield Recognised("kitti", "training/image_2 and training/semantic")
    if has("images/10k", "labels/sem_seg/masks") or has("seg/images", "seg/labels"):
        yield Recognised("bdd100k", "images/10k and labels/sem_seg/masks, or seg")
    if has("images/training/ADE_*", "annotations/training"):
        yield Recognised("ade20k", "images/training with names as ADE_train_00000001")
    if has("imageLists/*.txt", "annotations/*.mat"):
        yield Recognised("coco_stuff10k", "imageLists and annotations/*.mat", ("train", "test"))
    if has("training/images", "training/labels", "config*.json") or has("training/v1.2/labels"):
        yield Recognised("mapillary", "training/images and training/labels with config.json")
    if has("images/0.png", "images/29.png", "labels/0.png", "labels/29.png") and not _table(root):
        yield Recognised("isbi_membranes", "images and labels of 0 to 29", ("train", "val", "test"))
    if has("JPEGImages", "trainval/*.mat") or has("JPEGImages", "SegmentationClassContext"):
        yield Recognised("pascal_context", "JPEGImages, and trainval/*.mat or SegmentationClassContext")


def _voc(root: Path) -> Iterator[Recognised]:
    labels = [
        name for name in ("SegmentationClass", "SegmentationClassPNG", "SegmentationClassAug") if (root / name).is_dir()
    ]
    if not labels:
        return
    lists = {
        path.stem for folder in ("", "Segmentation", "Main") for path in (root / "ImageSets" / folder).glob("*.txt")
    }
    splits = tuple(name for name in ("train", "val", "test") if any(one in lists for one in split_names(name)))
    table = "labelmap.txt" if (root / "labelmap.txt").is_file() else _table(root)
    why = f"JPEGImages and {labels[0]}" + (f", {table}" if table else "")
    yield Recognised("voc", why, splits or ("all",))


def _coco(root: Path) -> Iterator[Recognised]:
    files = coco_files(root)
    if files:
        named = some(path.relative_to(root) for paths in files.values() for path in paths)
        yield Recognised("coco", f"{named}: a COCO file by its keys", tuple(files))


def _labelme(root: Path) -> Iterator[Recognised]:
    if files := labelme_files(root):
        own = [name for name in ("train", "val", "test") if any((root / one).is_dir() for one in split_names(name))]
        why = f"{len(files)} JSON files with shapes and imagePath, as {files[0].relative_to(root)}"
        yield Recognised("labelme", why, tuple(own) or ("all",))


def _yolo(root: Path) -> Iterator[Recognised]:
    table = yolo_table(root)
    if table is None or not any(path.parent.name == "labels" or "labels" in path.parts for path in root.rglob("*.txt")):
        return
    places = {
        name: [f"images/{one}" for one in split_names(name)] + [f"{one}/images" for one in split_names(name)]
        for name in ("train", "val", "test")
    }
    splits = tuple(name for name, below in places.items() if any((root / one).is_dir() for one in below))
    yield Recognised("yolo", f"{table.name} with names, and text files in labels", splits or ("train", "val"))


def _folder(root: Path) -> Iterator[Recognised]:
    find = OwnFolders()

    def has(split: str) -> bool:
        try:
            return find.has(root, split)
        except DataError:  # several folders may be meant, so there is one
            return True

    splits = tuple(name for name in ("train", "val", "test") if has(name))
    where = find.places_in_words(root, splits[0] if splits else None)
    if where is not None:
        table = _table(root)
        why = where + (f", {table}" if table else ", no table of classes yet")
        yield Recognised("folder", why, splits or ("all",))


def _table(root: Path) -> str | None:
    return next((name for name in TABLE_FILES if (root / name).is_file()), None)


_OUTLINES = ("coco", "labelme", "yolo")
_RULES: tuple[Callable[[Path], Iterator[Recognised]], ...] = (_owners, _voc, _coco, _labelme, _yolo)
