"""The errors that a user can cause and can mend.

Every message names the file or key, what was found, what was expected and what to do. The command line prints
these as one line without a traceback; anything else is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "CrispsegError",
    "DataError",
    "Interrupted",
    "TrainingError",
    "TrainingInterrupted",
    "WeightsError",
]


class CrispsegError(Exception):
    """Something that the user can mend; the message says how."""


class ConfigError(CrispsegError, ValueError):
    """A recipe, an override or an argument has an unknown key or a value that does not fit."""


class DataError(CrispsegError, ValueError):
    """A data set, an image or a label file is missing, unreadable or does not fit its table."""


class WeightsError(CrispsegError, ValueError):
    """A model folder, a checkpoint or a weight file is missing, broken or of another shape."""


class TrainingError(CrispsegError, RuntimeError):
    """Training cannot go on, for instance because the loss turned non-finite."""


class Interrupted(BaseException):
    """A signal stopped the work; the message says what stands and how to go on.

    Like `KeyboardInterrupt` it is no `Exception`: who handles failures of a library must not take a signal for one.

    Args:
        message: for the user.
        signal_number: SIGINT (Ctrl-C), SIGTERM (kill) or SIGHUP (the terminal has gone).
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number

    @property
    def exit_status(self) -> int:
        """What a command ends with by the custom of shells: 130 after Ctrl-C, 143 after kill."""
        return 128 + self.signal_number


class TrainingInterrupted(Interrupted):
    """A signal stopped a run, whose folder says how far it came."""
