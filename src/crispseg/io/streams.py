"""Standard streams for what is only to be looked at."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Literal, TextIO

__all__ = ["BestEffort"]


class BestEffort(io.TextIOBase):
    """A standard stream without its errors: a terminal that closed or a reader that left must not end the work.

    The stream is looked up at each call, so that a redirected one is honoured.

    Args:
        name: of the stream.

    Example:
        >>> BestEffort("stderr").write("half done")
        9
    """

    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        self._name = name

    @property
    def _stream(self) -> TextIO:
        stream: TextIO = getattr(sys, self._name)
        # While a bar of rich runs, it stands in for the stream and sends what it gets back to its own console: to us.
        return getattr(stream, "rich_proxied_file", stream)

    @property
    def encoding(self) -> str:  # type: ignore[override] # a property of the stream's
        """The stream's."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """As much of it as can be written."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """If it can be."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return self._stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        """The stream's."""
        return self._stream.fileno()
