"""Data sets of the Hugging Face Hub, or saved by its library: an image and a mask in each row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from crispseg.config import DataConfig
from crispseg.data.layouts.drawn import joined
from crispseg.data.layouts.files import split_parts
from crispseg.data.masks import MaskEncoding, read_mask
from crispseg.data.records import Sample, SampleSource, SizesDifferError, train_ids
from crispseg.errors import DataError
from crispseg.extras import needed
from crispseg.io import ImageBytes, image_size_hw, read_image
from crispseg.labels import LabelSpace, label_space
from crispseg.wording import some

__all__ = ["huggingface"]

_IMAGES = ("image", "pixel_values", "img", "images")
_LABELS = ("label", "annotation", "mask", "labels", "semantic_mask", "segmentation", "segmentation_mask", "masks")


class _Rows:
    """Rows of a data set, as samples.

    Args:
        rows: a ``datasets.Dataset`` whose images are not decoded.
        columns: of images and masks.
        label_space: of the masks.
        encoding: see `crispseg.data.masks.read_mask`.
        colour_distance: likewise.
        max_pixels: of one image.
        split: its name, for the names of samples.
    """

    def __init__(
        self,
        rows: Any,
        columns: tuple[str, str],
        label_space: LabelSpace,
        encoding: MaskEncoding,
        colour_distance: float,
        max_pixels: int,
        split: str,
    ) -> None:
        self.rows = rows
        self.columns = columns
        self.label_space = label_space
        self.encoding = encoding
        self.colour_distance = colour_distance
        self.max_pixels = max_pixels
        self.names = [f"{split}_{index:06d}" for index in range(len(rows))]

    def size_hw(self, index: int) -> tuple[int, int]:
        """From the image's header."""
        return image_size_hw(self._bytes(index, 0), self.max_pixels)

    def sample(self, index: int) -> Sample:
        """Decode a row.

        Raises:
            DataError: if an image is broken or missing, or the two are of different sizes.
        """
        image = read_image(self._bytes(index, 0), self.max_pixels)
        mask = self._bytes(index, 1)
        raw = read_mask(mask, self.label_space, self.encoding, self.colour_distance, self.max_pixels)
        if image.shape[:2] != raw.shape:
            raise SizesDifferError(
                f"{mask.name} is {raw.shape[0]}×{raw.shape[1]} (height×width), its image is "
                f"{image.shape[0]}×{image.shape[1]}; both must have one size"
            )
        return Sample(image, train_ids(raw, self.label_space, mask.name), self.names[index])

    def _bytes(self, index: int, which: int) -> ImageBytes:
        column = self.columns[which]
        held = self.rows[index][column]
        name = f"row {index} of {self.names[index].rpartition('_')[0]}, column {column!r}"
        if not isinstance(held, dict) or not (held.get("bytes") or held.get("path")):
            raise DataError(f"{name}: {type(held).__name__} found where an image was expected")
        return ImageBytes(held["bytes"] or Path(held["path"]).read_bytes(), name)


def huggingface(
    config: DataConfig,
    split: str,
    *,
    subset: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    encoding: MaskEncoding = "auto",
    colour_distance: Annotated[float, Field(ge=0, le=441)] = 0.0,
) -> tuple[SampleSource, LabelSpace]:
    """A data set of the Hub by its name, a folder that ``save_to_disk`` wrote, or one that ``load_dataset`` reads.

    Args:
        config: the section; its root is the name or the folder, and it must name a label table.
        split: the data set's own name.
        subset: of a data set that has several; the Hub calls it a configuration.
        image_column: of the images; None: a customary name.
        label_column: of the masks; None: a customary name.
        encoding: what the masks hold; see `crispseg.data.masks.read_mask`.
        colour_distance: of anti-aliased colours from the nearest class's.
    """
    datasets = needed("datasets", "datasets", "layout huggingface")
    if config.root is None:
        raise DataError("layout 'huggingface' needs data.root: a data set's name on the Hub, or a folder")
    if config.labels is None:
        raise DataError("layout 'huggingface' needs data.labels: its files do not say what the masks' ids mean")
    space = label_space(config.labels)
    sources: list[SampleSource] = []
    for part in split_parts(split):
        rows = _rows(datasets, config.root, subset, part)
        columns = _columns(datasets, rows, image_column, label_column, config.root)
        for column in columns:
            rows = rows.cast_column(column, datasets.Image(decode=False))
        rows = rows.select_columns(list(columns))
        sources.append(_Rows(rows, columns, space, encoding, colour_distance, config.max_pixels, part))
    return joined(sources), space


def _rows(datasets: Any, root: str, subset: str | None, part: str) -> Any:
    folder = Path(root).expanduser()
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            held = datasets.load_from_disk(str(folder))
            if isinstance(held, datasets.DatasetDict):
                if part not in held:
                    raise DataError(f"{root}: no split {part!r}; it has {some(held)}")
                return held[part]
            if part != "all":
                raise DataError(f"{root}: no split {part!r}; it has none, so the split is 'all'")
            return held
        return datasets.load_dataset(str(folder) if folder.is_dir() else root, subset, split=part)
    except DataError:
        raise
    except Exception as error:  # of the library, of the network, of Arrow
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"data.root {root}, split {part!r}: cannot be loaded by datasets ({reason})") from error


def _columns(
    datasets: Any, rows: Any, image_column: str | None, label_column: str | None, root: str
) -> tuple[str, str]:
    pictures = [name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)]

    def chosen(said: str | None, customary: Sequence[str], key: str) -> str:
        found = said if said is not None else next((name for name in customary if name in pictures), None)
        if found not in pictures:
            wanted = repr(said) if said is not None else some(customary, 3)
            raise DataError(
                f"{root}: no column of pictures called {wanted} found; "
                f"its columns of pictures are {some(pictures)}, of {some(rows.features)}; say which by data.{key}"
            )
        return str(found)

    return chosen(image_column, _IMAGES, "image_column"), chosen(label_column, _LABELS, "label_column")
