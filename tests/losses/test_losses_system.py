import dataclasses

import pytest
import torch

from crispseg.config import LossConfig
from crispseg.errors import ConfigError
from crispseg.losses import LOSSES as registered
from crispseg.losses import (
    boundary_bce,
    build_loss,
    completed_options,
    dual_boundary_loss,
    dual_segmentation_loss,
    hard_boundary_cross_entropy,
    hard_cross_entropy,
    interior_cross_entropy,
    ohem_cross_entropy,
    relaxed_cross_entropy,
    segmentation_cross_entropy,
)
from crispseg.ops.boundaries import boundary_targets
from crispseg.types import SegmentationOutput


def output_for(name, classes=4, size=(12, 14), seed=0, dtype=torch.float32):
    """What the heads of a loss give in training, and labels."""
    output, labels = everything(classes, size, seed, dtype)
    taught = registered[name].supervises
    others = {branch: None for branch in ("boundary_logits", "body_logits") if branch not in taught}
    return dataclasses.replace(output, **others), labels


def everything(classes=4, size=(12, 14), seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)

    def leaf(channels):
        return (torch.randn(2, channels, *size, generator=generator) * 2).to(dtype).requires_grad_()

    output = SegmentationOutput(leaf(classes), leaf(1), leaf(classes), leaf(classes))
    labels = torch.randint(0, classes, (2, size[0] // 2, size[1] // 2), generator=generator)
    labels = labels.repeat_interleave(2, 1).repeat_interleave(2, 2)
    labels[:, :6, :7] = 0  # not everything is near a border
    labels[1, :, :2] = 255
    return output, labels


def test_gscnn_has_the_papers_terms_and_weights():
    output, labels = output_for("gscnn")
    terms = build_loss("gscnn", LossConfig(), 4)(output, labels)
    edge = boundary_bce(output.boundary_logits, *boundary_targets(labels, 2, shape="disk"))
    assert list(terms) == ["segmentation", "auxiliary", "edge", "dual_boundary", "dual_segmentation"]
    assert terms["segmentation"] == segmentation_cross_entropy(output.logits, labels)
    assert terms["auxiliary"] == 0.4 * segmentation_cross_entropy(output.auxiliary_logits, labels)
    assert terms["edge"] == 20 * edge
    assert terms["dual_boundary"] == dual_boundary_loss(output.logits, labels)
    assert terms["dual_segmentation"] == dual_segmentation_loss(output.logits, labels, output.boundary_logits, 0.8)


def test_decoupled_has_the_papers_terms_and_weights():
    output, labels = everything()
    terms = build_loss("decoupled", LossConfig(), 4)(output, labels)
    edge = boundary_bce(output.boundary_logits, *boundary_targets(labels, 1), balanced=False)
    assert list(terms) == ["segmentation", "auxiliary", "body", "edge", "edge_segmentation"]
    assert terms["body"] == relaxed_cross_entropy(output.body_logits, labels, 1)
    assert terms["edge"] == 25 * edge
    assert terms["edge_segmentation"] == hard_boundary_cross_entropy(
        output.logits, labels, output.boundary_logits, 0.1, 0.8
    )


def test_the_plain_loss_has_the_segmentation_and_the_auxiliary_term():
    output, labels = output_for("segmentation")
    assert list(build_loss("segmentation", LossConfig(), 4)(output, labels)) == ["segmentation", "auxiliary"]


def test_settings_reach_their_terms():
    labels = everything()[1]
    common = {
        "segmentation": "ohem",
        "ohem_probability": 0.5,
        "ohem_min_kept": 7,
        "auxiliary_weight": 0.3,
        "class_weights": (1.0, 2.0, 3.0, 0.5),
        "label_smoothing": 0.1,
        "boundary_radius_px": 3,
        "edge_weight": 3.0,
    }
    of_gscnn = LossConfig(
        **common,
        boundary_shape="square",
        edge_balance=False,
        dual_boundary_weight=5.0,
        dual_segmentation_weight=7.0,
        dual_threshold=0.6,
        dual_filter="gaussian",
    )
    of_decoupled = LossConfig(
        **common,
        boundary_shape="disk",
        edge_balance=True,
        hard_boundary_from="labels",
        body_boundary="ignored",
        body_weight=11.0,
        edge_segmentation_weight=13.0,
        hard_fraction=0.5,
        hard_boundary_threshold=0.4,
        relaxation_radius_px=3,
    )
    weights = torch.tensor(common["class_weights"])
    output = output_for("gscnn")[0]
    gscnn = build_loss("gscnn", of_gscnn, 4)(output, labels)
    output = output_for("decoupled")[0]
    decoupled = build_loss("decoupled", of_decoupled, 4)(output, labels)
    disk = boundary_targets(labels, 3, shape="disk")
    edge = {
        "gscnn": boundary_bce(output.boundary_logits, *boundary_targets(labels, 3), balanced=False),
        "decoupled": boundary_bce(output.boundary_logits, *disk),
    }
    for name, terms in (("gscnn", gscnn), ("decoupled", decoupled)):
        assert terms["segmentation"] == ohem_cross_entropy(output.logits, labels, 0.5, 7, weights, 0.1)
        assert terms["auxiliary"] == 0.3 * ohem_cross_entropy(output.auxiliary_logits, labels, 0.5, 7, weights, 0.1)
        assert terms["edge"] == 3 * edge[name]
    assert gscnn["dual_boundary"] == 5 * dual_boundary_loss(output.logits, labels, by="gaussian")
    assert gscnn["dual_segmentation"] == 7 * dual_segmentation_loss(
        output.logits, labels, output.boundary_logits, 0.6, weights
    )
    assert decoupled["body"] == 11 * interior_cross_entropy(output.body_logits, labels, 3, weights)
    assert decoupled["edge_segmentation"] == 13 * hard_cross_entropy(
        output.logits, labels, disk[0][:, 0].bool(), 0.5, weights
    )
    by_branch = LossConfig(**common, hard_fraction=0.5, hard_boundary_threshold=0.4, relaxation_radius_px=3)
    terms = build_loss("decoupled", by_branch, 4)(output, labels)
    assert terms["body"] == relaxed_cross_entropy(output.body_logits, labels, 3, weights)
    assert terms["edge_segmentation"] == hard_boundary_cross_entropy(
        output.logits, labels, output.boundary_logits, 0.5, 0.4, weights
    )


def test_the_gumbel_temperature_reaches_the_gradient():
    gradients = []
    for temperature in (0.2, 1.0, 1.0):
        output, labels = output_for("gscnn")
        torch.manual_seed(0)
        build_loss("gscnn", LossConfig(gumbel_temperature=temperature), 4)(output, labels)["dual_boundary"].backward()
        gradients.append(output.logits.grad)
    assert torch.equal(gradients[1], gradients[2])
    assert not torch.allclose(gradients[0], gradients[1])


@pytest.mark.parametrize("name", registered)
def test_terms_without_logits_are_left_out_in_evaluation_only(name):
    output, labels = output_for(name)
    bare = SegmentationOutput(output.logits)
    assert list(build_loss(name, LossConfig(), 4).eval()(bare, labels)) == ["segmentation"]
    loss = build_loss(name, LossConfig(), 4)
    assert "auxiliary" not in loss(dataclasses.replace(output, auxiliary_logits=None), labels)  # heads may do without
    for branch in registered[name].supervises:
        with pytest.raises(ConfigError, match=rf"{branch} is missing, and \w+ has a term for it; set loss.system"):
            loss(dataclasses.replace(output, **{branch: None}), labels)


@pytest.mark.parametrize("name", registered)
def test_a_branch_that_nothing_supervises_is_an_error_in_training(name):
    output, labels = everything()
    loss = build_loss(name, LossConfig(), 4)
    if len(registered[name].supervises) == 2:
        loss(output, labels)
    else:
        with pytest.raises(ConfigError, match=r"_logits is there, and no term of \w+ supervises it"):
            loss(output, labels)
    loss.eval()(output, labels)


def test_regularisers_of_no_weight_are_left_out():
    gscnn = LossConfig(dual_boundary_weight=0, dual_segmentation_weight=0)
    terms = build_loss("gscnn", gscnn, 4)(*output_for("gscnn"))
    assert list(terms) == ["segmentation", "auxiliary", "edge"]
    terms = build_loss("decoupled", LossConfig(edge_segmentation_weight=0), 4)(*output_for("decoupled"))
    assert list(terms) == ["segmentation", "auxiliary", "body", "edge"]


def test_an_unknown_loss_is_an_error_that_names_the_nearest():
    with pytest.raises(ConfigError, match=r"loss of the head: unknown loss 'gscn'; did you mean 'gscnn'\?"):
        build_loss("gscn", LossConfig(), 4)
    with pytest.raises(ConfigError, match=r"loss.system: unknown loss 'decuopled'; did you mean 'decoupled'\?"):
        build_loss("gscnn", LossConfig(system="decuopled"), 4)
    assert type(build_loss("gscnn", LossConfig(system="decoupled"), 4)).__name__ == "DecoupledLoss"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "gscnn",
            {"egde_weight": 1},
            r"loss.egde_weight: loss 'gscnn' takes no such option; did you mean 'edge_weight'",
        ),
        ("gscnn", {"body_weight": 2}, r"loss.body_weight: loss 'gscnn' takes no such option; decoupled does"),
        ("segmentation", {"edge_weight": 3}, r"loss 'segmentation' takes no such option; gscnn, decoupled do"),
        ("gscnn", {"edge_weight": -1}, r"loss.edge_weight is -1, greater than or equal to 0 expected"),
        ("gscnn", {"boundary_radius_px": "wide"}, r"loss.boundary_radius_px is 'wide', an integer expected"),
        ("gscnn", {"edge_weight": True}, r"loss.edge_weight is True, which is no number"),
    ],
)
def test_options_are_checked_by_the_signature(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_loss(name, LossConfig(**options), 4)


def test_recipes_of_version_0_1_which_name_every_option_are_read():
    written = {
        "boundary_radius_px": 1,
        "edge_weight": None,
        "dual_boundary_weight": 1.0,
        "dual_segmentation_weight": 1.0,
        "dual_threshold": 0.8,
        "gumbel_temperature": 1.0,
        "body_weight": 1.0,
        "edge_segmentation_weight": 1.0,
        "hard_fraction": 0.1,
        "hard_boundary_threshold": 0.8,
        "relaxation_radius_px": 1,
    }
    for name, edge_weight in {"segmentation": None, "gscnn": 20, "decoupled": 25}.items():
        complete = completed_options(name, LossConfig(**written))
        assert set(complete.options) == set(registered.options(name))
        assert complete.options.get("edge_weight") == edge_weight


@pytest.mark.parametrize("name", registered)
def test_the_options_that_are_listed_without_pytorch_are_the_signatures(name):
    assert registered.options(name) == tuple(registered._parameters(name))


@pytest.mark.parametrize("name", registered)
@pytest.mark.parametrize("classes", [2, 150])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_void_is_zero_and_every_logit_keeps_a_gradient(name, classes, dtype):
    output, labels = output_for(name, classes, dtype=dtype)
    for target in (labels, torch.full_like(labels, 255)):
        terms = build_loss(name, LossConfig(), classes)(output, target)
        total = sum(terms.values())
        assert total.dtype == torch.float32
        total.backward()
        used = [output.logits, output.auxiliary_logits]
        used += [output.boundary_logits] if name in ("gscnn", "decoupled") else []
        used += [output.body_logits] if name == "decoupled" else []
        for logits in used:
            assert logits.grad is not None
            assert logits.grad.isfinite().all()
            assert logits.grad.any() == (target is labels)
            logits.grad = None
    assert total == 0


@pytest.mark.parametrize("name", registered)
def test_repeating_the_batch_changes_nothing(name):
    output, labels = output_for(name)
    twice = SegmentationOutput(
        *(
            None if logits is None else logits.repeat(2, 1, 1, 1)
            for logits in (output.logits, output.boundary_logits, output.body_logits, output.auxiliary_logits)
        )
    )
    loss = build_loss(name, LossConfig(), 4)
    once, repeated = loss(output, labels), loss(twice, labels.repeat(2, 1, 1))
    for name in once:
        torch.testing.assert_close(once[name], repeated[name], msg=name)


@pytest.mark.parametrize("name", registered)
def test_class_weights_move_with_the_module_and_are_not_saved(name):
    loss = build_loss(name, LossConfig(class_weights=(1, 2, 3)), 3)
    assert not loss.state_dict()
    loss.to("meta")
    buffers = dict(loss.named_buffers())
    assert "cross_entropy.class_weights" in buffers
    assert all(buffer.is_meta for buffer in buffers.values())


def test_class_weights_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match=r"loss.class_weights: 3 values found, 4 expected"):
        build_loss("segmentation", LossConfig(class_weights=(1, 2, 3)), 4)
    with pytest.raises(ConfigError, match=r"-1.0 to 2.0 found"):
        build_loss("segmentation", LossConfig(class_weights=(1, 2, -1)), 3)
    with pytest.raises(ConfigError, match=r"0.0 to 0.0 found"):
        build_loss("segmentation", LossConfig(class_weights=(0, 0)), 2)


def test_outputs_of_another_number_of_classes_are_an_error():
    output, labels = output_for("segmentation", classes=4)
    with pytest.raises(ValueError, match="logits have 4 classes, the loss 5"):
        build_loss("segmentation", LossConfig(), 5)(output, labels)
