"""docs/metrics.md: its example runs, and it speaks of every public function and class."""

import re
from pathlib import Path

import numpy as np

import crispseg.metrics

DOC = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
TYPES = {"Absent", "Average", "CityscapesCounts", "CityscapesScores"}  # which are no scores


def test_the_example_runs():
    (block,) = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    names: dict = {}
    exec(compile(block, "metrics.md", "exec"), names)  # our own file
    np.testing.assert_allclose(crispseg.metrics.iou_from_counts(names["counts"]), [2 / 3, 2 / 3, np.nan])


def test_every_score_is_described():
    assert [name for name in crispseg.metrics.__all__ if name not in TYPES and f"`{name}`" not in DOC] == []


def test_nothing_is_described_that_does_not_exist():
    named = set(re.findall(r"`(\w+(?:_(?:iou|score|counts|radius|ratio|crop)|IoU|FScore|Scores|Evaluation))`", DOC))
    assert {name for name in named if not hasattr(crispseg.metrics, name)} == set()
