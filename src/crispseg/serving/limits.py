"""What a service takes, and how it says no."""

from __future__ import annotations

from dataclasses import dataclass, fields

from crispseg.errors import ConfigError

__all__ = ["Limits", "Refusal"]


@dataclass(frozen=True)
class Limits:
    """What a service takes; at most ``queue × (max_bytes + 3 × max_pixels)`` bytes wait at a time.

    Attributes:
        max_bytes: of an upload.
        max_pixels: of an image.
        queue: requests that are read, wait or are answered at a time; more are told to come later.
        batch_size: images of one size that the model sees at once.
        batch_wait_ms: how long an image waits for others that are being uploaded.
        read_seconds: for the upload of an image.

    Raises:
        ConfigError: if one is not positive; only `batch_wait_ms` may be 0.
    """

    max_bytes: int = 32_000_000
    max_pixels: int = 16_000_000
    queue: int = 16
    batch_size: int = 8
    batch_wait_ms: float = 5.0
    read_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (0 < value < float("inf") or (value == 0 and field.name == "batch_wait_ms")):
                raise ConfigError(f"{field.name} is {value}; a positive number expected")


class Refusal(Exception):
    """A request that is not answered as it asked.

    Args:
        status: of HTTP, 400 to 599.
        message: for who asked: what was found, what was expected, what to do.
        retry_seconds: when to come again; None: not with the same.
    """

    def __init__(self, status: int, message: str, retry_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_seconds = status, message, retry_seconds
