"""Ctrl-C and kill: the first asks the run to stop at the next point from which it can go on exactly."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from crispseg.errors import TrainingInterrupted

__all__ = ["StopSignals"]

_LOGGER = logging.getLogger("crispseg.train")


class StopSignals:
    """Catches SIGINT and SIGTERM while it is entered.

    In the loop (`in_loop` is true) the first signal is only noted, and the loop raises when it comes to a point to
    save. A second one, or one outside the loop, raises at once.

    Args:
        advice: how to go on, for the message.
    """

    def __init__(self, advice: str) -> None:
        self.advice = advice
        self.in_loop = False
        self.received: int | None = None
        self.abrupt = False  # raised wherever the program was
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self.catch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def catch(self) -> None:
        """Set the handlers; once more where another library has set its own since."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python hands signals to the main thread alone; whoever runs there decides
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.signal(number, self._handle)
            self._previous.setdefault(number, previous)

    def interruption(self, state: str) -> TrainingInterrupted:
        """The error to raise, with what stands in the folder."""
        number = self.received or signal.SIGINT
        return TrainingInterrupted(f"stopped by {signal.Signals(number).name}; {state}; {self.advice}", number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = number
        if self.in_loop and not again:
            _LOGGER.warning(
                "stopping after this step; another signal stops at once and loses the work since the last save"
            )
            return
        self.abrupt = True
        raise self.interruption("the checkpoint is the last one that was saved")
