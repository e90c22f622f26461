"""The errors that a user can cause and can mend.

Every message names the file or key, what was found, what was expected and what to do. The command line prints
these as one line without a traceback; anything else is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "CrispsegError",
    "DataError",
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


class TrainingInterrupted(TrainingError):
    """A signal stopped the run, and its folder says how far it came; the message says how to resume.

    Args:
        message: for the user.
        signal_number: SIGINT (Ctrl-C) or SIGTERM (kill).
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number

    @property
    def exit_status(self) -> int:
        """What a command ends with by the custom of shells: 130 after Ctrl-C, 143 after kill."""
        return 128 + self.signal_number
