"""Parts from outside of the library. A plugin is a module, or one file, that registers them when it is imported.

Plugins are code, so they are imported only where somebody who may run code here asks for it: by `load_plugin`, by
``--plugin`` on the command line, or by installing a distribution with an entry point in the group
``crispseg.plugins``. No recipe and no model folder is such an asker: they name parts, and at most say which plugin has
them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from crispseg.errors import ConfigError, CrispsegError

__all__ = ["GROUP", "Plugin", "load_installed_plugins", "load_plugin", "plugin_of"]

GROUP = "crispseg.plugins"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plugin:
    """Where a part comes from.

    Attributes:
        module: its module.
        distribution: name and version of the package on PyPI or elsewhere that holds it; empty for a file.
    """

    module: str
    distribution: str = ""


def load_plugin(module_or_file: str | os.PathLike[str]) -> None:
    """Import a plugin, so that recipes, saved models and `crispseg.create_model` know its parts.

    Doing it again does no harm. The folder of a file joins the end of ``sys.path``, which processes that are spawned
    (a loader's workers on macOS and Windows) inherit.

    Args:
        module_or_file: the dotted name of a module, or the path of a Python file.

    Raises:
        ConfigError: if there is no such module or file, importing it fails, or it registers a name that is taken.

    Example:
        >>> load_plugin("my_heds.py")
        Traceback (most recent call last):
        crispseg.errors.ConfigError: plugin my_heds.py: no such file; name a Python file or a module
    """
    asked = os.fspath(module_or_file)
    is_file = asked.endswith(".py") or any(mark in asked for mark in (os.sep, os.altsep) if mark)
    name = _as_module(asked) if is_file else asked
    with _loading(Plugin(name, _distribution_of(name))), _in_words(asked):
        _import(name, asked)


def load_installed_plugins() -> None:
    """Import the plugins of all installed distributions, the first time that it is called.

    One that cannot be imported is left out, and the log says so: a broken plugin must not stop what needs none.
    """
    global _installed_are_loaded
    if _installed_are_loaded:
        return
    _installed_are_loaded = True
    for entry in importlib.metadata.entry_points(group=GROUP):
        distribution = "" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
        try:
            with _loading(Plugin(entry.module, distribution)), _in_words(f"{entry.module} of {distribution}"):
                entry.load()
        except ConfigError as error:
            _log.warning("%s; its parts are left out", error)


def plugin_of(part: Any) -> Plugin:
    """The plugin that is being imported, or else the module of a part that is registered from elsewhere."""
    if _being_loaded:
        return _being_loaded[-1]
    module = str(getattr(part, "__module__", "unknown"))
    return Plugin(module, _distribution_of(module))


_installed_are_loaded = False
_being_loaded: list[Plugin] = []


@contextmanager
def _loading(plugin: Plugin) -> Iterator[None]:
    _being_loaded.append(plugin)
    try:
        yield
    finally:
        _being_loaded.pop()


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    try:
        yield
    except CrispsegError as error:
        raise ConfigError(f"plugin {name}: {error}") from error
    except Exception as error:  # whatever the plugin's own code raises
        raise ConfigError(f"plugin {name}: cannot be imported ({type(error).__name__}: {error}); mend it") from error


def _as_module(asked: str) -> str:
    """The module's name of a file, whose folder is made importable."""
    path = Path(asked).expanduser().resolve()
    if not path.is_file():
        raise ConfigError(f"plugin {asked}: no such file; name a Python file or a module")
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier():
        raise ConfigError(f"plugin {asked}: the name of a Python file expected, such as my_head.py; rename it")
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # at the end, so that nothing there takes the place of another module
    importlib.invalidate_caches()
    loaded = sys.modules.get(name)
    found = importlib.util.find_spec(name) if loaded is None else loaded.__spec__
    origin = getattr(loaded, "__file__", None) or (found.origin if found is not None else None)
    if origin is None or Path(origin).resolve() != path:
        raise ConfigError(f"plugin {asked}: {name!r} is another module's name already ({origin}); rename the file")
    return name


def _import(name: str, asked: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"no module {error.name!r}; install it, or name a Python file ({asked}.py)") from error
        raise


def _distribution_of(module: str) -> str:
    """Name and version of the distribution that holds a module; empty where there is none."""
    names = importlib.metadata.packages_distributions().get(module.partition(".")[0], [])
    return f"{names[0]} {importlib.metadata.version(names[0])}" if names else ""
