"""The option ``--plugin`` that every command has."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from crispseg.plugins import load_plugin

__all__ = ["with_plugins"]

_Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="FILE-or-MODULE",
        help="Python code with parts of your own, imported first; may be given often. See docs/add-a-model.md.",
    ),
]


def with_plugins(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the option ``--plugin``, whose modules are imported before it runs."""

    @functools.wraps(command)
    def run(*, plugin: list[str] | None = None, **values: Any) -> None:
        for name in plugin or []:
            load_plugin(name)
        command(**values)

    annotations = {**get_type_hints(command, include_extras=True), "plugin": _Plugins}
    parameters = [
        parameter.replace(annotation=annotations[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in (
            *inspect.signature(command).parameters.values(),
            inspect.Parameter("plugin", inspect.Parameter.KEYWORD_ONLY, default=None),
        )
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # functions have it when it is set
    run.__annotations__ = annotations
    return run
