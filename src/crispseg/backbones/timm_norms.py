"""timm's own kinds of batch normalisation."""

from __future__ import annotations

from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import nn

from crispseg.layers.norm import BatchNorm2d

__all__ = ["fused_batch_norm"]


def fused_batch_norm(norm: nn.Module) -> nn.Module | None:
    """The fused layer that does the same with the statistics of all processes, on GPUs.

    Parameters and statistics are shared with `norm`, and their names stay.

    Args:
        norm: any layer.

    Returns:
        None where it is of a kind that timm's `convert_sync_batchnorm` does not know in full, such as a subclass.
        (Ours differs on one process only.)
    """
    if type(norm) not in (nn.BatchNorm2d, BatchNorm2d, BatchNormAct2d):
        return None
    fused: nn.Module = convert_sync_batchnorm(norm)
    return fused
