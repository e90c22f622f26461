"""Batch normalisation that also trains on single values."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BatchNorm2d"]


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation (Ioffe and Szegedy, 2015) that takes one value a channel, too.

    One image that a context has pooled to one cell has no variance. Such a value is normalised by the running mean and
    variance, in training as in evaluation, and they stay as they are: 0 and 1 in a new network, where scale and shift
    alone act then; those of the weights in one that is trained further. Everything else is as in PyTorch.

    Shape:
        (N, C, H, W) → the same

    Example:
        >>> import torch
        >>> BatchNorm2d(1)(torch.full((1, 1, 1, 1), 2.0)).item()  # 2 / √(1 + ε)
        1.9999899864196777
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel."""
        if self.training and self.track_running_stats and x.ndim == 4 and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        normalised: Tensor = super().forward(x)
        return normalised
