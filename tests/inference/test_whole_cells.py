"""Images filled up to whole cells: maps of all strides lie where the image does, on every way to a mask."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import crispseg
from crispseg.config import DataConfig
from crispseg.data import build_dataset
from crispseg.errors import WeightsError
from crispseg.explanation.looks import Looker
from crispseg.export import export_model
from crispseg.inference import ExportedModel
from crispseg.inference.card import ExportCard
from crispseg.labels import label_space
from crispseg.models.segmenter import Segmenter
from crispseg.ops.cells import Filling
from crispseg.published.heads import ReleasedGFF
from crispseg.types import SegmentationOutput

CAMVID = Path(__file__).parents[2] / "models" / "camvid"
IMAGE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Segmenter:
    torch.manual_seed(0)
    return crispseg.create_model("gff", backbone="resnet18", num_classes=4, channels=8, output_stride=32).eval()


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 4, 8]))
def test_the_image_stays_and_the_rest_is_its_mean(height, width, stride):
    images = np.random.default_rng(0).random((2, 3, height, width), dtype=np.float32)
    mean = (0.25, 0.5, 0.75)
    filled = Filling(stride, mean).fill(images)
    high, wide = filled.shape[-2:]
    assert high % stride == wide % stride == 0
    assert 0 <= high - height < stride
    assert 0 <= wide - width < stride
    np.testing.assert_array_equal(filled[..., :height, :width], images)
    for channel, value in enumerate(mean):
        assert (filled[:, channel, height:] == value).all()
        assert (filled[:, channel, :, width:] == value).all()
    as_tensors = Filling(stride, mean).fill(torch.from_numpy(images))
    np.testing.assert_array_equal(as_tensors.numpy(), filled)


def test_what_whole_cells_make_up_is_not_copied():
    images = torch.rand(1, 3, 64, 32)
    assert Filling(32, (0.5, 0.5, 0.5)).fill(images) is images


@torch.no_grad()
def test_a_prediction_is_that_of_the_filled_image(model):
    """By hand: 50×70 pixels, filled with the mean to 64×96."""
    images = torch.from_numpy(IMAGE).permute(2, 0, 1)[None] / 255
    canvas = model.mean.expand(1, 3, 64, 96).clone()
    canvas[..., :50, :70] = images
    expected = model(canvas).logits.softmax(dim=1)[0, :, :50, :70].numpy()
    found = crispseg.Predictor(model, keep_probability=True, precision="float32")(IMAGE)
    np.testing.assert_allclose(found.probability, expected, atol=1e-5)


def test_rows_that_are_cut_off_below_do_not_move_what_is_above():
    """12 rows fewer, which stride 32 does not divide: enlarged to the image, whole maps would be squeezed by them."""
    if not CAMVID.is_dir():
        pytest.skip("models/ is in the repository only")
    street = build_dataset(DataConfig(layout="toy_streets"), "val", augment=False).sample(3).image
    network = crispseg.load_model(CAMVID).eval()
    predictor = crispseg.Predictor(network, precision="float32")

    def unfilled(images):
        return SegmentationOutput(network(images).logits)

    def disagreement(segment):
        return (segment(street).labels[:130] != segment(np.ascontiguousarray(street[:180])).labels[:130]).mean()

    assert disagreement(predictor) < 0.5 * disagreement(crispseg.Predictor(unfilled, network.label_space))


def test_an_output_is_cut_to_the_image_and_its_maps_to_the_cells_that_reach_into_it():
    output = SegmentationOutput(
        logits=torch.rand(1, 4, 64, 96),
        boundary_logits=torch.rand(1, 1, 64, 96),
        maps={"stride 4": torch.rand(1, 2, 16, 24), "stride 32": torch.rand(1, 2, 2, 3)},
    )
    cut = output.within((50, 65))
    assert cut.logits.shape == (1, 4, 50, 65)
    assert torch.equal(cut.boundary_logits, output.boundary_logits[..., :50, :65])
    assert cut.body_logits is cut.auxiliary_logits is None
    assert cut.maps["stride 4"].shape == (1, 2, 13, 17)
    assert cut.maps["stride 32"].shape == (1, 2, 2, 3)
    assert output.within((64, 96)) is output


def test_what_is_explained_is_what_is_predicted(model):
    look = Looker(model, close_gates=True, precision="float32")(IMAGE)
    predicted = crispseg.Predictor(model, precision="float32")(IMAGE)
    assert (look.prediction.labels == predicted.labels).all()
    assert {labels.shape for labels in look.without.values()} == {(50, 70)}
    assert look.maps["gate_1"].shape[-2:] == (13, 18)  # ⌈50 / 4⌉ and ⌈70 / 4⌉, as of the image itself


def test_an_exported_file_carries_it(model, tmp_path):
    pytest.importorskip("onnxruntime")
    export_model(model, tmp_path / "model.onnx")
    exported = ExportedModel(tmp_path / "model.onnx")
    assert exported.card.filling == model.filling
    found = crispseg.Predictor(exported, keep_probability=True)(IMAGE)
    expected = crispseg.Predictor(model, keep_probability=True, precision="float32")(IMAGE)
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)


def test_files_of_earlier_versions_run_as_they_were_made():
    card = ExportCard(("logits",), label_space("camvid"), 33, filling=Filling(32, (0.5, 0.5, 0.5)))
    values = json.loads(card.to_json())
    assert ExportCard.from_json(card.to_json(), "x").filling == card.filling
    del values["filling"]
    assert ExportCard.from_json(json.dumps(values), "x").filling == Filling(1, ())


@pytest.mark.parametrize(
    "filling",
    [
        *({"stride": stride, "mean": []} for stride in (0, 10**9, True, "8", None)),
        *({"stride": 8}, 3, {"stride": 8, "mean": ["a"]}, {"stride": 8, "mean": 3}),
    ],
)
def test_a_card_with_an_odd_filling_is_refused(filling):
    values = json.loads(ExportCard(("logits",), label_space("camvid"), 33).to_json()) | {"filling": filling}
    with pytest.raises(WeightsError, match="metadata cannot be read"):
        ExportCard.from_json(json.dumps(values), "x.onnx")


def test_released_networks_keep_corners_in_place_and_see_images_as_they_are():
    assert not ReleasedGFF.cells_are_areas


def test_small_images_are_computed_in_float32_as_large_as_they_are_filled(model):
    """A rule of the image, so that `evaluate`, in float32, and `segment` agree on them."""
    small = IMAGE[:40, :48]  # filled to 64×64
    found = crispseg.Predictor(model, keep_probability=True)(small)
    exact = crispseg.Predictor(model, keep_probability=True, precision="float32")(small)
    np.testing.assert_array_equal(found.probability, exact.probability)
