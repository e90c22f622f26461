"""Every data set in miniature, in the folders and files of its owners: a few pictures of noise each.

``write(root)`` gives the raw ids that were written, by sample name.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from crispseg.data.label_files import CAMVID_COLOURS
from crispseg.labels import label_space

SIZE_HW = (12, 16)
RawIds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Miniature:
    """A writer, and the sample names of the splits that it writes."""

    write: Callable[[Path], RawIds]
    splits: dict[str, list[str]]
    values: dict[str, object] = field(default_factory=dict)  # more values of the data section


def picture(name: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)


def raw_ids(name: str, ids: list[int]) -> np.ndarray:
    """Blocks of 4×4 pixels."""
    rng = np.random.default_rng(zlib.crc32(name.encode()) + 1)
    return rng.choice(ids, (SIZE_HW[0] // 4, SIZE_HW[1] // 4)).repeat(4, axis=0).repeat(4, axis=1).astype(np.uint16)


def save_picture(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(name)).save(path)


def save_png(path: Path, array: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Not `crispseg.io.write_png`, which waits for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette.tobytes())
    image.save(path)


def save_ids(path: Path, raw: np.ndarray) -> None:
    save_png(path, raw.astype(np.uint8))


def save_mat(path: Path, key: str, raw: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"names": np.array(["unlabeled", "person"], object), key: raw}, do_compression=True)


def write_list(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n")


@cache
def all_ids(table: str) -> list[int]:
    space = label_space(table)
    return sorted({*space.ignore_ids, *(raw for entry in space.classes for raw in entry.ids)})


def _written(splits: dict[str, list[str]], table: str, save: Callable[[str, str, np.ndarray], None]) -> RawIds:
    """Save every sample, by split, name and raw ids."""
    written = {}
    for split, names in splits.items():
        for name in names:
            written[name] = raw_ids(name, all_ids(table))
            save(split, name, written[name])
    return written


CITY_SPLITS = {
    "train": ["aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313"],
    "val": ["frankfurt_000000_000294", "munster_000000_000019"],
}


def cityscapes(root: Path, images: str = "leftImg8bit", labels: str = "gtFine", kind: str = "gtFine") -> RawIds:
    def save(split: str, name: str, raw: np.ndarray) -> None:
        city = name.partition("_")[0]
        save_picture(root / images / split / city / f"{name}_leftImg8bit.png", name)
        stem = root / labels / split / city / f"{name}_{kind}"
        save_ids(Path(f"{stem}_labelIds.png"), raw)
        save_picture(Path(f"{stem}_color.png"), name)  # these three are no labels of ours
        save_png(Path(f"{stem}_instanceIds.png"), raw * np.uint16(1000))
        Path(f"{stem}_polygons.json").write_text(json.dumps({"objects": []}))

    splits = CITY_SPLITS | ({"train_extra": ["augsburg_000000_000000"]} if kind == "gtCoarse" else {})
    return _written(splits, "cityscapes", save)


def cityscapes_coarse(root: Path) -> RawIds:
    return cityscapes(root, labels="gtCoarse", kind="gtCoarse")


CAMVID_SPLITS = {
    "train": ["0001TP_006690", "0006R0_f00930", "0016E5_00390", "0016E5_08640"],
    "val": ["0016E5_07959", "0016E5_08159"],
    "test": ["0001TP_008550", "0001TP_010380", "Seq05VD_f00000"],
}


def camvid(root: Path) -> RawIds:
    def save(split: str, name: str, raw: np.ndarray) -> None:
        save_picture(root / split / f"{name}.png", name)
        save_ids(root / f"{split}annot" / f"{name}.png", raw)

    return _written(CAMVID_SPLITS, "camvid", save)


def camvid_original(root: Path) -> RawIds:
    colours = np.array([*CAMVID_COLOURS.values()], np.uint8)

    def save(_: str, name: str, raw: np.ndarray) -> None:
        save_picture(root / "701_StillsRaw_full" / f"{name}.png", name)
        save_png(root / "LabeledApproved_full" / f"{name}_L.png", colours[raw])

    return _written(CAMVID_SPLITS, "camvid_original", save)


MEMBRANE_SPLITS = {"train": ["0", "2", "19"], "val": ["20", "24"], "test": ["25", "29"]}


def isbi_membranes(root: Path) -> RawIds:
    def save(_: str, name: str, raw: np.ndarray) -> None:
        save_picture(root / "images" / f"{name}.png", name)
        save_png(root / "labels" / f"{name}.png", (255 * raw).astype(np.uint8))

    return _written(MEMBRANE_SPLITS, "isbi_membranes", save)


KITTI_NAMES = [f"{index:06d}_10" for index in range(10)]


def kitti(root: Path) -> RawIds:
    def save(_: str, name: str, raw: np.ndarray) -> None:
        save_picture(root / "training" / "image_2" / f"{name}.png", name)
        save_ids(root / "training" / "semantic" / f"{name}.png", raw)
        save_picture(root / "training" / "semantic_rgb" / f"{name}.png", name)

    return _written({"all": KITTI_NAMES}, "cityscapes", save)


BDD_SPLITS = {"train": ["0004a4c0-d4dff0ad", "00054602-3bf57337"], "val": ["7d06fefd-f7be05a6"]}


def bdd100k(
    root: Path, images: str = "images/10k", labels: str = "labels/sem_seg/masks", ending: str = ".png"
) -> RawIds:
    def save(split: str, name: str, raw: np.ndarray) -> None:
        save_picture(root / images / split / f"{name}.jpg", name)
        save_ids(root / labels / split / f"{name}{ending}", raw)

    return _written(BDD_SPLITS, "bdd100k", save)


def ade20k(root: Path) -> RawIds:
    def save(split: str, name: str, raw: np.ndarray) -> None:
        folder = {"train": "training", "val": "validation"}[split]
        save_picture(root / "images" / folder / f"{name}.jpg", name)
        save_ids(root / "annotations" / folder / f"{name}.png", raw)

    return _written(ADE_SPLITS, "ade20k", save)


ADE_SPLITS = {"train": ["ADE_train_00000001", "ADE_train_00000002"], "val": ["ADE_val_00000001"]}


def mapillary(root: Path, labels: str = "labels") -> RawIds:
    palette = np.zeros((256, 3), np.uint8)
    palette[:65] = label_space("mapillary").palette[:65]

    def save(split: str, name: str, raw: np.ndarray) -> None:
        folder = root / {"train": "training", "val": "validation"}[split]
        save_picture(folder / "images" / f"{name}.jpg", name)
        save_png(folder / labels / f"{name}.png", raw.astype(np.uint8), palette)

    return _written(MAPILLARY_SPLITS, "mapillary", save)


MAPILLARY_SPLITS = {"train": ["0035fkbjWljhaftpVM37-g", "00qclUcInksIYnm19b1Xfw"], "val": ["0daE8mWuF3PrSJOgdPSAyg"]}

VOC_SPLITS = {"train": ["2008_000008", "2008_000015"], "val": ["2008_000002"]}


def _voc_lists(root: Path) -> None:
    for split, names in VOC_SPLITS.items():
        write_list(root / "ImageSets" / "Main" / f"{split}.txt", names)
    save_picture(root / "JPEGImages" / "2010_999999.jpg", "an image of VOC that is in no list")


def pascal_context(root: Path) -> RawIds:
    def save(_: str, name: str, raw: np.ndarray) -> None:
        save_picture(root / "JPEGImages" / f"{name}.jpg", name)
        save_mat(root / "trainval" / f"{name}.mat", "LabelMap", raw)

    _voc_lists(root)
    return _written(VOC_SPLITS, "pascal_context", save)


def pascal_context_png(root: Path) -> RawIds:
    def save(_: str, name: str, raw: np.ndarray) -> None:
        save_picture(root / "JPEGImages" / f"{name}.jpg", name)
        save_ids(root / "SegmentationClassContext" / f"{name}.png", raw)

    _voc_lists(root)
    return _written(VOC_SPLITS, "pascal_context_png", save)


COCO_SPLITS = {"train": ["COCO_train2014_000000000077", "COCO_train2014_000000000081"]}
COCO_TEST = ["COCO_train2014_000000000308"]


def coco_stuff10k(root: Path) -> RawIds:
    def save(_: str, name: str, raw: np.ndarray) -> None:
        save_picture(root / "images" / f"{name}.jpg", name)
        save_mat(root / "annotations" / f"{name}.mat", "S", raw)

    splits = {**COCO_SPLITS, "test": COCO_TEST}
    for split, names in splits.items():
        write_list(root / "imageLists" / f"{split}.txt", names)
    return _written(splits, "coco_stuff10k", save)


def folder(root: Path) -> RawIds:
    (root / "labels.yaml").parent.mkdir(parents=True, exist_ok=True)
    (root / "labels.yaml").write_text("classes: [background, crack]\nignore_ids: [2]")
    written = {}
    for split, names in FOLDER_SPLITS.items():
        for name in names:
            written[name] = raw_ids(name, [0, 1, 2])
            save_picture(root / "images" / split / f"{name}.jpg", name)
            save_ids(root / "labels" / split / f"{name}.png", written[name])
    return written


FOLDER_SPLITS = {"train": ["wall_1", "wall_2", "wall_3"], "val": ["wall_4", "wall_5"]}

MINIATURES: dict[str, Miniature] = {
    "folder": Miniature(folder, FOLDER_SPLITS),
    "cityscapes": Miniature(cityscapes, CITY_SPLITS),
    "cityscapes_coarse": Miniature(cityscapes_coarse, CITY_SPLITS | {"train_extra": ["augsburg_000000_000000"]}),
    "camvid": Miniature(camvid, CAMVID_SPLITS),
    "camvid_original": Miniature(camvid_original, CAMVID_SPLITS),
    "kitti": Miniature(kitti, {"train": [*KITTI_NAMES[:4], *KITTI_NAMES[6:]], "val": KITTI_NAMES[4:6]}, {"fold": 2}),
    "isbi_membranes": Miniature(isbi_membranes, MEMBRANE_SPLITS),
    "bdd100k": Miniature(bdd100k, BDD_SPLITS),
    "ade20k": Miniature(ade20k, ADE_SPLITS),
    "pascal_context": Miniature(pascal_context, VOC_SPLITS),
    "coco_stuff10k": Miniature(coco_stuff10k, {**COCO_SPLITS, "test": COCO_TEST, "val": COCO_TEST}),
    "mapillary": Miniature(mapillary, MAPILLARY_SPLITS),
}
"""By layout; all but ``toy_streets``, which has no files."""
