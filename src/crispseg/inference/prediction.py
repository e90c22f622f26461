"""What is known about one image after it was segmented."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from crispseg.errors import ConfigError, DataError
from crispseg.io import atomic_write
from crispseg.io.png_writing import encode_png
from crispseg.labels import IGNORE_INDEX, LabelSpace
from crispseg.notebooks import html_legend, html_text
from crispseg.pictures.colour import Picture, blend, colourise
from crispseg.pictures.files import to_data_uri, to_png_bytes

__all__ = ["Prediction", "Rows"]

_NOTEBOOK_SIDE_PX = 640  # a notebook keeps what it shows


@dataclass(frozen=True, eq=False)
class Prediction:
    """One segmented image: H×W pixels, K classes.

    Attributes:
        labels: (H, W) uint8 train ids, 0 to K − 1.
        confidence: (H, W) float32 in [0, 1], the probability of the label.
        image: (H, W, 3) uint8 RGB, as it was segmented.
        label_space: names and colours of the classes.
        boundary_probability: (H, W) float32 in [0, 1]; None if the model has no boundary branch.
        probability: (K, H, W) float32; None unless the predictor was asked to keep it.

    Raises:
        DataError: if a map's shape, type or range does not fit.
    """

    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    image: Picture
    label_space: LabelSpace
    boundary_probability: npt.NDArray[np.float32] | None = None
    probability: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype != np.uint8:
            raise DataError(f"labels are {self.labels.dtype} {self.labels.shape}; uint8 (H, W) expected")
        height, width = self.labels.shape
        if self.image.shape != (height, width, 3) or self.image.dtype != np.uint8:
            raise DataError(f"image is {self.image.dtype} {self.image.shape}; uint8 {(height, width, 3)} expected")
        num_classes = self.label_space.num_classes
        if self.labels.size and int(self.labels.max()) >= num_classes:
            raise DataError(
                f"labels reach {self.labels.max()}, "
                f"but the label table {self.label_space.name!r} has {num_classes} classes"
            )
        expected = {
            "confidence": (height, width),
            "boundary_probability": (height, width),
            "probability": (num_classes, height, width),
        }
        for name, shape in expected.items():
            values = getattr(self, name)
            if values is not None and (values.shape != shape or values.dtype != np.float32):
                raise DataError(f"{name} is {values.dtype} {values.shape}; float32 {shape} expected")

    def overlay(self, alpha: float = 0.5) -> Picture:
        """Lay the classes' colours over the image.

        Args:
            alpha: share of the colours, in [0, 1].

        Returns:
            (H, W, 3) uint8 RGB.
        """
        return blend(self.image, colourise(self.labels, self.label_space.palette), alpha)

    def boundaries(self) -> npt.NDArray[np.float32]:
        """Where the boundaries are: the model's own word if it has a boundary branch, else `mask_boundaries`.

        Returns:
            (H, W) float32 in [0, 1].
        """
        return self.mask_boundaries() if self.boundary_probability is None else self.boundary_probability

    def mask_boundaries(self) -> npt.NDArray[np.float32]:
        """The edges of the predicted mask, whatever the model says of boundaries (GSCNN, figure 9; Decoupled, 3c).

        Returns:
            (H, W) float32: 1 on both sides of each border between labels, 0 elsewhere.
        """
        around = np.ones((3, 3), dtype=np.uint8)
        highest, lowest = cv2.dilate(self.labels, around), cv2.erode(self.labels, around)
        edges: npt.NDArray[np.float32] = (highest != lowest).astype(np.float32)
        return edges

    def save_polygons(
        self,
        path: str | os.PathLike[str],
        kind: str | None = None,
        simplify_px: float = 0.0,
        source: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write the regions of the labels as polygons.

        Args:
            path: of the file to be, which appears whole or not at all.
            kind: ``geojson``, ``coco``, ``labelme`` or ``svg``; None: what the path ends in, ``.geojson`` or ``.svg``.
            simplify_px: how coarse their outlines may become; see `crispseg.vectors.polygons`. 0: the pixels' edges.
            source: the image's file, which COCO and LabelMe name, and which georeferences GeoJSON if it is a GeoTIFF.

        Raises:
            ConfigError: if the kind is unknown, a predicted class has no id in its table, or the extra ``vectors`` is
                not installed.
            DataError: if the source's georeference cannot be used.
        """
        from crispseg.vectors import polygons
        from crispseg.vectors.files import check_kind, save_polygons

        kind = Path(path).suffix[1:].lower() if kind is None else kind
        check_kind(kind)  # before the work
        regions = polygons(self.labels, self.label_space, simplify_px)
        save_polygons(path, kind, regions, source=source, image=self.image)

    def _repr_png_(self) -> bytes | None:
        """The overlay, at most 640 pixels long, for notebooks that show no HTML."""
        return to_png_bytes(self._small_overlay()) if self.labels.size else None

    def _repr_html_(self) -> str:
        """The overlay, at most 640 pixels long, and the classes in it with their shares, for notebooks."""
        height, width = self.labels.shape
        title = html_text(f"{width}×{height} pixels, label table {self.label_space.name}")
        if not self.labels.size:
            return title
        shares = np.bincount(self.labels.ravel(), minlength=self.label_space.num_classes) / self.labels.size
        present = [index for index in np.argsort(-shares, kind="stable").tolist() if shares[index] > 0]
        names, colours = self.label_space.class_names, self.label_space.palette
        legend = html_legend((names[index], colours[index], f"{100 * shares[index]:.1f} %") for index in present)
        picture = f'<img src="{to_data_uri(self._small_overlay())}" alt="overlay" style="max-width:100%">'
        return f"<div>{title}</div>{picture}{legend}"

    def _small_overlay(self) -> Picture:
        overlay = self.overlay()
        share = _NOTEBOOK_SIDE_PX / max(self.labels.shape)
        if share >= 1:
            return overlay
        size = (max(1, round(share * overlay.shape[1])), max(1, round(share * overlay.shape[0])))
        small: Picture = cv2.resize(overlay, size, interpolation=cv2.INTER_AREA)
        return small

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the labels as a PNG that data sets of this label table read back.

        The file holds each class's id in label files (the first in its table), not its train id: where the two differ,
        as in Cityscapes, the file is what the data set's own tools expect. Ids above 255 make a 16-bit file; otherwise
        viewers show the classes' colours, and the pixels are the ids.

        Args:
            path: ending in ``.png``; the file appears whole or not at all.

        Raises:
            ConfigError: if the path ends otherwise, or a class that was predicted has no id in its table.
        """
        if not os.fspath(path).lower().endswith(".png"):
            raise ConfigError(f"{os.fspath(path)}: label maps are written without loss; a name ending in .png expected")
        data = self.to_png()
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)

    def to_png(self) -> bytes:
        """What `save` writes.

        Raises:
            ConfigError: if a class that was predicted has no id in its table.
        """
        ids = np.zeros(256, dtype=np.uint16)
        for train_id in np.unique(self.labels).tolist():
            ids[train_id] = self.label_space.id_in_files(train_id)
        raw = ids[self.labels]
        if raw.size and raw.max() > IGNORE_INDEX:
            return encode_png(raw)
        return encode_png(raw.astype(np.uint8), self.label_space.palette_in_files())


class Rows(NamedTuple):
    """Finished rows of one segmented image, as its `Prediction` will hold them.

    Attributes:
        top: where they begin in the image.
        labels: (h, W) uint8.
        confidence: (h, W) float32.
        boundary_probability: (h, W) float32; None if the model has no boundary branch.
        probability: (K, h, W) float32; None unless the predictor was asked to keep it.
    """

    top: int
    labels: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    boundary_probability: npt.NDArray[np.float32] | None = None
    probability: npt.NDArray[np.float32] | None = None
