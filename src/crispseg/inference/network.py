"""What a `Predictor` does with a network of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from crispseg.errors import ConfigError
from crispseg.inference.converted import ConvertedNetwork
from crispseg.inference.looks import BATCH_PIXELS, CPU_BATCH_PIXELS
from crispseg.inference.precision import checked_precision
from crispseg.ops.cells import Filling
from crispseg.ops.hardware import computes_bfloat16
from crispseg.ops.resize import resize
from crispseg.types import SegmentationOutput

__all__ = ["NetworkBackend"]


_SMALL = 64 * 64  # pixels of an image or window, below which 16 bits gain nothing (docs/results/inference.md)


class NetworkBackend:
    """A callable ``images → SegmentationOutput`` and its tensors; `crispseg.inference.exported.FileBackend` is alike.

    Args:
        model: see `Predictor`.
        device: see `Predictor`.
        precision: see `Predictor`.
        compile: see `Predictor`.

    Raises:
        ConfigError: if there is no such precision.
    """

    def __init__(
        self,
        model: Callable[[Tensor], SegmentationOutput],
        device: torch.device | str | None,
        precision: str = "auto",
        compile: bool = False,
    ) -> None:
        self.model = model
        self._device = None if device is None else torch.device(device)
        if self._device is not None and isinstance(model, nn.Module):
            model.to(self._device)
        self._wanted = checked_precision(precision)
        finish: Callable[[Any], Callable[[Tensor], object]] = torch.compile if compile else _as_it_is
        self._run = finish(model)
        self._filling: Filling = getattr(model, "filling", Filling())
        self._converted = ConvertedNetwork(model, finish) if isinstance(model, nn.Module) else None

    @property
    def device(self) -> torch.device:
        """As given, or where the model is now."""
        if self._device is not None:
            return self._device
        if isinstance(self.model, nn.Module):
            for values in chain(self.model.parameters(), self.model.buffers()):
                return values.device
        return torch.device("cpu")

    @property
    def batch_pixels(self) -> int:
        """How many pixels pay at once, at most."""
        return CPU_BATCH_PIXELS if self.device.type == "cpu" else BATCH_PIXELS

    @property
    def precision(self) -> str:
        """As given, or what suits model and device: a rule, not a trial, so that results repeat.

        Unasked, images (and windows) of fewer than 64×64 pixels are computed in float32 anyway.
        """
        if self._wanted != "auto":
            return self._wanted
        if not computes_bfloat16(self.device.type):  # asked first: to walk a network's modules costs milliseconds
            return "float32"
        floats = [values.dtype for values in _parameters(self.model) if values.is_floating_point()]
        return "bfloat16" if floats and all(dtype == torch.float32 for dtype in floats) else "float32"

    def batch(self, images: Sequence[Any]) -> Tensor:
        """Arrays or tensors (N, 3, H, W), as one batch on the device."""
        return torch.cat([torch.as_tensor(one) for one in images]).to(self.device)

    def run(self, images: Tensor) -> list[Tensor]:
        """The model itself on (N, 3, h, w), its contract checked: logits, and the boundary branch's if it has one."""
        size_hw = (images.shape[-2], images.shape[-1])
        images = self._filling.fill(images)
        output = self._output(images, is_small=size_hw[0] * size_hw[1] < _SMALL)
        if not isinstance(output, SegmentationOutput):
            raise ConfigError(f"the model returned {type(output).__name__}; a crispseg.SegmentationOutput expected")
        batch, _, height, width = images.shape
        found = tuple(output.logits.shape)
        if len(found) != 4 or (found[0], *found[2:]) != (batch, height, width):
            raise ConfigError(
                f"the model returned logits {found}; ({batch}, K, {height}, {width}) expected, as the images"
            )
        maps = [output.logits]
        if output.boundary_logits is not None:
            if tuple(output.boundary_logits.shape) != (batch, 1, height, width):
                raise ConfigError(
                    f"the model returned boundary logits {tuple(output.boundary_logits.shape)}; "
                    f"{(batch, 1, height, width)} expected, as the images"
                )
            maps.append(output.boundary_logits)
        return [values[..., : size_hw[0], : size_hw[1]] for values in maps]

    def probabilities(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Class (N, K, h, w) and boundary (N, 1, h, w) probabilities of what `run` gave, or of rows of it, float32."""
        # Channels first in memory: softmax and what reads single classes are faster there than the copy costs.
        return [maps[0].float().contiguous().softmax(dim=1), *(values.float().sigmoid() for values in maps[1:])]

    def _output(self, images: Tensor, is_small: bool) -> object:
        precision = self.precision
        unasked = self._wanted == "auto"
        if unasked and is_small:
            return self._run(images)
        if precision == "float32" and not (unasked and images.device.type == "cpu"):
            return self._run(images)  # by name: the network itself, to the last bit
        dtype = getattr(torch, precision)
        copy = None if self._converted is None else self._converted.in_dtype(dtype)
        if precision == "float32":
            return self._run(images) if copy is None else copy(images.to(memory_format=torch.channels_last))
        run = self._run if copy is None else copy  # by identity: a compiled module has no truth value
        with torch.autocast(images.device.type, dtype=dtype):
            return run(images.to(memory_format=torch.channels_last))

    def resize(self, maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Bilinear."""
        return resize(maps, size_hw)

    def mirror(self, maps: Tensor) -> Tensor:
        """Left and right exchanged."""
        return maps.flip(-1)

    def join(self, maps: Sequence[Tensor]) -> Tensor:
        """Channels of several maps as those of one."""
        return torch.cat(list(maps), dim=1)

    def decide(self, probabilities: Tensor) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Labels and confidences, (N, H, W) each."""
        confidences, labels = probabilities.max(dim=1)
        return labels.to(torch.uint8).cpu().numpy(), confidences.cpu().numpy()

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Evaluation mode without gradients; afterwards every module is in the mode that it was in."""
        modules = list(self.model.modules()) if isinstance(self.model, nn.Module) else []
        training = [module for module in modules if module.training]
        for module in training:
            module.training = False  # what eval() does; exported programs refuse eval() itself
        try:
            with torch.inference_mode():
                yield
        finally:
            for module in training:
                module.training = True


def _parameters(model: object) -> Iterator[Tensor]:
    return iter(model.parameters() if isinstance(model, nn.Module) else ())


def _as_it_is(network: Callable[[Tensor], object]) -> Callable[[Tensor], object]:
    return network
