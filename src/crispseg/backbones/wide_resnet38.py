"""WideResNet-38, dilated for segmentation: the trunk of GSCNN and of the strongest Decoupled and GFF models.

Z. Wu, C. Shen, A. van den Hengel, "Wider or Deeper: Revisiting the ResNet Model for Visual Recognition", Pattern
Recognition 90, 2019.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from crispseg.backbones.base import Backbone
from crispseg.backbones.state_files import load_state, read_state
from crispseg.errors import ConfigError, WeightsError
from crispseg.types import FeatureInfo, Features, FeaturesInfo

__all__ = ["WideResNet38"]

# Per stage mod2 … mod7: number of blocks, the widths of a block's convolutions, channel dropout before the last one.
_STAGES: tuple[tuple[int, tuple[int, ...], float], ...] = (
    (3, (128, 128), 0.0),
    (3, (256, 256), 0.0),
    (6, (512, 512), 0.0),
    (3, (512, 1024), 0.0),
    (1, (512, 1024, 2048), 0.3),
    (1, (1024, 2048, 4096), 0.5),
)
# Output stride → (stride of the first block, dilation) of mod2 … mod7; the max-pools stand before mod2 and mod3.
_PLANS: dict[int, tuple[tuple[int, int], ...]] = {
    8: ((1, 1), (1, 1), (2, 1), (1, 2), (1, 4), (1, 4)),
    16: ((1, 1), (1, 1), (2, 1), (2, 1), (1, 2), (1, 2)),
    32: ((1, 1), (1, 1), (2, 1), (2, 1), (2, 1), (1, 1)),
}


def wide_resnet38(output_stride: int, pretrained: bool, weights: str | Path | None) -> WideResNet38:
    """What `crispseg.backbones.build_backbone` calls."""
    return WideResNet38(output_stride, pretrained=pretrained, weights=weights)


class WideResNet38(Backbone):
    """Pre-activation residual network of six wide stages after one convolution at full resolution.

    The stem is mod1 (stride 1), the levels are mod2 (stride 2), mod3 (4), mod4 (8) and mod5 to mod7 (the output
    stride). The maps are sums of branches: nothing normalises or rectifies them after the last block.

    Args:
        output_stride: 8, 16 or 32.
        width_factor: scales every width, for tests and small models; 1.0 is the published network.
        pretrained: not available for this network: nobody hosts its weights under a stable name.
        weights: a file with weights, in our names or in those of the released ImageNet file.

    Raises:
        ConfigError: if the stride is another or the factor leaves no channel.
        WeightsError: if weights are asked for that cannot be had, or do not fit.

    Example:
        >>> import torch
        >>> backbone = WideResNet38(output_stride=8, width_factor=1 / 16)
        >>> [tuple(level.shape[1:]) for level in backbone(torch.zeros(1, 3, 33, 64)).levels]
        [(8, 17, 32), (16, 9, 16), (32, 5, 8), (64, 5, 8), (128, 5, 8), (256, 5, 8)]
    """

    def __init__(
        self,
        output_stride: int = 8,
        *,
        width_factor: float = 1.0,
        pretrained: bool = False,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        if output_stride not in _PLANS:
            raise ConfigError(f"wide_resnet38: output_stride is {output_stride}; 8, 16 or 32 expected")
        if not width_factor * 64 >= 1:
            raise ConfigError(f"wide_resnet38: width_factor is {width_factor}; at least 1/64 expected")
        if pretrained and weights is None:
            raise WeightsError(
                "wide_resnet38: there are no weights to download; pass a file as model.backbone_weights, or set "
                "model.pretrained=false"
            )
        plan = _PLANS[output_stride]
        width = round(64 * width_factor)
        self.mod1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        stem = FeatureInfo("mod1", width, 1)
        stride, levels, stages = 1, [], []
        for index, ((count, widths, dropout), (first_stride, dilation)) in enumerate(zip(_STAGES, plan, strict=True)):
            scaled = tuple(round(channels * width_factor) for channels in widths)
            blocks = [_Block(width, scaled, first_stride, dilation, dropout)]
            width = scaled[-1]
            blocks += [_Block(width, scaled, 1, dilation, dropout) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            stride *= first_stride * (2 if index < 2 else 1)
            levels.append(FeatureInfo(f"mod{index + 2}", width, stride))
        self.stages = nn.ModuleList(stages)
        self.info = FeaturesInfo(stem, tuple(levels), mid_index=3, pyramid_indices=(0, 1, 3, 5))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        if weights is not None:
            state = {_own_name(key): value for key, value in read_state(weights).items()}
            load_state(self, state, weights, lambda key: key.startswith(("classifier.", "fc.", "head.", "bn_out.")))

    def forward(self, images_normalised: Tensor) -> Features:
        """See `Backbone.forward`."""
        stem: Tensor = self.mod1(images_normalised)  # (N, 64, H, W)
        levels: list[Tensor] = []
        current = stem
        for index, stage in enumerate(self.stages):
            current = stage(self.pool(current) if index < 2 else current)  # as `info.levels[index]` says
            levels.append(current)
        return Features(stem, tuple(levels), self.info.mid_index)


class _Block(nn.Module):
    """Norm-ReLU-convolution, two or three times, beside a shortcut.

    Two widths make a block of two 3×3 convolutions, three make a bottleneck 1×1, 3×3, 1×1.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], stride: int, dilation: int, dropout: float) -> None:
        super().__init__()
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        convolutions, norms = [], []
        previous = in_channels
        for index, (kernel, width) in enumerate(zip(kernels, widths, strict=True)):
            norms.append(nn.BatchNorm2d(previous))
            spread = dilation if kernel == 3 else 1
            convolutions.append(
                nn.Conv2d(
                    previous,
                    width,
                    kernel,
                    stride=stride if index == 0 else 1,
                    padding=spread * (kernel // 2),
                    dilation=spread,
                    bias=False,
                )
            )
            previous = width
        self.norms = nn.ModuleList(norms)
        self.convolutions = nn.ModuleList(convolutions)
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.projection = (
            nn.Conv2d(in_channels, previous, 1, stride=stride, bias=False)
            if stride != 1 or previous != in_channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        activated = functional.relu(self.norms[0](x))
        # (N, C_in, h, w) → (N, C_out, ⌈h/stride⌉, ⌈w/stride⌉), on both ways
        shortcut = x if self.projection is None else self.projection(activated)
        branch: Tensor = self.convolutions[0](activated)
        last = len(self.convolutions) - 1
        for index in range(1, last + 1):
            branch = functional.relu(self.norms[index](branch))
            branch = self.convolutions[index](self.dropout(branch) if index == last else branch)
        return shortcut + branch


def _own_name(key: str) -> str:
    """Our name of a tensor that the released ImageNet file names its way; our own names pass through.

    >>> _own_name("mod6.block1.convs.bn3.0.weight"), _own_name("mod1.conv1.weight")
    ('stages.4.0.norms.2.weight', 'mod1.weight')
    """
    if key == "mod1.conv1.weight":
        return "mod1.weight"
    match = re.fullmatch(r"mod([2-7])\.block(\d)\.(?:convs\.)?(proj_conv|conv|bn)(\d?)(?:\.0)?\.(\w+)", key)
    if match is None:
        return key
    stage, block, kind, position, leaf = match.groups()
    prefix = f"stages.{int(stage) - 2}.{int(block) - 1}"
    if kind == "proj_conv":
        return f"{prefix}.projection.{leaf}"
    return f"{prefix}.{'norms' if kind == 'bn' else 'convolutions'}.{int(position) - 1}.{leaf}"
