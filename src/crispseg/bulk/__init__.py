"""Many images: found, segmented and written, one after another, whatever single ones are like."""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg.bulk.collect import collect_images
    from crispseg.bulk.outputs import OUTPUTS, Output, choose_outputs, polygon_output
    from crispseg.bulk.run import Failure, Segmented, segment_images
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.bulk.collect": ("collect_images",),
            "crispseg.bulk.outputs": ("OUTPUTS", "Output", "choose_outputs", "polygon_output"),
            "crispseg.bulk.run": ("Failure", "Segmented", "segment_images"),
        },
    )

__all__ = [
    "OUTPUTS",
    "Failure",
    "Output",
    "Segmented",
    "choose_outputs",
    "collect_images",
    "polygon_output",
    "segment_images",
]
