"""Every part that a recipe or a saved model may name: heads, contexts, backbones, losses, layouts of data.

A part of the library stands in `parts` as ``"module:name"`` and is imported when it is first asked for, so that names
can be listed and checked without PyTorch. A part from outside is registered by the class itself, with the
``register_…`` function of its room.
"""

from crispseg.registry.options import annotations_of, mentions
from crispseg.registry.parts import BACKBONES, CONTEXTS, HEADS, LAYOUTS, LOSSES
from crispseg.registry.registry import Registry

__all__ = ["BACKBONES", "CONTEXTS", "HEADS", "LAYOUTS", "LOSSES", "Registry", "annotations_of", "mentions"]
