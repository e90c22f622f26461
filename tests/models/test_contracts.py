"""The contracts of the design: any head on any context on any backbone, any size, any class count."""

import itertools

import pytest
import torch

import crispseg.published  # noqa: F401 - makes the released heads known
from crispseg import models
from crispseg.models import create_model

# The released networks' parts go with each other, and have tests of their own.
RELEASED_HEADS = [name for name in models.HEADS if name.startswith("released_")]
HEADS = [name for name in models.HEADS if name not in RELEASED_HEADS]
CONTEXTS = [name for name in models.CONTEXTS if not name.startswith("released_")]
BACKBONES = ["test_resnet", "test_convnext", "test_vit"]
SMALL = {"channels": 8, "output_stride": 32}


def small_model(head="gff", context=None, backbone="test_resnet", num_classes=3, **options):
    torch.manual_seed(0)
    return create_model(head, context=context, backbone=backbone, num_classes=num_classes, **(SMALL | options))


def total(output):
    """A scalar that depends on every logit that a loss reads."""
    parts = [output.logits, output.boundary_logits, output.body_logits, output.auxiliary_logits]
    return sum(part.float().square().mean() for part in parts if part is not None)


@pytest.mark.parametrize(("head", "context"), list(itertools.product(HEADS, CONTEXTS)))
def test_every_head_on_every_context_trains_every_parameter(head, context):
    model = small_model(head, context).train()
    output = model(torch.rand(2, 3, 65, 97))
    assert output.logits.shape == (2, 3, 65, 97)
    total(output).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert missing == []


@pytest.mark.parametrize(("head", "backbone"), list(itertools.product(HEADS, BACKBONES)))
def test_every_head_on_every_kind_of_backbone(head, backbone):
    model = small_model(head, backbone=backbone).eval()
    with torch.inference_mode():
        output = model(torch.rand(1, 3, 70, 45))
    assert output.logits.shape == (1, 3, 70, 45)
    assert torch.isfinite(output.logits).all()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [(33, 64), (1, 1), (31, 7), (128, 96)])
def test_any_size(head, size):
    model = small_model(head).eval()
    with torch.inference_mode():
        output = model(torch.rand(1, 3, *size), with_maps=True)
    assert output.logits.shape == (1, 3, *size)
    if output.boundary_logits is not None:
        assert output.boundary_logits.shape == (1, 1, *size)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("num_classes", [2, 150])
def test_any_class_count(head, num_classes):
    model = small_model(head, num_classes=num_classes).train()
    output = model(torch.rand(2, 3, 40, 40))
    assert output.logits.shape[1] == num_classes
    for other in (output.body_logits, output.auxiliary_logits):
        assert other is None or other.shape == output.logits.shape


@pytest.mark.parametrize("head", HEADS)
def test_an_image_does_not_depend_on_its_batch(head):
    model = small_model(head).double().eval()
    images = torch.rand(3, 3, 48, 56, dtype=torch.float64)
    with torch.inference_mode():
        together = model(images)
        alone = model(images[1:2])
    torch.testing.assert_close(together.logits[1:2], alone.logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("head", HEADS)
def test_training_and_evaluation_return_the_same_type(head):
    model = small_model(head)
    images = torch.rand(2, 3, 32, 32)
    trained, evaluated = model.train()(images), model.eval()(images)
    assert type(trained) is type(evaluated)
    assert evaluated.auxiliary_logits is None
    assert evaluated.body_logits is None
    assert (trained.boundary_logits is None) == (evaluated.boundary_logits is None)
    assert evaluated.maps == {}


BODY_GENERATORS = [("decoupled", {"body": body}) for body in ("dcn", "spn")]


@pytest.mark.parametrize(("head", "options"), [*((head, {}) for head in [*HEADS, *RELEASED_HEADS]), *BODY_GENERATORS])
@pytest.mark.parametrize("training", [True, False])
def test_a_head_shows_the_maps_that_it_declares(head, options, training):
    model = small_model(head, backbone="resnet10t", head_options=options).train(training)
    with torch.no_grad():
        maps = model(torch.rand(2, 3, 70, 96), with_maps=True).maps
    declared = model.head.map_info
    assert list(maps) == list(declared)
    for name, one in maps.items():
        assert one.ndim == 4
        assert one.shape[0] == 2
        assert torch.isfinite(one).all()
        assert FITS_KIND[declared[name].kind](one), name
        assert declared[name].title
        assert declared[name].sentence.endswith(".")


FITS_KIND = {
    "gate": lambda one: 0 <= one.min() <= one.max() <= 1,
    "share": lambda one: 0 <= one.min() <= one.max() <= 1,
    "logit": lambda one: one.shape[1] == 1,
    "flow": lambda one: one.shape[1] == 2,
    "features": lambda one: one.shape[1] > 2,
}


@pytest.mark.parametrize(
    ("head", "names"),
    [
        ("plain", []),
        ("gff", [f"gate_{i}" for i in range(1, 5)]),
        ("gated_fpn", [f"gate_{i}" for i in range(1, 6)]),
        ("gscnn", ["attention_1", "attention_2", "attention_3", "image_gradient"]),
        ("decoupled", ["flow", "body", "residual", "edge", "merged"]),
        ("released_gff", ["gate_1", "gate_2", "gate_3"]),
    ],
)
def test_names_of_maps(head, names):
    """Of the papers' figures; `test_a_head_shows_the_maps_that_it_declares` would pass without any."""
    assert list(small_model(head, backbone="resnet10t").head.map_info) == names


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_models_export(head):
    """Nothing leaves the graph: torch.export traces the whole model, and its program gives the same logits."""
    model = small_model(head).eval()
    images = torch.rand(1, 3, 64, 64)
    program = torch.export.export(model, (images,), strict=False)
    torch.testing.assert_close(program.module()(images).logits, model(images).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_models_run_in_bfloat16(head):
    model = small_model(head).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.rand(2, 3, 64, 64))
    total(output).backward()
    assert torch.isfinite(output.logits).all()
