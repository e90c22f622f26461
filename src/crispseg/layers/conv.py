"""Convolution blocks."""

from __future__ import annotations

from torch import Tensor, nn

from crispseg.layers.norm import BatchNorm2d

__all__ = ["ConvNormAct", "ResidualBlock", "SeparableConvNormAct"]


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU: the papers' "convolutional layer".

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        kernel_size: odd; the padding keeps the size at stride 1.
        stride: of the convolution.
        dilation: of the convolution.
        groups: of the convolution; ``in_channels`` makes it depthwise.
        activation: whether the ReLU follows.

    Shape:
        (N, in_channels, h, w) → (N, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        padding = dilation * (kernel_size - 1) // 2
        convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False)
        # He et al. (2015), for the ReLU that follows.
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers: list[nn.Module] = [convolution, BatchNorm2d(out_channels)]
        if activation:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class SeparableConvNormAct(nn.Sequential):
    """Separable convolution of Chen et al. (DeepLabV3+, 2018, section 3.1): each channel by itself, then 1×1.

    A ninth of a 3×3 convolution's cost, about. Batch normalisation and ReLU follow once, after both.

    Args:
        in_channels: see `ConvNormAct`.
        out_channels: see `ConvNormAct`.
        kernel_size: see `ConvNormAct`.
        dilation: of the convolution of each channel.

    Shape:
        (N, in_channels, h, w) → (N, out_channels, h, w)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, *, dilation: int = 1) -> None:
        padding = dilation * (kernel_size - 1) // 2
        depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, 1, padding, dilation, groups=in_channels, bias=False
        )
        nn.init.kaiming_normal_(depthwise.weight, nonlinearity="linear")  # no ReLU follows it
        super().__init__(depthwise, *ConvNormAct(in_channels, out_channels, 1))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with an identity shortcut, as between the gates of the GSCNN shape stream (section 3).

    Shape:
        (N, channels, h, w) → the same
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNormAct(channels, channels)
        self.second = ConvNormAct(channels, channels, activation=False)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Refine the features at their own resolution."""
        refined: Tensor = self.activation(features + self.second(self.first(features)))
        return refined
