"""Heads: from a backbone's features (and the image, where one asks for it) to a `SegmentationOutput`."""

from crispseg.heads.base import Head
from crispseg.heads.decoupled import Decoupled
from crispseg.heads.deeplabv3plus import DeepLabV3Plus
from crispseg.heads.fusion import GFF, AdditionFusion, ConcatFusion, FusionHead, GatedPyramid, GFFDense, Pyramid
from crispseg.heads.gscnn import GSCNN
from crispseg.heads.plain import Plain
from crispseg.registry import HEADS as _HEADS
from crispseg.registry import Registry

__all__ = [
    "GFF",
    "GSCNN",
    "HEADS",
    "AdditionFusion",
    "ConcatFusion",
    "Decoupled",
    "DeepLabV3Plus",
    "FusionHead",
    "GFFDense",
    "GatedPyramid",
    "Head",
    "Plain",
    "Pyramid",
]

HEADS: Registry[type[Head]] = _HEADS
"""By name."""
