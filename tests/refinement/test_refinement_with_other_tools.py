"""docs/with-other-tools.md runs as it stands, where the other tools are installed."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "with-other-tools.md"


def test_their_model_trains_with_our_loss():
    pytest.importorskip("segmentation_models_pytorch", reason="pip install segmentation_models_pytorch, for the page")
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, str(PAGE), "exec"), names)  # our own file
    assert all(parameter.grad is not None for parameter in names["model"].parameters())
    assert names["boundary_loss"](names["logits"], names["labels"]).item() > 0
