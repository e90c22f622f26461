"""What a model makes of an image, with all that its head shows, in one pass; and with each gate closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from crispseg.errors import ConfigError
from crispseg.heads.base import Gate
from crispseg.inference import ExportedModel, Prediction, Predictor
from crispseg.models import Segmenter
from crispseg.pictures.colour import Picture
from crispseg.types import Features, MapInfo, SegmentationOutput

__all__ = ["AnyModel", "Ids", "Look", "Looker", "Shown", "look", "shown_by"]

AnyModel: TypeAlias = Segmenter | ExportedModel
Ids = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """What a model can show of itself.

    Attributes:
        map_info: what its head's maps are, by name.
        closable: the names of those maps that are gates which can be closed.
        boundaries: whether it has a boundary branch.
    """

    map_info: Mapping[str, MapInfo] = field(default_factory=dict)
    closable: tuple[str, ...] = ()
    boundaries: bool = False

    def of_kind(self, kind: str) -> list[str]:
        """The names of the maps of a kind."""
        return [name for name, info in self.map_info.items() if info.kind == kind]


@dataclass(frozen=True, eq=False)
class Look:
    """One image as a model sees it.

    Attributes:
        prediction: the image's.
        shown: what the model can show.
        maps: float32 (C, h, w) by name, each at its own resolution.
        without: labels (H, W) with one gate closed, by the name of the gate's map.
    """

    prediction: Prediction
    shown: Shown
    maps: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    without: Mapping[str, Ids] = field(default_factory=dict)


def shown_by(model: AnyModel) -> Shown:
    """Find out what a model can show; of a network by a look at a small black image."""
    if isinstance(model, ExportedModel):
        return Shown(boundaries="boundaries" in model.card.outputs)
    black = np.zeros((_SMALL, _SMALL, 3), dtype=np.uint8)
    return look(model, black, close_gates=False).shown


_SMALL = 32


def look(model: AnyModel, image: Picture, *, close_gates: bool = True) -> Look:
    """Segment an image in float32 and keep what the head shows.

    The backbone runs once. The head runs once, and once more for each gate that is closed.

    Args:
        model: a network, or an exported file, which shows no maps.
        image: (H, W, 3) uint8 RGB.
        close_gates: whether to close the gates, one at a time.

    Raises:
        ConfigError: if the head shows other maps than it declares.
        DataError, WeightsError: as `Predictor` does.
    """
    return Looker(model, close_gates=close_gates)(image)


class Looker:
    """A model made ready to look at one image after another; see `look`.

    Args:
        model: a network, or an exported file, which shows no maps.
        close_gates: whether to close the gates, one at a time; in float32 alone.
        precision: in which a network computes; see `Predictor`. An exported file was opened for one.
        keep_probability: whether predictions hold the probability of every class.

    Raises:
        ValueError: if gates were to be closed in another precision.
    """

    def __init__(
        self,
        model: AnyModel,
        *,
        close_gates: bool = False,
        precision: str = "float32",
        keep_probability: bool = False,
    ) -> None:
        if close_gates and precision != "float32":
            raise ValueError(f"precision is {precision!r}; gates are closed in float32")
        self._watched: _Watched | None = None
        if isinstance(model, ExportedModel):
            self._shown = shown_by(model)
            self._predictor = Predictor(model, keep_probability=keep_probability)
            return
        self._watched = _Watched(model, model.head.gate_modules if close_gates else {})
        self._predictor = Predictor(
            self._watched, model.label_space, precision=precision, keep_probability=keep_probability
        )

    def __call__(self, image: Picture) -> Look:
        """Look at an image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            ConfigError: if the head shows other maps than it declares.
            DataError, WeightsError: as `Predictor` does.
        """
        prediction = self._predictor(image)
        if self._watched is None:
            return Look(prediction, self._shown)
        head, noted = self._watched.model.head, self._watched.noted
        declared, found = dict(head.map_info), list(noted.maps)
        if list(declared) != found:
            raise ConfigError(
                f"the head {type(head).__name__} declares the maps {list(declared)} and shows {found}; "
                "the same names in the same order expected"
            )
        shown = Shown(declared, tuple(head.gate_modules), prediction.boundary_probability is not None)
        return Look(prediction, shown, noted.maps, noted.without)


@dataclass
class _Noted:
    """What was seen on the way; a copy of the network, as `Predictor` makes for 16 bits, notes it here as well."""

    maps: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    without: Mapping[str, Ids] = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> _Noted:
        return self


class _Watched(nn.Module):
    """A model that notes what it shows on the way."""

    def __init__(self, model: Segmenter, gates: Mapping[str, Gate]) -> None:
        super().__init__()
        self.model = model
        self._gates = dict(gates)
        self.noted = _Noted()

    def forward(self, images: Tensor) -> SegmentationOutput:
        size_hw = (images.shape[-2], images.shape[-1])
        images = self.model.filled(images)
        head, features = self.model.head, self.model.features(images)
        with _kept_parts(head) if self._gates else nullcontext():
            output: SegmentationOutput = head(features, images, with_maps=True).within(size_hw)
            self.noted.maps = {name: values[0].float().cpu().numpy() for name, values in output.maps.items()}
            self.noted.without = {
                name: self._without(gate, features, images)[: size_hw[0], : size_hw[1]]
                for name, gate in self._gates.items()
            }
        return output

    def _without(self, gate: Gate, features: Features, images: Tensor) -> Ids:
        closing = gate.module.register_forward_hook(
            lambda _module, _inputs, output: torch.full_like(output, gate.closed)
        )
        try:
            logits: Tensor = self.model.head(features, images).logits
        finally:
            closing.remove()
        # `max` finds them twelve times as fast as `argmax` on the CPU.
        return logits.max(dim=1).indices[0].to(torch.uint8).cpu().numpy()


@contextmanager
def _kept_parts(head: nn.Module) -> Iterator[None]:
    """Let a head's parts, such as its context, give again what they gave for the same tensor: no gate stands before."""
    parts = []
    for child in head.children():
        parts += list(child) if isinstance(child, nn.ModuleList) else [child]
    for part in parts:
        part.forward = _kept(part.forward)  # this module's alone, not its class's
    try:
        yield
    finally:
        for part in parts:
            del part.forward


def _kept(forward: Callable[..., Any]) -> Callable[..., Any]:
    read: tuple[Any, ...] = ()
    made: Tensor | None = None

    def again(*inputs: Any, **options: Any) -> Any:
        nonlocal read, made
        is_known = len(inputs) == len(read) and all(one is other for one, other in zip(inputs, read, strict=True))
        if made is not None and is_known and not options:
            return made.clone()  # a head may write into it
        output = forward(*inputs, **options)
        if isinstance(output, Tensor) and not options and made is None:
            read, made = inputs, output.clone()
        return output

    return again
