"""Ctrl-C and kill, heard from a command's first moment to its last.

A signal becomes an `Interrupted`, which no ``except Exception`` takes, so that nothing mistakes it for a failure of its
own. It is raised wherever the program is, and Python lets some places swallow even that (a callback at a fork, a
finaliser): `StopSignals` remembers it, and whoever has steps to take asks between them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from crispseg.errors import Interrupted

__all__ = ["StopSignals", "leave_on_signals"]

_SHOW_CURSOR = b"\x1b[?25h"


def leave_on_signals() -> None:
    """End the process at once on a signal, with a line and the status that shells expect.

    For the time in which a command has begun nothing: there is no better moment, and modules that are being loaded
    handle exceptions in whatever way they like.
    """
    for number in _numbers():
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    text = f"error: stopped by {signal.Signals(number).name}; give the same command again\n".encode()
    try:
        os.write(2, _SHOW_CURSOR + b"\r" + text if os.isatty(2) else text)
    finally:
        os._exit(128 + number)


class StopSignals:
    """Turns SIGINT, SIGTERM and SIGHUP into an error while it is entered.

    Within `postponed` the first signal is only noted, for a loop that asks `received` at the points from which it can
    go on. Any other is raised at once.

    Args:
        standing: says at that moment what stands and how to go on, for the message.
        kind: of the error.
        on_note: called when a signal is only noted.
        on_again: called within `postponed` at each signal after the first, in the place of raising it. None: it is
            raised.

    Example:
        >>> with StopSignals(lambda: "1 of 2 images are done") as signals:
        ...     signals.check()  # nothing was received
    """

    def __init__(
        self,
        standing: Callable[[], str],
        kind: type[Interrupted] = Interrupted,
        on_note: Callable[[], object] = lambda: None,
        on_again: Callable[[], object] | None = None,
    ) -> None:
        self._standing, self._kind, self._on_note, self._on_again = standing, kind, on_note, on_again
        self.postpones = False
        self.received: int | None = None
        self._process = os.getpid()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            # Python hands signals to the main thread alone; from another, whoever runs there decides.
            for number in _numbers():
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Let the first signal be noted only, and raise it at the end if nobody has done so.

        Raises:
            Interrupted: of the kind that was asked for.
        """
        self.check()
        self.postpones = True
        try:
            yield
        finally:
            self.postpones = False
        self.check()

    def check(self) -> None:
        """Raise what was received and got lost.

        Raises:
            Interrupted: of the kind that was asked for.
        """
        if self.received is not None:
            raise self.interruption(self._standing())

    def interruption(self, standing: str) -> Interrupted:
        """The error to raise, for a loop that has noted a signal, or was told of one by another process."""
        number = self.received or signal.SIGTERM
        return self._kind(f"stopped by {signal.Signals(number).name}; {standing}", number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a child that was forked a moment ago: its parent decides, and tells it
        is_first, self.received = self.received is None, number
        if self.postpones and is_first:
            self._on_note()
        elif self.postpones and self._on_again is not None:
            self._on_again()
        else:
            raise self.interruption(self._standing())


def _numbers() -> list[int]:
    """SIGHUP, where there is one, stays ignored under nohup."""
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers
