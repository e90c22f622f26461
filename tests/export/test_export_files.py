"""Exported files: what they hold, what is refused, and that they give what the model gives."""

import errno
import itertools
import json
import os
import re
import subprocess
import sys

import httpx2 as httpx
import numpy as np
import pytest
import torch
from timm.layers import AvgPool2dSame
from torch import nn
from typer.testing import CliRunner

from crispseg import export as room
from crispseg.cli import app
from crispseg.config import ModelConfig
from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.export import export_model
from crispseg.export import files as export_files
from crispseg.export.graph import WithOutputs, traced
from crispseg.inference import ExportedModel, Predictor
from crispseg.io import write_png
from crispseg.labels import label_space
from crispseg.models import CONTEXTS, HEADS, create_model, save_model
from crispseg.types import SegmentationOutput

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("openvino")


def small_model(head="decoupled", context=None, backbone="test_resnet", **options):
    torch.manual_seed(0)
    model = create_model(
        head, context=context, backbone=backbone, num_classes=3, channels=8, output_stride=32, **options
    )
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return small_model(label_space=label_space("toy_streets"))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    save_model(model, path, metrics={"mean_iou": 0.25})
    return path


@pytest.fixture(scope="module")
def file(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "deep" / "model.onnx"
    arguments = ["export", str(folder), "--to", "onnx", "--out", str(path)]
    done = CliRunner().invoke(app, [*arguments, "--outputs", "logits,probabilities,labels,boundaries"])
    assert done.exit_code == 0, done.output
    assert "at three other sizes" in done.output
    return path


@pytest.mark.slow
def test_a_file_gives_what_the_model_gives_and_runs_without_pytorch(model, file, tmp_path):
    """One test, because workers that share its parts would each export the model again."""
    exported = ExportedModel(file)
    for batch, *side_hw in [(1, 64, 64), (2, 77, 130), (1, 333, 250)]:
        images = torch.rand(batch, 3, *side_hw)
        with torch.inference_mode():
            expected = model(images)
        found = exported(images.numpy())
        np.testing.assert_allclose(found["logits"], expected.logits, atol=1e-5)
        np.testing.assert_allclose(found["probabilities"], expected.logits.softmax(1), atol=1e-5)
        np.testing.assert_allclose(found["boundaries"], expected.boundary_logits.sigmoid(), atol=1e-5)
        assert found["labels"].dtype == np.uint8
        np.testing.assert_array_equal(found["labels"], found["logits"].argmax(1))
    with pytest.raises(DataError, match="takes sides of 64 or more"):
        exported(np.zeros((1, 3, 63, 200), np.float32))

    assert b"stack_trace" not in file.read_bytes()  # the exporter keeps where in our files each operation comes from
    session = onnxruntime.InferenceSession(file)
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    text = json.loads(session.get_modelmeta().custom_metadata_map["crispseg"])
    assert text["model"]["metrics"] == {"mean_iou": 0.25}
    assert exported.card.label_space == model.label_space
    assert exported.card.outputs == ("logits", "probabilities", "labels", "boundaries")
    assert [one.name for one in file.parent.iterdir()] == ["model.onnx"]
    predicts_alike(model, exported)
    runs_without_pytorch(file, tmp_path)


def predicts_alike(model, exported):
    image = np.random.default_rng(1).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    options = {"scales": (0.75, 1.0), "flip": True, "window_hw": (80, 100), "keep_probability": True}
    ours, theirs = (Predictor(one, precision="float32", **options)(image) for one in (model, exported))
    np.testing.assert_allclose(theirs.probability, ours.probability, atol=1e-4)
    np.testing.assert_allclose(theirs.boundary_probability, ours.boundary_probability, atol=1e-4)
    np.testing.assert_allclose(theirs.confidence, ours.confidence, atol=1e-4)
    assert (theirs.labels != ours.labels).mean() < 1e-3
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    assert np.array_equal(Predictor(exported, **options)(tensor).labels, theirs.labels)
    with pytest.raises(ConfigError, match="exported files run on the CPU"):
        Predictor(exported, device="cuda")
    with pytest.raises(ConfigError, match="was opened for float32"):
        Predictor(exported, precision="bfloat16")
    with pytest.raises(ConfigError, match="is compiled already"):
        Predictor(exported, compile=True)


def runs_without_pytorch(file, folder):
    """PyTorch and what needs it cannot be imported in these processes."""
    write_png(folder / "images" / "a.png", np.random.default_rng(2).integers(0, 256, (70, 90, 3), dtype=np.uint8))
    data = ["--set", "data.toy_val_images=3", "--set", "data.toy_size_hw=[64,96]"]
    commands = [
        ["segment", str(file), str(folder / "images"), "--out", str(folder / "masks")],
        ["evaluate", str(file), "--data", "toy/gff", *data, "--out", str(folder / "scores")],
    ]
    for command in commands:
        done = subprocess.run([sys.executable, "-c", _WITHOUT_PYTORCH, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert len(list((folder / "masks").glob("*.png"))) == 4
    assert json.loads((folder / "scores" / "scores.json").read_text())["images"] == 3
    serves_without_pytorch(file, folder / "images" / "a.png")


def serves_without_pytorch(file, image):
    command = [sys.executable, "-c", _WITHOUT_PYTORCH, "serve", str(file), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        address = re.search(r"http://[^ ]+", process.stdout.readline())[0]
        for output in ("mask", "overlay", "boundaries", "polygons"):
            answer = httpx.post(f"{address}/{output}", content=image.read_bytes(), timeout=60)
            assert answer.status_code == 200, answer.text
        process.terminate()
    assert process.returncode == 143


_WITHOUT_PYTORCH = """
import sys
for name in ("torch", "torchvision", "torchmetrics", "timm", "lightning"):
    sys.modules[name] = None
from crispseg.__main__ import main
main()
"""


def test_a_file_that_differs_is_an_error_and_does_not_stay(model, tmp_path, monkeypatch):
    class Differing:
        def __init__(self, path):
            assert path.read_bytes() == b"a file"

        def __call__(self, images):
            with torch.inference_mode():
                output = model(torch.from_numpy(images))
            wrong = np.float32(0.01 * (images.shape[-2] == 203))  # right at the first two sizes
            return {"logits": output.logits.numpy() + wrong, "boundaries": output.boundary_logits.sigmoid().numpy()}

    monkeypatch.setitem(export_files._WRITERS, "torch", lambda module, card, path: path.write_bytes(b"a file"))
    monkeypatch.setattr(export_files, "ExportedModel", Differing)
    with pytest.raises(WeightsError, match=r"logits differ from the model's by 0\.01 at 1×3×203×160"):
        export_model(model, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


class Pooling(nn.Module):
    """A shortcut of a dilated ResNet-D: timm's "same" padding, whose ⌈size / stride⌉ torch can trace, but not save."""

    def __init__(self):
        super().__init__()
        self.config = ModelConfig(head="plain", backbone="test_resnet")  # of images with three bands
        self.shortcut = nn.Sequential(AvgPool2dSame(3, 2), AvgPool2dSame(2, 1))

    def forward(self, images):
        return SegmentationOutput(logits=self.shortcut(images))


def test_padding_that_keeps_sizes_can_be_saved(tmp_path):
    module = WithOutputs(Pooling(), ("logits",))
    torch.export.save(traced(module), tmp_path / "pooling.pt2")
    loaded = torch.export.load(tmp_path / "pooling.pt2").module()
    for size_hw in [(64, 97), (71, 128)]:
        images = torch.rand(1, 3, *size_hw)
        assert torch.equal(loaded(images)[0], module(images)[0])


def test_a_full_disk_ends_the_writing_of_a_program_only(tmp_path, monkeypatch):
    """torch's own writer of files takes the whole process with it."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_files, "traced", lambda module: module)
    monkeypatch.setattr(torch.export, "save", lambda program, file, **_: file.write(b"a program"))
    monkeypatch.setattr(export_files.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        export_model(small_model("plain"), tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_what_torch_cannot_save_is_one_line(tmp_path, monkeypatch):
    def cannot_save(*_, **__):
        raise AssertionError("op <built-in function ceil>\nis not in _SYM_OPS")

    monkeypatch.setattr(export_files, "traced", lambda module: module)
    monkeypatch.setattr(torch.export, "save", cannot_save)
    with pytest.raises(ConfigError, match=r"cannot save this model \(op .* is not in _SYM_OPS\); write \.onnx"):
        export_model(small_model("plain"), tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_says_so(tmp_path):
    with pytest.raises(ConfigError, match="'spn' propagates row by row"):
        export_model(small_model(head_options={"body": "spn"}), tmp_path / "model.onnx")
    model = small_model("plain")
    with pytest.raises(ConfigError, match="no boundary branch"):
        export_model(model, tmp_path / "model.onnx", outputs=["boundaries"])
    with pytest.raises(ConfigError, match="'masks' found, of logits"):
        export_model(model, tmp_path / "model.onnx", outputs=["masks"])
    with pytest.raises(ConfigError, match=r"ends in none of \.onnx"):
        export_model(model, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs onnxscript .*pip install 'crispseg\[onnx\]'"):
        export_model(model, tmp_path / "model.onnx")


def test_files_of_others_are_refused(tmp_path, capfd, caplog):
    for suffix, words in [
        (".onnx", "INVALID_PROTOBUF"),
        (".xml", "does not begin as a file of OpenVINO"),
        (".pt2", "not an archive"),
    ]:
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(b"no model")
        with pytest.raises(WeightsError, match=rf"{suffix}: cannot be opened \(.*{words}"):
            ExportedModel(broken)
    assert not capfd.readouterr().err  # one line is all that a user sees
    assert not caplog.records
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [other])
    theirs = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(theirs, tmp_path / "theirs.onnx")
    with pytest.raises(WeightsError, match="another tool has made it"):
        ExportedModel(tmp_path / "theirs.onnx")


OWN_HEADS = [name for name in HEADS if not name.startswith("released_")]
OWN_CONTEXTS = [name for name in CONTEXTS if not name.startswith("released_")]
# Each takes some twenty seconds: every head, with the contexts in turn, or the whole product where it is asked for.
TURNS = zip(OWN_HEADS, itertools.cycle(OWN_CONTEXTS), strict=False)
PAIRS = itertools.product(OWN_HEADS, OWN_CONTEXTS) if "CRISPSEG_EXPORT_ALL" in os.environ else TURNS
PRODUCT = [
    *((head, context, "resnet18") for head, context in PAIRS),
    *((head, None, "pvt_v2_b0") for head in OWN_HEADS),
]


@pytest.mark.slow
@pytest.mark.parametrize("parts", PRODUCT)
def test_every_head_and_context_exports_for_both_runtimes(parts, tmp_path):
    """`export_model` itself compares; OpenVINO's file is made from the ONNX one, which is tried as well."""
    model = small_model(*parts)
    done = export_model(model, tmp_path / "model.xml")
    assert max(done.differences.values()) < 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    assert room.FORMATS["openvino"] == ".xml"
