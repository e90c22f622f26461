"""The contract of context modules, and the extra branch that they share."""

from __future__ import annotations

from torch import Tensor, nn

from crispseg.layers.conv import ConvNormAct
from crispseg.ops.resize import resize

__all__ = ["Context"]


class Context(nn.Module):
    """Widen what each cell of the top map knows.

    Args:
        in_channels: width of the top map.
        channels: width of the branches and of the result.
        stride: image pixels per cell of the top map; dilation rates are stated for stride 8 and scale with it.
        extra_channels: width of the extra map; 0 means that there is none.

    Attributes:
        out_channels: width of the result.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, extra_channels: int = 0) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = channels
        self.stride = stride
        self.extra_channels = extra_channels
        self.extra_branch = ConvNormAct(extra_channels, channels, 1) if extra_channels else None

    def forward(self, features: Tensor, extra: Tensor | None = None) -> Tensor:
        """Merge context into the map.

        Args:
            features: (N, in_channels, h, w).
            extra: (N, extra_channels, h', w') at any resolution; required exactly if ``extra_channels`` > 0.

        Returns:
            (N, out_channels, h, w)
        """
        raise NotImplementedError

    def extra_features(self, features: Tensor, extra: Tensor | None) -> list[Tensor]:
        """The extra branch's result at the size of `features`, as a list of one or none.

        Raises:
            ValueError: if an extra map is missing, or is given where none was announced.
        """
        if (extra is None) != (self.extra_branch is None):
            raise ValueError(
                f"{type(self).__name__}: built with extra_channels={self.extra_channels}, "
                f"called {'without' if extra is None else 'with'} an extra map"
            )
        if self.extra_branch is None or extra is None:
            return []
        height, width = features.shape[-2:]
        # Shrink first: the 1×1 convolution is cheaper at the top map's size than at the image's.
        return [self.extra_branch(resize(extra, (height, width)))]

    def scaled_rates(self, rates: tuple[int, ...]) -> tuple[int, ...]:
        """Dilation rates for this stride, from those that the papers give for stride 8."""
        return tuple(max(1, round(rate * 8 / self.stride)) for rate in rates)
