"""docs/python.md as it stands: each block, one after the other."""

import re
from pathlib import Path

import pytest

DOC = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_block_runs(tmp_path, monkeypatch, own_parts):
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) == 7
    names: dict[str, object] = {"__name__": "page"}
    for language, block in BLOCKS:
        assert language == "python"
        exec(compile(block, "docs/python.md", "exec"), names)  # our own file
    assert names["logits"].shape == (1, names["network"].num_classes, 48, 64)
    assert (tmp_path / "runs" / "boxes" / "model" / "card.json").exists()
