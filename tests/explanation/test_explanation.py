"""What ``crispseg.explain`` draws: from networks that are made so that the answer is known, and from every head."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import crispseg
import crispseg.published
from crispseg.cli import app
from crispseg.errors import ConfigError, DataError
from crispseg.explanation import (
    FIGURES,
    Available,
    GateStatistics,
    Options,
    Shown,
    Subject,
    choose_figures,
    look,
    shown_by,
)
from crispseg.explanation.looks import Looker
from crispseg.heads import Head
from crispseg.heads.base import Gate
from crispseg.io import write_png
from crispseg.models import register_head
from crispseg.pictures.labels import CHANGES, ERRORS
from crispseg.types import MapInfo, SegmentationOutput

IMAGE = np.random.default_rng(0).integers(0, 256, (36, 52, 3), dtype=np.uint8)
OPEN = (slice(8, 20), slice(12, 40))


class OpenPart(nn.Module):
    """A gate that is 0.9 in a part that is known, 0.2 elsewhere."""

    def forward(self, images):
        gate = torch.full_like(images[:, :1], 0.2)
        gate[:, :, OPEN[0], OPEN[1]] = 0.9
        return gate


class KnownHead(Head):
    """Class 1 where one gate is open; the other gate makes no difference."""

    def __init__(self, info, num_classes, context, *, channels=8):
        super().__init__(info, num_classes, context, channels=channels)
        self.first, self.second = OpenPart(), OpenPart()

    @property
    def map_info(self):
        return {"in": MapInfo("gate", "gate", "What enters."), "out": MapInfo("gate", "gate", "What leaves.")}

    @property
    def gate_modules(self):
        return {"in": Gate(self.first), "out": Gate(self.second)}

    def forward(self, features, images, *, with_maps=False):
        first, second = self.first(images), self.second(images)
        logits = torch.cat([torch.full_like(first, 0.5), first + 0 * second], dim=1)
        return SegmentationOutput(logits=logits, maps={"in": first, "out": second} if with_maps else {})


@pytest.fixture
def known(own_parts):
    register_head("known", KnownHead)
    return crispseg.create_model("known", backbone="test_resnet", num_classes=2, channels=8)


def model_of(head, **options):
    torch.manual_seed(0)
    settings = {"backbone": "resnet10t", "num_classes": 3, "channels": 8, "output_stride": 32} | options
    return crispseg.create_model(head, **settings)


def opened():
    part = np.zeros(IMAGE.shape[:2], dtype=np.uint8)
    part[OPEN] = 1
    return part


def test_a_closed_gate_changes_exactly_the_known_pixels(known):
    seen = look(known, IMAGE)
    np.testing.assert_array_equal(seen.prediction.labels, opened())
    assert not seen.without["in"].any()
    np.testing.assert_array_equal(seen.without["out"], opened())
    assert not known.head.first._forward_hooks  # open again
    np.testing.assert_array_equal(look(known, IMAGE).prediction.labels, opened())


def test_the_picture_of_a_closed_gate_marks_exactly_the_pixels_that_become_wrong(known):
    truth = opened()
    truth[8:12, 12:40] = 0  # where the closed gate mends what was wrong
    truth[18:20, 12:40] = 255
    width = 64
    picture = crispseg.explain(known, IMAGE, labels=truth, only=["knockout"], options=Options(cell_width=width))[
        "knockout"
    ]
    cells = {name: (picture == colour).all(axis=2) for name, colour in CHANGES.items()}
    scale = width / IMAGE.shape[1]
    found = {name: mask[: picture.shape[0] - 80].sum() / scale**2 for name, mask in cells.items()}  # without the key
    assert found["becomes wrong"] == pytest.approx(6 * 28, rel=0.1)
    assert found["becomes right"] == pytest.approx(4 * 28, rel=0.1)
    assert found["changes"] == pytest.approx(2 * 28, rel=0.25)


@pytest.mark.parametrize("head", ["gff", "gated_fpn"])
def test_closing_a_gate_is_what_a_network_with_that_gate_at_zero_does(head):
    model = model_of(head).eval()
    seen = look(model, IMAGE)
    for number, gate in enumerate(model.head.fuse.gates, start=1):
        kept = gate.convolution.bias.detach().clone()
        with torch.no_grad():
            gate.convolution.bias.fill_(-1e4)
        np.testing.assert_array_equal(seen.without[f"gate_{number}"], look(model, IMAGE).prediction.labels)
        with torch.no_grad():
            gate.convolution.bias.copy_(kept)


def test_closing_a_gate_by_its_logit(own_parts):
    """The authors' GFF, whose gates' convolutions give logits."""
    model = model_of("released_gff").eval()
    assert list(look(model, IMAGE).without) == ["gate_1", "gate_2", "gate_3"]
    gate = model.head.gate_modules["gate_1"]
    assert torch.sigmoid(torch.tensor(gate.closed)) == 0
    seen = look(model, IMAGE)
    with torch.no_grad():
        gate.module.weight.zero_()
        gate.module.bias.fill_(-1e4)
    np.testing.assert_array_equal(seen.without["gate_1"], look(model, IMAGE).prediction.labels)


def test_a_look_segments_as_the_predictor_does_and_shows_the_maps():
    model = model_of("decoupled").train()
    seen, alone = look(model, IMAGE), crispseg.Predictor(model, precision="float32")(IMAGE)
    np.testing.assert_array_equal(seen.prediction.labels, alone.labels)
    np.testing.assert_allclose(seen.prediction.boundary_probability, alone.boundary_probability, atol=1e-6)
    assert model.training
    assert list(seen.maps) == ["flow", "body", "residual", "edge", "merged"]
    assert seen.maps["flow"].shape[0] == 2


COMMON = ["prediction", "overlay", "outlines", "frequencies", "crops"]
OF_HEADS = {
    "plain": [],
    "gff": ["gates", "knockout", "gate_1", "gate_2", "gate_3", "gate_4"],
    "gscnn": ["boundaries", "edge_prior", "gates", "attention_1", "attention_2", "attention_3", "image_gradient"],
    "decoupled": ["boundaries", "edge_prior", "flow", "features", "body", "residual", "edge", "merged"],
    "released_gff": ["gates", "knockout", "gate_1", "gate_2", "gate_3"],
}


@pytest.mark.parametrize(("head", "names"), OF_HEADS.items())
def test_every_head_has_its_pictures(head, names):
    model = model_of(head)
    truth = (IMAGE[..., 0] % 3).astype(np.uint8)
    pictures = crispseg.explain(model, IMAGE, labels=truth, options=Options(cell_width=64))
    assert set(pictures) == {*COMMON, *names, "errors"}
    for name, picture in pictures.items():
        assert picture.dtype == np.uint8, name
        assert picture.ndim == 3, name
        assert len(np.unique(picture)) > 3, name


def test_a_plugins_maps_are_drawn_singly_and_by_kind(known):
    can = choose_figures(None, Available(shown_by(known)))
    assert [figure.name for figure in can] == [*COMMON, "gates", "knockout", "in", "out"]


def test_a_map_that_is_named_as_a_picture_is_has_another_name():
    shown = Shown({"errors": MapInfo("share", "errors", "Guessed."), "flow": MapInfo("flow", "flow", "Moves.")})
    names = [figure.name for figure in choose_figures(None, Available(shown, labels=True))]
    assert names == [*COMMON, "flow", "errors", "map_errors"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gates", "gates: the model has no gates; it can give prediction, overlay, outlines, frequencies, crops"),
        ("knockout", "knockout: the model has no gates that can be closed; it can give prediction"),
        ("flow", "flow: the model has no flow; it can give"),
        ("errors", "errors: it needs labels; it can give"),
        ("models", "models: it needs another model beside this one"),
        ("gate", "no picture is called 'gate'; did you mean 'gates'"),
    ],
)
def test_what_cannot_be_drawn_is_said_with_what_can(name, message):
    with pytest.raises(ConfigError, match=message):
        crispseg.explain(model_of("plain"), IMAGE, only=[name])


def test_labels_of_another_size_are_refused_with_both_sizes():
    with pytest.raises(DataError, match=r"36×50 .* 36×52"):
        crispseg.explain(model_of("plain"), IMAGE, labels=np.zeros((36, 50), np.uint8))
    with pytest.raises(DataError, match="int64"):
        crispseg.explain(model_of("plain"), IMAGE, labels=np.zeros((36, 52), np.int64))


def test_errors_mark_exactly_the_wrong_pixels(known):
    truth = opened()
    truth[0:5, 0:10] = 1
    truth[30:, :] = 255
    picture = crispseg.explain(known, IMAGE, labels=truth, only=["errors"])["errors"]
    size_hw = IMAGE.shape[:2]
    wrong = (picture == ERRORS["wrong"]).all(axis=2)[: size_hw[0] + 40]
    assert wrong.sum() == 50
    rows, columns = np.nonzero(wrong)
    assert (np.ptp(rows), np.ptp(columns)) == (4, 9)


def test_models_beside_each_other_are_shown_closer_where_they_differ(known):
    one = look(known, IMAGE)
    other_labels = one.prediction.labels.copy()
    other_labels[28:32, 44:48] = 1
    other = replace(one, prediction=replace(one.prediction, labels=other_labels))
    subject = Subject({"one": one, "two": other}, opened())
    for name in ("models", "model_errors"):
        (figure,) = choose_figures([name], Available(one.shown, labels=True, models=2))
        drawing = figure.draw(subject)
        # One row of whole pictures and one inset row: there is one place where they differ.
        assert 1.5 < (drawing.size_hw[0] - 100) / IMAGE.shape[0] < 4
    stranger = look(model_of("plain"), IMAGE)
    with pytest.raises(ConfigError, match=r"two predicts 3 classes .* one 2 of"):
        Subject({"one": one, "two": stranger})


def test_statistics_add_up_over_images(known):
    statistics = GateStatistics()
    for _ in range(2):
        statistics.add(look(known, IMAGE), opened())
    values = statistics.to_dict()
    share = opened().mean()
    gate = values["gates"]["in"]
    assert values["images"] == 2
    assert gate["mean"] == pytest.approx(0.9 * share + 0.2 * (1 - share))
    assert gate["above_half"] == pytest.approx(share)
    assert gate["deviation"] == pytest.approx(0.7 * np.sqrt(share * (1 - share)))
    assert gate["closed"] == {
        "changes": pytest.approx(share),
        "becomes_wrong": pytest.approx(share),
        "becomes_right": 0,
    }
    assert values["gates"]["out"]["closed"]["changes"] == 0
    assert gate["mean_elsewhere"] < gate["mean_near_outlines"] < 0.9
    assert statistics.plot().to_array().shape == (420, 900, 3)


def test_a_head_that_shows_other_maps_than_it_declares_is_named(known):
    known.head.__class__ = type("Liar", (KnownHead,), {"map_info": property(lambda self: {})})
    with pytest.raises(ConfigError, match=r"Liar declares the maps \[\] and shows \['in', 'out'\]"):
        look(known, IMAGE)


def test_a_map_outside_of_its_kind_is_named(known):
    info = {name: MapInfo("logit", "x", "X.") if name == "in" else one for name, one in known.head.map_info.items()}
    info["in"] = MapInfo("flow", "x", "X.")
    known.head.__class__ = type("Liar", (KnownHead,), {"map_info": property(lambda self: info)})
    with pytest.raises(ConfigError, match=r"declares its map 'in' as flow, but flow has the shape"):
        crispseg.explain(known, IMAGE, only=["in"])


@pytest.mark.slow
def test_exported_files_have_the_pictures_of_their_outputs(tmp_path):
    from crispseg.export import export_model
    from crispseg.inference import ExportedModel

    export_model(model_of("plain", backbone="test_resnet"), tmp_path / "model.pt2")
    pictures = crispseg.explain(ExportedModel(tmp_path / "model.pt2"), np.tile(IMAGE, (2, 2, 1)))
    assert list(pictures) == COMMON


@pytest.mark.parametrize("options", [{"edge_threshold": 1.0}, {"cell_width": 10}])
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match="expected"):
        Options(**options)


def test_crops_are_the_papers_scaled_to_the_height():
    crops = Options().crops((1024, 2048))
    assert list(crops) == [0, 100, 200, 300, 400]
    assert crops[400] == (slice(400, 524), slice(900, 1148))
    assert list(Options().crops((360, 480))) == [0, 35, 70]
    assert list(Options(crop_factors_px=(5,), crop_margin_px=0).crops((36, 52))) == [5]


def test_the_page_lists_every_picture():
    page = (Path(__file__).parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
    for figure in FIGURES:
        assert f"\n| `{figure.name}` | {figure.sentence} | {figure.papers} |\n" in page


# The command line.


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, two images, labels."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("gff", "plain"):
        crispseg.save_model(model_of(name, backbone="test_resnet"), folder / "runs" / name / "model")
    for name in ("a", "b$x$ <b>"):
        write_png(folder / "images" / f"{name}.png", IMAGE)
        write_png(folder / "labels" / f"{name}.png", (IMAGE[..., 0] % 3).astype(np.uint8))
    return folder


def test_a_folder_is_explained(world, tmp_path):
    result = invoke(
        *("explain", world / "runs/gff/model", world / "images", "--out", tmp_path, "--labels", world / "labels"),
        *("--beside", f"PSPNet={world / 'runs/plain/model'}", "--only", "knockout,models,gate_statistics"),
    )
    assert result.exit_code == 0, result.output
    names = ["a_knockout.png", "a_models.png", "b$x$ <b>_knockout.png", "b$x$ <b>_models.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "gate_statistics.json", "gate_statistics.png"]
    assert json.loads((tmp_path / "gate_statistics.json").read_text())["images"] == 2
    assert "Gates over 2 images" in result.stdout


def test_pictures_for_print(world, tmp_path):
    result = invoke(
        *("explain", world / "runs/gff/model", world / "images/a.png", "--out", tmp_path),
        *("--only", "gates", "--format", "svg"),
    )
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["a_gates.svg"]


def test_what_a_model_can_give_is_listed(world):
    result = invoke("explain", world / "runs/plain/model", "--list")
    assert result.exit_code == 0, result.output
    assert "knockout" in result.stdout
    assert "outlines" in result.stdout


def test_a_broken_image_is_named_and_the_others_are_drawn(world, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no")
    write_png(tmp_path / "sound.png", IMAGE)
    result = invoke("explain", world / "runs/plain/model", tmp_path, "--out", tmp_path / "out", "--only", "outlines")
    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sound_outlines.png"]


def test_bad_input_ends_in_one_line(world, tmp_path):
    plain, images = world / "runs/plain/model", world / "images"
    write_png(tmp_path / "small/a.png", np.zeros((30, 52), np.uint8))
    out = ("--out", tmp_path / "out")
    assert "needs" not in refused(invoke("explain", plain))
    assert "the model has no gates; it can give" in refused(invoke("explain", plain, images, *out, "--only", "gates"))
    statistics = refused(invoke("explain", plain, images, *out, "--only", "gate_statistics"))
    assert "the model has no gates; it can give" in statistics
    wrong = refused(invoke("explain", plain, images / "a.png", *out, "--labels", tmp_path / "small"))
    assert "30×52" in wrong
    assert "36×52" in wrong
    assert "image without a label file" in refused(
        invoke("explain", plain, images, *out, "--labels", tmp_path / "small")
    )
    assert "raw-ids" in refused(invoke("explain", plain, images, *out, "--encoding", "raw"))
    many = [part for _ in range(4) for part in ("--beside", plain)]
    assert "3 at most" in refused(invoke("explain", plain, images, *out, *many))
    assert "titles" in refused(invoke("explain", plain, images, *out, "--beside", plain))
    assert "--crop-factors" in refused(invoke("explain", plain, images, *out, "--crop-factors", "x"))
    assert not (tmp_path / "out").exists()


def test_a_looker_notes_what_its_copy_in_16_bits_shows():
    model = crispseg.create_model("gff", backbone="test_resnet", num_classes=3, channels=8, output_stride=32).eval()
    looker = Looker(model, precision="bfloat16", keep_probability=True)
    for seed in (0, 1):
        image = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
        exact, rounded = look(model, image, close_gates=False), looker(image)
        assert list(rounded.maps) == list(exact.maps) == [f"gate_{level}" for level in (1, 2, 3, 4)]
        for name, values in exact.maps.items():
            assert values.shape == rounded.maps[name].shape
            assert np.abs(values - rounded.maps[name]).max() < 0.05
        assert rounded.prediction.probability.shape == (3, 40, 56)
    with pytest.raises(ValueError, match="gates are closed in float32"):
        Looker(model, close_gates=True, precision="bfloat16")
