"""The documentation: a way to every page, links that lead somewhere, drawings and pages that are as the code is."""

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from crispseg.cli import app
from crispseg.config import Recipe
from crispseg.labels import label_space_names

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = {"reference/commands.md", "reference/recipe-keys.md", "reference/labels.md"}
NOT_IN_THE_NAVIGATION: set[str] = set()


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags name Python functions."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, suffix, node: suffix)


def pages() -> list[Path]:
    return [path for path in sorted(DOCS.rglob("*.md")) if path.relative_to(DOCS).parts[0] != "reference"]


def fences(page: str, language: str) -> list[tuple[str, str]]:
    """Title and text of every fence of a language."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    return [(title, body) for kind, title, body in found if kind == language]


@pytest.fixture
def docsite(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docsite"))
    import figures
    import reference

    return figures, reference


def test_every_page_is_in_the_navigation_once():
    def targets(entry) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        below = entry.values() if isinstance(entry, dict) else entry
        return [target for one in below for target in targets(one)]

    nav = targets(yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)["nav"])
    assert len(nav) == len(set(nav))
    assert set(nav) == ({str(path.relative_to(DOCS)) for path in pages()} - NOT_IN_THE_NAVIGATION) | MADE


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(DOCS)))
def test_links_lead_to_files_of_the_site(path: Path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", re.sub(r"`[^`\n]*`", "", text)):
        found = (path.parent / target).resolve()
        assert found.is_relative_to(DOCS), f"{target}: the site has nothing outside of docs"
        assert found.exists() or str(found.relative_to(DOCS)) in MADE, f"{target}: no such file"


def test_drawings_are_as_they_are_drawn(docsite):
    figures, _ = docsite
    for name, draw in figures.FIGURES.items():
        stands = (figures.PICTURES / name).read_text(encoding="utf-8")
        assert stands == draw(), f"{name} is old: python docsite/figures.py"


def test_pages_made_from_the_code(docsite, tmp_path: Path):
    _, reference = docsite
    reference.write_pages(tmp_path)
    assert {f"reference/{path.name}" for path in tmp_path.iterdir()} == MADE
    commands, keys, labels = ((tmp_path / f"{name}.md").read_text() for name in ("commands", "recipe-keys", "labels"))
    for name, command in get_command(app).commands.items():
        below = getattr(command, "commands", {"": command})
        for inner, leaf in below.items():
            title = f"## `crispseg {name} {inner}".rstrip() + "`\n"
            section = commands[commands.index(title) :].split("\n## ")[0]
            for option in leaf.params:
                if option.param_type_name == "option" and not option.hidden:
                    assert all(f"`{flag}`" in section for flag in option.opts), (name, inner, option.opts)
    assert "| `--simplify` `PX` | `0.0` |" in commands
    assert "[b]" not in commands
    for section, values in Recipe().model_dump().items():
        for key in values if isinstance(values, dict) else [None]:
            assert f"\n| `{section}{f'.{key}' if key else ''}` |" in keys
    assert "| `train.epochs` | a whole number above 0 | `100` |" in keys
    assert '| `model.head_options.body` | `"flow"`, `"dcn"`, `"spn"` | `"flow"` |' in keys
    assert all(f"\n## {name}\n" in labels for name in label_space_names())
    assert "| 18 | bicycle |" in labels


def test_what_is_accepted_is_said_in_words(docsite):
    _, reference = docsite
    for schema, words in (
        ({"type": "integer", "exclusiveMinimum": 0}, "a whole number above 0"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "a number from 0 to 1"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or `null`"),
        ({"enum": ["skip", "one"]}, '`"skip"`, `"one"`'),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]}, "2 × (a whole number)"),
    ):
        assert reference.accepts(schema, {}) == words


def test_boundary_scores_says_what_the_code_says(docsite, capsys: pytest.CaptureFixture[str]):
    figures, _ = docsite
    page = (DOCS / "boundary-scores.md").read_text(encoding="utf-8")
    masks = figures.sign()
    truth = masks.pop("truth")
    for name, mask in masks.items():
        iou, f = figures.sign_scores(mask, truth)
        assert f"| {name} | {iou:.2f} | {f[1]:.2f} | {f[2]:.2f} |" in page
    ((_, block),) = fences("boundary-scores.md", "python")
    exec(compile(block, "boundary-scores.md", "exec"), {})  # our own file
    assert capsys.readouterr().out.startswith("IoU 0.50, F within 1 px ")


def test_the_tutorials_commands_and_files_are_right():
    page = "tutorials/first-model.md"
    group = get_command(app)
    shown = [
        line for _, text in fences(page, "console") for line in re.findall(r"^\$ crispseg (.+)$", text, re.MULTILINE)
    ]
    assert len(shown) >= 8
    for line in shown:
        name, *words = line.split()
        command = group.commands[name]
        command = command.commands[words[0]] if hasattr(command, "commands") else command
        known = {flag for option in command.params for flag in option.opts}
        assert [word for word in words if word.startswith("--") and word not in known] == [], line
    ((_, recipe),) = fences(page, "yaml")
    assert Recipe.model_validate(yaml.safe_load(recipe)).model.head == "gff"
    for _, text in fences(page, "python"):
        compile(text, page, "exec")
