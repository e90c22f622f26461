"""Models: building, saving, loading and describing them."""

from crispseg.context import CONTEXTS
from crispseg.heads import HEADS
from crispseg.models.build import ALIASES, build_model, create_model
from crispseg.models.describe import Description, Part, describe
from crispseg.models.segmenter import Segmenter
from crispseg.models.weights import load_model, load_weights, save_model

__all__ = [
    "ALIASES",
    "CONTEXTS",
    "HEADS",
    "Description",
    "Part",
    "Segmenter",
    "build_model",
    "create_model",
    "describe",
    "load_model",
    "load_weights",
    "save_model",
]
