"""Parts of one kind by name, imported when they are asked for, their options checked by their signatures."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar

from crispseg.errors import ConfigError
from crispseg.plugins import Plugin, load_installed_plugins, plugin_of
from crispseg.registry.options import annotations_of, validated
from crispseg.wording import nearest_name

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Parts of one kind by name. Names are known at once; a part is imported when it is looked up.

    A part's options are those parameters of its signature that its builder does not give itself. Their annotations
    say which values they take, as pydantic reads them.

    Args:
        kind: what the parts are, in one word for messages.
        parts: name → ``"module:name"``.
        given: the parameters that the builder gives.
        options: name → its options' names, where these must be known before the part is imported.

    Example:
        >>> numbers = Registry("number", {"half": "fractions:Fraction"}, given=["numerator", "_normalize"])
        >>> numbers["half"](1, 2), list(numbers), numbers.options("half")
        (Fraction(1, 2), ['half'], ('denominator',))
        >>> numbers.find("halb", "recipe.number")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        crispseg.errors.ConfigError: recipe.number: unknown number 'halb'; did you mean 'half'? Known: half; ...
    """

    def __init__(
        self,
        kind: str,
        parts: Mapping[str, str],
        given: Collection[str] = (),
        options: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.kind = kind
        self._parts: dict[str, T | str] = dict(parts)
        self._given = frozenset(given)
        self._options = dict(options or {})
        self._plugins: dict[str, Plugin] = {}

    def __getitem__(self, name: str) -> T:
        part = self._parts[name]
        if isinstance(part, str):
            module, _, attribute = part.partition(":")
            found: T = getattr(importlib.import_module(module), attribute)
            self._parts[name] = part = found
        return part

    def __contains__(self, name: object) -> bool:
        return name in self._parts  # not by looking the part up, which would import it

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def knows(self, name: str) -> bool:
        """Whether there is such a part, here or in an installed plugin."""
        if name not in self:
            load_installed_plugins()
        return name in self

    def find(self, name: str, key: str, also: Collection[str] = ()) -> T:
        """The part of a name, imported; see `require`."""
        self.require(name, key, also)
        return self[name]

    def require(self, name: str, key: str, also: Collection[str] = ()) -> None:
        """Refuse a name that no part has, without importing the one that has it.

        Args:
            name: what a recipe or a model says.
            key: where it says so, for the message.
            also: other names that would have been right there.

        Raises:
            ConfigError: if there is none; it names the nearest.
        """
        if not self.knows(name):
            kind = "" if key == self.kind else f"{self.kind} "
            raise ConfigError(
                f"{key}: unknown {kind}{name!r}; {nearest_name(name, [*self, *also])}; one of a plugin needs --plugin"
            )

    def register(self, name: str, part: T, taken: Collection[str] = ()) -> None:
        """Add a part; the same part under the same name does no harm.

        Args:
            name: how recipes call it.
            part: the class or function itself.
            taken: names that mean something else already, beside those of this registry.

        Raises:
            ConfigError: if the name stands for another part.
        """
        if name in taken or (name in self and self[name] is not part):
            raise ConfigError(
                f"{self.kind} {name!r}: the name is taken already; register "
                f"{getattr(part, '__name__', repr(part))} under another"
            )
        if name not in self:
            self._plugins[name] = plugin_of(part)
        self._parts[name] = part

    def plugin(self, name: str) -> Plugin | None:
        """Where a part comes from; None for the library's own."""
        return self._plugins.get(name)

    def options(self, name: str) -> tuple[str, ...]:
        """The names of the options that a part takes."""
        if name not in self._options:
            self._options[name] = tuple(self._parameters(name))
        return self._options[name]

    def all_options(self) -> list[str]:
        """The names of all options of all parts, each once."""
        return list(dict.fromkeys(option for name in self for option in self.options(name)))

    def takers(self, option: str) -> list[str]:
        """The parts that take an option."""
        return [name for name in self if option in self.options(name)]

    def checked(self, name: str, options: Mapping[str, Any], key: str) -> dict[str, Any]:
        """What to hand to a part as its options.

        Args:
            name: of the part.
            options: as a recipe has them; lists become tuples.
            key: of the section that has them, for messages.

        Returns:
            The options that were given, validated.

        Raises:
            ConfigError: if the part takes no such option, or not such a value.
        """
        parameters = self._parameters(name)
        values = {option: tuple(value) if isinstance(value, list) else value for option, value in options.items()}
        for option in values:
            if option not in parameters:
                raise ConfigError(self._unknown_option(name, option, key))
        hints = annotations_of(self[name])
        return {option: validated(value, hints.get(option, Any), f"{key}.{option}") for option, value in values.items()}

    def completed(self, name: str, options: Mapping[str, Any], key: str) -> dict[str, Any]:
        """All options of a part, from a recipe's section that options of several parts may stand in.

        A recipe inherits values, and version 0.1 wrote those of every part into every recipe. So what says nothing is
        no error: null, and for another part's option the default there. Anything else that the part does not take is.

        Args:
            name: of the part.
            options: as a recipe has them.
            key: of the section that has them, for messages.

        Returns:
            The options that were given, validated, and the defaults of all others.

        Raises:
            ConfigError: see `checked`.
        """
        parameters = self._parameters(name)
        own = {
            option: value
            for option, value in options.items()
            if value is not None and (option in parameters or not self._is_default(option, value))
        }
        for option in own:
            if option not in parameters and self.takers(option):
                raise ConfigError(f"{self._unknown_option(name, option, key)}, or set it to null if a base has it")
        defaults = {option: parameter.default for option, parameter in parameters.items() if option not in own}
        for option, default in defaults.items():
            if default is inspect.Parameter.empty:
                raise ConfigError(f"{key}.{option}: missing, and {self.kind} {name!r} needs it; set it")
        return {**defaults, **self.checked(name, own, key)}

    def without_options_of_others(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """A section without what only other parts take, as if it had named this part from the start."""
        foreign = set(self.all_options()) - set(self.options(name))
        return {key: value for key, value in values.items() if key not in foreign}

    def _parameters(self, name: str) -> dict[str, inspect.Parameter]:
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {
            parameter.name: parameter
            for parameter in inspect.signature(self[name]).parameters.values()  # type: ignore[arg-type] # T is callable
            if parameter.name not in self._given and parameter.kind not in variable
        }

    def _is_default(self, option: str, value: Any) -> bool:
        """Whether a value is what a part has for an option anyway."""
        plain = tuple(value) if isinstance(value, list) else value
        if option in _WRITTEN_BY_0_1 and _WRITTEN_BY_0_1[option] == plain:
            return True
        return any(self._parameters(name)[option].default == plain for name in self.takers(option))

    def _unknown_option(self, name: str, option: str, key: str) -> str:
        takers = self.takers(option)
        if takers:
            hint = f"{', '.join(takers)} {'does' if len(takers) == 1 else 'do'}; leave it out"
        else:
            hint = nearest_name(option, self.options(name)) if self.options(name) else "it takes none"
        return f"{key}.{option}: {self.kind} {name!r} takes no such option; {hint}"


# What version 0.1 wrote into every recipe and card, whatever its loss and layout; defaults may have changed since.
_WRITTEN_BY_0_1: dict[str, Any] = {
    "folds": 5,
    "fold": 0,
    "toy_train_images": 400,
    "toy_val_images": 40,
    "toy_size_hw": (192, 256),
    "toy_seed": 0,
    "boundary_radius_px": 1,
    "dual_boundary_weight": 1.0,
    "dual_segmentation_weight": 1.0,
    "dual_threshold": 0.8,
    "gumbel_temperature": 1.0,
    "body_weight": 1.0,
    "edge_segmentation_weight": 1.0,
    "hard_fraction": 0.10,
    "hard_boundary_threshold": 0.8,
    "relaxation_radius_px": 1,
}
