"""Packages whose names are imported when they are first asked for (PEP 562).

PyTorch takes seconds to load, and most of what a command says before it starts work, and all that scores label files,
needs none of it. So a package names its public names with their homes, and imports a home at the first use of a name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, homes: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's ``__getattr__`` and ``__dir__``.

    A type checker does not run this: the same names are imported in the package's ``if TYPE_CHECKING`` block, and a
    test holds the two against each other.

    Args:
        package: its ``__name__``.
        homes: module → the names that come from it; a module that is named without names is itself a public name.

    Example:
        >>> get, listed = lazily("crispseg", {"crispseg.labels": ["label_space"]})
        >>> get("label_space")("camvid").num_classes, listed()
        (11, ['label_space'])
    """
    home_of = {name: home for home, names in homes.items() for name in names or [home.rpartition(".")[2]]}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = home_of[name]
        module = importlib.import_module(home)
        value = getattr(module, name) if name in homes[home] else module
        setattr(sys.modules[package], name, value)  # the next use finds it without coming here
        return value

    def listed() -> list[str]:
        return sorted(home_of)

    return get, listed
