"""Pages made from the code: every command's options, every key of a recipe, every label table.

`python docsite/build.py` writes them to docs/reference, which git ignores: so they are never older than the code.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, create_model
from rich.text import Text
from typer.main import get_command

from crispseg.cli import app
from crispseg.config import Recipe
from crispseg.labels import LabelClass, LabelSpace, label_space, label_space_names
from crispseg.registry import CONTEXTS, HEADS, LAYOUTS, LOSSES, Registry, annotations_of

ROOT = Path(__file__).parents[1]


def write_pages(folder: Path) -> None:
    """Write all of `PAGES`; a file that would stay the same is left alone, so that a running preview stays quiet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        path, text = folder / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


# --- commands ---


def commands_page() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    return "\n".join(
        [
            "# Every command",
            "",
            "What `crispseg COMMAND --help` says, made from the code.",
            "`crispseg --debug COMMAND …` shows the traceback of an error.",
            "",
            *(line for path, command in _commands(get_command(app), ()) for line in _command(path, command)),
        ]
    )


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: Any) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    usage = ["crispseg", *path]
    for one in arguments:
        name = (one.metavar or one.name).upper() + ("…" if one.nargs == -1 else "")
        usage.append(name if one.required else f"[{name}]")
    yield from (f"## `crispseg {' '.join(path)}`", "", _plain(command.help), "", "```")
    yield from (f"{' '.join(usage)} [OPTIONS]", "```", "")
    context = command.context_class(command, info_name=path[-1])
    if arguments:
        rows = [(f"`{(one.metavar or one.name).upper()}`", *_meaning(one, context)) for one in arguments]
        yield from _table(("argument", "default", "meaning"), rows)
    rows = [(_option_name(one, context), *_meaning(one, context)) for one in options]
    yield from _table(("option", "default", "meaning"), rows)


def _option_name(option: Any, context: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag:
        return names
    values = option.metavar or option.display_type(ctx=context)
    bounds = _range({"minimum": option.min, "maximum": option.max}) if "range" in values else ""
    return f"{names} {_cell(values.strip('<>').removesuffix(' range') + bounds, as_code=True)}"


def _meaning(parameter: Any, context: Any) -> tuple[str, str]:
    shown, default = getattr(parameter, "show_default", None), parameter.default
    if isinstance(shown, str):
        said = f"({_plain(shown)})"
    elif parameter.required:
        said = "required"
    elif default is None or default is False or default in ((), []) or not shown:
        said = ""
    else:
        listed = default if isinstance(default, list | tuple) else [default]
        said = _cell(", ".join(str(getattr(one, "value", one)) for one in listed), as_code=True)
    return said, _cell(_plain(parameter.help or ""))


def _plain(text: str) -> str:
    """Help without rich's markup; lines of a paragraph joined."""
    paragraphs = re.split(r"\n\s*\n", Text.from_markup(inspect.cleandoc(text or "")).plain)
    return "\n\n".join(re.sub(r"\s*\n\s*", " ", paragraph) for paragraph in paragraphs)


# --- recipes ---


def keys_page() -> str:
    """Every key of a recipe: what it accepts and its default from the code, what it means from docs/recipes.md."""
    meanings = _meanings((ROOT / "docs/recipes.md").read_text(encoding="utf-8"))
    schema = Recipe.model_json_schema()
    lines = [
        "# Every key of a recipe",
        "",
        "What a key accepts and its default are made from the code.",
        "How recipes inherit, are overridden and resumed: [recipes](../recipes.md).",
        "",
    ]
    own = {key: entry for key, entry in schema["properties"].items() if key not in _SECTIONS}
    lines += _keys("", own, Recipe().model_dump(mode="json"), schema, meanings)
    for section in _SECTIONS:
        described = schema["$defs"][f"{section.capitalize()}Config"]
        lines += [f"## `{section}`", "", described["description"].partition("\n")[0].replace("``", "`"), ""]
        defaults = Recipe().model_dump(mode="json")[section]
        lines += _keys(f"{section}.", described["properties"], defaults, schema, meanings)
        for title, parts, mapping in _PARTS.get(section, ()):
            lines += _options(title, parts, section, mapping, meanings)
    return "\n".join(lines)


_SECTIONS = ("model", "data", "loss", "train", "evaluate")
# Of a section: what chooses the part, the parts, and the mapping that holds their options (empty: the section).
_PARTS: dict[str, tuple[tuple[str, Registry[Any], str], ...]] = {
    "model": (("head", HEADS, "head_options"), ("context", CONTEXTS, "context_options")),
    "data": (("layout", LAYOUTS, ""),),
    "loss": (("system", LOSSES, ""),),
}


def _keys(
    prefix: str,
    entries: Mapping[str, Any],
    defaults: Mapping[str, Any],
    schema: Mapping[str, Any],
    meanings: Mapping[str, str],
) -> list[str]:
    rows = [
        (f"`{prefix}{key}`", _cell(accepts(entry, schema)), _value(defaults.get(key)), meanings[f"{prefix}{key}"])
        for key, entry in entries.items()
    ]
    return list(_table(("key", "accepts", "default", "meaning"), rows))


def _options(
    title: str, parts: Registry[Any], section: str, mapping: str, meanings: Mapping[str, str]
) -> Iterator[str]:
    """A table for all parts with the same options."""
    where = ".".join(filter(None, (section, mapping)))
    tables: dict[tuple[str, ...], list[str]] = {}
    for name in parts:
        if parts.options(name) and not name.startswith("released_"):  # those are for converted checkpoints only
            rows = _option_rows(parts[name], parts.options(name), where, meanings)
            tables.setdefault(tuple(_table(("key", "accepts", "default", "meaning"), rows)), []).append(name)
    for table, names in tables.items():
        yield from (f"### With `{section}.{title}`: {', '.join(f'`{name}`' for name in names)}", "", *table)


def _option_rows(
    part: Any, options: Iterable[str], where: str, meanings: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    documented = _documented_options(part)
    parameters = inspect.signature(part).parameters
    for option in options:
        key, default = f"{where}.{option}", parameters[option].default
        said = "" if default is inspect.Parameter.empty else _value(default)
        yield f"`{key}`", _cell(_accepted(part, option)), said, meanings.get(key) or documented[option]


def _accepted(part: Any, option: str) -> str:
    annotation: Any = (annotations_of(part).get(option, Any), ...)
    model = create_model("Option", __config__=ConfigDict(arbitrary_types_allowed=True), value=annotation)
    schema = model.model_json_schema()
    return accepts(schema["properties"]["value"], schema)


def _documented_options(part: Any) -> dict[str, str]:
    """Name → text, of the sections Args of a part's docstring and of its bases'; "see" alone asks the bases."""
    found: dict[str, str] = {}
    for one in reversed(inspect.getmro(part) if isinstance(part, type) else (part,)):
        section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", inspect.cleandoc(one.__doc__ or ""), re.MULTILINE)
        for entry in re.split(r"^    (?=\w+:)", section[1] if section else "", flags=re.MULTILINE)[1:]:
            name, _, text = entry.partition(":")
            meaning = _cell(" ".join(text.replace("``", "`").split()))
            if name not in found or not meaning.startswith("see `"):  # a base says it better
                found[name] = meaning
    return found


def _meanings(recipes_page: str) -> dict[str, str]:
    rows = re.findall(r"^\| `([\w.]+)` \| `.*?` \| (.+) \|$", recipes_page, re.MULTILINE)
    return {
        key: re.sub(r"\]\((?!https?:)(#?)", lambda found: f"](../{'recipes.md#' if found[1] else ''}", text)
        for key, text in rows
    }


def accepts(entry: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A field of a JSON schema in words, such as ``a whole number above 0``."""
    if "$ref" in entry:
        return accepts(schema["$defs"][entry["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in entry:
        return " or ".join(dict.fromkeys(accepts(one, schema) for one in entry["anyOf"]))
    if "enum" in entry or "const" in entry:
        return ", ".join(_value(one) for one in entry.get("enum", [entry.get("const")]))
    kind = entry.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(entry)
    if kind == "array":
        if "prefixItems" in entry:
            items = list(dict.fromkeys(accepts(one, schema) for one in entry["prefixItems"]))
            count = len(entry["prefixItems"])
            return f"{count} × ({items[0]})" if len(items) == 1 else f"[{', '.join(items)}]"
        return f"a list of: {accepts(entry.get('items', {}), schema)}"
    words = {"string": "text", "boolean": "`true`, `false`", "null": "`null`", "object": "a mapping"}
    return words.get(str(kind), "anything")


def _range(entry: Mapping[str, Any]) -> str:
    low, high = entry.get("minimum"), entry.get("maximum")
    above, below = entry.get("exclusiveMinimum"), entry.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    bounds = ((low, "from"), (above, "above"), (high, "up to"), (below, "below"))
    return "".join(f" {word} {_number(bound)}" for bound, word in bounds if bound is not None)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and value < 1e15 else f"{value:g}"


def _value(value: Any) -> str:
    return _cell(json.dumps(value, default=str), as_code=True)


# --- label tables ---


def labels_page() -> str:
    """Every packaged label table."""
    spaces = [label_space(name) for name in label_space_names()]
    lines = [
        "# Label tables",
        "",
        "What the values in label files mean, made from the tables in `src/crispseg/labels`.",
        "A class's train id is its place in the table, from 0; raw ids are what label files have.",
        "How to write a table of your own: [data sets](../datasets.md#a-folder-of-your-own).",
        "",
        *_table(
            ("table", "classes", "ignored raw ids"),
            [(f"[`{one.name}`](#{one.name})", str(one.num_classes), _ids(one.ignore_ids)) for one in spaces],
        ),
    ]
    for space in spaces:
        lines += [f"## {space.name}", "", *_label_table(space)]
    return "\n".join(lines)


def _label_table(space: LabelSpace) -> Iterator[str]:
    more = any(one.category for one in space.classes)
    rows = [_label_row(str(index), one, more=more) for index, one in enumerate(space.classes)]
    rows += [_label_row("ignored", one, more=more) for one in space.ignored_classes]
    yield from _table(("train id", "class", "colour", "raw ids", *(["category", "instances"] if more else [])), rows)


def _label_row(train_id: str, one: LabelClass, *, more: bool) -> tuple[str, ...]:
    red, green, blue = one.colour
    swatch = f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span> {red}, {green}, {blue}'
    row = (train_id, _cell(one.name), swatch, _ids(one.ids))
    return (*row, one.category or "", "yes" if one.has_instances else "") if more else row


def _ids(ids: Iterable[int]) -> str:
    """Sorted, runs of three and more as a range."""
    runs: list[list[int]] = []
    for one in sorted(ids):
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


# --- Markdown ---


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _cell(text: str, *, as_code: bool = False) -> str:
    text = text.replace("|", "\\|").replace("\n", " ")
    return f"`{text}`" if as_code else text


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "recipe-keys.md": keys_page,
    "labels.md": labels_page,
}
"""File name → what makes it."""
