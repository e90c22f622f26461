"""The options of a part, by its signature: which annotations they have, and whether a value fits one."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from crispseg.errors import ConfigError
from crispseg.wording import expected_in_words

__all__ = ["annotations_of", "mentions", "validated"]


def mentions(annotation: Any, wanted: type) -> bool:
    """Whether an annotation allows a type somewhere.

    Example:
        >>> mentions(int | tuple[bool, ...], bool), mentions(float, bool)
        (True, False)
    """
    return annotation in (wanted, Any) or any(mentions(argument, wanted) for argument in get_args(annotation))


_OPTION_CONFIG = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)


def validated(value: Any, annotation: Any, key: str) -> Any:
    """An option's value as its annotation has it.

    Args:
        value: lists having become tuples.
        annotation: which says what it may be, as pydantic reads it.
        key: of the option, for messages.

    Raises:
        ConfigError: if it is another.
    """
    has_boolean = any(isinstance(entry, bool) for entry in (value if isinstance(value, tuple) else [value]))
    if has_boolean and not mentions(annotation, bool):  # pydantic would read 1 or 0
        raise ConfigError(f"{key} is {value!r}, which is no number, text or list of them")
    field: Any = (annotation, ...)
    section = create_model("Option", __config__=_OPTION_CONFIG, value=field)
    try:
        return dict(section.model_validate({"value": value}))["value"]
    except ValidationError as error:
        expected = dict.fromkeys(expected_in_words(found["msg"]) for found in error.errors(include_url=False))
        raise ConfigError(f"{key} is {value!r}, {' or '.join(expected)} expected") from error


def annotations_of(part: Any) -> dict[str, Any]:
    """The annotations of a part's parameters; none where they name what only a type checker sees."""
    try:
        function = inspect.getattr_static(part, "__init__") if isinstance(part, type) else part
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}
