"""Images at hand for those who have none: files that the command was given, or a drawn street."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crispseg.data.encodings import Encoding, read_labels_and_ids
from crispseg.errors import DataError
from crispseg.io import read_image
from crispseg.labels import LabelSpace, label_space
from crispseg.pictures.colour import Picture
from crispseg.streets import make_street
from crispseg.studio.seen import Ids

__all__ = ["MOST_EXAMPLES", "Example", "drawn_street", "examples_of"]

MOST_EXAMPLES = 24
"""That the page shows."""

_STREETS = "toy_streets"
_STREET_SEED, _STREET_HW = 7, (360, 480)


@dataclass(frozen=True)
class Example:
    """An image that the page offers.

    Attributes:
        name: on its button.
        image: its file; None: a drawn street.
        labels: its label file, if there is one.
        encoding: of the label file.
    """

    name: str
    image: Path | None = None
    labels: Path | None = None
    encoding: Encoding = "raw-ids"

    def read(self, space: LabelSpace, max_pixels: int) -> tuple[Picture, Ids | None]:
        """The image, and its true train ids by this label table, 255 = ignore, if they are known.

        Raises:
            DataError: if a file cannot be read, or the labels are of another size.
        """
        if self.image is None:
            picture, labels = make_street(_STREET_SEED, _STREET_HW)
            return picture, labels if space.class_names == label_space(_STREETS).class_names else None
        picture = read_image(self.image, max_pixels)
        if self.labels is None:
            return picture, None
        truth = read_labels_and_ids(self.labels, space, self.encoding, max_pixels)[0]
        if truth.shape != picture.shape[:2]:
            raise DataError(
                f"{self.labels} is {truth.shape[0]}×{truth.shape[1]}, {self.image} {picture.shape[0]}×"
                f"{picture.shape[1]} (height×width); label files of the image's size expected"
            )
        return picture, truth


def drawn_street() -> Example:
    """An example that is always at hand; its labels are exact, for models of the toy streets' classes."""
    return Example("a drawn street")


def examples_of(
    images: Mapping[Path, Path], labels: Mapping[Path, Path] | None = None, encoding: Encoding = "raw-ids"
) -> list[Example]:
    """Files as examples, no more than the page shows.

    Args:
        images: by their results' names, as `crispseg.collect_images` finds them.
        labels: label files by the same names; None: unknown.
        encoding: of the label files.
    """
    chosen = list(images.items())[:MOST_EXAMPLES]
    return [Example(str(name), path, None if labels is None else labels[name], encoding) for name, path in chosen]
