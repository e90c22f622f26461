"""docs/papers.md speaks of every equation, table and figure of the papers, and what it names exists."""

import re
from pathlib import Path

import pytest

import crispseg.metrics
import crispseg.pictures
from crispseg.recipes import list_recipes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
PAPERS = ROOT.parent / "shared" / "papers"
SECTIONS = {"GSCNN": "gscnn.txt", "Decoupled": "decoupled_body_edge.txt", "GFF": "gff.txt"}
EQUATIONS = {"GSCNN": 9, "Decoupled": 5, "GFF": 6}


def pieces(paper):
    section = re.search(rf"^## {paper} \(.*?(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
    assert section, paper
    return re.findall(r"^\| ((?:eq\.|table|figure) \w+) \|", section[0], re.MULTILINE)


@pytest.mark.parametrize(("paper", "file"), SECTIONS.items())
def test_every_piece_of_a_paper_is_there_once(paper, file):
    source = PAPERS / file
    if not source.is_file():
        pytest.skip(f"the papers' texts are not here ({source})")
    text = source.read_text(encoding="utf-8").replace("*", "")
    found = {f"table {number}" for number in re.findall(r"^ *Table (\d+)[:.]", text, re.MULTILINE)}
    found |= {f"figure {number}" for number in re.findall(r"^ *Fig(?:ure|\.) ?(\d+)[:.]", text, re.MULTILINE)}
    found |= {f"eq. {number}" for number in range(1, EQUATIONS[paper] + 1)}
    listed = pieces(paper)
    assert len(listed) == len(set(listed))
    # A table of several parts, 2a and 2b, is listed part by part.
    assert {re.sub(r"(\d)[a-f]$", r"\1", piece) for piece in listed} >= found


def test_what_it_names_exists():
    names = re.findall(r"`([^`\n]+)`", PAGE)
    recipes = set(list_recipes())
    for name in names:
        if name.startswith("src/"):
            assert (ROOT / name).is_file(), name
        elif re.fullmatch(r"(gscnn|decoupled|gff|mapillary)/\w+", name):
            assert name in recipes, name
        elif name.startswith(("crispseg.metrics.", "crispseg.pictures.")):
            module, _, function = name.rpartition(".")
            assert hasattr(
                {"crispseg.metrics": crispseg.metrics, "crispseg.pictures": crispseg.pictures}[module], function
            )
    for link in re.findall(r"\]\(([\w/.-]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


def test_every_recipe_of_a_row_is_of_a_table_that_is_listed():
    for name in list_recipes():
        paper, _, row = name.partition("/")
        table = re.match(r"table(\d+[a-f]?)_", row)
        if paper in ("gscnn", "decoupled", "gff") and table:
            assert f"table {table[1]}" in pieces({"gscnn": "GSCNN", "decoupled": "Decoupled", "gff": "GFF"}[paper]), (
                name
            )
