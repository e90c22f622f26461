"""The cells of the membranes' benchmark: splits are splits, and merges merges."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def membranes(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import membranes

    return membranes


def test_split_and_merged_cells_are_told_apart(membranes):
    labels = np.ones((40, 40), np.uint8)
    labels[:, 20] = 0  # one membrane, two cells
    probability = np.where(labels == 0, 0.9, 0.1).astype(np.float32)
    right = membranes.cell_scores(probability, labels, 0.5)
    assert right == pytest.approx({"rand_f": 1, "split_bits": 0, "merged_bits": 0})

    broken = probability.copy()
    broken[19:21, 20] = 0.2  # a gap of two pixels joins the cells
    merged = membranes.cell_scores(broken, labels, 0.5)
    assert merged["merged_bits"] == pytest.approx(1, abs=0.01)  # two cells of the same size: one bit
    assert merged["split_bits"] == pytest.approx(0)
    assert membranes.cell_scores(broken, labels, 0.15)["merged_bits"] == pytest.approx(0)

    crossed = probability.copy()
    crossed[20, :20] = 0.9  # a membrane that is not there halves a cell
    split = membranes.cell_scores(crossed, labels, 0.5)
    assert split["split_bits"] > 0.4
    assert split["merged_bits"] == pytest.approx(0)
    assert 0.5 < split["rand_f"] < 1


def test_the_page_has_the_table_of_the_results_beside_it(membranes, monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    text = (root / "docs/results/membranes.md").read_text(encoding="utf-8")
    found = text.partition("<!-- table -->\n")[2].partition("\n<!-- /table -->")[0]
    assert found.strip() == membranes.markdown_table(membranes.table_rows()).strip()
