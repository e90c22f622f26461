"""Context modules: what a head lets the top feature map know of its surroundings.

Each is ``context(features, extra=None)`` → (N, out_channels, h, w): the extra branch carries another map (GSCNN's
boundary) into the module, wherever the module merges its branches.
"""

from crispseg.context.aspp import ASPP, DenseASPP
from crispseg.context.base import Context
from crispseg.context.pooling import Identity, PyramidPooling
from crispseg.registry import CONTEXTS as _CONTEXTS
from crispseg.registry import Registry

__all__ = ["ASPP", "CONTEXTS", "Context", "DenseASPP", "Identity", "PyramidPooling"]

CONTEXTS: Registry[type[Context]] = _CONTEXTS
"""By name."""
