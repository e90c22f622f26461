"""Released checkpoints of the three systems, running here: `convert` reads one, `to_released` writes one.

What a released network computes differently from its paper lives in this room alone. Importing `crispseg` makes its
parts known to recipes and saved models, under names that begin with ``released_``.
"""

from crispseg.backbones import register_backbone
from crispseg.models import register_context, register_head
from crispseg.published.contexts import ReleasedASPP, ReleasedPyramidPooling
from crispseg.published.convert import convert, network_of, released_state, to_released
from crispseg.published.heads import ReleasedDecoupled, ReleasedDeepLabV3Plus, ReleasedGFF, ReleasedGSCNN
from crispseg.published.keys import recognise
from crispseg.published.networks import NETWORKS, PublishedNetwork, Source
from crispseg.published.trunk import ReleasedResNet

__all__ = [
    "NETWORKS",
    "PublishedNetwork",
    "ReleasedASPP",
    "ReleasedDecoupled",
    "ReleasedDeepLabV3Plus",
    "ReleasedGFF",
    "ReleasedGSCNN",
    "ReleasedPyramidPooling",
    "ReleasedResNet",
    "Source",
    "convert",
    "network_of",
    "recognise",
    "released_state",
    "to_released",
]

register_backbone("released_resnet50s", ReleasedResNet.constructor("resnet50s"))
register_backbone("released_resnet101s", ReleasedResNet.constructor("resnet101s"))
register_context("released_aspp", ReleasedASPP)
register_context("released_ppm", ReleasedPyramidPooling)
register_head("released_deeplabv3plus", ReleasedDeepLabV3Plus)
register_head("released_decoupled", ReleasedDecoupled)
register_head("released_gff", ReleasedGFF)
register_head("released_gscnn", ReleasedGSCNN)
