"""Models: building, saving, loading and describing them."""

from crispseg.context import CONTEXTS
from crispseg.heads import HEADS
from crispseg.models.build import (
    ALIASES,
    build_model,
    create_model,
    numbered_labels,
    parts_of,
    register_context,
    register_head,
)
from crispseg.models.cards import saved_card, saved_recipe
from crispseg.models.describe import Description, Part, describe
from crispseg.models.segmenter import Segmenter
from crispseg.models.share import push_to_hub
from crispseg.models.weights import load_model, load_weights, save_model, saved_config

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
    "numbered_labels",
    "parts_of",
    "push_to_hub",
    "register_context",
    "register_head",
    "save_model",
    "saved_card",
    "saved_config",
    "saved_recipe",
]
