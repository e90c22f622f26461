"""TensorFlow's one-sided padding, made the same for images of every size, and centred on demand.

TensorFlow pads a strided convolution by one row less before than after where its input's side is even, and equally
where it is odd. timm's ``tf_…`` models do so too. Two things follow that hurt outlines:

- Where a cell looks depends on the parity of the image's sides at every stride. A network that is trained on crops of
  256 px and used on images of 360 px (45 cells at stride 8, 23 at 16) sees its deepest maps moved by 8 and 24 px, in
  that direction only. `fix_padding` keeps what is padded before; only what is padded after follows the size.
- At even sizes, a cell of stride s looks at its last pixel, (s − 1) / 2 px behind the middle of the area that it
  stands for when maps are enlarged. Symmetric padding looks as far before it. Padding before and after in turn
  (``centred``) leaves +½, −1½, +2½ and −5½ px at strides 4 to 32, where one-sided padding has +1½, +3½, +7½ and +15½.

A strided convolution that begins a pixel earlier gives what it would give for an image moved by a pixel of its input,
so pretrained weights serve as before, except at the image's rim.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional

from crispseg.errors import ConfigError

__all__ = ["FixedPadding", "fix_padding", "input_channels"]

_TRIAL_SIDE = 128  # a multiple of every stride


class FixedPadding(nn.Conv2d):
    """A convolution that gives ⌈size / stride⌉ cells and pads fixed numbers of rows and columns, whatever the size.

    Args:
        like: whose values and weights it has.
        before_hw: rows above and columns left of the image; below and right there are as many as are needed.
    """

    def __init__(self, like: nn.Conv2d, before_hw: tuple[int, int]) -> None:
        super().__init__(
            like.in_channels,
            like.out_channels,
            _pair(like.kernel_size),
            _pair(like.stride),
            dilation=_pair(like.dilation),
            groups=like.groups,
            bias=like.bias is not None,
            device="meta",
        )
        self.weight, self.bias = like.weight, like.bias
        self.before_hw = before_hw
        # So many suffice for every size: what a last cell does not need, no cell reads.
        spans = zip(_pair(like.kernel_size), _pair(like.dilation), before_hw, strict=True)
        self.after_hw = tuple((kernel - 1) * dilation - before for kernel, dilation, before in spans)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', ⌈H / stride⌉, ⌈W / stride⌉)."""
        (top, left), (bottom, right) = self.before_hw, self.after_hw
        if (top, left) == (bottom, right):  # the convolution's own padding, which costs nothing
            return functional.conv2d(
                input, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups
            )
        padded = functional.pad(input, (left, right, top, bottom))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def fix_padding(net: nn.Module, name: str, *, centred: bool) -> None:
    """Make a timm model's one-sided padding independent of the image's size; other models stay as they are.

    Args:
        net: changed in place. On images whose sides its deepest stride divides it computes what it did, if not centred.
        name: for the error.
        centred: whether strided convolutions begin early and late in turn.

    Raises:
        ConfigError: if `centred` is asked of a model without one-sided padding.
    """
    strided = _input_strides(net)
    if centred and not strided:
        raise ConfigError(
            f"backbone {name}: it has no one-sided padding to centre; leave out padding in model.backbone_options"
        )
    for parent in list(net.modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, Conv2dSame):
                early = centred and strided.get(child, 0) in (1, 4, 16)
                setattr(parent, child_name, FixedPadding(child, _before_hw(child, early)))


def _before_hw(conv: nn.Conv2d, early: bool) -> tuple[int, int]:
    """What TensorFlow pads before an input whose sides the stride divides; a row and a column more if early."""
    numbers = zip(_pair(conv.kernel_size), _pair(conv.stride), _pair(conv.dilation), strict=True)
    top, left = (
        max((kernel - 1) * dilation + 1 - stride, 0) // 2 + (1 if early and stride > 1 else 0)
        for kernel, stride, dilation in numbers
    )
    return top, left


def _input_strides(net: nn.Module) -> dict[nn.Module, int]:
    """The stride at which each strided convolution with one-sided padding reads, by a trial run."""
    strides: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        strides[module] = _TRIAL_SIDE // int(inputs[0].shape[-1])

    convolutions = [module for module in net.modules() if isinstance(module, Conv2dSame) and max(module.stride) > 1]
    if not convolutions:
        return strides
    handles = [module.register_forward_pre_hook(note) for module in convolutions]
    was_training = net.training
    parameter = next(net.parameters())
    try:
        with torch.no_grad():
            net.eval()(
                torch.zeros(
                    1, input_channels(net), _TRIAL_SIDE, _TRIAL_SIDE, device=parameter.device, dtype=parameter.dtype
                )
            )
    finally:
        net.train(was_training)
        for handle in handles:
            handle.remove()
    return strides


def input_channels(net: nn.Module) -> int:
    """How many channels a network's images have, by its first convolution."""
    first = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    first, second = values
    return first, second
