"""Pictures of labels, errors and a network's inside: each function returns uint8 (H, W, 3) RGB, or a drawing of it."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.pictures.colour import Picture, blend, colourise
    from crispseg.pictures.drawing import Drawing, Drawn
    from crispseg.pictures.features import flow_picture, gate_picture, map_note, map_picture, pca_picture
    from crispseg.pictures.files import to_data_uri, to_jpeg_bytes, to_png_bytes
    from crispseg.pictures.frequencies import split_frequencies
    from crispseg.pictures.labels import boundary_picture, change_map, error_map, gain_map, outline_picture, overlay
    from crispseg.pictures.places import fullest_places
    from crispseg.pictures.plots import plot_boundary_f, plot_iou_at_distance
    from crispseg.pictures.scales import draw_flow, flow_wheel
    from crispseg.pictures.sheets import draw_legend, draw_sheet, legend, sheet
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.pictures.colour": ("Picture", "blend", "colourise"),
            "crispseg.pictures.drawing": ("Drawing", "Drawn"),
            "crispseg.pictures.features": ("flow_picture", "gate_picture", "map_note", "map_picture", "pca_picture"),
            "crispseg.pictures.files": ("to_data_uri", "to_jpeg_bytes", "to_png_bytes"),
            "crispseg.pictures.frequencies": ("split_frequencies",),
            "crispseg.pictures.labels": (
                "boundary_picture",
                "change_map",
                "error_map",
                "gain_map",
                "outline_picture",
                "overlay",
            ),
            "crispseg.pictures.places": ("fullest_places",),
            "crispseg.pictures.plots": ("plot_boundary_f", "plot_iou_at_distance"),
            "crispseg.pictures.scales": ("draw_flow", "flow_wheel"),
            "crispseg.pictures.sheets": ("draw_legend", "draw_sheet", "legend", "sheet"),
        },
    )

__all__ = [
    "Drawing",
    "Drawn",
    "Picture",
    "blend",
    "boundary_picture",
    "change_map",
    "colourise",
    "draw_flow",
    "draw_legend",
    "draw_sheet",
    "error_map",
    "flow_picture",
    "flow_wheel",
    "fullest_places",
    "gain_map",
    "gate_picture",
    "legend",
    "map_note",
    "map_picture",
    "outline_picture",
    "overlay",
    "pca_picture",
    "plot_boundary_f",
    "plot_iou_at_distance",
    "sheet",
    "split_frequencies",
    "to_data_uri",
    "to_jpeg_bytes",
    "to_png_bytes",
]
