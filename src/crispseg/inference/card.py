"""What an exported file says of itself: one text of JSON in its metadata, the same in every format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crispseg.errors import ConfigError, WeightsError
from crispseg.labels import LabelSpace
from crispseg.ops.cells import Filling
from crispseg.parsing import TextError, parse_json

__all__ = ["CARD_KEY", "OUTPUTS", "ExportCard"]

CARD_KEY = "crispseg"
"""Of the text in a file's metadata."""

OUTPUTS = ("logits", "probabilities", "labels", "boundaries")
"""What a file may give: logits and probabilities (N, K, H, W), labels (N, H, W) uint8, and the boundary branch's
probabilities (N, 1, H, W)."""

_FORMAT_VERSION = 1
_AS_THEY_ARE = Filling()
_MAX_STRIDE = 256  # of a map that anybody fills up for


@dataclass(frozen=True)
class ExportCard:
    """The part of a file's metadata that running it needs, and the model's own card.

    Attributes:
        outputs: of the file, in order; among `OUTPUTS`.
        label_space: names and colours of the classes.
        smallest_side: in pixels; smaller images do not pass through the file.
        model: the card of the model folder: architecture, recipe, scores, licence, notes.
        quantised: how the file was made smaller and what that cost; empty if it was not.
        filling: how images are filled up before they pass through the file, and what comes out is cut.
    """

    outputs: tuple[str, ...]
    label_space: LabelSpace
    smallest_side: int
    model: Mapping[str, Any] = field(default_factory=dict)
    quantised: Mapping[str, Any] = field(default_factory=dict)
    filling: Filling = _AS_THEY_ARE

    def to_json(self) -> str:
        """The text that files hold."""
        values = {
            "format_version": _FORMAT_VERSION,
            "outputs": list(self.outputs),
            "label_space": self.label_space.to_dict(),
            "smallest_side": self.smallest_side,
            "model": dict(self.model),
            "quantised": dict(self.quantised),
            "filling": self.filling._asdict(),
        }
        return json.dumps(values, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | None, source: str) -> ExportCard:
        """Read the text again.

        Args:
            text: as the file has it; None: it has none.
            source: the file, for errors.

        Raises:
            WeightsError: if the text is missing, broken or of a newer format.
        """
        if text is None:
            raise WeightsError(
                f"{source}: says nothing of classes and outputs, so another tool has made it; "
                "make one with crispseg export MODEL"
            )
        try:
            values = parse_json(text)
            if values["format_version"] != _FORMAT_VERSION:
                raise WeightsError(
                    f"{source}: format_version is {values['format_version']!r:.100}, {_FORMAT_VERSION} expected; "
                    "upgrade, or export the model again"
                )
            outputs, smallest_side = tuple(values["outputs"]), values["smallest_side"]
            if not outputs or not set(outputs) <= set(OUTPUTS):
                raise ValueError(f"outputs are {', '.join(map(str, outputs)):.100}; of {', '.join(OUTPUTS)} expected")
            if type(smallest_side) is not int:
                raise ValueError(f"smallest_side is {smallest_side!r:.20}; a whole number expected")
            label_space = LabelSpace.from_dict(values["label_space"], source=source)
            filling = _filling(values.get("filling"))
            return cls(outputs, label_space, smallest_side, dict(values["model"]), dict(values["quantised"]), filling)
        except (TextError, ConfigError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(f"{source}: its metadata cannot be read ({error}); export the model again") from error


def _filling(values: Any) -> Filling:
    """Of a card; files of earlier versions have none."""
    if values is None:
        return _AS_THEY_ARE
    stride, mean = values["stride"], values["mean"]
    if type(stride) is not int or not 1 <= stride <= _MAX_STRIDE:
        raise ValueError(f"the stride of filling is {stride!r:.20}; a whole number from 1 to {_MAX_STRIDE} expected")
    if not isinstance(mean, list) or not all(isinstance(value, int | float) for value in mean):
        raise ValueError(f"the mean of filling is {mean!r:.80}; a number of each band expected")
    return Filling(stride, tuple(float(value) for value in mean))
