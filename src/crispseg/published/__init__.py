"""Released checkpoints of the three systems, running here: `convert` reads one, `to_released` writes one.

What a released network computes differently from its paper lives in this room alone. Recipes and saved models know its
parts by names that begin with ``released_``: `crispseg.registry` has them, and imports a part when it is asked for.
"""

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
