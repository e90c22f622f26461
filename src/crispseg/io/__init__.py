"""Reading and writing files so that what is read is right and what is written is whole."""

from crispseg.io.files import atomic_folder, atomic_write
from crispseg.io.images import image_size_hw, read_image, read_label_ids, write_png
from crispseg.io.pages import css_colour, page_template

__all__ = [
    "atomic_folder",
    "atomic_write",
    "css_colour",
    "image_size_hw",
    "page_template",
    "read_image",
    "read_label_ids",
    "write_png",
]
