"""The released parts keep the library's contracts, on any backbone."""

import cv2
import numpy as np
import pytest
import torch

from crispseg import models
from crispseg.config import LossConfig
from crispseg.losses import build_loss
from crispseg.models import create_model
from crispseg.published.heads import _canny_of_wrapped_bytes, _released_warp

HEADS = [name for name in models.HEADS if name.startswith("released_")]
CONTEXTS = ["released_aspp", "released_ppm", "identity"]


def small(head, context=None, num_classes=3, **options):
    torch.manual_seed(0)
    options = {"backbone": "test_resnet", "channels": 8, "output_stride": 32, **options}
    return create_model(head, context=context, num_classes=num_classes, **options)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_every_part_trains(head, context):
    model = small(head, context).train()
    labels = torch.randint(0, 3, (2, 65, 97))
    terms = build_loss(model.head.system, LossConfig(), 3)(model(torch.rand(2, 3, 65, 97)), labels)
    sum(terms.values()).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert missing == []
    system = {"released_gscnn": "dual_boundary", "released_decoupled": "body"}.get(head, "segmentation")
    assert system in terms


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [(1, 1), (31, 7), (70, 130)])
def test_any_size(head, size):
    model = small(head).eval()
    with torch.inference_mode():
        output = model(torch.rand(1, 3, *size), with_maps=True)
    assert output.logits.shape == (1, 3, *size)
    assert torch.isfinite(output.logits).all()
    assert (output.boundary_logits is not None) == (head in ("released_gscnn", "released_decoupled"))
    assert output.body_logits is None


@pytest.mark.parametrize("head", HEADS)
def test_half_precision_and_batches(head):
    model = small(head).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(model(images).logits).all()
    model.double()
    with torch.inference_mode():
        together, alone = model(images.double()), model(images[1:].double())
    torch.testing.assert_close(together.logits[1:], alone.logits)


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_they_export(head):
    model = small(head).eval()
    images = torch.rand(1, 3, 64, 96)
    program = torch.export.export(model, (images,), strict=False)
    torch.testing.assert_close(program.module()(images).logits, model(images).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["released_resnet50s", "released_resnet101s"])
def test_the_first_block_of_a_dilated_stage_is_dilated_too(name):
    with torch.device("meta"):
        net = small("released_deeplabv3plus", backbone=name, output_stride=8).backbone.net
    assert {block.conv2.dilation for block in net.layer3} == {(2, 2)}
    assert {block.conv2.dilation for block in net.layer4} == {(4, 4)}
    assert {block.conv2.padding for block in net.layer4} == {(4, 4)}
    assert {block.conv2.dilation for block in net.layer2} == {(1, 1)}


def test_canny_is_opencvs_on_the_wrapped_image():
    rng = np.random.default_rng(0)
    for size in ((40, 50), (33, 1), (7, 64)):
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        image[: size[0] // 2] //= 3
        normalised = (image.astype(np.float32) / 255 - np.float32((0.485, 0.456, 0.406))) / np.float32(
            (0.229, 0.224, 0.225)
        )
        expected = cv2.Canny(normalised.astype(np.int32).astype(np.uint8), 10, 100)
        images = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
        found = _canny_of_wrapped_bytes(images)
        assert found.shape == (1, 1, *size)
        np.testing.assert_array_equal(found[0, 0].numpy(), expected)


def test_the_released_warp_shifts_at_zero_flow_and_reads_zeros_outside():
    row = torch.tensor([[[[1.0, 2.0, 4.0, 8.0]]]])
    # Grid points −1, −1/3, 1/3, 1 read as fractions of the outer edges: cells −0.5, 5/6, 13/6, 3.5.
    expected = [0.5 * 1, (1 * 1 + 5 * 2) / 6, (5 * 4 + 1 * 8) / 6, 0.5 * 8]
    found = _released_warp(row, torch.zeros(1, 2, 1, 4))
    # One row: its only grid point, −1, is the upper edge, so half of it lies outside.
    torch.testing.assert_close(found.flatten(), torch.tensor(expected) * 0.5)
    flow = torch.zeros(1, 2, 1, 4)
    flow[:, 0] = 1.0  # a flow of 1 moves the grid by 1/W, which is half a cell
    expected = [1.0, 4 / 6 * 2 + 2 / 6 * 4, 2 / 6 * 4 + 4 / 6 * 8, 0.0]
    torch.testing.assert_close(_released_warp(row, flow).flatten(), torch.tensor(expected) * 0.5)
