"""Files in 8-bit integers: what they lose, what stays in float, and what is refused."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from crispseg.cli import app
from crispseg.errors import ConfigError, WeightsError
from crispseg.export import Int8, export_model
from crispseg.export import files as files_room
from crispseg.export import int8 as int8_room
from crispseg.export.quantise import by_onnxruntime, in_float, layers
from crispseg.inference import ExportedModel
from crispseg.inference.card import ExportCard
from crispseg.inference.exported import onnx_session
from crispseg.io import write_png
from crispseg.labels import label_space
from crispseg.models import create_model, save_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TOY = label_space("toy_streets")
SIZES = [(1, 65, 97), (2, 70, 66)]


def pictures(count=8, size_hw=(72, 96)):
    return list(np.random.default_rng(0).integers(0, 256, (count, *size_hw, 3), dtype=np.uint8))


@pytest.fixture
def original(tmp_path):
    """A float file of two convolutions, made without PyTorch."""
    random, helper = np.random.default_rng(0), onnx.helper
    weights = {
        "w1": random.normal(size=(4, 3, 3, 3)),
        "b1": random.normal(size=4),
        "w2": random.normal(size=(TOY.num_classes, 4, 1, 1)),
        "b2": random.normal(size=TOY.num_classes),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["wide"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["wide"], ["active"], "active"),
        helper.make_node("Conv", ["active", "w2", "b2"], ["logits"], "second"),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("images", kind, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("logits", kind, ["n", TOY.num_classes, "h", "w"])],
        [onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"crispseg": CARD.to_json()})
    path = tmp_path / "two.onnx"
    onnx.save(model, path)
    return path


CARD = ExportCard(("logits",), TOY, 64, {"a": 1})


class Labelled:
    """Images whose labels are what the float file gives, so that every difference is a loss."""

    label_space = TOY

    def __init__(self, original):
        self.images, self.file = pictures(2, (80, 90)), ExportedModel(original)

    def __len__(self):
        return len(self.images)

    def sample(self, index):
        image = self.images[index]
        batch = np.float32(image.transpose(2, 0, 1)[None]) / 255
        return image, self.file(batch)["logits"].argmax(1)[0].astype(np.uint8), str(index)


def accepted(original, options):
    def write(graph, card, name):
        path = original.with_name(f"{name}.onnx")
        files_room._write_onnx_graph(graph, card, path)
        return path

    return int8_room.accepted(original, CARD, "onnx", options, SIZES, write)


def test_layers_go_back_to_float(original):
    images = [np.random.default_rng(index).random((1, 3, 66, 66), np.float32) for index in range(3)]
    graph, whole = onnx.load(original), by_onnxruntime(original, images)
    assert layers(whole, graph) == ["first", "second"]

    def result(model):
        return onnx_session(onnxruntime, model.SerializeToString()).run(None, {"images": images[0]})[0]

    expected = result(graph)
    one, both = in_float(whole, graph, ["first"]), in_float(whole, graph, ["first", "second"])
    errors = [np.abs(result(model) - expected).max() for model in (whole, one, both)]
    assert 0 < errors[1] < errors[0] < 0.3
    assert errors[2] < errors[1]  # what is left is the result's own rounding
    assert layers(one, graph) == ["second"]
    assert len(one.graph.node) < len(whole.graph.node)
    assert layers(whole, graph) == ["first", "second"], "the graph itself stays as it is"


def test_products_of_8_bits_are_added_without_overflow_on_every_processor(original):
    """Largest weights and pixels: where two products saturate 16 bits, the sum comes out a third too small."""
    helper = onnx.helper
    options = onnx_session(onnxruntime, original).get_session_options()
    assert options.get_session_config_entry("session.x64quantprecision") == "1"
    weights = helper.make_tensor("weights", onnx.TensorProto.INT8, (1, 4, 1, 1), [127] * 4)
    scales = [
        ("one", onnx.TensorProto.FLOAT, 1.0),
        ("zero", onnx.TensorProto.UINT8, 0),
        ("none", onnx.TensorProto.INT8, 0),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "one", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "one", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weights", "one", "none"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "large", "zero"], ["sum_bytes"]),
        helper.make_node("DequantizeLinear", ["sum_bytes", "large", "zero"], ["y"]),
    ]
    images, y = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("images", (1, 4, 8, 8)), ("y", (1, 1, 8, 8)))
    )
    constants = [helper.make_tensor(name, kind, (), [value]) for name, kind, value in scales]
    constants += [weights, helper.make_tensor("large", onnx.TensorProto.FLOAT, (), [600.0])]
    graph = helper.make_graph(nodes, "sum", [images], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    found = onnx_session(onnxruntime, model.SerializeToString()).run(
        None, {"images": np.full((1, 4, 8, 8), 255, np.float32)}
    )
    assert found[0] == pytest.approx(4 * 127 * 255, rel=0.01)


def test_an_8_bit_file_says_what_it_loses(original):
    steps = []
    path, card = accepted(original, Int8(pictures(), Labelled(original), max_loss=100, on_step=steps.append))
    assert ExportedModel(path).card == card
    assert card.model == {"a": 1}
    values = card.quantised
    assert values["float_layers"] == []
    assert (values["layers"], values["images"], values["labelled_images"]) == (2, 8, 2)
    assert 0.9 < values["equal_labels"] < 1
    for key in ("mean_iou", "boundary_f_1px"):
        assert values[key]["float"] == 1
        assert values[key]["lost_points"] == pytest.approx(100 * (1 - values[key]["int8"]))
        assert values[key]["lost_points"] > 0
    assert "scoring the 8-bit file with 0 of 2 layers in float" in steps
    _, unmeasured = accepted(original, Int8(pictures()))
    assert "mean_iou" not in unmeasured.quantised
    assert unmeasured.quantised["equal_labels"] == values["equal_labels"]


def test_layers_stay_in_float_until_little_is_lost(original, monkeypatch):
    """With losses as they might be: three points, then a fifth of one."""

    def scores(exported, options, what):
        lost = 0 if "the float file" in what else 3 if " 0 of " in what else worst
        return int8_room._Scores(0.8, 0.8 - lost / 100)

    monkeypatch.setattr(int8_room, "_scores", scores)
    worst = 0.2
    path, card = accepted(original, Int8(pictures(), labelled=Labelled(original)))
    assert len(card.quantised["float_layers"]) == 1
    assert card.quantised["boundary_f_1px"]["lost_points"] == pytest.approx(0.2)
    assert layers(onnx.load(path), onnx.load(original)) == [
        name for name in ("first", "second") if name not in card.quantised["float_layers"]
    ]
    worst = 1
    with pytest.raises(WeightsError, match=r"loses 0\.00 points of mean IoU and 1\.00 of boundary F at 1 px"):
        accepted(original, Int8(pictures(), labelled=Labelled(original)))


def test_a_file_that_is_wrong_at_some_size_is_refused(original, monkeypatch):
    monkeypatch.setattr(int8_room, "LEAST_EQUAL", 1.01)
    with pytest.raises(WeightsError, match=r"the float file's label at 1×3×65×97, where 101 % are expected"):
        accepted(original, Int8(pictures()))


def small_model():
    torch.manual_seed(0)
    options = {"channels": 8, "output_stride": 32, "label_space": TOY, "num_classes": TOY.num_classes}
    return create_model("plain", context="ppm", backbone="test_resnet", **options).eval()


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="7 images to calibrate with, 8 or more"):
        Int8(pictures(7))
    with pytest.raises(ConfigError, match="max_loss is -1"):
        Int8(pictures(), max_loss=-1)
    with pytest.raises(ConfigError, match="torch files are in float only"):
        export_model(small_model(), tmp_path / "a.pt2", int8=Int8(pictures()))


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_the_command_names_what_is_missing(tmp_path):
    save_model(small_model(), tmp_path / "model")
    base = [tmp_path / "model", "--out", tmp_path / "a.onnx"]
    for arguments, message in [
        (["--int8"], "--int8 needs --calibrate"),
        (["--calibrate", tmp_path], "--calibrate: of use with --int8 only"),
        (["--int8", "--calibrate", tmp_path, "--max-loss", "1"], "--max-loss: of use with --data only"),
        (["--int8", "--calibrate", tmp_path / "none"], "no such file or folder"),
        (["--int8", "--calibrate", tmp_path / "model"], "no images found"),
    ]:
        done = run(*base, *arguments)
        assert done.exit_code == 2, done.output
        assert message in done.output
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["onnx", "xml"])
def test_the_command_exports_a_model_in_8_bits(ending, tmp_path):
    save_model(small_model(), tmp_path / "model")
    for index, picture in enumerate(pictures()):
        write_png(tmp_path / f"images/{index}.png", picture)
    base = [tmp_path / "model", "--out", tmp_path / f"a.{ending}", "--int8", "--calibrate", tmp_path / "images"]
    done = run(*base, "--data", "toy/gff", "--max-loss", "100")
    assert done.exit_code == 0, done.output
    assert "boundary F at 1 px" in done.output
    assert ExportedModel(tmp_path / f"a.{ending}").card.quantised["max_loss"] == 100
    (tmp_path / "images/3.png").write_bytes(b"no image")
    (tmp_path / f"a.{ending}").unlink()
    done = run(*base)
    assert done.exit_code == 2
    assert "3.png" in done.output
    assert not (tmp_path / f"a.{ending}").exists()


def test_layers_are_ranked_by_the_labels_that_change_not_by_how_far_logits_move():
    expected = {"logits": np.float32([[[[3.0, 1.0]], [[0.0, 0.0]]]])}
    far = {"logits": expected["logits"] * 10}  # the same labels
    near = {"logits": expected["logits"] - np.float32([[[[0.0, 1.5]], [[0.0, 0.0]]]])}  # half of the labels
    assert int8_room._error(far, expected) == 0
    assert int8_room._error(near, expected) == 0.5
    boundaries = {"boundaries": np.float32([[[[0.0, 1.0]]]])}
    assert int8_room._error(far | {"boundaries": np.float32([[[[0.5, 1.0]]]])}, expected | boundaries) == pytest.approx(
        0.5
    )
