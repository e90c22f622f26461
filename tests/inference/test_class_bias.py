"""Classes called more or less often: against what the numbers mean, on every way through a predictor and a command."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import crispseg
from crispseg.cli import app
from crispseg.errors import ConfigError
from crispseg.inference.class_bias import class_factors, favoured
from crispseg.io import read_label_ids, write_png
from crispseg.labels import LabelSpace
from crispseg.types import SegmentationOutput

SPACE = LabelSpace.from_dict({"name": "three", "classes": ["road", "pole", "traffic light"]})
TWO = LabelSpace.from_dict({"name": "two", "classes": ["other", "crack"]})
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)


def pointwise(images):
    logits = torch.cat((images * 4, images[:, :1] - images[:, 1:2], -images[:, 2:] * 3), dim=1)[:, :3]
    return SegmentationOutput(logits=logits)


def binary(images):
    grey = images.mean(dim=1, keepdim=True)
    return SegmentationOutput(logits=torch.cat((grey, 1.5 - grey), dim=1))


biases = st.dictionaries(st.sampled_from(SPACE.class_names), st.floats(-5, 5))


@given(biases)
def test_it_is_added_to_the_logits_before_the_softmax(bias):
    added = torch.tensor([bias.get(name, 0.0) for name in SPACE.class_names]).view(1, -1, 1, 1)
    pixels = torch.from_numpy(IMAGE.astype(np.float32).transpose(2, 0, 1) / 255)[None]
    expected = (pointwise(pixels).logits + added).softmax(dim=1)[0].numpy()
    found = crispseg.Predictor(pointwise, SPACE, keep_probability=True, class_bias=bias)(IMAGE)
    np.testing.assert_allclose(found.probability, expected, atol=1e-6)
    np.testing.assert_allclose(found.confidence, expected.max(axis=0), atol=1e-6)
    assert (found.labels == found.probability.argmax(axis=0)).all()


@given(st.floats(0.05, 0.95))
def test_of_two_classes_it_is_a_threshold(threshold):
    crack = crispseg.Predictor(binary, TWO, keep_probability=True)(IMAGE).probability[1]
    clear = abs(crack - threshold) > 1e-5
    bias = float(np.log((1 - threshold) / threshold))
    found = crispseg.Predictor(binary, TWO, class_bias={"crack": bias})(IMAGE)
    assert ((found.labels == 1) == (crack > threshold))[clear].all()


@pytest.mark.parametrize(
    "ways", [{"flip": True}, {"scales": (1.0, 2.0)}, {"window_hw": (16, 16)}, {"window_hw": (16, 16), "flip": True}]
)
def test_it_comes_after_the_mean_over_looks(ways):
    before = crispseg.Predictor(pointwise, SPACE, keep_probability=True, **ways)(IMAGE).probability
    expected = favoured(before[None], class_factors({"pole": 1.2}, SPACE))[0]
    after = crispseg.Predictor(pointwise, SPACE, keep_probability=True, class_bias={"pole": 1.2}, **ways)
    np.testing.assert_allclose(after(IMAGE).probability, expected, atol=1e-6)
    assert (after(IMAGE).labels == expected.argmax(axis=0)).all()
    if ways == {"window_hw": (16, 16)}:
        rows = after.stream(lambda top, left, h, w: IMAGE[top : top + h, left : left + w], (24, 30))
        assert (np.concatenate([part.labels for part in rows]) == after(IMAGE).labels).all()


def test_batches_of_tensors_have_it_too():
    images = torch.rand(2, 3, 8, 8)
    found = crispseg.Predictor(pointwise, SPACE, class_bias={"pole": 1.2}).predict_batch(images)
    expected = favoured(crispseg.Predictor(pointwise, SPACE).predict_batch(images), class_factors({"pole": 1.2}, SPACE))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("values", [np.float32([[[[0.25]], [[0.75]]]]), torch.tensor([[[[0.25]], [[0.75]]]])])
def test_arrays_of_exported_files_and_tensors_are_alike(values):
    found = favoured(values, np.array([3, 1], np.float32))
    assert type(found) is type(values)
    assert found.dtype == values.dtype
    assert found.ravel().tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        ({"poles": 1.0}, r"class_bias names 'poles', which is no class of 'three'; did you mean 'pole'\?"),
        ({"pole": float("nan")}, "class_bias of 'pole' is nan; -20 to 20 expected"),
        ({"pole": 21.0}, "class_bias of 'pole' is 21.0"),
        ({"pole": -float("inf")}, "is -inf"),
    ],
)
def test_what_is_none_is_refused(bias, message):
    with pytest.raises(ConfigError, match=message):
        crispseg.Predictor(pointwise, SPACE, class_bias=bias)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    network = crispseg.create_model("plain", backbone="resnet18", label_space=SPACE, channels=8, output_stride=32)
    crispseg.save_model(network, tmp_path / "model")
    write_png(tmp_path / "image.png", IMAGE)
    return tmp_path / "model"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_segment_takes_it_and_does_not_mix_it_with_results_without(model, tmp_path):
    command = ["segment", model, tmp_path / "image.png", "--out", tmp_path / "out", "--only", "labels"]
    assert invoke(*command).exit_code == 0
    refused = invoke(*command, "--class-bias", "traffic light=20")
    assert refused.exit_code == 2
    assert "class_bias was None, and is {'traffic light': 20.0} now" in refused.stderr
    assert invoke(*command, "--class-bias", "traffic light=20", "--overwrite").exit_code == 0
    assert (read_label_ids(tmp_path / "out/image_labels.png") == 2).all()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["pole"], "--class-bias pole: CLASS=B expected"),
        (["=1"], "--class-bias =1: CLASS=B expected"),
        (["pole=much"], "--class-bias pole=much: CLASS=B expected"),
        (["pole=1", "pole=2"], "--class-bias pole is given twice"),
        (["pile=1"], "did you mean 'pole'"),
        (["pole=nan"], "class_bias of 'pole' is nan"),
    ],
)
def test_segment_says_what_is_wrong_with_it(model, tmp_path, texts, message):
    options = [part for text in texts for part in ("--class-bias", text)]
    result = invoke("segment", model, tmp_path / "image.png", "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_evaluate_takes_it_by_its_recipe_and_records_it(model, tmp_path):
    data = tmp_path / "data"
    write_png(data / "images/val/a.png", IMAGE)
    labels = np.zeros(IMAGE.shape[:2], np.uint8)
    labels[:, :5], labels[:, 5:9] = 1, 2
    write_png(data / "labels/val/a.png", labels)
    (data / "labels.yaml").write_text("name: three\nclasses: [road, pole, traffic light]\n")
    command = ["evaluate", model, "--data", data, "--layout", "folder", "--out", tmp_path / "scores"]
    result = invoke(*command, "--set", "evaluate.class_bias={pole: 20}")
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "scores/scores.json").read_text())
    assert scores["iou"]["pole"] == pytest.approx(5 / 30)
    assert '"class_bias": {"pole": 20' in (tmp_path / "scores/images.jsonl").read_text()
    refused = invoke(*command, "--set", "evaluate.class_bias={pile: 1}")
    assert refused.exit_code == 2
    assert "did you mean 'pole'" in refused.stderr
