"""Reading and writing files so that what is read is right and what is written is whole."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.io.files import atomic_folder, atomic_write, files_below
    from crispseg.io.images import image_size_hw, read_image
    from crispseg.io.label_images import LabelImage, read_label_ids, read_label_image
    from crispseg.io.opening import MAX_PIXELS, ImageBytes
    from crispseg.io.png_writing import write_png
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.io.files": ("atomic_folder", "atomic_write", "files_below"),
            "crispseg.io.images": ("image_size_hw", "read_image"),
            "crispseg.io.label_images": ("LabelImage", "read_label_ids", "read_label_image"),
            "crispseg.io.opening": ("MAX_PIXELS", "ImageBytes"),
            "crispseg.io.png_writing": ("write_png",),
        },
    )

__all__ = [
    "MAX_PIXELS",
    "ImageBytes",
    "LabelImage",
    "atomic_folder",
    "atomic_write",
    "files_below",
    "image_size_hw",
    "read_image",
    "read_label_ids",
    "read_label_image",
    "write_png",
]
