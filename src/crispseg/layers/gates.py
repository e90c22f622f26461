"""Gates: the attention of GSCNN's gated convolution layer and the level gates of GFF."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crispseg.ops.resize import resize

__all__ = ["GatedConvolution", "LevelGate"]


class GatedConvolution(nn.Module):
    """The gated convolutional layer of GSCNN, section 3.1.

    The attention map is a normalised 1×1 convolution and a sigmoid over the shape features s and the regular stream's
    features r (eq. 1), which reach the image's resolution through one channel:

        α = σ(C₁ₓ₁(s ‖ r))

    and the gated features are the residual product, weighted over channels by a 1×1 kernel w (eq. 2):

        ŝ = (s ⊙ α + s)ᵀ w

    Args:
        shape_channels: width of s, and of the result.
        regular_channels: width of the regular stream's map.

    Shape:
        s (N, shape_channels, h, w), r (N, regular_channels, h', w') → ŝ (N, shape_channels, h, w), α (N, 1, h, w)
    """

    def __init__(self, shape_channels: int, regular_channels: int) -> None:
        super().__init__()
        self.side = nn.Conv2d(regular_channels, 1, 1)
        self.attention = nn.Sequential(nn.Conv2d(shape_channels + 1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())
        self.weight = nn.Conv2d(shape_channels, shape_channels, 1, bias=False)

    def forward(self, shape: Tensor, regular: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gated shape features and the attention map in [0, 1]."""
        height, width = shape.shape[-2:]
        side = resize(self.side(regular), (height, width))  # (N, 1, h', w') → (N, 1, h, w)
        alpha = self.attention(torch.cat([shape, side], dim=1))  # (N, shape_channels + 1, h, w) → (N, 1, h, w)
        return self.weight(shape * alpha + shape), alpha


class LevelGate(nn.Module):
    """The gate map of one level, G = σ(w ∗ X) with a 1×1 kernel (GFF, below eq. 5).

    Shape:
        (N, channels, h, w) → (N, 1, h, w) in [0, 1]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 1, 1)

    def forward(self, level: Tensor) -> Tensor:
        """How useful each cell of the level is."""
        return torch.sigmoid(self.convolution(level))
