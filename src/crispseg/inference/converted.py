"""A network's private copy to predict with: batch norm folded into convolutions, weights converted once."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from crispseg.inference.images import reading_of
from crispseg.types import SegmentationOutput

__all__ = ["ConvertedNetwork", "converted"]

Network: TypeAlias = Callable[[Tensor], object]
_State: TypeAlias = list[tuple[object, int, int]]

_EXAMPLE_SIDE = 64
_TOLERANCE = 1e-3  # of the largest logit; folding alone gives about 1e-6
_ASKS = {"__get__", "dim", "size", "stride", "is_floating_point"}  # about a tensor, without reading it


class ConvertedNetwork:
    """A network and its private copy, made at the first use and made again when the network has changed.

    Seen are other modules, other tensors, and tensors that were written to, as optimisers and `load_state_dict` do;
    not what is written through ``.data``, and not other attributes of modules.

    Args:
        model: never changed.
        finish: applied to each copy, for instance `torch.compile`.
    """

    def __init__(self, model: nn.Module, finish: Callable[[Any], Network]) -> None:
        self.model = model
        self._finish = finish
        self._made: tuple[torch.dtype, _State, Network | None] | None = None

    def __getstate__(self) -> dict[str, object]:
        """Without the copy, which is made again where it is wanted."""
        return self.__dict__ | {"_made": None}

    def in_dtype(self, dtype: torch.dtype) -> Network | None:
        """The copy for autocast of that type, or for float32; None if there can be none.

        The network is in evaluation mode.
        """
        state = _state(self.model)
        if state is None:
            return None
        if self._made is None or self._made[0] != dtype or not _are_alike(self._made[1], state):
            copied = converted(self.model, dtype)
            self._made = (dtype, state, None if copied is None else self._finish(copied))
        return self._made[2]


def _state(model: nn.Module) -> _State | None:
    """Modules and tensors, where those lie and how often they were written to.

    None if that cannot be told, as of tensors made for inference, or if hooks would see other values in a copy.
    """
    found: _State = []
    for module in model.modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return None
        found.append((module, 0, 0))
        for values in (*module._parameters.values(), *module._buffers.values()):
            if values is None:
                continue
            if values.is_inference():
                return None
            found.append((values, values.data_ptr(), values._version))
    return found


def _are_alike(before: _State, state: _State) -> bool:
    """Held by reference, so that nothing new can have the identity of something that is gone."""
    return len(before) == len(state) and all(
        one[0] is other[0] and one[1:] == other[1:] for one, other in zip(before, state, strict=True)
    )


def converted(model: nn.Module, dtype: torch.dtype) -> nn.Module | None:
    """Copy a network for autocast: its convolutions and linear layers in 16 bits, its batch norm folded.

    Under autocast these layers compute in 16 bits anyway, and turn their weights into them at every pass. Everything
    else of the copy, in float32, is the network's own and not copied. Which layers read which is seen by a pass over a
    small image; the folded copy is compared with the network on it, in float32, before it is converted.

    In float32 there is nothing to convert, and what folding and channels last in memory save remains.

    Args:
        model: in evaluation mode; it stays as it is.
        dtype: of 16 bits, or `torch.float32`.

    Returns:
        The copy; None for a network that is compiled, is not in float32, cannot be copied, takes no image of 64×64, or
        differs when it is folded.

    Example:
        >>> class Small(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layers = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
        ...     def forward(self, images):
        ...         return SegmentationOutput(logits=self.layers(images))
        >>> converted(Small().eval(), torch.bfloat16).layers
        Sequential(
          (0): Conv2d(3, 2, kernel_size=(1, 1), stride=(1, 1))
          (1): Identity()
        )
    """
    if hasattr(model, "_orig_mod"):  # what torch.compile gives
        return None
    if any(values.is_floating_point() and values.dtype != torch.float32 for values in model.parameters()):
        return None
    device = next(model.parameters(), torch.empty(0)).device
    channels = reading_of(model).channels
    size = (1, channels, _EXAMPLE_SIDE, _EXAMPLE_SIDE)
    example = torch.rand(size, generator=torch.Generator().manual_seed(0)).to(device)
    shared: dict[int, Any] = {id(values): values for values in (*model.parameters(), *model.buffers())}
    with torch.inference_mode(False), torch.no_grad():
        try:
            private = copy.deepcopy(model, shared)
            reads = _Reads(private, device.type)
            # Autocast marks the layers that may compute in another precision: those that a copy may have of its own.
            with reads, torch.autocast(device.type, dtype=torch.bfloat16 if dtype == torch.float32 else dtype):
                private(example)
            expected = private(example)
        except Exception:  # of modules that we do not know: whatever they cannot do, the network itself may
            return None
        layers = reads.layers()
        if not layers or not isinstance(expected, SegmentationOutput):
            return None
        _without(private, [_folded(pair) for pair in reads.foldable()])
        bound = _TOLERANCE * max(float(expected.logits.abs().max()), 1.0)
        if not bool((private(example).logits - expected.logits).abs().max() <= bound):  # NaN is not
            return None
        for layer in layers:
            layer.weight = _parameter(layer.weight, dtype)
            if layer.bias is not None:
                layer.bias = _parameter(layer.bias, dtype)
    return private


class _Pair(NamedTuple):
    """A convolution and the batch norm that alone reads it."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d


class _Reads(TorchFunctionMode):
    """Notes, in a pass under autocast, what reads each tensor, whether it is a layer's weight or what a layer gives."""

    def __init__(self, network: nn.Module, device_type: str) -> None:
        super().__init__()
        self._device_type = device_type
        modules = list(network.modules())
        self._layers = {id(one.weight): one for one in modules if isinstance(one, (nn.Conv2d, nn.Linear))}
        self._norms = {id(one.running_mean): one for one in modules if isinstance(one, nn.BatchNorm2d)}
        self._reads: Counter[int] = Counter()  # by id of a tensor: functions that read it,
        self._runs: Counter[int] = Counter()  # and of a weight or norm: layers that run with it
        self._made_by: dict[int, nn.Module] = {}
        self._pairs: list[tuple[_Pair, int]] = []
        self._kept: list[object] = []  # so that no two tensors have one id

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in _ASKS:
            return result
        self._kept += (args, kwargs, result)
        self._reads.update(id(one) for one in _tensors((args, kwargs)))
        if func in (torch.conv2d, functional.linear) and torch.is_autocast_enabled(self._device_type):
            if (layer := self._layers.get(id(args[1]))) is not None:
                self._runs[id(layer.weight)] += 1
                self._made_by[id(result)] = layer
        elif func is functional.batch_norm and (norm := self._norms.get(id(args[1]))) is not None:
            self._runs[id(norm)] += 1
            made_by = self._made_by.get(id(args[0]))
            if isinstance(made_by, nn.Conv2d):
                self._pairs.append((_Pair(made_by, norm), id(args[0])))
        return result

    def layers(self) -> list[nn.Conv2d | nn.Linear]:
        """Those whose weights nothing else reads."""
        return [
            layer
            for weight, layer in self._layers.items()
            if self._runs[weight] == self._reads[weight] > 0 and layer.weight.dtype == torch.float32
        ]

    def foldable(self) -> list[_Pair]:
        """Each run once, with nothing else that reads the convolution's output or weight."""
        return [
            pair
            for pair, output in self._pairs
            if self._reads[output] == self._reads[id(pair.convolution.weight)] == self._runs[id(pair.norm)] == 1
        ]


def _tensors(values: object) -> Iterator[Tensor]:
    """All of nested arguments."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for one in values:
            yield from _tensors(one)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def _folded(pair: _Pair) -> nn.BatchNorm2d:
    """Let the convolution do what the norm does, (w · x + b − mean) · scale + shift; the norm is of no more use."""
    convolution, norm = pair
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    bias = -norm.running_mean if convolution.bias is None else convolution.bias - norm.running_mean
    shift = norm.bias if norm.affine else 0
    convolution.weight = _parameter(convolution.weight * scale[:, None, None, None], torch.float32)
    convolution.bias = _parameter(bias * scale + shift, torch.float32)
    return norm


def _without(network: nn.Module, norms: Iterable[nn.BatchNorm2d]) -> None:
    """Take norms out; what timm's kind does after normalising, in ``drop`` and ``act``, stays."""
    gone = {id(norm) for norm in norms}
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if id(child) in gone:
                after = [getattr(child, part) for part in ("drop", "act") if hasattr(child, part)]
                setattr(module, name, nn.Sequential(*after) if after else nn.Identity())


def _parameter(values: Tensor, dtype: torch.dtype) -> nn.Parameter:
    """Constant, with channels last in memory where there are some."""
    layout = torch.channels_last if values.ndim == 4 else torch.contiguous_format
    return nn.Parameter(values.to(dtype, memory_format=layout), requires_grad=False)
