"""Operations that exporters got wrong: exported at one size, run at others in both runtimes."""

import numpy as np
import pytest
import torch
from torch import nn

from crispseg.context import PyramidPooling
from crispseg.layers.fusion import StagedSum
from crispseg.ops.gradients import canny_edges
from crispseg.ops.warp import flow_warp
from crispseg.published.contexts import ReleasedPyramidPooling

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
openvino = pytest.importorskip("openvino")

OTHER_SIZES = [(7, 13), (31, 18), (20, 45)]


class Warp(nn.Module):
    def forward(self, maps):
        return flow_warp(maps, 3 * maps[:, :2])


class Canny(nn.Module):
    def forward(self, maps):
        return canny_edges(maps, 10, 100)


class Staged(nn.Module):
    def __init__(self):
        super().__init__()
        self.sum = StagedSum((4, 8, 16), 3, 2)

    def forward(self, maps):
        return self.sum([maps, maps[..., ::2, ::2], maps[..., ::4, ::4]])


PARTS = {
    "staged_sum": Staged,
    "pooling": lambda: PyramidPooling(3, 4, 8),
    "released_pooling": lambda: ReleasedPyramidPooling(3, 4, 8),
    "warp": Warp,
    "canny": Canny,
}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("released_pooling", "canny", "staged_sum")]


@pytest.mark.parametrize("name", ["pooling", "warp", *SLOW])
@pytest.mark.slow
def test_equals_eager_at_sizes_that_are_not_the_examples(name, tmp_path):
    torch.manual_seed(0)
    part = PARTS[name]().eval()
    path = tmp_path / "part.onnx"
    axes = {axis: torch.export.Dim(label, min=1) for axis, label in ((0, "batch"), (2, "height"), (3, "width"))}
    program = torch.onnx.export(part, (torch.rand(2, 3, 24, 36),), dynamic_shapes=(axes,), dynamo=True, verbose=False)
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in OTHER_SIZES:
        maps = torch.rand(3, 3, *size)
        with torch.inference_mode():
            expected = part(maps).numpy()
        by_onnxruntime = session.run(None, {session.get_inputs()[0].name: maps.numpy()})[0]
        np.testing.assert_allclose(by_onnxruntime, expected, rtol=2e-6, atol=2e-6)
        np.testing.assert_allclose(compiled(maps.numpy())[0], expected, rtol=2e-6, atol=2e-6)
