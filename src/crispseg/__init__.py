"""crispseg: semantic segmentation with crisp boundaries.

GSCNN, Decoupled body and edge supervision, and gated fully fusion (GFF), as parts that compose: any head on any
context on any backbone.

Example:
    >>> import torch, crispseg
    >>> model = crispseg.create_model("decoupled", backbone="resnet18", num_classes=11, channels=32, output_stride=32)
    >>> model.eval()(torch.rand(1, 3, 64, 96)).boundary_logits.shape
    torch.Size([1, 1, 64, 96])
"""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily

if TYPE_CHECKING:
    from crispseg import published
    from crispseg.bulk import collect_images, segment_images
    from crispseg.errors import ConfigError, CrispsegError, DataError, TrainingError, WeightsError
    from crispseg.evaluation import evaluate
    from crispseg.explanation import explain
    from crispseg.inference import Prediction, Predictor
    from crispseg.labels import IGNORE_INDEX, LabelSpace
    from crispseg.models import Segmenter, create_model, describe, load_model, push_to_hub, save_model
    from crispseg.plugins import load_plugin
    from crispseg.recipes import load_recipe
    from crispseg.refinement import Refiner
    from crispseg.train import fit
    from crispseg.types import SegmentationOutput
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "crispseg.bulk": ("collect_images", "segment_images"),
            "crispseg.errors": (
                "ConfigError",
                "CrispsegError",
                "DataError",
                "TrainingError",
                "WeightsError",
            ),
            "crispseg.evaluation": ("evaluate",),
            "crispseg.explanation": ("explain",),
            "crispseg.inference": (
                "Prediction",
                "Predictor",
            ),
            "crispseg.labels": (
                "IGNORE_INDEX",
                "LabelSpace",
            ),
            "crispseg.models": (
                "Segmenter",
                "create_model",
                "describe",
                "load_model",
                "push_to_hub",
                "save_model",
            ),
            "crispseg.published": (),
            "crispseg.plugins": ("load_plugin",),
            "crispseg.recipes": ("load_recipe",),
            "crispseg.refinement": ("Refiner",),
            "crispseg.train": ("fit",),
            "crispseg.types": ("SegmentationOutput",),
        },
    )

__all__ = [
    "IGNORE_INDEX",
    "ConfigError",
    "CrispsegError",
    "DataError",
    "LabelSpace",
    "Prediction",
    "Predictor",
    "Refiner",
    "SegmentationOutput",
    "Segmenter",
    "TrainingError",
    "WeightsError",
    "collect_images",
    "create_model",
    "describe",
    "evaluate",
    "explain",
    "fit",
    "load_model",
    "load_plugin",
    "load_recipe",
    "published",
    "push_to_hub",
    "save_model",
    "segment_images",
]

__version__ = "0.2.0"
