"""What a `Predictor` does with a network of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from crispseg.errors import ConfigError
from crispseg.ops.resize import resize
from crispseg.types import SegmentationOutput

__all__ = ["NetworkBackend"]


class NetworkBackend:
    """A callable ``images → SegmentationOutput`` and its tensors; `crispseg.inference.exported.FileBackend` is alike.

    Args:
        model: see `Predictor`.
        device: see `Predictor`.
    """

    def __init__(self, model: Callable[[Tensor], SegmentationOutput], device: torch.device | str | None) -> None:
        self.model = model
        self._device = None if device is None else torch.device(device)
        if self._device is not None and isinstance(model, nn.Module):
            model.to(self._device)

    @property
    def device(self) -> torch.device:
        """As given, or where the model is now."""
        if self._device is not None:
            return self._device
        if isinstance(self.model, nn.Module):
            for values in (*self.model.parameters(), *self.model.buffers()):
                return values.device
        return torch.device("cpu")

    def batch(self, images: Sequence[Any]) -> Tensor:
        """Arrays or tensors (N, 3, H, W), as one batch on the device."""
        return torch.cat([torch.as_tensor(one) for one in images]).to(self.device)

    def run(self, images: Tensor) -> list[Tensor]:
        """The model itself on (N, 3, h, w), its contract checked, its logits made probabilities."""
        output = self.model(images)
        if not isinstance(output, SegmentationOutput):
            raise ConfigError(f"the model returned {type(output).__name__}; a crispseg.SegmentationOutput expected")
        batch, _, height, width = images.shape
        found = tuple(output.logits.shape)
        if len(found) != 4 or (found[0], *found[2:]) != (batch, height, width):
            raise ConfigError(
                f"the model returned logits {found}; ({batch}, K, {height}, {width}) expected, as the images"
            )
        maps = [output.logits.float().softmax(dim=1)]
        if output.boundary_logits is not None:
            if tuple(output.boundary_logits.shape) != (batch, 1, height, width):
                raise ConfigError(
                    f"the model returned boundary logits {tuple(output.boundary_logits.shape)}; "
                    f"{(batch, 1, height, width)} expected, as the images"
                )
            maps.append(output.boundary_logits.float().sigmoid())
        return maps

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
