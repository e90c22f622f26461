"""Windows, mirror images and scales against what they must equal; the model's contract; what goes in and comes out."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crispseg.errors import ConfigError, DataError, WeightsError
from crispseg.inference import Prediction, Predictor
from crispseg.io import read_image, read_label_ids
from crispseg.labels import LabelSpace
from crispseg.types import SegmentationOutput

SPACE = LabelSpace.from_dict({"name": "three", "classes": ["a", "b", "c"]})


def pointwise(images):
    """Each pixel for itself: neither windows nor mirrors can change its answer."""
    logits = torch.cat((images * 4, images[:, :1] - images[:, 1:2], -images[:, 2:] * 3), dim=1)[:, :3]
    return SegmentationOutput(logits=logits, boundary_logits=images[:, :1] - 0.5)


class Convolution(nn.Module):
    """Has weights, sees its neighbours, and changes in training mode."""

    def __init__(self, label_space=SPACE, channels=3):
        super().__init__()
        self.label_space = label_space
        generator = torch.Generator().manual_seed(0)
        self.layer = nn.Conv2d(3, channels, 3, padding=1)
        nn.init.normal_(self.layer.weight, generator=generator)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, images):
        return SegmentationOutput(logits=self.norm(self.layer(images)))


def random_images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


sizes = st.tuples(st.integers(1, 21), st.integers(1, 21))


@settings(deadline=None, max_examples=40)
@given(
    size=sizes, window=st.tuples(st.integers(1, 12), st.integers(1, 12)), overlap=st.sampled_from([0, 0.3, 0.5, 0.75])
)
def test_windows_are_the_whole_image_for_a_pointwise_model(size, window, overlap):
    images = random_images(2, 3, *size)
    direct = Predictor(pointwise).predict_batch(images)
    assert direct.shape == (2, 3, *size)
    torch.testing.assert_close(Predictor(pointwise, window_hw=window, overlap=overlap).predict_batch(images), direct)


@settings(deadline=None, max_examples=20)
@given(size=sizes, scales=st.sampled_from([(1.0,), (0.5, 1.0, 1.7)]), window=st.sampled_from([None, (5, 7)]))
def test_with_flip_the_mirror_image_gives_the_mirrored_answer(size, scales, window):
    # Windows of a mirrored image lie elsewhere, but each answer is averaged with its mirror, so both are one.
    predictor = Predictor(Convolution(), scales=scales, flip=True, window_hw=window, precision="float32")
    images = random_images(1, 3, *size)
    torch.testing.assert_close(predictor.predict_batch(images.flip(-1)), predictor.predict_batch(images).flip(-1))


def test_probabilities_are_averaged_not_logits():
    model = Convolution().eval()
    images = random_images(1, 3, 8, 10)
    doubled = nn.functional.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.no_grad():
        at_one = model(images).logits.softmax(1)
        mirrored = model(images.flip(-1)).logits.softmax(1).flip(-1)
        at_two = model(doubled).logits.softmax(1)
        at_two_mirrored = model(doubled.flip(-1)).logits.softmax(1).flip(-1)

    def back(values):
        return nn.functional.interpolate(values, size=(8, 10), mode="bilinear", align_corners=False)

    wanted = (at_one + mirrored + back(at_two) + back(at_two_mirrored)) / 4
    found = Predictor(model, scales=(1.0, 2.0), flip=True, precision="float32").predict_batch(images)
    torch.testing.assert_close(found, wanted)
    assert found.sum(1).allclose(torch.ones(1, 8, 10))


@pytest.mark.parametrize(
    "options", [{}, {"flip": True}, {"overlap": 0.8}, {"window_hw": (99, 99)}, {"window_hw": None}]
)
def test_a_stream_of_rows_is_the_whole_image(options):
    """From a source that is read by window, as arrays or tensors, with nothing held twice."""
    image = np.random.default_rng(0).integers(0, 256, (23, 17, 3), dtype=np.uint8)
    predictor = Predictor(Convolution(), keep_probability=True, **({"window_hw": (6, 8)} | options))
    whole = predictor(image)

    def read(top, left, height, width):
        return image[top : top + height, left : left + width]

    def read_tensor(*place):
        return torch.from_numpy(read(*place)).permute(2, 0, 1) / 255

    for source in (read, read_tensor):
        parts = list(predictor.stream(source, (23, 17)))
        assert [part.top for part in parts] == np.cumsum([0, *(len(part.labels) for part in parts[:-1])]).tolist()
        for name in ("labels", "confidence", "probability"):
            found = np.concatenate([getattr(part, name) for part in parts], axis=-2)
            np.testing.assert_array_equal(found, getattr(whole, name))
    with_boundaries = Predictor(pointwise, SPACE, window_hw=(6, 8)).stream(read, (23, 17))
    boundary = np.concatenate([part.boundary_probability for part in with_boundaries])
    np.testing.assert_allclose(boundary, Predictor(pointwise, SPACE)(image).boundary_probability, rtol=1e-5)


def test_a_stream_leaves_the_caller_and_the_model_alone_between_rows():
    model = Convolution().train()
    rows = Predictor(model, window_hw=(4, 4)).stream(lambda *place: np.zeros((*place[2:], 3), np.uint8), (16, 4))
    next(rows)
    assert model.training
    assert not torch.is_inference_mode_enabled()
    with pytest.raises(DataError, match="3×4 pixels were read at row 0, column 0; 4×4 expected"):
        next(Predictor(model, window_hw=(4, 4)).stream(lambda *place: np.zeros((3, 4, 3), np.uint8), (16, 4)))
    with pytest.raises(ConfigError, match=r"scale 1\.0 alone"):
        next(Predictor(model, scales=(0.5,)).stream(lambda *place: np.zeros((4, 4, 3), np.uint8), (4, 4)))


def test_the_model_sees_windows_of_the_asked_size():
    seen = []

    def watching(images):
        seen.append(tuple(images.shape))
        return pointwise(images)

    Predictor(watching, window_hw=(8, 6), overlap=0.5).predict_batch(torch.rand(2, 3, 16, 5))
    assert seen == [(2, 3, 8, 5)] * 3  # as narrow as the image where that is smaller
    seen.clear()
    Predictor(watching, window_hw=(8, 6)).predict_batch(torch.rand(1, 3, 7, 6))
    assert seen == [(1, 3, 7, 6)]


def test_looks_in_batches_are_those_one_at_a_time(monkeypatch):
    """Windows of one row and mirror images go in together, up to the bound; nothing else about them changes."""
    sizes = []

    class Spied(Convolution):
        def forward(self, images):
            sizes.append(images.shape[0])
            return super().forward(images)

    model = Spied()
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    windows = {"window_hw": (12, 16)}  # three in a row
    for options, most in [
        (windows, 3),
        ({"flip": True}, 2),
        (windows | {"flip": True}, 3),
        ({"flip": True, "scales": (0.5, 1.0)}, 2),
    ]:
        found = []
        for bound, expected in [(1, 1), (2**18, most)]:
            monkeypatch.setattr("crispseg.inference.network.CPU_BATCH_PIXELS", bound)
            sizes.clear()
            found.append(Predictor(model, keep_probability=True, precision="float32", **options)(image))
            assert max(sizes) == expected, options
        for one in found[1:]:
            np.testing.assert_allclose(one.probability, found[0].probability, atol=1e-6)
            np.testing.assert_array_equal(one.labels, found[0].labels)


def test_the_model_runs_in_evaluation_mode_and_is_left_as_it_was():
    model, modes = Convolution().train(), []
    model.register_forward_pre_hook(
        lambda module, _: modes.append((module.training, module.norm.training, torch.is_inference_mode_enabled()))
    )
    model.layer.eval()  # a part that its owner had frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Predictor(model, flip=True).predict_batch(torch.rand(2, 3, 6, 6))
    assert modes == [(False, False, True)]  # the image and its mirror image in one batch
    assert model.training
    assert model.norm.training
    assert not model.layer.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_modes_are_restored_after_an_error_too():
    model = Convolution(channels=4).train()
    with pytest.raises(ConfigError, match=r"4 classes, but the label table 'three' has 3"):
        Predictor(model)(np.zeros((4, 4, 3), dtype=np.uint8))
    assert model.training


def test_an_exported_model_runs():
    exported = torch.export.export(Convolution().eval(), (torch.rand(1, 3, 6, 6),)).module()
    assert Predictor(exported, SPACE)(np.zeros((6, 6, 3), dtype=np.uint8)).labels.shape == (6, 6)


def test_images_go_to_the_models_device():
    model = Convolution()
    assert Predictor(model).device == torch.device("cpu")
    model.to("meta")
    assert Predictor(model).device == torch.device("meta")
    assert Predictor(pointwise, device="meta").device == torch.device("meta")
    moved = Convolution()
    Predictor(moved, device="meta")
    assert next(moved.parameters()).is_meta


def test_path_array_and_tensor_are_one_image(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), image[..., ::-1])
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    predictor = Predictor(pointwise, SPACE, keep_probability=True)
    results = [predictor(given) for given in (path, str(path), image, tensor, tensor[None].double())]
    for result in results:
        np.testing.assert_array_equal(result.image, image)
        np.testing.assert_array_equal(result.labels, results[0].labels)
        np.testing.assert_array_equal(result.boundary_probability, results[0].boundary_probability)
    first = results[0]
    np.testing.assert_array_equal(first.labels, first.probability.argmax(0))
    np.testing.assert_array_equal(first.confidence, first.probability.max(0))
    np.testing.assert_allclose(first.probability, predictor.predict_batch(tensor[None])[0].numpy())
    np.testing.assert_allclose(first.boundary_probability, (tensor[0] - 0.5).sigmoid().numpy(), rtol=1e-5)
    assert first.labels.dtype == np.uint8
    assert Predictor(pointwise, SPACE)(image).probability is None


def test_boundary_probability_is_averaged_like_the_classes():
    image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    direct = Predictor(pointwise, SPACE)(image).boundary_probability
    for options in ({"flip": True}, {"window_hw": (5, 5)}):
        again = Predictor(pointwise, SPACE, **options)(image).boundary_probability
        np.testing.assert_allclose(again, direct, rtol=1e-5)
    assert Predictor(Convolution())(image).boundary_probability is None


def test_a_model_without_label_table_needs_one_for_predictions_only():
    predictor = Predictor(pointwise)
    assert predictor.predict_batch(torch.rand(1, 3, 4, 4)).shape == (1, 3, 4, 4)
    with pytest.raises(ConfigError, match=r"function.* has no label_space"):
        predictor(np.zeros((4, 4, 3), dtype=np.uint8))
    assert Predictor(Convolution()).label_space is SPACE
    other = LabelSpace.from_dict({"name": "other", "classes": ["x", "y", "z"]})
    assert Predictor(Convolution(), other).label_space is other


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda images: images, "returned Tensor; a crispseg.SegmentationOutput"),
        (lambda images: SegmentationOutput(images[..., ::2]), r"logits \(1, 3, 4, 2\); \(1, K, 4, 4\)"),
        (lambda images: SegmentationOutput(images[0]), r"logits \(3, 4, 4\)"),
        (lambda images: SegmentationOutput(images, images), r"boundary logits \(1, 3, 4, 4\)"),
    ],
)
def test_a_model_that_breaks_the_contract_is_named(model, message):
    with pytest.raises(ConfigError, match=message):
        Predictor(model, SPACE)(np.zeros((4, 4, 3), dtype=np.uint8))


def test_logits_that_are_not_finite_are_an_error():
    with pytest.raises(WeightsError, match="not finite"):
        Predictor(lambda images: SegmentationOutput(images / 0), SPACE)(np.zeros((4, 4, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 \(4, 4\); uint8 \(H, W, 3\)"),
        (np.zeros((4, 4, 3)), "array of float64"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (torch.zeros(2, 3, 4, 4), "predict_batch takes batches"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "floats"),
        (torch.full((3, 4, 4), 200.0), "holds 200 to 200"),
        (torch.full((3, 4, 4), float("nan")), "holds nan"),
        ([1, 2], "image is a list"),
        ("nowhere.png", "nowhere.png"),
    ],
)
def test_images_of_another_form_are_named(image, message):
    with pytest.raises(DataError, match=message):
        Predictor(pointwise, SPACE)(image)


def test_batches_of_another_form_are_named():
    for wrong in (torch.zeros(3, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8)):
        with pytest.raises(DataError, match=r"\(N, 3, H, W\)"):
            Predictor(pointwise).predict_batch(wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"scales": ()},
        {"scales": (0,)},
        {"scales": (float("inf"),)},
        {"window_hw": (0, 4)},
        {"window_hw": (4, 4), "overlap": 1},
    ],
)
def test_options_out_of_range_are_named(options):
    with pytest.raises(ConfigError, match=r"scales|positive|overlap"):
        Predictor(pointwise, **options)


@settings(deadline=None, max_examples=10)
@given(size=sizes, scale=st.sampled_from([0.01, 0.5, 3.0]))
def test_any_size_at_any_scale(size, scale):
    assert Predictor(pointwise, scales=(scale,)).predict_batch(torch.rand(1, 3, *size)).shape == (1, 3, *size)


# --- Prediction -------------------------------------------------------------------------------------------------------

STREET = LabelSpace.from_dict(
    {
        "name": "street",
        "classes": [
            {"name": "road", "colour": [128, 64, 128], "ids": [7]},
            {"name": "pole", "colour": [153, 153, 153], "ids": [17, 18]},
        ],
    }
)


def make_prediction(**changes):
    labels = np.array([[0, 0, 1], [0, 1, 1]], dtype=np.uint8)
    values = {
        "labels": labels,
        "confidence": np.ones(labels.shape, np.float32),
        "image": np.full((*labels.shape, 3), 100, np.uint8),
        "label_space": STREET,
    }
    return Prediction(**(values | changes))


def test_a_saved_file_reads_back_as_the_labels(tmp_path):
    prediction = make_prediction()
    path = tmp_path / "labels.png"
    prediction.save(path)
    raw = read_label_ids(path)
    np.testing.assert_array_equal(raw, [[7, 7, 17], [7, 17, 17]])
    np.testing.assert_array_equal(STREET.lookup[raw], prediction.labels)
    np.testing.assert_array_equal(read_image(path)[0, 2], [153, 153, 153])  # what a viewer shows


def test_ids_above_a_byte_make_a_16_bit_file(tmp_path):
    wide = LabelSpace.from_dict(
        {"name": "wide", "classes": [{"name": "road", "ids": [26000]}, {"name": "pole", "ids": [3]}]}
    )
    make_prediction(label_space=wide).save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_label_ids(tmp_path / "labels.png"), [[26000, 26000, 3], [26000, 3, 3]])


def test_files_that_would_lose_labels_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\.png"):
        make_prediction().save(tmp_path / "labels.jpg")
    bare = LabelSpace.from_dict({"name": "bare", "classes": [{"name": "road"}, {"name": "pole", "ids": []}]})
    with pytest.raises(ConfigError, match="'pole' has no ids"):
        make_prediction(label_space=bare).save(tmp_path / "labels.png")
    assert not list(tmp_path.iterdir())


def test_overlay_mixes_the_colours_in():
    picture = make_prediction().overlay(alpha=0.5)
    np.testing.assert_array_equal(picture[0, 0], [114, 82, 114])
    np.testing.assert_array_equal(make_prediction().overlay(alpha=0), make_prediction().image)


def test_boundaries_are_the_branchs_or_the_labels():
    labels = np.zeros((3, 6), dtype=np.uint8)
    labels[:, 3:] = 1
    wanted = np.zeros((3, 6))
    wanted[:, 2:4] = 1  # both sides of the border
    shape = {"confidence": np.ones((3, 6), np.float32), "image": np.zeros((3, 6, 3), np.uint8)}
    np.testing.assert_array_equal(make_prediction(labels=labels, **shape).boundaries(), wanted)
    own = np.full((3, 6), 0.25, np.float32)
    with_branch = make_prediction(labels=labels, **shape, boundary_probability=own)
    assert with_branch.boundaries() is own
    np.testing.assert_array_equal(with_branch.mask_boundaries(), wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros((2, 3))}, "labels are float64"),
        ({"labels": np.full((2, 3), 2, np.uint8)}, "labels reach 2"),
        ({"image": np.zeros((2, 4, 3), np.uint8)}, "image is uint8"),
        ({"confidence": np.zeros((2, 3))}, "confidence is float64"),
        ({"boundary_probability": np.zeros((1, 2, 3), np.float32)}, "boundary_probability"),
        ({"probability": np.zeros((3, 2, 3), np.float32)}, r"float32 \(2, 2, 3\) expected"),
    ],
)
def test_predictions_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        make_prediction(**changes)


def test_predictions_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_prediction().labels = None


def test_many_images_are_predicted_as_each_alone(tmp_path):
    """Batched where sizes agree, whatever they were given as, in order."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(9, 7)] * 3 + [(5, 8)] + [(9, 7)] * 4]
    images = list(arrays)
    images[1] = torch.from_numpy(arrays[1]).permute(2, 0, 1).float() / 255
    cv2.imwrite(str(tmp_path / "a.png"), arrays[2][..., ::-1])
    images[2] = tmp_path / "a.png"
    seen = []

    class Spied(Convolution):
        def forward(self, images):
            seen.append(tuple(images.shape))
            return super().forward(images)

    predictor = Predictor(Spied(), keep_probability=True, precision="float32")
    many = dict(predictor.predict_many(images, batch_size=3))
    assert seen == [(3, 3, 9, 7), (1, 3, 5, 8), (3, 3, 9, 7), (1, 3, 9, 7)]
    assert list(many) == list(range(8))
    for position, prediction in many.items():
        alone = predictor(images[position])
        np.testing.assert_array_equal(prediction.labels, alone.labels)
        np.testing.assert_allclose(prediction.probability, alone.probability, atol=1e-6)
        np.testing.assert_array_equal(prediction.image, arrays[position])


def test_many_images_are_read_as_they_are_needed_and_never_more_than_a_batch(monkeypatch):
    monkeypatch.setattr("crispseg.inference.network.CPU_BATCH_PIXELS", 20)
    handed_out = []

    def images():
        for index in range(100):
            handed_out.append(index)
            yield np.full((2, 4, 3), index, dtype=np.uint8)  # two fit

    predictions = Predictor(pointwise, SPACE).predict_many(images())
    assert next(predictions)[0] == 0
    assert len(handed_out) == 3
    assert [next(predictions)[0] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert len(handed_out) == 7


def test_a_broken_image_among_many_is_left_out_on_demand(tmp_path):
    good, bad = np.zeros((2, 2, 3), dtype=np.uint8), tmp_path / "none.png"
    problems = []
    predictor = Predictor(pointwise, SPACE)
    many = predictor.predict_many(
        [good, bad, good], on_error=lambda position, error: problems.append((position, error))
    )
    assert [position for position, _ in many] == [0, 2]
    assert [position for position, _ in problems] == [1]
    assert "none.png" in str(problems[0][1])
    strict = predictor.predict_many([good, bad, good])
    assert next(strict)[0] == 0
    with pytest.raises(DataError, match=r"none\.png"):
        next(strict)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        next(predictor.predict_many([good], batch_size=0))
