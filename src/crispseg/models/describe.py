"""Where a network's parameters and its computation sit.

A MAC is one multiplication and addition of a convolution, a matrix product or an attention product; normalisation,
activation, resampling and pooling are not counted, as is the custom of the papers' tables.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from crispseg.errors import ConfigError
from crispseg.models.segmenter import Segmenter

__all__ = ["Description", "Part", "describe"]

TRAINING_ONLY = " (training only)"


@dataclass(frozen=True)
class Part:
    """One part of a network.

    Attributes:
        name: its place in the model, for instance ``"head.context"``; parts that evaluation skips are marked
            ``"(training only)"``.
        parameters: how many it has, buffers not counted.
        gmacs: 10⁹ multiply-accumulates for one image in evaluation.
    """

    name: str
    parameters: int
    gmacs: float

    @property
    def training_only(self) -> bool:
        """Whether evaluation skips this part."""
        return self.name.endswith(TRAINING_ONLY)


@dataclass(frozen=True)
class Description:
    """The parts of a network; they add up to the whole.

    Attributes:
        parts: backbone first, then the head's parts in their order.
        size_hw: of the image that the GMACs are for.
    """

    parts: tuple[Part, ...]
    size_hw: tuple[int, int]

    @property
    def parameters(self) -> int:
        """All of the network's, those of training-only parts too."""
        return sum(part.parameters for part in self.parts)

    @property
    def inference_parameters(self) -> int:
        """Those that evaluation uses."""
        return sum(part.parameters for part in self.parts if not part.training_only)

    @property
    def gmacs(self) -> float:
        """10⁹ multiply-accumulates for one image in evaluation."""
        return sum(part.gmacs for part in self.parts)


_LONGEST_SIDE = 1_000_000  # numbers of values stay within 63 bits, whatever the width


def describe(model: Segmenter, size_hw: tuple[int, int] = (512, 512)) -> Description:
    """Count parameters and multiply-accumulates, part by part.

    The network runs on a copy whose tensors have shapes and no values, so neither time nor memory grows with the image.

    Args:
        model: what to describe; it stays as it is.
        size_hw: height and width of the image.

    Returns:
        Parts: the backbone, and each part of the head.

    Raises:
        ConfigError: if the size is not positive, or a side is longer than a million pixels.

    Example:
        >>> import crispseg
        >>> model = crispseg.create_model("fcn", backbone="resnet18", num_classes=2, output_stride=32)
        >>> part = describe(model, (224, 224)).parts[0]
        >>> part.name, part.parameters, round(part.gmacs, 2)
        ('backbone', 11176512, 1.81)
    """
    if len(size_hw) != 2 or min(size_hw) < 1:
        raise ConfigError(f"size_hw is {size_hw}; a positive height and width expected")
    if max(size_hw) > _LONGEST_SIDE:
        raise ConfigError(f"size_hw is {size_hw}; sides of at most {_LONGEST_SIDE} pixels expected (--size)")
    shapes_only = FakeTensorMode()
    hollow = _hollow_copy(model, shapes_only).eval()
    part_of = {id(module): _part_name(name) for name, module in hollow.named_modules()}
    macs = dict.fromkeys(["backbone", "head", *(f"head.{name}" for name, _ in hollow.head.named_children())], 0)
    ran: set[str] = set()
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.torchvision.deform_conv2d: _deform_conv_flops})

    # Every operation belongs to the innermost part that is running: at each entry and exit of a module, what was
    # counted since the last one goes to the part that ran until then.
    running = ["head"]
    counted = 0

    def settle() -> None:
        nonlocal counted
        total = counter.get_total_flops()
        macs[running[-1]] += (total - counted) // 2
        counted = total

    def enter(module: nn.Module, inputs: Any) -> None:
        settle()
        running.append(part_of[id(module)])
        ran.add(running[-1])

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        settle()
        running.pop()

    for module in hollow.modules():
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
    # The fused attention operators have no formula in older releases of PyTorch; the plain one is two matrix products.
    with torch.no_grad(), shapes_only, _AllEqual(), sdpa_kernel(SDPBackend.MATH), counter:
        hollow(torch.empty(1, hollow.config.image_channels, *size_hw, device=hollow.mean.device))

    parameters = dict.fromkeys(macs, 0)
    for name, parameter in hollow.named_parameters():
        parameters[_part_name(name.rpartition(".")[0])] += parameter.numel()
    parts = tuple(
        Part(name if name in ran else name + TRAINING_ONLY, parameters[name], macs[name] / 1e9)
        for name in macs
        if parameters[name] or macs[name]
    )
    return Description(parts, size_hw)


def _part_name(module_name: str) -> str:
    """``backbone.net.layer1.0`` → ``backbone``; ``head.context.branches.1`` → ``head.context``.

    What the model itself does (it normalises) belongs to the head's own row, which has no MACs of its own as a rule.
    """
    names = module_name.split(".")
    if names[0] == "backbone":
        return "backbone"
    return ".".join(["head", *names[1:2]])


def _hollow_copy(model: Segmenter, shapes_only: FakeTensorMode) -> Segmenter:
    """A copy whose tensors have shapes and no values; the values themselves are never copied.

    Whatever device the model is on, the copy claims the CPU: there every release of PyTorch keeps what a network makes
    on its way without values, too. On ``meta``, some make such tensors (``new_tensor``) outside of the mode, which then
    refuses them.
    """
    memo: dict[int, Any] = {}
    with shapes_only:
        for parameter in model.parameters():
            memo[id(parameter)] = nn.Parameter(_hollow(parameter), requires_grad=False)
        for buffer in model.buffers():
            memo[id(buffer)] = _hollow(buffer)
    return copy.deepcopy(model, memo)


def _hollow(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


class _AllEqual(TorchFunctionMode):
    """Answers ``torch.equal`` where there are no values to compare.

    Loops that run until nothing changes (Canny's edge tracking) then end after one round; they multiply nothing.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.equal:
            return True
        return func(*args, **(kwargs or {}))


def _deform_conv_flops(
    input_shape: Sequence[int], weight_shape: Sequence[int], *args: Any, out_shape: Sequence[int], **kwargs: Any
) -> int:
    """A deformable convolution multiplies as a plain one does; moving its samples is resampling, not counted."""
    return 2 * math.prod(out_shape) * math.prod(weight_shape[1:])
