"""Body generation of the Decoupled system (section 3.2), and the operators that table 1f compares it with.

Each module takes the feature map F and returns the body feature of the same shape with what it can show of itself;
`BodyLayer.map_info` says what that is.
"""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from crispseg.errors import ConfigError
from crispseg.layers.conv import ConvNormAct
from crispseg.ops.resize import resize
from crispseg.ops.sizes import divide_up
from crispseg.ops.warp import flow_warp
from crispseg.types import MapInfo

__all__ = ["FLOW_INFO", "BodyLayer", "DeformableBody", "Downsampling", "FlowBody", "PropagatedBody", "Upsampling"]

Downsampling = Literal["depthwise", "conv", "bilinear"]
Upsampling = Literal["bilinear", "nearest", "deconv"]


FLOW_INFO = MapInfo(
    "flow", "flow", "From where each cell of the body takes its feature, in cells: towards the insides of objects."
)


class BodyLayer(nn.Module):
    """What the body generators have in common.

    Attributes:
        map_info: what `forward` shows beside the body, name by name.
    """

    map_info: ClassVar[dict[str, MapInfo]]

    def forward(self, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Make the body of (N, channels, h, w), of the same shape; also the maps that `map_info` names."""
        raise NotImplementedError


class FlowBody(BodyLayer):
    """Warp the features towards object interiors along a learned flow: F_body(p) = F(p + δ(p)), bilinear (eq. 1).

    An encoder of strided convolutions finds a coarse map; it goes back up to F's size, and a 3×3 convolution on both
    predicts the flow δ in cells (x, y).

    Args:
        channels: width of F.
        downsample: the encoder's step, each of stride 2: a depthwise convolution, a naive one, or bilinear (table 1c).
        downsample_count: 1 to 4 steps (table 1e); 2 in the paper's best.
        upsample: bilinear, nearest neighbour or deconvolution (table 1d).

    Shape:
        (N, channels, h, w) → body of that shape, flow (N, 2, h, w) in cells
    """

    map_info: ClassVar[dict[str, MapInfo]] = {"flow": FLOW_INFO}

    def __init__(
        self,
        channels: int,
        *,
        downsample: Downsampling = "depthwise",
        downsample_count: int = 2,
        upsample: Upsampling = "bilinear",
    ) -> None:
        super().__init__()
        if downsample not in get_args(Downsampling):
            raise ConfigError(f"downsample: {downsample!r} found, one of {get_args(Downsampling)} expected")
        if upsample not in get_args(Upsampling):
            raise ConfigError(f"upsample: {upsample!r} found, one of {get_args(Upsampling)} expected")
        if downsample_count not in range(1, 5):
            raise ConfigError(f"downsample_count: {downsample_count} found, 1 to 4 expected")
        self.upsample = upsample
        self.downsample_count = downsample_count
        self.encoder = (
            None
            if downsample == "bilinear"
            else nn.Sequential(
                *(
                    ConvNormAct(channels, channels, stride=2, groups=channels if downsample == "depthwise" else 1)
                    for _ in range(downsample_count)
                )
            )
        )
        self.decoder = (
            nn.Sequential(
                *(
                    nn.ConvTranspose2d(channels, channels, 4, 2, 1, groups=channels, bias=False)
                    for _ in range(downsample_count)
                )
            )
            if upsample == "deconv"
            else None
        )
        self.flow = nn.Conv2d(2 * channels, 2, 3, padding=1, bias=False)
        # Start close to the identity, yet not at zero, where the encoder would get no gradient.
        nn.init.normal_(self.flow.weight, std=1e-3)

    def forward(self, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the body feature and ``{"flow": δ}``."""
        height, width = features.shape[-2:]
        coarse = self._encode(features)  # (N, C, ⌈h/2ⁿ⌉, ⌈w/2ⁿ⌉) after n steps
        if self.decoder is not None:
            coarse = self.decoder(coarse)  # about h×w: each step doubles
        coarse = resize(coarse, (height, width), "nearest" if self.upsample == "nearest" else "bilinear")
        flow = self.flow(torch.cat([features, coarse], dim=1))  # (N, 2C, h, w) → (N, 2, h, w)
        return flow_warp(features, flow), {"flow": flow}

    def _encode(self, features: Tensor) -> Tensor:
        if self.encoder is not None:
            encoded: Tensor = self.encoder(features)
            return encoded
        factor = 2**self.downsample_count
        height, width = features.shape[-2:]
        return resize(features, (divide_up(height, factor), divide_up(width, factor)))


class DeformableBody(BodyLayer):
    """The "w DCN" row of table 1f: a 3×3 deformable convolution (Dai et al., 2017) makes the body.

    Shape:
        (N, channels, h, w) → body of that shape, offsets (N, 18, h, w) in cells
    """

    map_info: ClassVar[dict[str, MapInfo]] = {
        "offsets": MapInfo(
            "features",
            "offsets",
            "Where the nine samples of the deformable convolution move to: like colours, like moves.",
        )
    }

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(channels, 18, 3, padding=1)
        self.convolution = DeformConv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")
        nn.init.normal_(self.offsets.weight, std=1e-3)
        nn.init.zeros_(self.offsets.bias)  # type: ignore[arg-type] # built with a bias, typed as optional

    def forward(self, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the body feature and ``{"offsets": …}``."""
        offsets = self.offsets(features)  # (N, 18, h, w): y and x of nine samples
        # torchvision's operator takes one type for all; under mixed precision the offsets come in the lower one.
        with torch.autocast(features.device.type, enabled=False):
            body = self.convolution(features.float(), offsets.float())
        return body.to(features.dtype), {"offsets": offsets}


class PropagatedBody(BodyLayer):
    """The "w SPN" row of table 1f: spatial propagation (Liu et al., 2017) makes the body.

    Features are propagated by learned affinities in four directions; along each, a cell takes from its three neighbours
    in the row (or column) before: h_t = (1 − Σ_k p_k) ⊙ x_t + Σ_k p_k ⊙ h_{t−1, k}, with Σ|p_k| ≤ 1 for stability. The
    four results are merged by their maximum, as in that paper.

    Shape:
        (N, channels, h, w) → body of that shape, affinity (N, 12, h, w) in [−1, 1]
    """

    map_info: ClassVar[dict[str, MapInfo]] = {
        "affinity": MapInfo(
            "features",
            "affinity",
            "How much each cell takes from its neighbours, in four directions: like colours, alike.",
        )
    }

    def __init__(self, channels: int, propagated_channels: int = 32) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, propagated_channels, 1)
        self.affinity = nn.Conv2d(channels, 12, 3, padding=1)
        self.expand = nn.Conv2d(propagated_channels, channels, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the body feature and ``{"affinity": …}``."""
        values = self.squeeze(features)  # (N, propagated_channels, h, w)
        count, _, height, width = features.shape
        raw = torch.tanh(self.affinity(features)).view(count, 4, 3, height, width)  # direction, neighbour
        affinity = raw / raw.abs().sum(dim=2, keepdim=True).clamp_min(1)
        down = _propagate(values, affinity[:, 0])
        up = _propagate(values.flip(2), affinity[:, 1].flip(2)).flip(2)
        right = _propagate(values.mT, affinity[:, 2].mT).mT
        left = _propagate(values.mT.flip(2), affinity[:, 3].mT.flip(2)).flip(2).mT
        merged = torch.stack([down, up, right, left]).amax(dim=0)  # (4, N, …) → (N, propagated_channels, h, w)
        return self.expand(merged), {"affinity": affinity.flatten(1, 2)}


def _propagate(values: Tensor, affinity: Tensor) -> Tensor:
    """Scan (N, C, h, w) from the first row to the last with (N, 3, h, w) affinities to the row before."""
    rows = [values[:, :, 0]]
    for index in range(1, values.shape[2]):
        before = nn.functional.pad(rows[-1], (1, 1))
        weight = affinity[:, :, index]
        taken = (
            weight[:, 0:1] * before[:, :, :-2] + weight[:, 1:2] * before[:, :, 1:-1] + weight[:, 2:3] * before[:, :, 2:]
        )
        rows.append((1 - weight.sum(dim=1, keepdim=True)) * values[:, :, index] + taken)
    return torch.stack(rows, dim=2)
