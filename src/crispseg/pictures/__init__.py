"""Pictures of labels, errors and a network's inside: each function returns uint8 (H, W, 3) RGB."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.pictures.colour import Picture, blend, colourise
    from crispseg.pictures.features import flow_picture, gate_picture, map_note, map_picture, pca_picture
    from crispseg.pictures.files import to_data_uri, to_jpeg_bytes, to_png_bytes
    from crispseg.pictures.labels import boundary_picture, error_map, overlay
    from crispseg.pictures.plots import plot_iou_at_distance
    from crispseg.pictures.sheets import legend, sheet
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.pictures.colour": (
                "Picture",
                "blend",
                "colourise",
            ),
            "crispseg.pictures.features": (
                "flow_picture",
                "gate_picture",
                "map_note",
                "map_picture",
                "pca_picture",
            ),
            "crispseg.pictures.files": (
                "to_data_uri",
                "to_jpeg_bytes",
                "to_png_bytes",
            ),
            "crispseg.pictures.labels": (
                "boundary_picture",
                "error_map",
                "overlay",
            ),
            "crispseg.pictures.plots": ("plot_iou_at_distance",),
            "crispseg.pictures.sheets": (
                "legend",
                "sheet",
            ),
        },
    )

__all__ = [
    "Picture",
    "blend",
    "boundary_picture",
    "colourise",
    "error_map",
    "flow_picture",
    "gate_picture",
    "legend",
    "map_note",
    "map_picture",
    "overlay",
    "pca_picture",
    "plot_iou_at_distance",
    "sheet",
    "to_data_uri",
    "to_jpeg_bytes",
    "to_png_bytes",
]
