"""What the pictures of one image are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crispseg.errors import ConfigError, DataError
from crispseg.explanation.looks import Ids, Look
from crispseg.metrics.functional.distance import distance_crop
from crispseg.pictures.colour import Picture

__all__ = ["Options", "Subject", "check_labels"]

_PAPER_HEIGHT, _PAPER_FACTORS, _PAPER_MARGIN = 1024, (0, 100, 200, 300, 400), 100


@dataclass(frozen=True)
class Options:
    """What a user may choose.

    Attributes:
        edge_threshold: t_b in (0, 1), above which a boundary probability makes an edge (Decoupled, eq. 5).
        crop_factors_px: of the distance crops; None: GSCNN's 0 to 400, scaled from its 1024 rows to the image's.
        crop_margin_px: their margin; None: GSCNN's 100, scaled alike.
        cell_width: pixels of each picture in a sheet; None: the image's own, 480 at most and 320 in wide sheets.

    Raises:
        ConfigError: if one is out of its range.
    """

    edge_threshold: float = 0.8
    crop_factors_px: tuple[int, ...] | None = None
    crop_margin_px: int | None = None
    cell_width: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.edge_threshold < 1:
            raise ConfigError(f"edge threshold {self.edge_threshold}; a probability between 0 and 1 expected")
        if self.cell_width is not None and not 64 <= self.cell_width <= 4096:
            raise ConfigError(f"cell width {self.cell_width}; 64 to 4096 pixels expected")

    def crops(self, size_hw: tuple[int, int]) -> dict[int, tuple[slice, slice]]:
        """Rows and columns by crop factor; without those that the image has no room for."""
        scale = size_hw[0] / _PAPER_HEIGHT
        factors = self.crop_factors_px or tuple(round(factor * scale) for factor in _PAPER_FACTORS)
        margin = round(_PAPER_MARGIN * scale) if self.crop_margin_px is None else self.crop_margin_px
        crops = {factor: distance_crop(factor, size_hw, margin) for factor in dict.fromkeys(factors)}
        return {factor: crop for factor, crop in crops.items() if crop[0].stop > crop[0].start}


@dataclass(frozen=True, eq=False)
class Subject:
    """One image, as up to four models see it.

    Attributes:
        looks: by title; the first is the model that is explained, the others are beside it.
        labels: (H, W) true train ids or 255; None: unknown.
        options: of the pictures.

    Raises:
        DataError: if the labels are of another size than the image.
        ConfigError: if models know other classes than the first.
    """

    looks: Mapping[str, Look]
    labels: Ids | None = None
    options: Options = Options()

    def __post_init__(self) -> None:
        check_labels(self.labels, self.image)
        first, *others = self.looks.items()
        names = first[1].prediction.label_space.class_names
        for title, other in others:
            if other.prediction.label_space.class_names != names:
                raise ConfigError(
                    f"{title} predicts {len(other.prediction.label_space.class_names)} classes of the label table "
                    f"{other.prediction.label_space.name!r}, {first[0]} {len(names)} of "
                    f"{first[1].prediction.label_space.name!r}; models with the same classes expected"
                )

    @property
    def look(self) -> Look:
        """At the model that is explained."""
        return next(iter(self.looks.values()))

    @property
    def image(self) -> Picture:
        """(H, W, 3) uint8 RGB."""
        return self.look.prediction.image

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[0], self.image.shape[1]

    def cell_width(self, columns: int) -> int:
        """Of pictures in a sheet of so many columns."""
        return self.options.cell_width or min(self.size_hw[1], 480 if columns <= 4 else 320)


def check_labels(labels: Ids | None, image: Picture) -> None:
    """Check that labels are of the image.

    Raises:
        DataError: if they are no map of train ids, or of another size.
    """
    if labels is None:
        return
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise DataError(f"labels are {labels.dtype} {labels.shape}; uint8 (H, W) train ids expected")
    height, width = image.shape[:2]
    if labels.shape != (height, width):
        raise DataError(
            f"labels of {labels.shape[0]}×{labels.shape[1]} (height×width) found for an image of {height}×{width}; "
            "labels of the image's size expected"
        )
