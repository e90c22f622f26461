"""Where images are kept while people look at them: in memory, within bounds, each under a name that nobody guesses."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from crispseg.errors import ConfigError
from crispseg.pictures.colour import Picture
from crispseg.serving.limits import Limits, Refusal
from crispseg.studio.seen import Ids, Seen

__all__ = ["Bounds", "Kept", "Room"]


@dataclass(frozen=True)
class Bounds:
    """What the page takes and keeps.

    Attributes:
        max_bytes: of an upload.
        max_pixels: of an image or a label file; more is refused before it is decoded.
        shrink_above: pixels above which an image is made smaller before the models see it.
        keep_bytes: of what is kept of images; the oldest go first. The newest stays, whatever it takes.
        queue: requests that are read, wait or are answered at a time; more are told to come later.
        read_seconds: for an upload.

    Raises:
        ConfigError: if one is not positive.
    """

    max_bytes: int = 32_000_000
    max_pixels: int = 40_000_000
    shrink_above: int = 2_100_000
    keep_bytes: int = 1_000_000_000
    queue: int = 16
    read_seconds: float = 30.0

    def __post_init__(self) -> None:
        for one in fields(self):
            if not 0 < getattr(self, one.name) < float("inf"):
                raise ConfigError(f"{one.name} is {getattr(self, one.name)}; a positive number expected")

    @property
    def limits(self) -> Limits:
        """Of the rooms that are shared with `crispseg.serving`; images go through the models one by one."""
        return Limits(self.max_bytes, self.max_pixels, self.queue, 1, 0.0, self.read_seconds)


@dataclass(eq=False)
class Kept:
    """An image that somebody looks at.

    Attributes:
        image: (H, W, 3) uint8 RGB, as the models saw it.
        original_hw: the height and width that it came with.
        seen: by each model, in order.
        truth: (H, W) true train ids or 255; None: unknown.
        scores: of each model, as plain values; None without truth.
    """

    image: Picture
    original_hw: tuple[int, int]
    seen: Sequence[Seen]
    truth: Ids | None = None
    scores: Sequence[dict[str, Any]] | None = None

    @property
    def nbytes(self) -> int:
        """In memory, with a truth that may come."""
        return self.image.nbytes * 4 // 3 + sum(one.nbytes for one in self.seen)


class Room:
    """Images by names that nobody guesses; the oldest go when there is too much.

    Args:
        keep_bytes: see `Bounds`.
    """

    def __init__(self, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, kept: Kept) -> str:
        """Keep an image; returns its name."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[name] = kept
            total = sum(one.nbytes for one in self._kept.values())
            while total > self._keep_bytes and len(self._kept) > 1:
                total -= self._kept.popitem(last=False)[1].nbytes
        return name

    def get(self, name: str) -> Kept:
        """The image of a name, which is the newest from now on.

        Raises:
            Refusal: 410 if it is not here.
        """
        with self._lock:
            if name not in self._kept:
                raise Refusal(410, "the image is not kept any more, as newer ones needed the memory; send it again")
            self._kept.move_to_end(name)
            return self._kept[name]
