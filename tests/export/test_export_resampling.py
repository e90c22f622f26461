"""Resampling by matrix products is PyTorch's; and which models it makes exportable."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from crispseg.export import export_model
from crispseg.export.resampling import resample_bicubic
from crispseg.models import create_model
from crispseg.published import heads

sides = st.integers(1, 23)


@settings(max_examples=30, deadline=None)
@given(height=sides, width=sides, new_height=sides, new_width=sides)
def test_it_is_what_interpolate_gives(height, width, new_height, new_width):
    maps = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(maps, (new_height, new_width), mode="bicubic", antialias=True)
    torch.testing.assert_close(resample_bicubic(maps, (new_height, new_width)), expected, atol=2e-6, rtol=1e-5)


def test_graphs_spread_numbers_as_linspace_does(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for count in (1, 2, 3, 8, 97, 256):
        found = heads._spread(count, torch.device("cpu"), torch.float32)
        torch.testing.assert_close(found, torch.linspace(-1, 1, count), rtol=0, atol=1.2e-7)


@pytest.mark.parametrize("size", [(3, 9), (9, 3), (1, 1), (7, 8)])
def test_small_maps_are_continued_by_their_last_row_and_column(size):
    maps = torch.rand(2, 3, *size)
    missing = [max(7 - side, 0) for side in size]
    expected = functional.pad(maps, (0, missing[1], 0, missing[0]), mode="replicate")
    assert torch.equal(heads._at_least(maps, 7), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "backbone", "stride"), [("plain", "test_vit", 16), ("released_decoupled", "test_resnet", 32)]
)
def test_vision_transformers_and_the_released_decoupled_export_for_both_runtimes(head, backbone, stride, tmp_path):
    """Both were refused once: by OpenVINO's smoothed resampling, and by what happens to maps below 7 cells."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    model = create_model(head, backbone=backbone, num_classes=3, channels=8, output_stride=stride).eval()
    assert max(export_model(model, tmp_path / "model.xml").differences.values()) < 1e-4
