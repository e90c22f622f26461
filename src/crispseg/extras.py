"""Packages that only some installations have: imported late, and named with the extra that brings them."""

from __future__ import annotations

import importlib
from types import ModuleType

from crispseg.errors import ConfigError

__all__ = ["needed"]


def needed(module: str, extra: str, purpose: str) -> ModuleType:
    """Import what only some installations have.

    Args:
        module: its name.
        extra: of ours that brings it.
        purpose: what it is needed for, for the error.

    Raises:
        ConfigError: if it is not there; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{purpose} needs {module} ({error}): pip install 'crispseg[{extra}]'") from error
