"""Images and masks as people keep them: in folders of many names, or in one, with endings, and splits in lists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from crispseg.config import DataConfig
from crispseg.data.layouts.files import IMAGE_ENDINGS, PairedFolders, pair
from crispseg.data.records import Record
from crispseg.errors import DataError
from crispseg.io import files_below
from crispseg.parsing import TextError, read_text
from crispseg.wording import some

__all__ = ["OwnFolders", "images_below", "split_names"]

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "rgb", "photos", "pictures", "inputs", "input")
LABEL_FOLDERS = (
    *("labels", "label", "masks", "mask", "annotations", "annotation", "annot", "annots", "SegmentationClass"),
    *("segmentations", "segmentation", "gt", "groundtruth", "ground_truth", "targets", "target"),
)
LIST_FOLDERS = ("", "ImageSets", "ImageSets/Segmentation", "ImageSets/Main", "splits", "split", "lists", "list")
_SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
_LABEL_ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jpg", ".jpeg")
_LOSSY = (".jpg", ".jpeg")
# Those that `pairing` knows, and those of other tools.
_LABEL_WORDS = (
    "masks?|labels?|labelIds|labelTrainIds|gt|gtFine|groundtruth|ground_truth|seg|segmentation|annotations?|annot|target|"
    "pred|prediction|colou?r|L|ome"
)
_IMAGE_WORDS = "images?|img|rgb|sat|input|leftImg8bit|ome"


def split_names(split: str) -> tuple[str, ...]:
    """What folders and lists of a split are called, its own name first."""
    return tuple(dict.fromkeys((split, *_SPLITS.get(split, ()))))


class OwnFolders:
    """Finds the samples of a split below a root.

    Args:
        image_folder: of the images, below the root, with ``{split}`` where it has one; None: a customary name.
        label_folder: of the masks, likewise; may be that of the images.
        label_ending: what the masks' names have after the image's name; None: nothing, or a customary ending.
        split_lists: folder of ``SPLIT.txt``, below the root; None: one of the customary places.
    """

    def __init__(
        self,
        image_folder: str | None = None,
        label_folder: str | None = None,
        label_ending: str | None = None,
        split_lists: str | None = None,
    ) -> None:
        self.image_folder = image_folder
        self.label_folder = label_folder
        self.label_ending = label_ending
        self.split_lists = split_lists

    def __call__(self, config: DataConfig, root: Path, split: str) -> list[Record]:
        """The split's samples by name.

        Raises:
            DataError: if there are none, or several folders may be meant, or images and masks do not pair.
        """
        listed = None
        places = self._places(root, split)
        if places is None:
            listed = self._list(root, split)
            drawn = config.val is not None and not any(self._places(root, name) for name in _SPLITS)
            if listed is not None or split == "all" or drawn:
                places = self._places(root, None)
        if places is None:  # says what is missing
            below = "" if split == "all" else "/{split}"
            return PairedFolders((f"images{below}",), (f"labels{below}",), IMAGE_ENDINGS, _LABEL_ENDINGS)(
                config, root, split
            )
        images, labels = places
        if images == labels:
            of_images, of_labels = self._apart(images)
        else:
            of_images, of_labels = images_below(images), _by_stem(_files(labels, _LABEL_ENDINGS), labels)
        if listed is not None:
            return self._of_list(listed, root, of_images, of_labels)
        return self._paired(of_images, of_labels, root)

    def has(self, root: Path, split: str) -> bool:
        """Whether there are folders or a list of a split; ``all``: images that lie in no split's folder."""
        if self._places(root, None if split == "all" else split) is not None:
            return True
        return self._list(root, split) is not None and self._places(root, None) is not None

    def places_in_words(self, root: Path, split: str | None) -> str | None:
        """Which folders hold a split's images and masks; None if none do. Where several may, both are named."""
        try:
            places = (self._places(root, split) if split else None) or self._places(root, None)
        except DataError as error:
            return str(error)
        if places is None:
            return None
        images, labels = (str(place.relative_to(root)) for place in places)
        if images == labels:
            return f"images and masks in {'the folder itself' if images == '.' else images}"
        return f"images in {images} and masks in {labels}"

    def _places(self, root: Path, split: str | None) -> tuple[Path, Path] | None:
        """The folders of a split's images and masks, or of those of all; they may be one. None: there are none."""
        images = self._place(root, split, self.image_folder, IMAGE_FOLDERS, "image_folder", IMAGE_ENDINGS)
        labels = self._place(root, split, self.label_folder, LABEL_FOLDERS, "label_folder", _LABEL_ENDINGS)
        if images is None and self.image_folder is None:
            bare = [root] if split is None else [found for name in split_names(split) if (found := _sub(root, name))]
            images = next((folder for folder in bare if _direct(folder, IMAGE_ENDINGS)), None)
        if images is None:
            return None
        if labels is None:
            return (images, images) if self.label_folder is None and self._has_masks(images) else None
        return images, labels

    def _place(
        self,
        root: Path,
        split: str | None,
        said: str | None,
        names: tuple[str, ...],
        key: str,
        endings: tuple[str, ...],
    ) -> Path | None:
        if said is not None:
            if split is None and "{split}" in said:
                return None
            if split is not None and "{split}" not in said:
                return None
            paths = [root / said.replace("{split}", name) for name in (split_names(split) if split else ("",))]
            if split is None and not paths[0].is_dir():
                raise DataError(f"data.{key} {said}: no such folder below {root}; it holds {some(_names(root))}")
            return next((path for path in paths if path.is_dir()), None)
        found: dict[Path, None] = {}
        for name in names:
            if split is None:
                found |= dict.fromkeys(_existing(root, name))
            else:
                for own in split_names(split):
                    for steps in ((name, own), (own, name), (f"{own}_{name}",), (f"{name}_{own}",), (f"{own}{name}",)):
                        found |= dict.fromkeys(_existing(root, *steps))
        holding = [path for path in found if _files(path, endings)]
        if len(holding) > 1:
            where = " and ".join(str(path.relative_to(root)) for path in holding)
            raise DataError(f"{root}: {where} both may be meant; say which by data.{key}")
        return holding[0] if holding else None

    def _has_masks(self, folder: Path) -> bool:
        return bool(self._apart(folder)[1])

    def _apart(self, folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
        """Images and masks that lie in one folder, by stem: masks have an ending, or are PNG where images are JPEG."""
        files = _files(folder, _LABEL_ENDINGS)
        by_stem: dict[str, list[Path]] = {}
        for path in files:
            by_stem.setdefault(_stem(path, folder), []).append(path)
        keys = set(by_stem) | {_stripped(stem, _IMAGE_WORDS) for stem in by_stem}
        images: dict[str, Path] = {}
        labels: dict[str, Path] = {}
        for stem, paths in by_stem.items():
            masks = [path for path in paths if len(paths) > 1 and path.suffix.lower() not in _LOSSY]
            if self._image_of(stem) != stem and self._image_of(stem) in keys:
                masks = paths
            for path in paths:
                into = labels if path in masks else images
                if stem in into:
                    raise DataError(f"{path}: {into[stem].name} has the same stem, so both may be meant; rename one")
                into[stem] = path
        return images, labels

    def _image_of(self, stem: str) -> str:
        """The image's stem, from a mask's."""
        if self.label_ending is not None:
            return stem.removesuffix(_without_suffix(self.label_ending))
        return _stripped(stem, _LABEL_WORDS)

    def _paired(self, images: dict[str, Path], labels: dict[str, Path], root: Path) -> list[Record]:
        if self.label_ending is not None:
            ending = _without_suffix(self.label_ending)
            chosen = {stem: path for stem, path in labels.items() if stem.endswith(ending)}
            if not chosen:
                raise DataError(
                    f"{root}: data.label_ending {self.label_ending!r}: none of {len(labels)} label files ends so: "
                    f"{some(path.name for path in labels.values())}"
                )
            keyed = {stem.removesuffix(ending): path for stem, path in chosen.items()}
            return pair(images, keyed, root, f"X.jpg and X{ending}.png belong together, as data.label_ending says")
        if images.keys() == labels.keys():
            return pair(images, labels, root)
        if (common := _by_common_affixes(images, labels)) is not None:
            return pair(images, common, root)
        short_labels = _once(labels, _LABEL_WORDS, root)
        for of_images in (images, _once(images, _IMAGE_WORDS, root)):
            if of_images.keys() == short_labels.keys():
                return pair(of_images, short_labels, root)
        best = max(
            ((images, labels), (images, short_labels), (_once(images, _IMAGE_WORDS, root), short_labels)),
            key=lambda both: len(both[0].keys() & both[1].keys()),
        )
        return pair(*best, root, _RULE)

    def _list(self, root: Path, split: str) -> Path | None:
        folders = LIST_FOLDERS if self.split_lists is None else (self.split_lists,)
        paths = [root / folder / f"{name}.txt" for name in split_names(split) for folder in folders]
        found = [path for path in paths if path.is_file()]
        if len(found) > 1:
            both = " and ".join(str(path.relative_to(root)) for path in found)
            raise DataError(f"{root}: {both} both may be meant; say which by data.split_lists, the folder")
        return found[0] if found else None

    def _of_list(self, path: Path, root: Path, images: dict[str, Path], labels: dict[str, Path]) -> list[Record]:
        """The samples that a list names: a name, a file or a path a line, or an image's path and its mask's."""
        named: dict[str, str | None] = {}
        for name, file in images.items():
            for key in {*_ways_to_say(name, file, root)}:
                named[key] = name if named.get(key, name) == name else None  # several may be meant
        chosen: dict[str, Path] = {}
        beside: dict[str, Path] = {}
        missing: list[str] = []
        lines = _lines(path)
        for line in lines:
            parts = [line] if line in named else re.split(r"[\t,;]\s*|\s+", line)
            said = parts[0].replace("\\", "/").removeprefix("./")
            found = named.get(said) or named.get(base := said.rpartition("/")[2])
            if found is None and said.lower().endswith(_LABEL_ENDINGS):  # of another format, or the mask's
                found = named.get(base.rpartition(".")[0])
            if found is None:
                missing.append(parts[0])
                continue
            chosen[found] = images[found]
            mask = parts[1].replace("\\", "/") if len(parts) > 1 else ""
            if mask and (root / mask).is_file():
                beside[found] = root / mask
        if missing:
            raise DataError(
                f"{path}: {len(missing)} of {len(lines)} images that it lists are not there: {some(missing)}; "
                "add them, or take them off the list"
            )
        if len(beside) == len(chosen):
            return [Record(name, chosen[name], beside[name]) for name in sorted(chosen)]
        wanted = {record.name: record for record in self._paired(*_only(chosen, labels, self), root)}
        return [wanted[name] for name in sorted(wanted)]


_RULE = (
    "an image and its mask have the same name up to the suffix and customary endings (_mask, _label, _gt, …); "
    "another ending is said by data.label_ending"
)


def images_below(folder: Path) -> dict[str, Path]:
    """The images in a folder by name; where it holds none itself, those of its sub-folders, by path.

    Raises:
        DataError: if two have one name.
    """
    return _by_stem(_files(folder, IMAGE_ENDINGS), folder)


def _only(
    chosen: dict[str, Path], labels: dict[str, Path], folders: OwnFolders
) -> tuple[dict[str, Path], dict[str, Path]]:
    """The listed images, and the masks that may be theirs: masks of others are no fault."""
    keys = {key for name in chosen for key in (name, _stripped(name, _IMAGE_WORDS))}
    return chosen, {stem: path for stem, path in labels.items() if stem in keys or folders._image_of(stem) in keys}


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in read_text(path).removeprefix("\ufeff").splitlines()]
    except (OSError, TextError) as error:
        raise DataError(f"{path}: cannot be read as a list of images ({error}); a line per image expected") from error
    named = [line for line in lines if line and not line.startswith("# ")]
    if not named:
        raise DataError(f"{path}: the list is empty; a line per image was expected")
    if twice := [line for line, count in Counter(named).items() if count > 1]:
        raise DataError(f"{path}: {len(twice)} names are listed twice: {some(twice)}; keep one line of each")
    return named


def _ways_to_say(name: str, file: Path, root: Path) -> Iterable[str]:
    below = file.relative_to(root)
    return (name, Path(name).name, file.name, below.as_posix(), below.with_suffix("").as_posix())


def _by_common_affixes(images: Mapping[str, Path], labels: Mapping[str, Path]) -> dict[str, Path] | None:
    """Masks by their images' names, where each is called as its image between two texts that all of them share.

    So ``a.jpg.png`` and ``road_a_v2.png`` are found, without a list of what tools write. None where one mask or image
    is left over.
    """
    if len(images) != len(labels) or not images:
        return None
    shortest = min(images, key=len)
    folder, slash, name = shortest.rpartition("/")
    for stem in labels:
        if not stem.startswith(folder + slash) or name not in stem[len(folder + slash) :]:
            continue
        before, _, after = stem[len(folder + slash) :].partition(name)
        keyed = {
            image: labels.get(f"{at[0]}{at[1]}{before}{at[2]}{after}")
            for image in images
            if (at := image.rpartition("/"))
        }
        found = {image: path for image, path in keyed.items() if path is not None}
        if len(found) == len(images) == len({*found.values()}):
            return found
    return None


def _once(files: Mapping[str, Path], words: str, root: Path) -> dict[str, Path]:
    """By what is left of their stems; as they are, where two would be one."""
    found: dict[str, Path] = {}
    for stem, path in files.items():
        key = _stripped(stem, words)
        if key in found:
            return dict(files)
        found[key] = path
    return found


def _stripped(stem: str, words: str) -> str:
    """A stem without customary words at its end or its beginning: ``a_mask`` and ``mask_a`` are ``a``."""
    folder, slash, name = stem.rpartition("/")
    ended = re.fullmatch(rf"(.+?)(?:[_\-. ](?:{words}))+", name, re.IGNORECASE)
    begun = re.fullmatch(rf"(?:{words})[_\-. ](.+)", name, re.IGNORECASE)
    if ended:
        name = ended[1]
    elif begun:
        name = begun[1]
    return f"{folder}{slash}{name}"


def _without_suffix(ending: str) -> str:
    """``_mask`` of ``_mask.png``."""
    return next((ending[: -len(end)] for end in _LABEL_ENDINGS if ending.lower().endswith(end)), ending)


def _by_stem(files: list[Path], folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        stem = _stem(path, folder)
        if stem in found:
            raise DataError(f"{path}: {found[stem].name} has the same stem, so one label file fits both; rename one")
        found[stem] = path
    return found


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    return _direct(folder, endings) or [path for path in files_below(folder) if _counts(path, endings)]


def _direct(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _counts(path, endings) and path.is_file())


def _counts(path: Path, endings: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(endings) and not path.name.startswith(".")


def _existing(root: Path, *steps: str) -> list[Path]:
    """The folder that these names lead to, in whatever case they are written."""
    folder: Path | None = root
    for step in steps:
        folder = folder and _sub(folder, step)
    return [folder] if folder else []


def _sub(folder: Path, name: str) -> Path | None:
    if (folder / name).is_dir():
        return folder / name
    return next(
        (entry for entry in sorted(folder.iterdir()) if entry.name.lower() == name.lower() and entry.is_dir()), None
    )


def _names(folder: Path) -> list[str]:
    return sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
