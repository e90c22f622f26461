"""The packaged recipes as a table: what each trains, and which row of which paper it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from crispseg.config import PaperConfig, Recipe
from crispseg.recipes.files import RecipeFile, find_recipe_file, list_recipes, read_values
from crispseg.recipes.load import load_recipe

__all__ = ["CatalogueEntry", "annotated_yaml", "catalogue", "markdown_catalogue"]

_BASES = "bases/"  # recipes to build on, which are no experiments themselves


@dataclass(frozen=True)
class CatalogueEntry:
    """A packaged recipe, by name.

    Attributes:
        name: what ``crispseg fit`` takes.
        recipe: its values.
    """

    name: str
    recipe: Recipe

    @property
    def paper(self) -> PaperConfig:
        """The paper's row and what it reports; empty for a recipe that is no row. Nothing in it was measured here."""
        return self.recipe.paper or PaperConfig(table="")

    @property
    def mean_iou(self) -> str:
        """The paper's mean IoU as it prints it, in per cent; empty where there is none."""
        return "" if self.paper.mean_iou is None else str(self.paper.mean_iou)

    @property
    def boundary_f(self) -> str:
        """The paper's boundary F by radius, in per cent, such as ``"3px 68.0, 5px 73.0"``."""
        return ", ".join(f"{radius} {value}" for radius, value in self.paper.boundary_f.items())

    @property
    def columns(self) -> tuple[str, str, str, str, str]:
        """Name, data, head, context (empty for the head's own) and backbone."""
        recipe = self.recipe
        return self.name, recipe.data.layout, recipe.model.head, recipe.model.context or "", recipe.model.backbone

    def matches(self, words: Sequence[str]) -> bool:
        """Whether each word occurs in the name, the description, data, network or the paper's row, in any case.

        A word that ends in a digit ends a number there: ``"table 1"`` finds table 1 and 1a, not table 10.
        """
        texts = (*self.columns, self.recipe.description, self.paper.table, self.paper.row)
        return all(any(_pattern(word).search(text) for text in texts) for word in words)


def catalogue(words: Sequence[str] = ()) -> list[CatalogueEntry]:
    """The packaged recipes that match every word, sorted by name, with numbers in their order.

    Args:
        words: see `CatalogueEntry.matches`; none: all recipes. Those in ``bases/`` are left out.

    Example:
        >>> [(entry.name, entry.mean_iou) for entry in catalogue(["GFF, table 1", "gated", "stage2"])]
        [('gff/table1_gated_fpn_stage2', '79.4'), ('gff/table1_gff_stage2', '80.4')]
    """
    names = sorted((name for name in list_recipes() if not name.startswith(_BASES)), key=_numbers_in_order)
    entries = [CatalogueEntry(name, load_recipe(name)) for name in names]
    return [entry for entry in entries if entry.matches(words)]


def markdown_catalogue() -> str:
    """The catalogue as ``docs/recipes.md`` shows it: a table for each folder of recipes, without a last line break."""
    folders: dict[str, list[CatalogueEntry]] = {}
    for entry in catalogue():
        folders.setdefault(entry.name.partition("/")[0], []).append(entry)
    return "\n\n".join(_markdown_table(folder, entries) for folder, entries in folders.items())


def annotated_yaml(path_or_name: str, overrides: Sequence[str] = ()) -> str:
    """A recipe with every value filled in, as YAML that is a recipe itself.

    Behind each value that is no default stands, as a comment, what set it: a recipe, or the command line.

    Args:
        path_or_name: see `load_recipe`.
        overrides: see `load_recipe`.

    Raises:
        ConfigError: see `load_recipe`.

    Example:
        >>> text = annotated_yaml("gff/table2_gff_dfp", ["train.seed=1"])
        >>> [line for line in text.splitlines() if line.startswith(("  head:", "  lr:", "  seed:", "  nodes:"))]
        ['  head: gff_dfp # gff/table2_gff_dfp', '  lr: 0.001 # bases/gff', '  seed: 1 # --set', '  nodes: 1']
    """
    recipe = load_recipe(path_or_name, overrides)
    sources = [*_override_sources(overrides), *_file_sources(find_recipe_file(path_or_name))]
    lines: list[str] = []
    for key, value in recipe.model_dump(mode="json").items():
        if isinstance(value, dict):
            lines.append(f"{key}:")
            lines += [f"  {_line((key, inner), entry, sources)}" for inner, entry in value.items()]
        else:
            lines.append(_line((key,), value, sources))
    return "\n".join(lines) + "\n"


def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(re.escape(word) + (r"(?!\d)" if word[-1:].isdigit() else ""), re.IGNORECASE)


def _numbers_in_order(name: str) -> list[tuple[int, str]]:
    """``table10`` after ``table9``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _markdown_table(folder: str, entries: Sequence[CatalogueEntry]) -> str:
    head = [
        f"### {folder}",
        "",
        "| recipe | data | head | context | backbone | mIoU, % | the paper's row |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(_markdown_row(entry) for entry in entries)])


def _markdown_row(entry: CatalogueEntry) -> str:
    name, *network = entry.columns
    reported = f" (boundary F {entry.boundary_f})" if entry.boundary_f else ""
    row = f"{entry.paper.table}: {entry.paper.row}{reported}" if entry.paper.table else ""
    cells = [f"`{name}`", *network, entry.mean_iou, row]
    return "| " + " | ".join(cells) + " |"


def _line(keys: tuple[str, ...], value: Any, sources: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    text = _flow(value, as_it_is=True)
    if not text.isprintable():  # what turns the direction of text, for instance
        text = _flow(value, as_it_is=False)
    source = next((f" # {label}" for label, values in sources if _says(values, keys)), "")
    return f"{keys[-1]}: {text}{source}"


def _flow(value: Any, *, as_it_is: bool) -> str:
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=as_it_is, width=math.inf).strip()[1:-1]


def _says(values: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _override_sources(overrides: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for text in overrides:
        values: Any = {}
        for part in reversed(text.partition("=")[0].split(".")[:2]):
            values = {part.strip(): values}
        yield "--set", values


def _file_sources(file: RecipeFile) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a recipe says, then what its base does, and so on; a base's name and description are its own."""
    values = read_values(file)
    base = values.pop("base", None)
    yield file.packaged_name or file.label, values
    if base is not None:
        for label, inherited in _file_sources(find_recipe_file(base, beside=file)):
            yield label, {key: value for key, value in inherited.items() if key not in ("name", "description")}
