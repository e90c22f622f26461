"""Reading and writing files so that what is read is right and what is written is whole."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.io.files import atomic_folder, atomic_write, files_below
    from crispseg.io.images import MAX_PIXELS, ImageBytes, image_size_hw, read_image, write_png
    from crispseg.io.label_images import LabelImage, read_label_ids, read_label_image
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.io.files": ("atomic_folder", "atomic_write", "files_below"),
            "crispseg.io.images": (
                "MAX_PIXELS",
                "ImageBytes",
                "image_size_hw",
                "read_image",
                "write_png",
            ),
            "crispseg.io.label_images": ("LabelImage", "read_label_ids", "read_label_image"),
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
